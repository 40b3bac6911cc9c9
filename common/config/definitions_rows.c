/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys of a definitions file. A new key is a field in definitions.h and a row here; a
 * key that becomes available changes its row from KEY_LATER. Only data. */
#include <stddef.h>

#include "common/config/definitions_keys.h"

#define HOUR_MS INT64_C(3600000)
#define DAY_MS  (24 * HOUR_MS)
#define MIB     (INT64_C(1024) * 1024)
#define GIB     (1024 * MIB)

#define JOB(field)    offsetof(struct job_type, field)
#define QUEUE(field)  offsetof(struct queue_definition, field)
#define SOURCE(field) offsetof(struct source_definition, field)
#define ROWS(array)                                        \
	{                                                  \
		.rows = (array), .count = ARRAY_LEN(array) \
	}
#define LATER(key)                               \
	{                                        \
		.name = (key), .kind = KEY_LATER \
	}

static const struct key_row retry_rows[] = {
	{ .name = "max_attempts",
	  .kind = KEY_INT,
	  .offset = JOB(retry.max_attempts),
	  .min = 1,
	  .max = 1000,
	  .default_text = "20",
	  .help = "Attempts before the job is discarded." },
	{ .name = "base",
	  .kind = KEY_DURATION,
	  .offset = JOB(retry.base_ms),
	  .min = 1,
	  .max = DAY_MS,
	  .default_text = "2s",
	  .help = "Upper bound of the first delay; doubles with each failure." },
	{ .name = "cap",
	  .kind = KEY_DURATION,
	  .offset = JOB(retry.cap_ms),
	  .min = 1,
	  .max = 30 * DAY_MS,
	  .default_text = "1h",
	  .help = "Upper bound of every delay." },
};
static const struct key_rows retry_keys = ROWS(retry_rows);

static const struct key_row payload_rows[] = {
	{ .name = "required",
	  .kind = KEY_TEXTS,
	  .offset = JOB(required),
	  .max = 100,
	  .help = "Members that a payload must have." },
};
static const struct key_rows payload_keys = ROWS(payload_rows);

static const struct key_row result_rows[] = {
	{ .name = "to",
	  .kind = KEY_TEXT,
	  .offset = JOB(result_topic),
	  .required = true,
	  .help = "Topic, queue or, beside `exchange`, routing key, by the broker's name." },
	{ .name = "exchange",
	  .kind = KEY_TEXT,
	  .offset = JOB(result_exchange),
	  .help = "Exchange of RabbitMQ; the default one when absent." },
	{ .name = "key",
	  .kind = KEY_PAYLOAD,
	  .offset = JOB(result_key),
	  .help = "Member of the payload whose text orders results, as in payload.customer; the job's order key, else its id, when absent." },
};
static const struct key_rows result_keys = ROWS(result_rows);

static const struct key_row job_rows[] = {
	{ .name = "module",
	  .kind = KEY_TEXT,
	  .offset = JOB(module),
	  .is = HANDLER_MODULE,
	  .help = "Handler: a C shared object; its path, relative to this file." },
	{ .name = "exec",
	  .kind = KEY_TEXTS,
	  .offset = JOB(exec),
	  .max = 256,
	  .is = HANDLER_EXEC,
	  .help = "Handler: a program and its arguments, run in this file's directory." },
	{ .name = "sql",
	  .kind = KEY_TEXT,
	  .offset = JOB(sql.sql),
	  .is = HANDLER_SQL,
	  .help = "Handler: one SQL statement; ${payload.a.b}, ${job.id} and ${env.X} are bound as values." },
	{ .name = "rows",
	  .kind = KEY_COUNT,
	  .offset = JOB(sql.rows),
	  .min = 0,
	  .max = 1000000000,
	  .handlers = FOR_SQL,
	  .help = "How many rows the statement must touch." },
	{ .name = "queue",
	  .kind = KEY_NAME,
	  .offset = JOB(queue),
	  .default_text = "default",
	  .help = "Queue of its jobs." },
	{ .name = "payload",
	  .kind = KEY_MAP,
	  .members = &payload_keys,
	  .later_text = "a JSON Schema file",
	  .help = "What a payload must look like." },
	{ .name = "priority",
	  .kind = KEY_PRIORITY,
	  .offset = JOB(priority),
	  .default_text = "normal",
	  .help = "Priority of jobs that ask for none." },
	{ .name = "retry",
	  .kind = KEY_MAP,
	  .members = &retry_keys,
	  .help = "When a failed job runs again." },
	{ .name = "timeout",
	  .kind = KEY_DURATION,
	  .offset = JOB(timeout_ms),
	  .min = 100,
	  .max = 7 * DAY_MS,
	  .default_text = "60s",
	  .help = "How long an attempt may take." },
	{ .name = "on_discard",
	  .kind = KEY_NAME,
	  .offset = JOB(on_discard),
	  .help = "Type of the job that is enqueued when one ends discarded or cancelled after a committed step." },
	{ .name = "env",
	  .kind = KEY_VARIABLES,
	  .offset = JOB(env),
	  .max = 100,
	  .help = "Environment variables that the handler gets." },
	{ .name = "batch",
	  .kind = KEY_INT,
	  .offset = JOB(batch),
	  .min = 1,
	  .max = 1000,
	  .default_text = "1",
	  .handlers = FOR_HOSTS,
	  .help = "How many jobs a handler takes at once." },
	{ .name = "memory",
	  .kind = KEY_SIZE,
	  .offset = JOB(memory_bytes_max),
	  .min = MIB,
	  .max = 1024 * GIB,
	  .default_text = "512MiB",
	  .handlers = FOR_HOSTS,
	  .help = "Data memory that a host process may use." },
	{ .name = "concurrency",
	  .kind = KEY_INT,
	  .offset = JOB(hosts_max),
	  .min = 1,
	  .max = 1024,
	  .handlers = FOR_HOSTS,
	  .help = "Host processes of this type in one worker; the worker's own limit when absent." },
	{ .name = "result",
	  .kind = KEY_MAP,
	  .members = &result_keys,
	  .help = "Where results go beside the store, when BROKER_URL is set." },
	{ .name = "detach_after",
	  .kind = KEY_DURATION,
	  .offset = JOB(detach_after_ms),
	  .min = 100,
	  .max = DAY_MS,
	  .help = "When the message of a job that still runs is acknowledged; WINDLASS_DETACH_AFTER when absent." },
	{ .name = "record",
	  .kind = KEY_CHOICE,
	  .offset = JOB(record_failures),
	  .words = { "all", "failures" },
	  .handlers = FOR_HOSTS,
	  .help = "What is stored of jobs that came as messages; failures: nothing of one that is done, whose handler must not write, call or return a result." },
	LATER("http"),
	LATER("order"),
	LATER("rate"),
	LATER("inline"),
	LATER("broker"),
};
const struct key_rows definitions_job_keys = ROWS(job_rows);

static const struct key_row queue_broker_rows[] = {
	{ .name = "topic",
	  .kind = KEY_TEXT,
	  .offset = QUEUE(topic),
	  .help = "The broker's name for it; WINDLASS_BROKER_PREFIX and its own when absent." },
	{ .name = "partitions",
	  .kind = KEY_INT,
	  .offset = QUEUE(partitions),
	  .min = 1,
	  .max = 10000,
	  .help = "Kafka: partitions of the topic when it is made; the broker's default when absent." },
	{ .name = "type",
	  .kind = KEY_CHOICE,
	  .offset = QUEUE(classic),
	  .words = { "quorum", "classic" },
	  .help = "RabbitMQ: kind of the queue when it is made." },
	{ .name = "fifo", .kind = KEY_FLAG, .offset = QUEUE(fifo), .help = "SQS: a FIFO queue." },
};
static const struct key_rows queue_broker_keys = ROWS(queue_broker_rows);

static const struct key_row queue_rows[] = {
	{ .name = "max",
	  .kind = KEY_COUNT,
	  .offset = QUEUE(depth_max),
	  .min = 1,
	  .max = 1000000000,
	  .help = "Waiting jobs from which on new ones are refused; WINDLASS_QUEUE_MAX when absent." },
	{ .name = "order",
	  .kind = KEY_CHOICE,
	  .offset = QUEUE(ordered),
	  .words = { "none", "key" },
	  .help = "key: jobs with the same order key run one after the other, as they were accepted." },
	{ .name = "broker",
	  .kind = KEY_MAP,
	  .members = &queue_broker_keys,
	  .help = "What it is on the broker." },
	LATER("concurrency"),
	LATER("rate"),
};
const struct key_rows definitions_queue_keys = ROWS(queue_rows);

static const struct key_row source_broker_rows[] = {
	{ .name = "partitions",
	  .kind = KEY_INT,
	  .offset = SOURCE(partitions),
	  .min = 1,
	  .max = 10000,
	  .help = "Kafka: partitions of the topic when it is made; the broker's default when absent." },
	{ .name = "type",
	  .kind = KEY_CHOICE,
	  .offset = SOURCE(classic),
	  .words = { "quorum", "classic" },
	  .help = "RabbitMQ: kind of the queue when it is made." },
	{ .name = "fifo", .kind = KEY_FLAG, .offset = SOURCE(fifo), .help = "SQS: a FIFO queue." },
};
static const struct key_rows source_broker_keys = ROWS(source_broker_rows);

static const struct key_row source_rows[] = {
	{ .name = "topic",
	  .kind = KEY_TEXT,
	  .offset = SOURCE(topic),
	  .required = true,
	  .help = "Topic or queue, by the broker's name." },
	{ .name = "type",
	  .kind = KEY_NAME,
	  .offset = SOURCE(type),
	  .help = "Job type of all its messages; absent: they are CloudEvents, and their type is the job type." },
	{ .name = "start",
	  .kind = KEY_CHOICE,
	  .offset = SOURCE(latest),
	  .words = { "earliest", "latest" },
	  .help = "Kafka: where reading begins when no position is stored." },
	{ .name = "order",
	  .kind = KEY_CHOICE,
	  .offset = SOURCE(ordered),
	  .words = { "none", "key" },
	  .help = "key: messages with the same key run one after the other." },
	{ .name = "identity",
	  .kind = KEY_CHOICE,
	  .offset = SOURCE(identity_at_least_once),
	  .words = { "required", "at_least_once" },
	  .help = "at_least_once: a message that nothing names runs as often as it is delivered, instead of being refused." },
	{ .name = "prefetch",
	  .kind = KEY_INT,
	  .offset = SOURCE(prefetch),
	  .min = 1,
	  .max = 100000,
	  .help = "Messages that one worker takes and has not settled; chosen by itself when absent." },
	{ .name = "broker",
	  .kind = KEY_MAP,
	  .members = &source_broker_keys,
	  .help = "What it is on the broker." },
};
const struct key_rows definitions_source_keys = ROWS(source_rows);

static const struct key_row top_rows[] = {
	{ .name = "queues",
	  .kind = KEY_NAMED,
	  .members = &definitions_queue_keys,
	  .help = "Queues that need more than a name." },
	{ .name = "jobs",
	  .kind = KEY_NAMED,
	  .members = &definitions_job_keys,
	  .help = "Job types." },
	{ .name = "sources",
	  .kind = KEY_NAMED,
	  .members = &definitions_source_keys,
	  .help = "Topics and queues from which other services' messages become jobs." },
	LATER("schedules"),
	LATER("endpoints"),
	LATER("webhooks"),
};
const struct key_rows definitions_top_keys = ROWS(top_rows);

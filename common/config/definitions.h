/* SPDX-License-Identifier: Apache-2.0 */
/* Job definitions: one YAML file (libyaml), checked by a table of keys, read once and again on
 * SIGHUP. A definitions object never changes; who works with it holds a reference. */
#ifndef COMMON_CONFIG_DEFINITIONS_H
#define COMMON_CONFIG_DEFINITIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/check.h"
#include "common/config/broker_url.h"
#include "common/config/text_template.h"
#include "common/job/job.h"
#include "common/job/retry_policy.h"
#include "common/schema/schema.h"
#include "common/job/webhook.h"

enum handler_kind {
	HANDLER_MODULE = 1,
	HANDLER_EXEC,
	HANDLER_SQL,
	HANDLER_HTTP,
	HANDLER_WEBHOOK, /* windlass.webhook */
};

struct sql_template { /* `sql:`; ${payload.a.b}, ${job.id} … became $1, $2 … */
	const char *sql;
	/* "payload", "payload.a.b", "job.id", "job.type", "job.attempt", "env.X" for $1.. */
	const char *const *sources;
	size_t source_count;
	int64_t rows; /* `rows:` expectation, -1: any */
};

/* What is done when a call was sent and nobody knows what became of it. */
enum call_policy {
	CALL_RESEND_SAME_KEY = 0, /* sent again, with the same idempotency key */
	CALL_LOOKUP,              /* the other side is asked first */
	CALL_PARK,                /* never sent again by itself: a person decides */
};

/* A set of HTTP statuses, 100 to 599. */
struct status_set {
	uint64_t bits[8];
};
static inline bool status_set_has(const struct status_set *set, int status)
{
	return status >= 100 && status < 600 &&
	       (set->bits[(status - 100) / 64] >> ((status - 100) % 64) & 1);
}

struct http_rules { /* what an answer means */
	struct status_set ok, retry;
	bool retry_network; /* sent, and no answer */
	bool result_body;   /* result: body; else answer: {"status", "body"} */
	enum call_policy ambiguous;
};

struct http_header {
	const char *name;
	struct text_template value;
};

struct yaml_node;

struct http_definition { /* `http:` */
	const char *method;
	const char *target; /* a declared one, or one of its own; NULL: by the URL's origin */
	double rate_per_s;  /* of the target of its own; 0: it has none */
	int64_t timeout_ms; /* of the call */
	/* what comes from a job may be scheme and host: the call is guarded (remote.h) */
	bool url_from_payload;
	struct http_rules rules;
	struct text_template url, body;
	bool has_body;
	const struct http_header *headers;
	size_t header_count;
	struct text_template lookup_url; /* rules.ambiguous: lookup */
	const struct http_header *lookup_headers;
	size_t lookup_header_count;
	/* as the file has it; for definitions_http.c */
	const char *url_text, *lookup_url_text;
	const char *const *ok, *const *retry_on;
	const struct yaml_node *header_map, *lookup_header_map, *body_node;
};

/* What may be in hand at once and handed out in a second, in all workers together; 0: no limit. */
struct limit_definition {
	int64_t concurrency;
	double rate_per_s;
};

struct job_type {
	const char *name;
	const char *queue;
	struct limit_definition limits; /* limits: */
	enum handler_kind kind;
	const char *module;      /* absolute path of the shared object */
	const char *const *exec; /* argv, NULL-terminated; run in `directory` or its own */
	const char *directory;   /* absolute: where the definitions file lies */
	struct sql_template sql;
	struct http_definition http;
	enum job_priority priority;
	struct retry_policy retry;
	int64_t timeout_ms;         /* default 60 s; 100 ms .. 7 d */
	const char *on_discard;     /* a type of this file, or NULL */
	struct webhook_hooks hooks; /* who is told when a job of it ends */
	/* names handed to the handler's process and usable as ${env.X}; NULL-terminated, never NULL
	 */
	const char *const *env;
	/* payload: and result_schema:, compiled, formats checked; NULL: anything will do */
	struct schema *payload_schema, *result_schema;
	int batch;                /* jobs at once, 1: no batches */
	int64_t memory_bytes_max; /* RLIMIT_DATA of its host; default 512 MiB */
	/* files: {read, write, max}. Absolute paths, NULL-terminated, never NULL; what its hosts
	 * see and change beside what all hosts do, and the largest file they may make */
	const char *const *files_read, *const *files_write;
	int64_t file_bytes_max;
	/* sandbox: on | off – its hosts are trusted with what the engine may do */
	bool sandbox_off;
	bool own_directory; /* directory: file | own – exec: runs in its scratch folder */
	/* concurrency: of this type's host group within one worker, 0: the worker's */
	int hosts_max;
	bool inline_module; /* inline: true – in the engine; only if that is built */
	/* result: {to, exchange, key}; to NULL: results stay in the store. key: "payload.a.b", a
	 * member whose text is the message's key, or NULL: the job's order_key, else its id */
	const char *result_topic, *result_exchange, *result_key;
	int64_t detach_after_ms; /* 0: WINDLASS_DETACH_AFTER */
	/* record: failures – a completed foreign job leaves nothing in the store. Only for types
	 * whose handlers neither write nor return a result nor make steps or calls (their attempt
	 * fails if they do), and that no result target names */
	bool record_failures;
	/* calls_to: public | anywhere – whether the guard stands before calls of its handler whose
	 * address is not the definitions' or from the environment; plain_http: they may be http */
	bool calls_anywhere, plain_http;
	size_t index;     /* place in definitions */
	int line, column; /* place in the file */
};

struct queue_definition {
	const char *name;
	int64_t depth_max; /* `max:`; 0: WINDLASS_QUEUE_MAX */
	bool ordered; /* order: key – jobs of one order_key run one after the other, as accepted */
	struct limit_definition limits, key_limits; /* of it, and per_key: of each of its keys */
	/* per_key: {key: fair_key | tenant} – jobs without a fair key get their tenant as one */
	bool tenant_keys;
	bool fair;                            /* keys take turns */
	const char *weights;                  /* as JSON; NULL: all keys are equal */
	const struct yaml_node *weights_node; /* as the file has it */
	/* broker: */
	const char *topic; /* the broker's name for it; NULL: WINDLASS_BROKER_PREFIX + name */
	int partitions;    /* Kafka: when it is made; 0: the broker's default */
	bool classic;      /* type: quorum | classic (AMQP) */
	bool fifo;         /* fifo: true (SQS) */
	int line, column;  /* place in the file; 0: only a type names it */
};

/* A place from which other services' messages become jobs. */
struct source_definition {
	const char *name;
	const char *topic; /* topic or queue, by the broker's name */
	const char *type;  /* job type of all its messages; NULL: CloudEvents that name theirs */
	bool latest;       /* start: earliest | latest (Kafka, without any stored position) */
	/* order: key – one key's messages run one after the other; so do jobs in the queue of its
	 * type */
	bool ordered;
	bool identity_at_least_once; /* identity: required | at_least_once */
	bool fifo;                   /* SQS */
	bool classic;                /* type of the AMQP queue if it has to be made */
	int partitions;              /* Kafka: when it has to be made */
	int prefetch;     /* messages taken and not settled; 0: chosen by the subscriber */
	int line, column; /* place in the file */
};

/* `${env.X}` may stand in every text of a target; naming a variable there is the permission to use
 * it. Nothing is replaced here: the file is read by roles that do not have the variables. */
struct target_definition {
	const char *name;
	const char *url;   /* scheme://host[:port][/prefix] */
	double rate_per_s; /* 0: no limit */
	int concurrency;   /* calls at once, from one worker */
	int waiting_max;   /* calls that wait for room or rate */
	int64_t timeout_ms, connect_timeout_ms;
	int breaker_failures; /* in a window, and at least this part of its calls */
	int breaker_percent;
	int64_t breaker_window_ms, breaker_cooldown_ms;
	bool breaker_off;
	int retry_percent; /* calls that are made again, per calls that went well */
	const char *tls_ca, *tls_cert, *tls_key; /* absolute, or with ${env.X}; NULL: none */
	/* auth: one of them, else NULL */
	const char *bearer;
	const char *basic_user, *basic_password;
	const char *token_url, *client_id, *client_secret, *scope;
	bool http2; /* where it is offered */
	/* of handlers' calls to it that change something; declared ones have their own */
	enum call_policy ambiguous;
	bool own; /* a type's, for the rate of its `http:`: no other call is its */
	struct text_template lookup_url; /* ambiguous: lookup */
	const char *lookup_url_text;     /* as the file has it */
	const char *const *env; /* the variables named above; NULL-terminated, never NULL */
	int line, column;       /* place in the file */
};

/* Who decides how many workers there are, when the file lets it be decided. */
struct pool_autoscale {
	int min, max; /* max 0: nobody does */
	int64_t age_ms, calm_ms;
	double utilisation;
};

/* Workers that serve the same queues. */
struct pool_definition {
	const char *name;
	/* NULL-terminated, never NULL; the pool default serves beside them what no pool names */
	const char *const *queues;
	int workers; /* of each `windlass run`; -1: WINDLASS_WORKERS */
	int hosts;   /* of each worker; 0: WINDLASS_CONCURRENCY */
	struct pool_autoscale autoscale;
	int line, column; /* place in the file; 0: it is there by itself */
};

#define POOL_DEFAULT       "default"
#define POOL_WORKERS_LIMIT 64
#define POOLS_MAX          64

struct schedule_entry {
	const char *name;
	const char *definition; /* JSON text; schedule_definition.h reads it */
};

struct definitions;

/* Loads path. NULL after printing every problem to `errors`, one a line: "jobs.yaml:12:5: unknown
 * key `retries`, expected one of …". Checks that modules and exec programs exist, and compiles the
 * schema files that are named. */
struct definitions *definitions_load(const char *path, FILE *errors);
/* The same for a text in memory that is called `name` in messages; modules and programs are not
 * looked for, and schema files are not read: types that name one take any payload. */
struct definitions *definitions_parse(const char *text, size_t bytes, const char *name,
				      FILE *errors);
struct definitions *definitions_ref(struct definitions *defs); /* any thread */
void definitions_unref(struct definitions **defs);
const struct job_type *definitions_type(const struct definitions *defs,
					const char *name); /* NULL: unknown */
size_t definitions_type_count(const struct definitions *defs);
const struct job_type *definitions_type_at(const struct definitions *defs, size_t index);
const struct queue_definition *definitions_queue(const struct definitions *defs,
						 const char *name); /* NULL: unknown */
/* The job's own, or its tenant in a queue whose keys are tenants (per_key); NULL: none. */
const char *definitions_fair_key(const struct definitions *defs, const struct new_job *job);
size_t definitions_queue_count(
	const struct definitions *defs); /* declared ones and those that types name */
const struct queue_definition *definitions_queue_at(const struct definitions *defs, size_t index);
size_t definitions_source_count(const struct definitions *defs);
const struct source_definition *definitions_source_at(const struct definitions *defs, size_t index);
const struct source_definition *definitions_source(const struct definitions *defs,
						   const char *name); /* NULL: unknown */
size_t definitions_target_count(const struct definitions *defs);
const struct target_definition *definitions_target_at(const struct definitions *defs, size_t index);
const struct target_definition *definitions_target(const struct definitions *defs,
						   const char *name); /* NULL: unknown */
/* ---- definitions_pools.c. There is at least one pool. "" as a pool's name: all of them together,
 * which is what a worker serves that was started alone. */
struct settings;
size_t definitions_pool_count(const struct definitions *defs);
const struct pool_definition *definitions_pool_at(const struct definitions *defs, size_t index);
const struct pool_definition *definitions_pool(const struct definitions *defs,
					       const char *name); /* NULL: unknown */
const struct pool_definition *definitions_pool_of_queue(const struct definitions *defs,
							const char *queue); /* NULL: none */
bool definitions_pool_serves(const struct definitions *defs, const char *pool, const char *queue);
bool definitions_pool_reads(const struct definitions *defs, const char *pool,
			    const struct source_definition *source);
/* As the file and the settings say. */
int pool_definition_workers(const struct pool_definition *pool, const struct settings *settings);
int pool_definition_hosts(const struct pool_definition *pool, const struct settings *settings);

size_t definitions_schedule_count(const struct definitions *defs);
const struct schedule_entry *definitions_schedule_at(const struct definitions *defs, size_t index);
const char *definitions_file(const struct definitions *defs); /* as it is called in messages */

/* ---- definitions_broker.c: the names that a file gives to things on a broker */
/* Are they names there, and no two the same? 0, or -1 after printing every problem with its place.
 * BROKER_NONE: only what is wrong on every broker. */
int definitions_check_broker(const struct definitions *defs, enum broker_kind kind,
			     const char *prefix, FILE *errors) must_check;
/* definitions_load of the file that the settings name, checked for their broker; with
 * windlass.webhook when there is a key to sign with. */
struct definitions *definitions_open(const struct settings *settings, FILE *errors);
/* Are jobs told of by webhooks? Then callback_url may be given; *http_r: with plain http as well.
 */
bool definitions_webhooks(const struct definitions *defs, bool *http_r);
/* What the file asks for and nobody does while BROKER_URL is not set, one a line with its place. */
void definitions_say_idle(const struct definitions *defs, FILE *out);

/* JSON Schema of the file, for editors, printed from the table of keys (`windlass check --schema`).
 */
void definitions_schema(FILE *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs and results as messages, and messages as jobs: CloudEvents 1.0 (JSON event format 3.1,
 * structured content mode; binary mode of the Kafka and AMQP bindings when reading), or a plain
 * JSON body where the source names the job type. Pure; knows no broker.
 *
 * A dispatched job: id = the job's, source "/windlass/queues/<queue>", type = the job type, time =
 * acceptance, data = the payload; extensions windlassbatch (lease), windlassattempt, traceparent,
 * and windlasspayload = "stored" when the data was too large and is only in the store. A result: id
 * = the job's, source "/windlass/jobs", subject = the job's id, type = "<job type>.completed", data
 * = the result. */
#ifndef COMMON_BROKER_ENVELOPE_H
#define COMMON_BROKER_ENVELOPE_H
#include "common/base/arena.h"
#include "common/base/strbuf.h"
#include "common/base/uuid.h"
#include "common/job/job.h"

struct message; /* common/broker/message.h */

#define ENVELOPE_CONTENT_TYPE "application/cloudevents+json; charset=utf-8"

struct envelope_job {
	struct uuid id, batch;
	int attempt;
	const char *queue, *type;
	const char *payload; /* JSON text */
	size_t payload_bytes;
	int64_t created_ms;
	const char *traceparent; /* or NULL */
};
/* Appends the message of a dispatched job: with its data while the whole has at most bytes_max
 * bytes, else without. */
void envelope_add_job(struct strbuf *out, const struct envelope_job *job, size_t bytes_max);

struct envelope_result {
	struct uuid id;
	const char *type;   /* the job's */
	const char *result; /* JSON text or NULL: data null */
	int64_t finished_ms;
	const char *traceparent; /* or NULL */
};
/* Appends the message of a result, as above. */
void envelope_add_result(struct strbuf *out, const struct envelope_result *result,
			 size_t bytes_max);

/* What a message from a queue of ours says: just enough to ask the store. 0; -1: it is none, and
 * *why_r says so (static). */
int envelope_read_job(const char *body, size_t bytes, struct uuid *id_r, struct uuid *batch_r,
		      int *attempt_r, const char **why_r) must_check;

/* What a message from a source says. */
struct envelope_foreign {
	/* of the job: version 8, 48 bits of the message's own time, then its identity's hash */
	struct uuid id;
	const char *type;    /* the source's, or the event's */
	const char *payload; /* JSON text, strictly checked; "{}" when the event has no data */
	size_t payload_bytes;
	const char *order_key;   /* CloudEvents partitionkey, else the message's key; or NULL */
	const char *traceparent; /* or NULL */
	int64_t time_ms;         /* of the id; 0: undated */
};
struct envelope_rules {
	const char *source; /* name of the source, part of the identity's namespace */
	const char *type;   /* job type of all its messages; NULL: the event's type attribute */
	/* a message without any identity gets a fresh id, instead of being refused */
	bool identity_at_least_once;
	size_t payload_bytes_max;
	int64_t now_ms;
};
/* Identity: CloudEvents source + id, else message->identity (DESIGN section 5). The id's time: of
 * an event its own `time` attribute, since a sender that repeats an event repeats that, while the
 * broker stamps every sending anew; of other messages the message's; without it the time out of a
 * UUIDv7 identity, else none (0): then the job is kept among the undated ones and is never too old.
 * Times more than a day ahead count as none. A message without identity gets a fresh one
 * (at_least_once), else it is refused. 0; -1: no job, and *why_r says why (in the arena); then
 * foreign_r->id is still filled in when an identity is known, else it is made of the message's
 * bytes and `now`, so that the refusal can be kept. Texts live in the arena. */
int envelope_read_foreign(const struct message *message, const struct envelope_rules *rules,
			  struct arena *arena, struct envelope_foreign *foreign_r,
			  const char **why_r) must_check;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Webhooks: jobs of the built-in type windlass.webhook that tell an address how another job ended.
 * Made in the transaction that ends it: by consumers/settle for a completed one, by the stores for
 * every other end; delivered by workers/engine. Here is what they are made of. */
#ifndef COMMON_JOB_WEBHOOK_H
#define COMMON_JOB_WEBHOOK_H
#include "common/base/arena.h"
#include "common/job/job.h"
#include "common/json/json_text.h"

/* Types and queues whose names begin so are Windlass's own: nobody else defines or enqueues them.
 */
#define RESERVED_PREFIX   "windlass."
#define WEBHOOK_TYPE      RESERVED_PREFIX "webhook"
#define WEBHOOK_QUEUE     RESERVED_PREFIX "webhooks"
#define WEBHOOK_URL_MAX   2000                    /* bytes */
#define WEBHOOK_HOOKS_MAX 8                       /* of one job type */
#define WEBHOOKS_MAX      (WEBHOOK_HOOKS_MAX + 1) /* of one end: callback_url and hooks */
/* A larger or deeper result is not sent along: the receiver fetches it by the job's id. */
#define WEBHOOK_RESULT_MAX (64 * 1024)
#define WEBHOOK_DEPTH_MAX  (JSON_DEPTH_MAX - 8) /* its envelopes nest as well */
#define WEBHOOK_ATTEMPTS   10
#define WEBHOOK_TIMEOUT_MS 20000

struct webhook_hook {
	const char *url; /* may hold ${env.NAME}, replaced when it is sent */
	unsigned on;     /* of these ends: a bit 1 << enum job_state each */
	/* the names in url, NULL-terminated; NULL in hooks that come from the registry */
	const char *const *env;
};

struct webhook_hooks {
	const struct webhook_hook *list;
	size_t count;
};

/* The job that ended. */
struct webhook_source {
	struct uuid id;
	const char *tenant, *type;
	int attempt;
	enum job_state state;
	const char *result; /* JSON text or NULL */
	const char *reason; /* or NULL */
	const char *traceparent;
	const char *callback; /* its own callback_url, told of every end; or NULL */
	struct webhook_hooks hooks;
	int64_t finished_ms;
};

/* The jobs that tell of its end, in the arena: none for a type of Windlass's own. Their ids follow
 * from the end and the address, so that one end makes each of them once. */
size_t webhook_jobs(struct arena *arena, const struct webhook_source *source,
		    struct new_job **jobs_r);

/* What is wrong with a callback_url, or NULL. `http`: plain http is taken as well. */
const char *webhook_url_fault(const char *url, bool http);
bool webhook_reserved(const char *name);

/* Hooks as the registry of types keeps them. text: NULL when there are none. */
char *webhook_hooks_text(struct arena *arena, const struct webhook_hooks *hooks);
struct webhook_hooks webhook_hooks_parse(struct arena *arena, const char *text);

/* The payload of a webhook job, read again. */
struct webhook_message {
	const char *url;         /* the address, or the hook as it is defined */
	const char *of;          /* the type that has the hook; NULL: url came with the job */
	struct json_slice event; /* what is sent, byte for byte */
};
/* 0, or -1: it is none. Strings live in the arena, the event in the payload. */
int webhook_message_read(struct arena *arena, struct json_slice payload,
			 struct webhook_message *message_r) must_check;

/* When a delivery that failed `failures` times (>= 1) is tried again: the schedule of the Standard
 * Webhooks specification, up to a tenth later at random. */
int64_t webhook_delay_ms(int failures, uint64_t (*draw)(uint64_t bound));

#endif

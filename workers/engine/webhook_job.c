/* SPDX-License-Identifier: Apache-2.0 */
/* A webhook job becomes a call: its address is looked up, its event signed with the time of this
 * attempt, and the answer judged by the Standard Webhooks specification: 2xx is delivered, 410
 * disables the address, everything else is tried again on the specification's schedule. */
#include "workers/engine/webhook_job.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/job/webhook_signature.h"
#include "workers/engine/endpoints.h"
#include "workers/engine/http_job.h"
#include "workers/remote/call_template.h"

/* What an answer means is the judge's alone; none is kept for a later attempt, which has to send
 * again whatever was answered. */
static const struct http_rules rules = { .retry_network = true };

static void end(struct engine *engine, struct hand *hand, enum job_outcome outcome,
		const char *reason)
{
	hand->task.outcome =
		(struct task_outcome){ .kind = outcome, .after_ms = -1, .reason = reason };
	if (outcome == OUTCOME_RETRY)
		hand->task.outcome.after_ms =
			webhook_delay_ms(hand->task.job->failures + 1, random_below);
	endings_add(engine, &hand->task);
}

/* ---- the answer */

static const char *failure_text(const struct hand *hand, const struct http_answer *answer)
{
	struct arena *arena = hand->task.job->arena;

	if (answer->fate == REMOTE_ANSWERED)
		return arena_printf(arena, "it answered %d", answer->status);
	return arena_printf(arena, "%s: %s",
			    answer->fate == REMOTE_NOT_SENT ? "not sent" : "no answer",
			    answer->error);
}

static void gone(const struct webhook_message *message, struct task_outcome *outcome_r)
{
	outcome_r->kind = OUTCOME_DISCARD;
	outcome_r->reason = "it answered 410: nothing more is sent there until an operator "
			    "enables the address again";
	outcome_r->disables = message->url;
}

bool webhook_job_judge(const struct hand *hand, const struct http_answer *answer,
		       struct task_outcome *outcome_r)
{
	const struct claimed_job *job = hand->task.job;
	struct webhook_message message;
	int64_t delay_ms = webhook_delay_ms(job->failures + 1, random_below);

	*outcome_r = (struct task_outcome){ .kind = OUTCOME_RETRY, .after_ms = delay_ms };
	/* not the receiver's doing: the rules know what to do */
	if (answer->held || answer->refused ||
	    (hand->task.cancel && answer->fate != REMOTE_ANSWERED))
		return false;
	if (answer->fate == REMOTE_ANSWERED && answer->status / 100 == 2) {
		*outcome_r = (struct task_outcome){
			.kind = OUTCOME_DONE,
			.result = arena_printf(job->arena, "{\"status\":%d}", answer->status),
		};
		return true;
	}
	if (answer->fate == REMOTE_ANSWERED && answer->status == 410 &&
	    webhook_message_read(job->arena,
				 (struct json_slice){ job->payload, job->payload_bytes },
				 &message) == 0) {
		gone(&message, outcome_r);
		return true;
	}
	outcome_r->reason = failure_text(hand, answer);
	if (answer->retry_after_ms > outcome_r->after_ms)
		outcome_r->after_ms = answer->retry_after_ms;
	return true;
}

/* ---- the call */

/* The hook's own entry in its type's definition, which may have gone meanwhile. */
static const struct webhook_hook *find_hook(const struct hand *hand,
					    const struct webhook_message *message)
{
	const struct job_type *type = definitions_type(hand->task.defs, message->of);

	for (size_t i = 0; type && i < type->hooks.count; i++) {
		if (strcmp(type->hooks.list[i].url, message->url) == 0)
			return &type->hooks.list[i];
	}
	return NULL;
}

/* The address, or NULL after ending the attempt. */
static const char *address(struct engine *engine, struct hand *hand,
			   const struct webhook_message *message)
{
	struct arena *arena = hand->task.job->arena;
	const struct webhook_hook *hook;
	const char *url;
	struct error error;

	if (!message->of)
		return message->url;
	hook = find_hook(hand, message);
	if (!hook) {
		end(engine, hand, OUTCOME_DISCARD, "its hook is not defined any more");
		return NULL;
	}
	url = call_template_expand(arena, hook->url, hook->env, &error);
	if (!url)
		end(engine, hand, OUTCOME_RETRY, arena_strdup(arena, error.message));
	return url;
}

static const char *const *headers(const struct hand *hand, const struct webhook_keys *keys,
				  const struct webhook_message *message)
{
	const struct claimed_job *job = hand->task.job;
	struct arena *arena = job->arena;
	const char **list = ARENA_ARRAY(arena, const char *, 6);
	int64_t now_s = clock_wall_ms() / 1000;
	char id[UUID_TEXT];

	uuid_format(&job->id, id);
	list[0] = "Content-Type: application/json";
	list[1] = arena_printf(arena, "webhook-id: %s", id);
	list[2] = arena_printf(arena, "webhook-timestamp: %" PRId64, now_s);
	list[3] = arena_printf(
		arena, "webhook-signature: %s",
		webhook_sign(arena, keys, id, now_s, message->event.text, message->event.bytes));
	if (job->traceparent)
		list[4] = arena_printf(arena, "traceparent: %s", job->traceparent);
	return list;
}

static void deliver(struct engine *engine, struct hand *hand, const struct webhook_message *message)
{
	const char *secret = engine->o.service->settings->webhook_secret;
	const struct claimed_job *job = hand->task.job;
	struct webhook_keys keys;
	struct error error;
	struct http_call call = {
		.step = "webhook",
		.method = "POST",
		.url = address(engine, hand, message),
		.body = message->event.text,
		.body_bytes = message->event.bytes,
		.guarded = !message->of,
		.timeout_ms = WEBHOOK_TIMEOUT_MS,
		.rules = &rules,
		.judge = webhook_job_judge,
	};
	char id[UUID_TEXT];

	if (!call.url)
		return;
	if (webhook_keys_parse(secret, &keys, &error) < 0 || !keys.count) {
		end(engine, hand, OUTCOME_RETRY, "WINDLASS_WEBHOOK_SECRET is not set here");
		return;
	}
	call.idempotency_key = arena_strdup(job->arena, uuid_format(&job->id, id));
	call.headers = headers(hand, &keys, message);
	webhook_keys_wipe(&keys);
	http_job_start(engine, hand, &call);
}

void webhook_job_run(struct engine *engine, struct hand *hand)
{
	const struct claimed_job *job = hand->task.job;
	struct webhook_message message;

	hand->task.started_ns = clock_mono_ns();
	if (webhook_message_read(job->arena,
				 (struct json_slice){ job->payload, job->payload_bytes },
				 &message) < 0)
		end(engine, hand, OUTCOME_DISCARD, "its payload is not a webhook's");
	else if (endpoints_disabled(engine->endpoints, message.url))
		end(engine, hand, OUTCOME_DISCARD,
		    "its address answered 410 and is disabled; see GET /v1/webhooks/disabled");
	else
		deliver(engine, hand, &message);
}

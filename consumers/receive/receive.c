/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict on arrivals. Called by the engine through consumer_ops for every claimed job, so the
 * way of a known, checked job is one look-up. Remembers unknown types, a bounded number of them, to
 * say so once when a deployment forgot one. */
#include "consumers/receive/receive.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/log.h"
#include "common/config/job_request.h"

#define UNKNOWN_TYPES_MAX 64
#define UNKNOWN_FORGET_MS (60 * 1000) /* not seen for so long: it is somebody else's now */

struct unknown_type {
	char *name;
	int64_t first_ms, last_ms; /* seen; monotonic */
	bool alarmed;
};

struct receive {
	struct unknown_type unknown[UNKNOWN_TYPES_MAX];
	size_t unknown_count;
};

struct receive *receive_new(void)
{
	return xcalloc(1, sizeof(struct receive));
}

void receive_free(struct receive **receive)
{
	if (!*receive)
		return;
	for (size_t i = 0; i < (*receive)->unknown_count; i++)
		free((*receive)->unknown[i].name);
	free(*receive);
	*receive = NULL;
}

/* Finds or makes the type's entry; when the table is full the one not seen for longest makes room.
 */
static struct unknown_type *unknown_entry(struct receive *receive, const char *name, int64_t now_ms)
{
	struct unknown_type *entry = NULL;

	for (size_t i = 0; i < receive->unknown_count; i++) {
		if (!strcmp(receive->unknown[i].name, name))
			return &receive->unknown[i];
		if (!entry || receive->unknown[i].last_ms < entry->last_ms)
			entry = &receive->unknown[i];
	}
	if (receive->unknown_count < UNKNOWN_TYPES_MAX)
		entry = &receive->unknown[receive->unknown_count++];
	free(entry->name);
	*entry = (struct unknown_type){ .name = xstrdup(name),
					.first_ms = now_ms,
					.last_ms = now_ms };
	return entry;
}

static void unknown_seen(struct receive *receive, const struct claimed_job *job, int64_t now_ms)
{
	struct unknown_type *entry = unknown_entry(receive, job->type, now_ms);

	if (now_ms - entry->last_ms > UNKNOWN_FORGET_MS) {
		entry->first_ms = now_ms;
		entry->alarmed = false;
	}
	entry->last_ms = now_ms;
	if (!entry->alarmed && now_ms - entry->first_ms >= RECEIVE_UNKNOWN_ALARM_MS) {
		entry->alarmed = true;
		log_line(LOG_ERROR, "job-type-unknown", LOG_S("type", job->type),
			 LOG_S("queue", job->queue),
			 LOG_I("for_s", (now_ms - entry->first_ms) / 1000));
	}
}

size_t receive_alarms(const struct receive *receive)
{
	size_t count = 0;

	for (size_t i = 0; i < receive->unknown_count; i++)
		count += receive->unknown[i].alarmed;
	return count;
}

static void verdict_payload(const struct claimed_job *job, struct receive_verdict *verdict_r)
{
	struct json_slice payload = { .text = job->payload, .bytes = job->payload_bytes };
	struct job_request_error error = { 0 };

	if (job_request_payload(verdict_r->type, payload, job->arena, &error) == 0)
		return;
	verdict_r->end = OUTCOME_DISCARD;
	verdict_r->reason = job_request_reason(&error, "payload", job->arena);
}

void receive_arrive(struct receive *receive, const struct definitions *defs,
		    const struct claimed_job *job, int64_t now_mono_ms,
		    struct receive_verdict *verdict_r)
{
	*verdict_r = (struct receive_verdict){ .type = definitions_type(defs, job->type),
					       .after_ms = -1 };
	if (job->cancel_asked) {
		verdict_r->end = OUTCOME_CANCELLED;
	} else if (job->refusal) {
		verdict_r->end = OUTCOME_DISCARD;
		verdict_r->reason = job->refusal;
	} else if (job->behind) {
		verdict_r->end = OUTCOME_RELEASED;
		verdict_r->after_ms = 0;
		verdict_r->silent = true;
	} else if (!verdict_r->type) {
		unknown_seen(receive, job, now_mono_ms);
		verdict_r->end = OUTCOME_RELEASED;
		verdict_r->after_ms = RECEIVE_UNKNOWN_DELAY_MS;
		verdict_r->reason = "its type is unknown to this worker";
		verdict_r->silent = true;
	} else if (job->unchecked) {
		verdict_payload(job, verdict_r);
	}
}

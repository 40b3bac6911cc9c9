/* SPDX-License-Identifier: Apache-2.0 */
/* See batch_end.h. The definition is our own text: valid, and with queue and priority filled in. */
#include "common/job/batch_end.h"

#include <stdio.h>
#include <string.h>

#include "common/json/json_text.h"

static const char *const names[] = {
	[BATCH_FEEDING] = "feeding",     [BATCH_RUNNING] = "running",
	[BATCH_COMPLETED] = "completed", [BATCH_FAILED] = "failed",
	[BATCH_CANCELLED] = "cancelled",
};

const char *batch_state_name(enum batch_state state)
{
	CHECK(state >= BATCH_FEEDING && state <= BATCH_CANCELLED);
	return names[state];
}

bool batch_state_parse(const char *text, enum batch_state *state_r)
{
	for (int i = BATCH_FEEDING; i <= BATCH_CANCELLED; i++) {
		if (strcmp(names[i], text) != 0)
			continue;
		*state_r = (enum batch_state)i;
		return true;
	}
	return false;
}

enum batch_state batch_end_state(const struct batch_counts *counts, const char *error)
{
	return counts->failed > 0 || counts->rejected > 0 || error ? BATCH_FAILED : BATCH_COMPLETED;
}

static void add_count(struct strbuf *out, const char *name, int64_t count)
{
	strbuf_printf(out, ",\"%s\":", name);
	strbuf_addi(out, count);
}

static char *payload_of(const struct batch_ended *ended, struct json_slice given,
			struct arena *arena)
{
	const struct batch_counts *counts = &ended->counts;
	char id[UUID_TEXT], *text;
	struct strbuf out;
	struct json_member member;
	const char *cursor = NULL;

	strbuf_init(&out);
	strbuf_printf(&out, "{\"batch\":{\"id\":\"%s\",\"state\":\"%s\",\"name\":",
		      uuid_format(&ended->id, id), batch_state_name(ended->state));
	strbuf_json(&out, ended->name);
	add_count(&out, "total", counts->total);
	add_count(&out, "done", counts->done);
	add_count(&out, "failed", counts->failed);
	add_count(&out, "cancelled", counts->cancelled);
	add_count(&out, "rejected", counts->rejected);
	strbuf_addstr(&out, ",\"error\":");
	strbuf_json(&out, ended->error);
	strbuf_addch(&out, '}');
	while (given.bytes && json_slice_next(given, &cursor, &member) == 1) {
		strbuf_addstr(&out, ",\"");
		strbuf_add(&out, member.key.text, member.key.bytes);
		strbuf_addstr(&out, "\":");
		strbuf_add(&out, member.value.text, member.value.bytes);
	}
	strbuf_addch(&out, '}');
	text = arena_strndup(arena, out.data, out.len);
	strbuf_release(&out);
	return text;
}

/* A round of its own for each retry: it tells anew how that went. */
static void id_of(const struct batch_ended *ended, struct uuid *id_r)
{
	char name[48];
	int bytes = snprintf(name, sizeof(name), "end/%d", ended->counts.round);

	uuid_named_dated(&ended->id, name, (size_t)bytes, id_r);
}

bool batch_end_job(const struct batch_ended *ended, struct arena *arena, struct new_job *job_r)
{
	struct json_slice definition = { ended->definition, strlen(ended->definition) };
	struct json_slice job = json_slice_get(
		definition, ended->state == BATCH_COMPLETED ? "on_complete" : "on_failure");
	enum job_priority priority = PRIORITY_NORMAL;

	if (!job.bytes || ended->state == BATCH_CANCELLED)
		return false;
	CHECK(job_priority_parse(json_slice_string(arena, json_slice_get(job, "priority")),
				 &priority));
	*job_r = (struct new_job){
		.tenant = ended->tenant,
		.owner = ended->owner,
		.type = json_slice_string(arena, json_slice_get(job, "type")),
		.queue = json_slice_string(arena, json_slice_get(job, "queue")),
		.priority = priority,
		.payload = payload_of(ended, json_slice_get(job, "payload"), arena),
	};
	job_r->payload_bytes = strlen(job_r->payload);
	id_of(ended, &job_r->id);
	return true;
}

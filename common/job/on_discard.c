/* SPDX-License-Identifier: Apache-2.0 */
/* The payload and id of the job that compensates another's steps. Called by the stores inside the
 * transaction that ends a job; the texts were valid JSON when they were stored and are copied as
 * they are. */
#include "common/job/on_discard.h"

#include <stdio.h>

#include "common/base/strbuf.h"

static void add_member(struct strbuf *sb, const char *key, const char *json)
{
	strbuf_printf(sb, ",\"%s\":", key);
	strbuf_addstr(sb, json);
}

static void add_string(struct strbuf *sb, const char *key, const char *text)
{
	strbuf_printf(sb, ",\"%s\":", key);
	strbuf_json(sb, text);
}

char *on_discard_payload(struct arena *arena, const struct on_discard_source *source)
{
	struct strbuf sb;
	char id[UUID_TEXT];

	strbuf_init(&sb);
	strbuf_printf(&sb, "{\"job\":\"%s\"", uuid_format(&source->id, id));
	add_string(&sb, "type", source->type);
	add_member(&sb, "payload", source->payload);
	add_member(&sb, "steps", source->steps ? source->steps : "{}");
	add_member(&sb, "calls", source->calls ? source->calls : "{}");
	add_string(&sb, "state", job_state_name(source->state));
	add_string(&sb, "reason", source->reason);
	strbuf_addch(&sb, '}');
	char *payload = arena_strndup(arena, sb.data, sb.len);

	strbuf_release(&sb);
	return payload;
}

void on_discard_id(const struct uuid *id, int attempt, struct uuid *id_r)
{
	char name[40];
	int bytes = snprintf(name, sizeof(name), "on_discard/%d", attempt);

	uuid_named_dated(id, name, (size_t)bytes, id_r);
}

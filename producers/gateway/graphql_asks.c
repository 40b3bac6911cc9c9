/* SPDX-License-Identifier: Apache-2.0 */
/* A row a field; a new field of the schema is a row here and a name in graphql_shape.c. */
#include "producers/gateway/graphql_asks.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "producers/gateway/graphql_shape.h"

/* Fills in target, and body and headers if it has any. */
typedef void make_fn(struct arena *arena, const json_t *args, struct strbuf *target,
		     struct graphql_ask *ask);

static const char *text_of(const json_t *args, const char *name)
{
	return json_string_value(json_object_get(args, name));
}

static void set_body(struct arena *arena, struct graphql_ask *ask, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);

	CHECK(text);
	ask->inner.body_bytes = strlen(text);
	ask->inner.body = arena_strndup(arena, text, ask->inner.body_bytes);
	free(text);
	json_decref(body);
}

static void make_job(struct arena *arena, const json_t *args, struct strbuf *target,
		     struct graphql_ask *ask)
{
	(void)arena;
	(void)ask;
	strbuf_addstr(target, "/v1/jobs/");
	inner_escape(target, text_of(args, "id"));
}

static void add_param(struct strbuf *target, const char *name, const char *value)
{
	if (!value)
		return;
	strbuf_addch(target, '&');
	strbuf_addstr(target, name);
	strbuf_addch(target, '=');
	inner_escape(target, value);
}

static void make_jobs(struct arena *arena, const json_t *args, struct strbuf *target,
		      struct graphql_ask *ask)
{
	const char *state = text_of(args, "state");
	char *small = arena_strdup(arena, state);

	(void)ask;
	for (char *at = small; at && *at; at++)
		*at = (char)(*at | 0x20);
	strbuf_addstr(target, "/v1/jobs?limit=");
	strbuf_addi(target, json_integer_value(json_object_get(args, "first")));
	add_param(target, "before", text_of(args, "after"));
	add_param(target, "state", small);
	add_param(target, "type", text_of(args, "type"));
	add_param(target, "queue", text_of(args, "queue"));
	add_param(target, "tag", text_of(args, "tag"));
}

static void make_queues(struct arena *arena, const json_t *args, struct strbuf *target,
			struct graphql_ask *ask)
{
	(void)arena;
	(void)args;
	(void)ask;
	strbuf_addstr(target, "/v1/queues");
}

static void make_workers(struct arena *arena, const json_t *args, struct strbuf *target,
			 struct graphql_ask *ask)
{
	(void)arena;
	(void)args;
	(void)ask;
	strbuf_addstr(target, "/v1/workers");
}

static void make_schedules(struct arena *arena, const json_t *args, struct strbuf *target,
			   struct graphql_ask *ask)
{
	(void)arena;
	(void)ask;
	strbuf_addstr(target, "/v1/schedules?limit=");
	strbuf_addi(target, json_integer_value(json_object_get(args, "first")));
	add_param(target, "cursor", text_of(args, "after"));
}

static void make_enqueue(struct arena *arena, const json_t *args, struct strbuf *target,
			 struct graphql_ask *ask)
{
	strbuf_addstr(target, "/v1/jobs");
	ask->inner.idempotency_key = text_of(args, "idempotencyKey");
	set_body(arena, ask, graphql_shape_enqueue(json_object_get(args, "input")));
}

static void make_cancel(struct arena *arena, const json_t *args, struct strbuf *target,
			struct graphql_ask *ask)
{
	const char *reason = text_of(args, "reason");

	strbuf_addstr(target, "/v1/jobs/");
	inner_escape(target, text_of(args, "id"));
	strbuf_addstr(target, "/cancel");
	if (reason)
		set_body(arena, ask, json_pack("{s:s}", "reason", reason));
}

static void make_retry(struct arena *arena, const json_t *args, struct strbuf *target,
		       struct graphql_ask *ask)
{
	(void)arena;
	(void)ask;
	strbuf_addstr(target, "/v1/jobs/");
	inner_escape(target, text_of(args, "id"));
	strbuf_addstr(target, "/retry");
}

static const struct field_row {
	const char *name, *method;
	make_fn *make;
	json_t *(*shape)(const json_t *answer);
} rows[] = {
	{ "job", "GET", make_job, graphql_shape_job },
	{ "jobs", "GET", make_jobs, graphql_shape_page },
	{ "queues", "GET", make_queues, graphql_shape_queues },
	{ "workers", "GET", make_workers, graphql_shape_workers },
	{ "schedules", "GET", make_schedules, graphql_shape_schedules },
	{ "enqueue", "POST", make_enqueue, graphql_shape_accepted },
	{ "cancel", "POST", make_cancel, graphql_shape_accepted },
	{ "retry", "POST", make_retry, graphql_shape_accepted },
};

static const struct field_row *find_row(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	}
	return NULL;
}

static void make_ask(struct execution *execution, size_t field, struct graphql_ask *ask)
{
	const struct root_field *root = &execution->fields[field];
	const struct field_row *row = find_row(root->name);
	struct strbuf target;

	CHECK(row);
	strbuf_init(&target);
	ask->field = field;
	ask->shape = row->shape;
	ask->inner.method = row->method;
	row->make(execution->arena, root->args, &target, ask);
	ask->inner.target = arena_strndup(execution->arena, target.data, target.len);
	strbuf_release(&target);
}

bool graphql_asks_make(struct execution *execution, struct graphql_ask **asks_r, size_t *count_r)
{
	*asks_r = ARENA_ARRAY(execution->arena, struct graphql_ask, execution->field_count + 1);
	*count_r = 0;
	for (size_t i = 0; i < execution->field_count; i++) {
		if (execution->fields[i].elsewhere)
			make_ask(execution, i, &(*asks_r)[(*count_r)++]);
	}
	return *count_r > 0;
}

void graphql_asks_detail(struct arena *arena, struct graphql_ask *ask, size_t field, size_t item,
			 const char *id)
{
	ask->field = field;
	ask->item = item;
	ask->shape = graphql_shape_job;
	ask->inner.method = "GET";
	ask->inner.target = arena_printf(arena, "/v1/jobs/%s", id);
}

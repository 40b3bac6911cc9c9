/* SPDX-License-Identifier: Apache-2.0 */
/* One table of names for all. Pure. */
#include "producers/gateway/graphql_shape.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/check.h"

enum how { PLAIN, CAPITALS, ATTEMPTS, UNIQUE };

struct name {
	const char *rest, *graphql;
	enum how how;
};

static const struct name names[] = {
	{ "state", "state", CAPITALS },
	{ "priority", "priority", CAPITALS },
	{ "outcome", "outcome", CAPITALS },
	{ "origin", "origin", CAPITALS },
	{ "attempts", "attempts", ATTEMPTS },
	{ "unique", "unique", UNIQUE },
	{ "on_conflict", "onConflict", CAPITALS },
	{ "max_attempts", "maxAttempts", PLAIN },
	{ "created_at", "createdAt", PLAIN },
	{ "due_at", "dueAt", PLAIN },
	{ "run_at", "runAt", PLAIN },
	{ "finished_at", "finishedAt", PLAIN },
	{ "cancel_asked", "cancelAsked", PLAIN },
	{ "order_key", "orderKey", PLAIN },
	{ "fair_key", "fairKey", PLAIN },
	{ "unique_key", "uniqueKey", PLAIN },
	{ "callback_url", "callbackUrl", PLAIN },
	{ "open_calls", "openCalls", PLAIN },
	{ "unique_conflict", "uniqueConflict", PLAIN },
	{ "watch_token", "watchToken", PLAIN },
	{ "oldest_seconds", "oldestSeconds", PLAIN },
};

static json_t *renamed(const json_t *object, bool out);

static const struct name *find_name(const char *name, bool out)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(out ? names[i].rest : names[i].graphql, name) == 0)
			return &names[i];
	}
	return NULL;
}

static json_t *in_case(const json_t *text, bool capitals)
{
	char word[32];
	size_t i = 0;

	for (const char *at = json_string_value(text); at && *at && i < sizeof(word) - 1; at++)
		word[i++] = (char)(capitals ? toupper((unsigned char)*at)
					    : tolower((unsigned char)*at));
	word[i] = '\0';
	return json_is_string(text) ? json_string(word) : json_null();
}

static json_t *renamed_list(const json_t *list, bool out)
{
	json_t *copy = json_array();

	for (size_t i = 0; i < json_array_size(list); i++)
		json_array_append_new(copy, renamed(json_array_get(list, i), out));
	return copy;
}

static json_t *shaped(json_t *value, enum how how, bool out)
{
	if (json_is_null(value))
		return json_null();
	switch (how) {
	case CAPITALS:
		return in_case(value, out);
	case ATTEMPTS:
		return renamed_list(value, out);
	case UNIQUE:
		return renamed(value, out);
	case PLAIN:
		break;
	}
	return json_incref(value);
}

/* Members that are null are left out on the way in: there they mean what an absent one means. */
static json_t *renamed(const json_t *object, bool out)
{
	json_t *copy = json_object(), *value;
	const char *key;

	json_object_foreach((json_t *)object, key, value)
	{
		const struct name *name = find_name(key, out);

		if (!out && json_is_null(value) && strcmp(key, "payload") != 0)
			continue;
		json_object_set_new(copy,
				    !name ? key
				    : out ? name->graphql
					  : name->rest,
				    shaped(value, name ? name->how : PLAIN, out));
	}
	return copy;
}

static void set_default(json_t *object, const char *name, json_t *value)
{
	if (json_object_get(object, name))
		json_decref(value);
	else
		json_object_set_new(object, name, value);
}

json_t *graphql_shape_job(const json_t *job)
{
	json_t *shape = renamed(job, true);

	set_default(shape, "cancelAsked", json_false());
	set_default(shape, "tags", json_array());
	return shape;
}

static json_t *page_info(const json_t *page, const json_t *first, const json_t *last)
{
	bool more = json_is_string(json_object_get(page, "next_cursor"));

	return json_pack("{s:b,s:b,s:O?,s:O?}", "hasNextPage", more, "hasPreviousPage", 0,
			 "startCursor", json_object_get(first, "id"), "endCursor",
			 json_object_get(last, "id"));
}

json_t *graphql_shape_page(const json_t *page)
{
	json_t *items = json_object_get(page, "items"), *edges = json_array(),
	       *nodes = json_array();
	size_t count = json_array_size(items);
	json_t *first = json_array_get(items, 0), *last = NULL;

	for (size_t i = 0; i < count; i++) {
		json_t *node = graphql_shape_job(json_array_get(items, i));

		last = json_array_get(items, i);
		json_array_append_new(edges, json_pack("{s:O,s:O}", "cursor",
						       json_object_get(last, "id"), "node", node));
		json_array_append_new(nodes, node);
	}
	return json_pack("{s:o,s:o,s:o}", "edges", edges, "nodes", nodes, "pageInfo",
			 page_info(page, first, last));
}

json_t *graphql_shape_queues(const json_t *page)
{
	return renamed_list(json_object_get(page, "items"), true);
}

json_t *graphql_shape_workers(const json_t *page)
{
	return renamed_list(json_object_get(page, "items"), true);
}

json_t *graphql_shape_schedules(const json_t *page)
{
	return renamed_list(json_object_get(page, "items"), true);
}

json_t *graphql_shape_accepted(const json_t *accepted)
{
	json_t *shape = renamed(accepted, true);

	set_default(shape, "uniqueConflict", json_false());
	set_default(shape, "cancelAsked", json_false());
	return shape;
}

json_t *graphql_shape_enqueue(const json_t *input)
{
	return renamed(input, false);
}

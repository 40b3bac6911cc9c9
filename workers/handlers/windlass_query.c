/* SPDX-License-Identifier: Apache-2.0 */
/* wl_query and the rows it returns. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "workers/handlers/host_job.h"
#include "workers/handlers/host_value.h"

struct wl_rows {
	struct wl_job *job;
	const json_t *rows; /* array of arrays */
	size_t next;
	const json_t *row; /* NULL before the first */
};

static const json_t *ask_rows(struct wl_job *job, const char *sql, struct wl_args args)
{
	struct strbuf members;
	struct json_slice answer;
	const json_t *root, *error;
	const char *reason;

	strbuf_init(&members);
	strbuf_addstr(&members, "\"query\":");
	strbuf_json(&members, sql);
	strbuf_addstr(&members, ",\"args\":");
	host_value_add_args(&members, args);
	answer = host_job_ask(job, members.data);
	strbuf_release(&members);
	root = host_job_parse(job, answer.text, answer.bytes, &reason);
	if (!root)
		host_job_leave(job, "retry", "wl_query: the answer is %s", reason);
	error = json_object_get(root, "error");
	if (error)
		host_job_leave(job, "retry", "wl_query: %s",
			       json_string_value(error) ? json_string_value(error) : "?");
	return json_object_get(root, "rows");
}

struct wl_rows *wl_query(struct wl_job *job, const char *sql, struct wl_args args)
{
	const json_t *rows = ask_rows(job, sql, args);
	struct wl_rows *result = ARENA_NEW(job->arena, struct wl_rows);

	*result = (struct wl_rows){ .job = job, .rows = rows };
	return result;
}

bool wl_next(struct wl_rows *rows)
{
	rows->row = json_array_get(rows->rows, rows->next);
	if (!rows->row)
		return false;
	rows->next++;
	return true;
}

static const json_t *column_of(const struct wl_rows *rows, int column)
{
	return column < 0 ? NULL : json_array_get(rows->row, (size_t)column);
}

const char *wl_col_str(struct wl_rows *rows, int column)
{
	const json_t *value = column_of(rows, column), *base64;
	struct arena *arena = rows->job->arena;
	void *data;
	size_t bytes;

	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		return json_string_value(value);
	case JSON_INTEGER:
		return arena_printf(arena, "%" PRId64, (int64_t)json_integer_value(value));
	case JSON_REAL:
		return arena_printf(arena, "%.17g", json_real_value(value));
	case JSON_TRUE:
		return "true";
	case JSON_FALSE:
		return "false";
	case JSON_OBJECT:
		base64 = json_object_get(value, "base64");
		if (json_is_string(base64) &&
		    base64_decode(arena, json_string_value(base64), json_string_length(base64),
				  &data, &bytes) == 0)
			return arena_strndup(arena, data, bytes);
		return NULL;
	default:
		return NULL;
	}
}

int64_t wl_col_int(struct wl_rows *rows, int column)
{
	const json_t *value = column_of(rows, column);

	if (json_is_integer(value))
		return json_integer_value(value);
	if (json_is_real(value))
		return (int64_t)json_real_value(value);
	if (json_is_string(value)) /* numeric, for one, comes as text */
		return strtoll(json_string_value(value), NULL, 10);
	return json_is_true(value);
}

double wl_col_num(struct wl_rows *rows, int column)
{
	const json_t *value = column_of(rows, column);

	if (json_is_number(value))
		return json_number_value(value);
	if (json_is_string(value))
		return strtod(json_string_value(value), NULL);
	return json_is_true(value);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Steps and receipts of jobs that were handed out before: for their next attempt, for people, and
 * for their compensation. JSON is put together here from the texts as they were stored, so that no
 * stored value can make a query fail. */
#include <string.h>

#include "common/store/postgres/postgres_impl.h"

static const char steps_of[] =
	"SELECT i.n, s.step, s.value FROM unnest($1::uuid[], $2::int4[]) AS i(id, n)"
	" JOIN windlass.step s ON s.id = i.id ORDER BY i.n, s.at, s.step";
static const char calls_of[] =
	"SELECT i.n, c.step, c.status, c.body FROM unnest($1::uuid[], $2::int4[]) AS i(id, n)"
	" JOIN windlass.call c ON c.id = i.id ORDER BY i.n, c.at, c.step";

void history_args(struct postgres *pg, const struct uuid *ids, size_t count)
{
	struct array *a = postgres_arg_array(pg, TYPE_UUID),
		     *numbers = postgres_arg_array(pg, TYPE_INT4);

	for (size_t i = 0; i < count; i++) {
		array_uuid(a, &ids[i]);
		array_i64(numbers, (int64_t)i);
	}
}

size_t history_send_steps(struct postgres *pg, const struct uuid *ids, size_t count)
{
	postgres_say(pg, steps_of);
	history_args(pg, ids, count);
	return postgres_send(pg);
}

size_t history_send_calls(struct postgres *pg, const struct uuid *ids, size_t count)
{
	postgres_say(pg, calls_of);
	history_args(pg, ids, count);
	return postgres_send(pg);
}

/* The rows of job n, which follow each other: from *first_r, as many as returned. */
static int rows_of(const PGresult *result, size_t n, int *first_r)
{
	int low = 0, high = PQntuples(result), row;

	while (low < high) {
		int middle = (low + high) / 2;

		if ((size_t)result_i64(result, middle, 0) < n)
			low = middle + 1;
		else
			high = middle;
	}
	for (row = low; row < PQntuples(result) && (size_t)result_i64(result, row, 0) == n;)
		row++;
	*first_r = low;
	return row - low;
}

/* NULL: nothing was added. */
static char *finish(struct strbuf *sb, struct arena *arena)
{
	if (sb->len)
		strbuf_addch(sb, '}');
	char *text = sb->len ? arena_strndup(arena, sb->data, sb->len) : NULL;

	strbuf_release(sb);
	return text;
}

char *history_steps(const PGresult *steps, size_t n, struct arena *arena)
{
	int first = 0, count = rows_of(steps, n, &first);
	struct strbuf sb;

	if (!count)
		return NULL;
	strbuf_init(&sb);
	for (int row = first; row < first + count; row++) {
		strbuf_addch(&sb, row == first ? '{' : ',');
		strbuf_json(&sb, result_text(steps, row, 1));
		strbuf_addch(&sb, ':');
		strbuf_addstr(&sb,
			      result_null(steps, row, 2) ? "null" : result_text(steps, row, 2));
	}
	return finish(&sb, arena);
}

char *history_calls(const PGresult *calls, size_t n, struct arena *arena)
{
	int first = 0, count = rows_of(calls, n, &first);
	struct strbuf sb;

	if (!count)
		return NULL;
	strbuf_init(&sb);
	for (int row = first; row < first + count; row++) {
		if (result_i64(calls, row, 2) == RECEIPT_NOT_SENT)
			continue;
		strbuf_addch(&sb, sb.len ? ',' : '{');
		strbuf_json(&sb, result_text(calls, row, 1));
		strbuf_printf(&sb, ":{\"status\":%d,\"body\":", (int)result_i64(calls, row, 2));
		strbuf_json_n(&sb, result_text(calls, row, 3), result_bytes(calls, row, 3));
		strbuf_addch(&sb, '}');
	}
	return finish(&sb, arena);
}

struct receipt *history_receipts(const PGresult *calls, size_t n, struct arena *arena,
				 size_t *count_r)
{
	int first = 0, count = rows_of(calls, n, &first);
	struct receipt *receipts = ARENA_ARRAY(arena, struct receipt, (size_t)count);

	for (int i = 0; i < count; i++) {
		receipts[i].step = result_dup(calls, first + i, 1, arena);
		receipts[i].status = (int)result_i64(calls, first + i, 2);
		receipts[i].body = result_dup(calls, first + i, 3, arena);
		receipts[i].body_bytes = result_bytes(calls, first + i, 3);
	}
	*count_r = (size_t)count;
	return count ? receipts : NULL;
}

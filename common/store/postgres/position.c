/* SPDX-License-Identifier: Apache-2.0 */
/* Positions in logs: rows are only added, by completions and here; the newest of a partition
 * counts, maintenance (maintenance.c) removes the others. */
#include "common/store/postgres/postgres_impl.h"

static const char newest[] =
	"SELECT i.n, (SELECT p.place FROM windlass.source_position p WHERE p.consumer = i.consumer"
	" AND p.topic = i.topic AND p.part = i.part ORDER BY p.n DESC LIMIT 1)"
	" FROM unnest($1::text[], $2::text[], $3::int4[], $4::int4[]) AS i(consumer, topic, part,"
	" n)";
static const char add[] =
	"INSERT INTO windlass.source_position (consumer, topic, part, place) SELECT * FROM"
	" unnest($1::text[], $2::text[], $3::int4[], $4::int8[])";

int postgres_position_load(struct store *store, struct position *positions, size_t count,
			   struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, newest);
	struct array *groups = postgres_arg_array(pg, TYPE_TEXT),
		     *topics = postgres_arg_array(pg, TYPE_TEXT);
	struct array *parts = postgres_arg_array(pg, TYPE_INT4),
		     *numbers = postgres_arg_array(pg, TYPE_INT4);

	for (size_t i = 0; i < count; i++) {
		array_text(groups, positions[i].group);
		array_text(topics, positions[i].topic);
		array_i64(parts, positions[i].partition);
		array_i64(numbers, (int64_t)i);
	}
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	for (int row = 0; row < PQntuples(result); row++)
		if (!result_null(result, row, 1))
			positions[result_i64(result, row, 0)].offset = result_i64(result, row, 1);
	return 0;
}

void positions_send(struct postgres *pg, const struct position *positions, size_t count)
{
	postgres_say(pg, add);
	struct array *groups = postgres_arg_array(pg, TYPE_TEXT),
		     *topics = postgres_arg_array(pg, TYPE_TEXT);
	struct array *parts = postgres_arg_array(pg, TYPE_INT4),
		     *places = postgres_arg_array(pg, TYPE_INT8);

	for (size_t i = 0; i < count; i++) {
		array_text(groups, positions[i].group);
		array_text(topics, positions[i].topic);
		array_i64(parts, positions[i].partition);
		array_i64(places, positions[i].offset);
	}
	if (count)
		postgres_send(pg);
}

int postgres_position_save(struct store *store, const struct position *positions, size_t count,
			   struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_begin(pg);
	positions_send(pg, positions, count);
	return postgres_commit_fly(pg, err_r);
}

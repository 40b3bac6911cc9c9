/* SPDX-License-Identifier: Apache-2.0 */
/* What has moved since a moment, for those who watch and were away. Ends and failed attempts are
 * found by their time, what was accepted by the time in its id, what is being worked on by its
 * lease; a job in several of them is named once. */
#include "common/store/postgres/postgres_impl.h"

/* Of leases that are older than that, only what reports progress. */
#define SINCE "to_timestamp($1::int8 / 1000.0)"
#define ENDED "SELECT id FROM windlass.done WHERE finished >= " SINCE " AND state <> 0"
#define MOVED                                                                                   \
	ENDED " UNION SELECT id FROM windlass.attempt WHERE at >= " SINCE                       \
	      " UNION SELECT id FROM windlass.jobs WHERE id >= rpad(lpad(to_hex($1::int8), 12," \
	      " '0'), 32, '0')::uuid UNION SELECT unnest(ids) FROM windlass.lease WHERE taken"  \
	      " >= " SINCE " UNION SELECT id FROM windlass.progress UNION SELECT id FROM"       \
	      " windlass.cancel WHERE at >= " SINCE

#define NAMES(moved)                                                                         \
	"SELECT m.id FROM (" moved ") m LEFT JOIN windlass.jobs j ON j.id = m.id"            \
	" LEFT JOIN windlass.done d ON j.id IS NULL AND d.id = m.id AND d.source IS NOT"     \
	" NULL LEFT JOIN windlass.job_type t ON j.id IS NULL AND t.name = d.type"            \
	" WHERE (j.id IS NOT NULL OR d.id IS NOT NULL) AND ($2::uuid IS NULL OR m.id < $2)"  \
	" AND ($3::text IS NULL OR coalesce(j.type, d.type) = $3)"                           \
	" AND ($4::text IS NULL OR coalesce(j.queue, t.queue, '') = $4)"                     \
	" AND ($5::text IS NULL OR j.tags::jsonb ? $5) AND" REACH_SQL(                       \
		"coalesce(j.tenant, '')", "coalesce(j.owner, 'source:' || d.source)",        \
		"coalesce(j.type, d.type)", "coalesce(j.queue, t.queue, '')", "7", "8", "9", \
		"10") " ORDER BY m.id DESC LIMIT $6::int4"

static const char names_of_moved[] = NAMES(MOVED);
static const char names_of_ended[] = NAMES(ENDED);

int postgres_query_moved(struct store *store, const struct moved_filter *filter, struct uuid *ids_r,
			 size_t *count_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, filter->ended ? names_of_ended : names_of_moved);
	postgres_arg_i64(pg, filter->since_ms);
	postgres_arg_uuid(pg, uuid_is_nil(&filter->before) ? NULL : &filter->before);
	postgres_arg_text(pg, filter->type);
	postgres_arg_text(pg, filter->queue);
	postgres_arg_text(pg, filter->tag);
	postgres_arg_i32(pg, (int32_t)filter->limit);
	postgres_arg_reach(pg, &filter->reach);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	*count_r = (size_t)PQntuples(result);
	for (size_t i = 0; i < *count_r; i++)
		ids_r[i] = result_uuid(result, (int)i, 0);
	return 0;
}

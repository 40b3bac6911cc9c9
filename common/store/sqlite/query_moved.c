/* SPDX-License-Identifier: Apache-2.0 */
/* What has moved since a moment, for those who watch and were away. Ends and failed attempts are
 * found by their time, what was accepted by the time in its id, what is being worked on by its
 * lease; a job in several of them is named once. */
#include <stdlib.h>
#include <string.h>

#include "common/store/query.h"
#include "common/store/sqlite/sqlite_impl.h"

/* ?9: since; ?10: the first id of that time. Of leases that are older, only what reports progress.
 */
#define ENDED "SELECT id FROM windlass_done INDEXED BY windlass_done_finished WHERE finished >= ?9"
#define MOVED                                                                                     \
	ENDED " UNION SELECT id FROM windlass_attempt INDEXED BY windlass_attempt_at WHERE at >=" \
	      " ?9 UNION SELECT id FROM windlass_jobs WHERE id >= ?10 UNION SELECT * FROM (WITH"  \
	      " RECURSIVE held(id, ids, n) AS (SELECT substr(ids, 1, 16), ids, 1 FROM"            \
	      " windlass_lease WHERE length(ids) > 0 AND taken >= ?9 UNION ALL SELECT"            \
	      " substr(ids, n * 16 + 1, 16), ids, n + 1 FROM held WHERE n * 16 < length(ids))"    \
	      " SELECT id FROM held) UNION SELECT id FROM windlass_progress UNION SELECT id FROM" \
	      " windlass_cancel WHERE at >= ?9"

#define NAMES(moved)                                                                             \
	"SELECT m.id FROM (" moved ") m LEFT JOIN windlass_jobs j ON j.id = m.id LEFT JOIN"      \
	" windlass_done d ON j.id IS NULL AND d.id = m.id AND d.source IS NOT NULL LEFT JOIN"    \
	" windlass_job_type t ON j.id IS NULL AND t.name = d.type WHERE (j.id IS NOT NULL OR"    \
	" d.id IS NOT NULL) AND m.id < ?1 AND (?2 IS NULL OR coalesce(j.type, d.type) = ?2) AND" \
	" (?3 IS NULL OR coalesce(j.queue, t.queue, '') = ?3) AND (?4 IS NULL OR EXISTS (SELECT" \
	" 1 FROM json_each(j.tags) WHERE value = ?4)) AND " REACH_SQL(                           \
		"coalesce(j.tenant, '')", "coalesce(j.owner, 'source:' || d.source)",            \
		"coalesce(j.type, d.type)", "coalesce(j.queue, t.queue, '')", "5", "6",          \
		"7") " ORDER BY m.id DESC LIMIT ?8"

static const char names_of_moved[] = NAMES(MOVED);
static const char names_of_ended[] = NAMES(ENDED);

static void first_id_of(int64_t wall_ms, struct uuid *id_r)
{
	*id_r = (struct uuid){ 0 };
	for (int i = 0; i < 6; i++)
		id_r->b[i] = (uint8_t)(wall_ms >> (40 - 8 * i));
}

static int read_names(struct sqlite_store *store, const struct moved_filter *filter,
		      const char *rules, struct uuid *ids_r, size_t *count_r, struct error *err_r)
{
	uint8_t before[sizeof(struct uuid) + 1];
	size_t before_bytes = sizeof(struct uuid);
	const struct reach *reach = &filter->reach;
	struct uuid first;
	sqlite3_stmt *stmt;
	int rc;

	memset(before, 0xff, sizeof(before));
	if (uuid_is_nil(&filter->before))
		before_bytes = sizeof(before); /* above every id */
	else
		memcpy(before, &filter->before, sizeof(filter->before));
	first_id_of(filter->since_ms, &first);
	stmt = filter->ended ? sqlite_bind(store, err_r, names_of_ended, "bssssssii", before,
					   before_bytes, filter->type, filter->queue, filter->tag,
					   reach->tenant, reach->owner, rules,
					   (int64_t)filter->limit, filter->since_ms)
			     : sqlite_bind(store, err_r, names_of_moved, "bssssssiiu", before,
					   before_bytes, filter->type, filter->queue, filter->tag,
					   reach->tenant, reach->owner, rules,
					   (int64_t)filter->limit, filter->since_ms, &first);
	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1)
		sqlite_column_uuid(stmt, 0, &ids_r[(*count_r)++]);
	return rc;
}

int sqlite_query_moved(struct store *base, const struct moved_filter *filter, struct uuid *ids_r,
		       size_t *count_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	char *rules;
	int rc;

	if (sqlite_ensure(store, err_r))
		return -1;
	store->deadline_ns = clock_mono_ns() + SQLITE_STATEMENT_LIMIT_MS * (int64_t)1000000;
	rules = sqlite_reach_rules(&filter->reach);
	rc = read_names(store, filter, rules, ids_r, count_r, err_r);
	free(rules);
	store->deadline_ns = 0;
	return rc;
}

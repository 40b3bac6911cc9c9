/* SPDX-License-Identifier: Apache-2.0 */
/* What limits are on SQLite: said by the definitions file and by operators, shown with their use.
 * They are kept by limited_claim.c. */
#include "common/store/limits.h"

#include "common/store/ration.h"
#include "common/store/sqlite/sqlite_impl.h"

static const char put[] =
	"INSERT INTO windlass_limits (kind, name, origin, concurrency, rate, key_concurrency, key_rate, "
	"fair, weights) VALUES (?1, ?2, ?3, nullif(?4, -1), nullif(?5, -1.0), nullif(?6, -1), "
	"nullif(?7, -1.0), nullif(?8, -1), ?9) ON CONFLICT DO UPDATE SET concurrency = "
	"excluded.concurrency, rate = excluded.rate, key_concurrency = excluded.key_concurrency, "
	"key_rate = excluded.key_rate, fair = excluded.fair, weights = excluded.weights";
/* Rows that say nothing need not be there. */
static const char tidy[] =
	"DELETE FROM windlass_limits WHERE coalesce(concurrency, rate, key_concurrency, key_rate, "
	"fair, weights) IS NULL";
static const char name_queues[] =
	"INSERT INTO windlass_queue (name) SELECT name FROM windlass_limits_in_force WHERE kind = 0 "
	"ON CONFLICT DO NOTHING";
static const char manage[] =
	"UPDATE windlass_queue SET managed = CASE WHEN EXISTS (SELECT 1 FROM windlass_limits_in_force l "
	"WHERE l.kind = 0 AND l.name = windlass_queue.name AND (l.fair OR l.key_concurrency > 0 OR "
	"l.key_rate > 0)) THEN 2 WHEN EXISTS (SELECT 1 FROM windlass_limits_in_force l WHERE l.kind = 0 "
	"AND l.name = windlass_queue.name AND (l.concurrency > 0 OR l.rate > 0)) OR EXISTS (SELECT 1 FROM "
	"windlass_job_type t JOIN windlass_limits_in_force x ON x.kind = 1 AND x.name = t.name WHERE "
	"t.queue = windlass_queue.name AND (x.concurrency > 0 OR x.rate > 0)) THEN 1 ELSE 0 END";

static int put_row(struct sqlite_store *store, const struct limits_row *row, int origin,
		   struct error *err_r)
{
	const struct limits *limits = &row->limits;

	return sqlite_run(store, err_r, put, "isiididis", (int64_t)row->kind, row->name,
			  (int64_t)origin, limits->all.concurrency, limits->all.rate_per_s,
			  limits->key.concurrency, limits->key.rate_per_s, (int64_t)limits->fair,
			  limits->weights);
}

static int say(struct sqlite_store *store, const struct limits_row *rows, size_t count, int origin,
	       const struct audit *audit, struct error *err_r)
{
	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	for (size_t i = 0; i < count; i++)
		if (put_row(store, &rows[i], origin, err_r))
			goto out;
	if (sqlite_run(store, err_r, tidy, "") || sqlite_run(store, err_r, name_queues, "") ||
	    sqlite_run(store, err_r, manage, "") || sqlite_audit(store, audit, err_r))
		goto out;
	return sqlite_commit(store, err_r);
out:
	sqlite_rollback(store);
	return -1;
}

int sqlite_limits_sync(struct store *base, const struct limits_row *rows, size_t count,
		       struct error *err_r)
{
	return say(sqlite_of(base), rows, count, 0, NULL, err_r);
}

int sqlite_limits_set(struct store *base, const struct limits_row *row, const struct audit *audit,
		      struct error *err_r)
{
	return say(sqlite_of(base), row, 1, 1, audit, err_r);
}

/* ---- for people */

static const char list[] =
	"SELECT n.kind, n.name, f.concurrency, f.rate, f.key_concurrency, f.key_rate, f.fair, f.weights, "
	"s.concurrency, s.rate, s.key_concurrency, s.key_rate, s.fair, s.weights, r.paid "
	"FROM (SELECT DISTINCT kind, name FROM windlass_limits) n "
	"LEFT JOIN windlass_limits f ON f.kind = n.kind AND f.name = n.name AND f.origin = 0 "
	"LEFT JOIN windlass_limits s ON s.kind = n.kind AND s.name = n.name AND s.origin = 1 "
	"LEFT JOIN windlass_limit_rate r ON r.key = '' AND r.kind = n.kind AND r.name = n.name "
	"ORDER BY n.kind, n.name";

static int count_in_hand(struct sqlite_store *store, struct arena *arena, struct limits_view *views,
			 size_t count, struct error *err_r)
{
	sqlite3_stmt *stmt =
		sqlite_bind(store, err_r,
			    "SELECT ids, attempts FROM windlass_lease WHERE slots IS NOT NULL", "");
	struct uuid *ids;
	size_t id_count;
	int *attempts, rc;
	int64_t one;

	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		if (sqlite_lease_decode(stmt, 0, arena, &ids, &attempts, &id_count))
			id_count = 0;
		for (size_t i = 0; i < id_count; i++)
			for (size_t k = 0; k < count; k++)
				views[k].in_hand +=
					sqlite_number(
						store, err_r, &one,
						"SELECT 1 FROM windlass_jobs j WHERE j.id = ?1 AND CASE WHEN ?3 "
						"THEN j.type ELSE j.queue END = ?2 AND NOT EXISTS (SELECT 1 FROM "
						"windlass_done d WHERE d.id = ?1)",
						"usi", &ids[i], views[k].name,
						(int64_t)views[k].kind) == 1;
	}
	return rc;
}

int sqlite_limits_list(struct store *base, struct arena *arena, struct limits_view **views_r,
		       size_t *count_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	struct limits_view *views = NULL;
	size_t count = 0, cap = 0;
	int rc;

	if (sqlite_ensure(store, err_r))
		return -1;
	sqlite3_stmt *stmt = sqlite_bind(store, err_r, list, "");

	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		if (count == cap) {
			struct limits_view *more =
				ARENA_ARRAY(arena, struct limits_view, cap * 2 + 16);

			for (size_t i = 0; i < count; i++)
				more[i] = views[i];
			views = more;
			cap = cap * 2 + 16;
		}
		struct limits_view *view = &views[count++];

		view->kind = (enum limits_kind)sqlite3_column_int(stmt, 0);
		view->name = sqlite_column_dup(stmt, 1, arena);
		sqlite_limits_row(stmt, 2, &view->file);
		sqlite_limits_row(stmt, 8, &view->set);
		view->file.weights = arena_strdup(arena, view->file.weights);
		view->set.weights = arena_strdup(arena, view->set.weights);
		view->spent_ms = limits_spent_ms(view, sqlite3_column_int64(stmt, 14),
						 clock_wall_ms() * 1000);
	}
	*views_r = views;
	*count_r = count;
	return rc < 0 ? -1 : count_in_hand(store, arena, views, count, err_r);
}

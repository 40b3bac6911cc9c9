/* SPDX-License-Identifier: Apache-2.0 */
/* What limits are: said by the definitions file and by operators, shown with their use. They are
 * kept by limited_claim.c. */
#include "common/store/limits.h"

#include <string.h>

#include "common/store/audit.h"
#include "common/store/postgres/postgres_impl.h"
#include "common/store/ration.h"

static const char put[] =
	"INSERT INTO windlass.limits AS l (kind, name, origin, concurrency, rate, key_concurrency,"
	" key_rate, fair, weights) SELECT kind, name, $3::int2, concurrency, rate, key_concurrency,"
	" key_rate, fair, weights FROM unnest($1::int2[], $2::text[], $4::int8[], $5::float8[],"
	" $6::int8[], $7::float8[], $8::bool[], $9::text[]) AS i(kind, name, concurrency, rate,"
	" key_concurrency, key_rate, fair, weights) ORDER BY kind, name ON CONFLICT (kind, name,"
	" origin) DO UPDATE SET concurrency = excluded.concurrency, rate = excluded.rate,"
	" key_concurrency = excluded.key_concurrency, key_rate = excluded.key_rate, fair ="
	" excluded.fair, weights = excluded.weights WHERE (l.concurrency, l.rate,"
	" l.key_concurrency, l.key_rate, l.fair, l.weights) IS DISTINCT FROM (excluded.concurrency,"
	" excluded.rate, excluded.key_concurrency, excluded.key_rate, excluded.fair,"
	" excluded.weights)";
/* Rows that say nothing need not be there. */
static const char tidy[] =
	"DELETE FROM windlass.limits WHERE num_nonnulls(concurrency, rate, key_concurrency,"
	" key_rate, fair, weights) = 0";
/* Several processes read their files at once. */
static const char one_at_a_time[] = "SELECT pg_advisory_xact_lock(1819112806)";
static const char manage[] = "SELECT windlass.manage_queues()";

static void array_said(struct array *array, int64_t n)
{
	if (n == LIMIT_UNSET)
		array_null(array);
	else
		array_i64(array, n);
}

static void array_rate(struct array *array, double rate)
{
	if (rate < 0)
		array_null(array);
	else
		array_f64(array, rate);
}

static void array_fair(struct array *array, int fair)
{
	if (fair == LIMIT_UNSET)
		array_null(array);
	else
		array_bool(array, fair);
}

static void send_rows(struct postgres *pg, const struct limits_row *rows, size_t count, int origin)
{
	postgres_say(pg, put);
	struct array *kinds = postgres_arg_array(pg, TYPE_INT2),
		     *names = postgres_arg_array(pg, TYPE_TEXT);

	postgres_arg_i16(pg, (int16_t)origin);
	struct array *a[] = {
		postgres_arg_array(pg, TYPE_INT8), postgres_arg_array(pg, TYPE_FLOAT8),
		postgres_arg_array(pg, TYPE_INT8), postgres_arg_array(pg, TYPE_FLOAT8),
		postgres_arg_array(pg, TYPE_BOOL), postgres_arg_array(pg, TYPE_TEXT)
	};

	for (size_t i = 0; i < count; i++) {
		const struct limits *limits = &rows[i].limits;

		array_i64(kinds, rows[i].kind);
		array_text(names, rows[i].name);
		array_said(a[0], limits->all.concurrency);
		array_rate(a[1], limits->all.rate_per_s);
		array_said(a[2], limits->key.concurrency);
		array_rate(a[3], limits->key.rate_per_s);
		array_fair(a[4], limits->fair);
		array_text(a[5], limits->weights);
	}
	postgres_send(pg);
}

static int say_once(struct postgres *pg, const struct limits_row *rows, size_t count, int origin,
		    const struct audit *audit, struct error *err_r)
{
	if (postgres_enter(pg, err_r) < 0)
		return -1;
	queue_kinds_forget(pg);
	postgres_begin(pg);
	postgres_plain(pg, one_at_a_time);
	send_rows(pg, rows, count, origin);
	postgres_plain(pg, tidy);
	postgres_plain(pg, manage);
	postgres_audit(pg, audit);
	return postgres_commit_fly(pg, err_r);
}

static int say(struct postgres *pg, const struct limits_row *rows, size_t count, int origin,
	       const struct audit *audit, struct error *err_r)
{
	int rc = -1;

	for (int tries = 0; tries < CONTENTION_TRIES && rc < 0; tries++) {
		rc = say_once(pg, rows, count, origin, audit, err_r);
		if (rc < 0 && err_r->code != ERROR_CONTENTION)
			break;
	}
	return rc;
}

int postgres_limits_sync(struct store *store, const struct limits_row *rows, size_t count,
			 struct error *err_r)
{
	return say(postgres_of(store), rows, count, 0, NULL, err_r);
}

int postgres_limits_set(struct store *store, const struct limits_row *row,
			const struct audit *audit, struct error *err_r)
{
	return say(postgres_of(store), row, 1, 1, audit, err_r);
}

/* ---- for people */

static const char list[] =
	"SELECT coalesce(f.kind, s.kind), coalesce(f.name, s.name), f.concurrency, f.rate,"
	" f.key_concurrency, f.key_rate, f.fair, f.weights, s.concurrency, s.rate,"
	" s.key_concurrency, s.key_rate, s.fair, s.weights, r.paid, (extract(epoch FROM"
	" clock_timestamp()) * 1000000)::int8 FROM (SELECT DISTINCT kind, name FROM windlass.limits)"
	" n LEFT JOIN windlass.limits f ON f.kind = n.kind AND f.name = n.name AND f.origin = 0"
	" LEFT JOIN windlass.limits s ON s.kind = n.kind AND s.name = n.name AND s.origin = 1 LEFT"
	" JOIN windlass.limit_rate r ON r.key = '' AND r.kind = n.kind AND r.name = n.name ORDER BY"
	" n.kind, n.name";
static const char in_hand[] =
	"SELECT j.queue, j.type, count(*) FROM windlass.lease l CROSS JOIN LATERAL unnest(l.ids) AS"
	" u(id) JOIN windlass.jobs j ON j.id = u.id WHERE l.slots IS NOT NULL AND NOT EXISTS (SELECT"
	" FROM windlass.done d WHERE d.id = u.id) GROUP BY 1, 2";

static void read_limits(const PGresult *result, int row, int column, struct arena *arena,
			struct limits *limits_r)
{
	limits_read_row(result, row, column, limits_r);
	limits_r->weights = arena_strdup(arena, limits_r->weights);
}

static int64_t count_in_hand(const PGresult *result, const struct limits_view *view)
{
	int64_t count = 0;

	for (int row = 0; row < PQntuples(result); row++)
		if (!strcmp(result_text(result, row, view->kind == LIMITS_TYPE), view->name))
			count += result_i64(result, row, 2);
	return count;
}

int postgres_limits_list(struct store *store, struct arena *arena, struct limits_view **views_r,
			 size_t *count_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, list);
	size_t rows = postgres_send(pg);

	postgres_say(pg, in_hand);
	size_t held = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, rows);

	*count_r = (size_t)PQntuples(result);
	*views_r = ARENA_ARRAY(arena, struct limits_view, *count_r + 1);
	for (int row = 0; row < PQntuples(result); row++) {
		struct limits_view *view = &(*views_r)[row];

		view->kind = (enum limits_kind)result_i64(result, row, 0);
		view->name = result_dup(result, row, 1, arena);
		read_limits(result, row, 2, arena, &view->file);
		read_limits(result, row, 8, arena, &view->set);
		view->in_hand = count_in_hand(postgres_result(pg, held), view);
		view->spent_ms = limits_spent_ms(view, result_i64(result, row, 14),
						 result_i64(result, row, 15));
	}
	return 0;
}

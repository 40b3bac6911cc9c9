/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints that are disabled: rows that completions of webhook jobs add (fence.c), read by workers
 * and operators. */
#include "common/store/endpoint.h"

#include "common/store/postgres/postgres_impl.h"

static const char disable[] =
	"INSERT INTO windlass.endpoint_disabled AS e (url, since, job) SELECT DISTINCT ON (url)"
	" url, now(), id FROM unnest($1::uuid[], $2::text[]) AS i(id, url) ORDER BY url"
	" ON CONFLICT (url) DO UPDATE SET since = excluded.since, job = excluded.job";
static const char forget[] =
	"DELETE FROM windlass.endpoint_disabled WHERE url IN (SELECT url FROM"
	" windlass.endpoint_disabled ORDER BY since DESC, url OFFSET $1::int4)";
static const char newest[] =
	"SELECT url, since, job FROM windlass.endpoint_disabled ORDER BY since DESC, url LIMIT"
	" $1::int4";
static const char enable[] =
	"DELETE FROM windlass.endpoint_disabled WHERE url = $1::text RETURNING url";

void endpoint_send(struct postgres *pg, struct completion *const *items, size_t count)
{
	postgres_say(pg, disable);
	struct array *ids = postgres_arg_array(pg, TYPE_UUID),
		     *urls = postgres_arg_array(pg, TYPE_TEXT);

	for (size_t i = 0; i < count; i++) {
		if (items[i]->kind != COMPLETION_FINISH || !items[i]->disables)
			continue;
		array_uuid(ids, &items[i]->job->id);
		array_text(urls, items[i]->disables);
	}
	if (!ids->count)
		return;
	postgres_send(pg);
	postgres_say(pg, forget);
	postgres_arg_i32(pg, ENDPOINTS_DISABLED_MAX);
	postgres_send(pg);
}

int postgres_endpoint_disabled(struct store *store, struct arena *arena,
			       struct endpoint_view **views_r, size_t *count_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, newest);
	postgres_arg_i32(pg, ENDPOINTS_DISABLED_MAX);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	*count_r = (size_t)PQntuples(result);
	*views_r = ARENA_ARRAY(arena, struct endpoint_view, *count_r + 1);
	for (int row = 0; row < PQntuples(result); row++)
		(*views_r)[row] = (struct endpoint_view){
			.url = result_dup(result, row, 0, arena),
			.since_ms = result_ms(result, row, 1),
			.job = result_uuid(result, row, 2),
		};
	return 0;
}

static int enable_noted(struct postgres *pg, const char *url, const struct audit *audit,
			struct error *err_r)
{
	postgres_say(pg, enable);
	postgres_arg_text(pg, url);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	if (!postgres_rows(pg, place))
		return error_set(err_r, ERROR_NOT_FOUND, "that address is not disabled");
	postgres_audit(pg, audit);
	return postgres_commit_fly(pg, err_r);
}

int postgres_endpoint_enable(struct store *store, const char *url, const struct audit *audit,
			     struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_begin(pg);
	int rc = enable_noted(pg, url, audit, err_r);

	postgres_rollback(pg);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The audit's rows: added by control operations inside their transactions, read by operators. */
#include "common/store/audit.h"

#include "common/store/postgres/postgres_impl.h"

static const char note[] =
	"INSERT INTO windlass.audit (who, action, object, detail) VALUES ($1::text, $2::text,"
	" $3::text, $4::text)";
static const char page[] =
	"SELECT n, at, who, action, object, detail FROM windlass.audit WHERE ($1::text IS NULL OR"
	" who = $1) AND ($2::text IS NULL OR action = $2) AND ($3::text IS NULL OR object = $3)"
	" AND ($4::int8 = 0 OR n < $4) ORDER BY n DESC LIMIT $5::int4";

void postgres_audit(struct postgres *pg, const struct audit *audit)
{
	if (!audit)
		return;
	postgres_say(pg, note);
	postgres_arg_text(pg, audit->who);
	postgres_arg_text(pg, audit->action);
	postgres_arg_text(pg, audit->object);
	postgres_arg_text(pg, audit->detail);
	postgres_send(pg);
}

int postgres_audit_list(struct store *store, const struct audit_filter *filter, struct arena *arena,
			struct audit_view **views_r, size_t *count_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, page);
	postgres_arg_text(pg, filter->who);
	postgres_arg_text(pg, filter->action);
	postgres_arg_text(pg, filter->object);
	postgres_arg_i64(pg, filter->before);
	postgres_arg_i32(pg, (int32_t)filter->limit);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	*count_r = (size_t)PQntuples(result);
	*views_r = ARENA_ARRAY(arena, struct audit_view, *count_r + 1);
	for (int row = 0; row < PQntuples(result); row++)
		(*views_r)[row] = (struct audit_view){
			.n = result_i64(result, row, 0),
			.at_ms = result_ms(result, row, 1),
			.who = result_dup(result, row, 2, arena),
			.action = result_dup(result, row, 3, arena),
			.object = result_dup(result, row, 4, arena),
			.detail = result_null(result, row, 5) ? NULL
							      : result_dup(result, row, 5, arena),
		};
	return 0;
}

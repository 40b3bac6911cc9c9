/* SPDX-License-Identifier: Apache-2.0 */
/* Progress of running jobs: the newest attempt's latest word. Lost with a crash of the server, and
 * soon said again. */
#include "common/store/postgres/postgres_impl.h"

static const char save[] =
	"INSERT INTO windlass.progress AS p (id, attempt, part, note)"
	" SELECT DISTINCT ON (id) id, attempt, part, note FROM unnest($1::uuid[], $2::int4[],"
	" $3::float8[], $4::text[]) WITH ORDINALITY AS i(id, attempt, part, note, n)"
	" WHERE NOT EXISTS (SELECT FROM windlass.done d WHERE d.id = i.id)"
	" ORDER BY id, attempt DESC, n DESC ON CONFLICT (id) DO"
	" UPDATE SET attempt = excluded.attempt, part = excluded.part, note = excluded.note"
	" WHERE p.attempt <= excluded.attempt";

int postgres_progress_save(struct store *store, const struct progress *items, size_t count,
			   struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_begin(pg);
	postgres_plain(pg, "SET LOCAL synchronous_commit = off");
	postgres_say(pg, save);
	struct array *ids = postgres_arg_array(pg, TYPE_UUID),
		     *attempts = postgres_arg_array(pg, TYPE_INT4);
	struct array *parts = postgres_arg_array(pg, TYPE_FLOAT8),
		     *notes = postgres_arg_array(pg, TYPE_TEXT);

	for (size_t i = 0; i < count; i++) {
		array_uuid(ids, &items[i].id);
		array_i64(attempts, items[i].attempt);
		array_f64(parts, items[i].part);
		array_text(notes, items[i].note);
	}
	postgres_send(pg);
	return postgres_commit_fly(pg, err_r);
}

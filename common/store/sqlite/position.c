/* SPDX-License-Identifier: Apache-2.0 */
/* Positions in logs on SQLite: one row a partition, changed in the transaction that stores what was
 * read up to there. */
#include "common/store/position.h"

#include "common/store/sqlite/sqlite_impl.h"

int sqlite_keep_positions(struct sqlite_store *store, const struct position *positions,
			  size_t count, struct error *err_r)
{
	for (size_t i = 0; i < count; i++)
		if (sqlite_run(
			    store, err_r,
			    "INSERT INTO windlass_position (consumers, topic, part, offset) VALUES (?1, ?2, ?3, ?4) "
			    "ON CONFLICT DO UPDATE SET offset = ?4",
			    "ssii", positions[i].group, positions[i].topic,
			    (int64_t)positions[i].partition, positions[i].offset))
			return -1;
	return 0;
}

int sqlite_position_save(struct store *base, const struct position *positions, size_t count,
			 struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	if (sqlite_keep_positions(store, positions, count, err_r)) {
		sqlite_rollback(store);
		return -1;
	}
	return sqlite_commit(store, err_r);
}

int sqlite_position_load(struct store *base, struct position *positions, size_t count,
			 struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_ensure(store, err_r))
		return -1;
	for (size_t i = 0; i < count; i++) {
		positions[i].offset = -1;
		if (sqlite_number(store, err_r, &positions[i].offset,
				  "SELECT offset FROM windlass_position "
				  "WHERE consumers = ?1 AND topic = ?2 AND part = ?3",
				  "ssi", positions[i].group, positions[i].topic,
				  (int64_t)positions[i].partition) < 0)
			return -1;
	}
	return 0;
}

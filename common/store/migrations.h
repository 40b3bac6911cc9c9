/* SPDX-License-Identifier: Apache-2.0 */
/* The SQL files of common/store/migrations/, built into the binary by
 * common/store/migrations/embed. Each store applies its own, in the order of the table, under its
 * lock; a number that was released is never changed or used again. */
#ifndef COMMON_STORE_MIGRATIONS_H
#define COMMON_STORE_MIGRATIONS_H

struct migration {
	int number;       /* ascending from 1; 0 ends the table */
	const char *name; /* the file's name: "001_queue.sql" */
	const char *sql;  /* the whole file; may be several statements */
};

extern const struct migration migrations_postgres[];
extern const struct migration migrations_sqlite[];

#endif

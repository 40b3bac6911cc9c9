/* SPDX-License-Identifier: Apache-2.0 */
/* Values and statements that handlers stage: SQL text with $1..$n and its arguments. Plain data, in
 * the job's arena. $n is the n-th value on both stores. */
#ifndef COMMON_STORE_SQL_VALUE_H
#define COMMON_STORE_SQL_VALUE_H
#include <stddef.h>
#include <stdint.h>

enum sql_kind { SQL_NULL = 0, SQL_TEXT, SQL_INT, SQL_FLOAT, SQL_BOOL, SQL_BLOB };

struct sql_value {
	enum sql_kind kind;
	int64_t i;        /* SQL_INT, SQL_BOOL */
	double d;         /* SQL_FLOAT */
	const char *data; /* SQL_TEXT (NUL-terminated as well), SQL_BLOB */
	size_t bytes;
};

#define SQL_ROWS_ANY (-1)

struct sql_statement {
	const char *sql;
	const struct sql_value *args;
	size_t arg_count;
	int64_t rows; /* how many it must touch; SQL_ROWS_ANY: no check */
};

#define WRITE_SET_STATEMENTS_MAX 1000
#define WRITE_SET_BYTES_MAX      (1024 * 1024)

struct new_job;

/* What a job commits together with its outcome or step. */
struct write_set {
	const struct sql_statement *statements;
	size_t statement_count;
	/* names of what this job fights for; taken for the whole batch, sorted, first */
	const char *const *locks;
	size_t lock_count;
	/* jobs enqueued in the same transaction. One whose unique key another job has is not
	 * stored, or replaces it, as at acceptance; twins in one transaction: what would be left if
	 * they came one after the other */
	struct new_job *follow_ups;
	size_t follow_up_count;
};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of a batch run, in an order that can be taken up again: a query, a file, a job's result.
 * At most a chunk of them is in memory. One thread; every call may block for the store or a file.
 */
#ifndef PRODUCERS_BATCH_ROW_SOURCE_H
#define PRODUCERS_BATCH_ROW_SOURCE_H
#include "common/json/json_text.h"
#include "common/store/store.h"
#include "producers/batch/batch_definition.h"

struct row_source_options {
	const char *database_url;
	const char *folder;        /* WINDLASS_BATCH_DIR; "" or NULL: there is none */
	const struct reach *reach; /* whose result may be read */
};

struct row_chunk {
	struct json_slice *rows; /* JSON texts; in the arena */
	size_t count;
	int64_t rejected;     /* what could not be read as rows */
	const char *reason;   /* of the first of those, or NULL */
	const char *position; /* behind the chunk; in the arena */
	bool last;
};

struct row_source;

/* NULL: ERROR_INVALID, ERROR_NOT_FOUND: it will never do; others: weather. The definition must
 * outlive it. */
struct row_source *row_source_open(const struct row_source_options *options,
				   const struct batch_definition *definition,
				   struct error *err_r) must_check;
void row_source_close(struct row_source **source); /* NULL-safe */
/* The rows behind `position` (NULL: the first ones). ERROR_SQL, ERROR_INVALID: it will never do. */
int row_source_read(struct row_source *source, const char *position, size_t max,
		    struct arena *arena, struct row_chunk *chunk_r, struct error *err_r) must_check;

#endif

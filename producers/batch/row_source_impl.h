/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of row_source.h share. */
#ifndef PRODUCERS_BATCH_ROW_SOURCE_IMPL_H
#define PRODUCERS_BATCH_ROW_SOURCE_IMPL_H
#include <stdio.h>

#include "producers/batch/row_source.h"

struct row_source {
	const struct row_source_options *options;
	const struct batch_definition *definition;
	struct store *store; /* reads; of a query or a result */
	size_t rows_max;     /* of a query: fewer when they are long */
	FILE *file;
	char **columns; /* of a CSV file */
	size_t column_count;
};

/* ---- row_query.c */
int row_query_read(struct row_source *source, const char *position, size_t max, struct arena *arena,
		   struct row_chunk *chunk_r, struct error *err_r) must_check;
/* ---- row_file.c */
int row_file_open(struct row_source *source, struct error *err_r) must_check;
void row_file_close(struct row_source *source);
int row_file_read(struct row_source *source, const char *position, size_t max, struct arena *arena,
		  struct row_chunk *chunk_r, struct error *err_r) must_check;

#endif

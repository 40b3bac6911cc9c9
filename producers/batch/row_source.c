/* SPDX-License-Identifier: Apache-2.0 */
/* See row_source.h. A job's result is at most as long as a result may be: it is read anew for each
 * chunk, and the position is the number of the next row. */
#include "producers/batch/row_source.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/query.h"
#include "producers/batch/row_source_impl.h"

static int open_store(struct row_source *source, struct error *err_r)
{
	return store_open(source->options->database_url,
			  source->definition->kind == BATCH_SQL ? STORE_READ : STORE_WRITE,
			  "windlass-batch-rows", &source->store, err_r);
}

struct row_source *row_source_open(const struct row_source_options *options,
				   const struct batch_definition *definition, struct error *err_r)
{
	struct row_source *source = xcalloc(1, sizeof(*source));

	*source = (struct row_source){ .options = options,
				       .definition = definition,
				       .rows_max = BATCH_ROWS_A_CHUNK };
	CHECK(definition->kind != BATCH_PUSHED);
	if ((definition->kind == BATCH_FILE ? row_file_open(source, err_r)
					    : open_store(source, err_r)) < 0)
		row_source_close(&source);
	return source;
}

void row_source_close(struct row_source **source)
{
	if (!*source)
		return;
	row_file_close(*source);
	store_close(&(*source)->store);
	free(*source);
	*source = NULL;
}

static int read_result(struct row_source *source, const char *position, size_t max,
		       struct arena *arena, struct row_chunk *chunk_r, struct error *err_r)
{
	int64_t from = position ? strtoll(position, NULL, 10) : 0, n = 0;
	struct json_slice result, row;
	const char *cursor = NULL;
	struct job_view view;

	*chunk_r = (struct row_chunk){ .rows = ARENA_ARRAY(arena, struct json_slice, max),
				       .last = true };
	if (query_job(source->store, source->options->reach, &source->definition->job, arena, &view,
		      err_r) < 0)
		return -1;
	if (view.state != JOB_COMPLETED || !view.result || *view.result != '[')
		return error_set(err_r, ERROR_INVALID,
				 "the job has not completed with a list as its result");
	result = (struct json_slice){ view.result, strlen(view.result) };
	while (json_slice_element(result, &cursor, &row) == 1) {
		if (n++ < from)
			continue;
		if (chunk_r->count == max) {
			chunk_r->last = false;
			break;
		}
		chunk_r->rows[chunk_r->count++] = row;
	}
	chunk_r->position = arena_printf(arena, "%" PRId64, from + (int64_t)chunk_r->count);
	return 0;
}

int row_source_read(struct row_source *source, const char *position, size_t max,
		    struct arena *arena, struct row_chunk *chunk_r, struct error *err_r)
{
	switch (source->definition->kind) {
	case BATCH_SQL:
		return row_query_read(source, position, max, arena, chunk_r, err_r);
	case BATCH_FILE:
		return row_file_read(source, position, max, arena, chunk_r, err_r);
	case BATCH_JOB:
		return read_result(source, position, max, arena, chunk_r, err_r);
	case BATCH_PUSHED:
		break;
	}
	CHECK(!"a source that is read");
	return -1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch run is asked to do: where its rows come from, and the job that each becomes. Read
 * once from a request (the API, a schedule) into a text that the store keeps, and from that text
 * again by whoever feeds it. */
#ifndef PRODUCERS_BATCH_BATCH_DEFINITION_H
#define PRODUCERS_BATCH_BATCH_DEFINITION_H
#include "common/config/job_request.h"

#define BATCH_ROWS_A_CHUNK  5000
#define BATCH_CHUNK_BYTES   (8 * 1024 * 1024)
#define BATCH_SQL_BYTES_MAX (64 * 1024)

enum batch_source_kind { BATCH_SQL = 1, BATCH_FILE, BATCH_JOB, BATCH_PUSHED };

struct batch_definition {
	enum batch_source_kind kind;
	/* BATCH_SQL: rows in the order of this column, unique and not null */
	const char *sql, *key;
	const char *file; /* BATCH_FILE: below WINDLASS_BATCH_DIR */
	bool csv;         /* BATCH_FILE: else NDJSON */
	struct uuid job;  /* BATCH_JOB: whose result is a list of rows */
	/* what every job of it has; payload: its template, or NULL: the row */
	struct new_job model;
};

/* request: the text of an object {source, job, on_complete?, on_failure?}, valid JSON. *text_r:
 * what batch_begin keeps. All in the arena or the text. 0, or -1 with *err_r. */
int batch_definition_read(const struct job_request_context *ctx, struct json_slice request,
			  struct arena *arena, struct batch_definition *definition_r,
			  const char **text_r, struct job_request_error *err_r) must_check;

/* The job of one row (JSON text), with a new id; strings of *job_r live as long as definition, row
 * and arena. 0, or -1: the row is rejected, *reason_r says why. */
int batch_definition_job(const struct job_request_context *ctx,
			 const struct batch_definition *definition, const struct uuid *run,
			 struct json_slice row, struct arena *arena, struct new_job *job_r,
			 const char **reason_r) must_check;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs of `sql:` types have no handler process: their one statement is the write set. */
#ifndef WORKERS_HANDLERS_SQL_HANDLER_H
#define WORKERS_HANDLERS_SQL_HANDLER_H
#include "common/config/definitions.h"
#include "common/store/claim.h"
#include "common/store/sql_value.h"

/* Binds the type's template to this job; everything lives in the job's arena. What is not in the
 * payload is NULL. 0, or -1: the payload is not JSON. */
int sql_handler_writes(const struct job_type *type, const struct claimed_job *job,
		       struct write_set *writes_r, struct error *err_r) must_check;

#endif

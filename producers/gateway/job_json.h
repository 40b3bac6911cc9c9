/* SPDX-License-Identifier: Apache-2.0 */
/* How a job looks to clients. Payload, result and steps are the stored text, inserted as it stands.
 */
#ifndef PRODUCERS_GATEWAY_JOB_JSON_H
#define PRODUCERS_GATEWAY_JOB_JSON_H
#include "common/base/strbuf.h"
#include "common/config/definitions.h"
#include "common/store/acceptance.h"
#include "common/store/query.h"

/* The whole job; members that are not known or do not apply are left out. defs tell a type's own
 * max_attempts. */
void job_json_write(struct strbuf *out, const struct job_view *view,
		    const struct definitions *defs);
/* What 202 says about one job: {id, state, type, queue, …}. */
void job_json_accepted(struct strbuf *out, const struct new_job *job,
		       const struct accepted_job *accepted);
/* Puts a watch token into the object that was written last. */
void job_json_watch(struct strbuf *out, const char *token);
void job_json_id(struct strbuf *out, const struct uuid *id); /* the id as a JSON string */

#endif

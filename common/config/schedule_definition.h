/* SPDX-License-Identifier: Apache-2.0 */
/* A schedule as the definitions file or a client gives it: a JSON object {cron | every | at, zone?,
 * missed?, max_late?, tenant?, job, payload?, and the options of a job request}. The one place that
 * reads it: for the file, the API and the scheduler. */
#ifndef COMMON_CONFIG_SCHEDULE_DEFINITION_H
#define COMMON_CONFIG_SCHEDULE_DEFINITION_H
#include "common/config/job_request.h"
#include "common/schedule/timing.h"

#define SCHEDULE_OWNER     "schedule:" /* and its name: the owner of its jobs */
#define SCHEDULE_BYTES_MAX (64 * 1024) /* of a definition */

/* What becomes of ticks that nobody could run within a minute of their time. */
enum missed_policy {
	MISSED_RUN_ONCE, /* the last of them runs */
	MISSED_SKIP,     /* none runs */
	MISSED_RUN_ALL,  /* each runs */
};

struct schedule_definition {
	struct timing timing;
	const struct zone *zone;
	const char *zone_name;
	enum missed_policy missed;
	int64_t max_late_ms; /* ticks that are later never run */
	const char *tenant;  /* of its jobs */
	struct json_slice text;
};

/* text is valid JSON, root the same parsed. Strings live in root, the zone in zones. 0, or -1 with
 * *err_r; a zone that cannot be read now is JOB_REQUEST_INVALID as well. */
int schedule_definition_parse(struct json_slice text, const json_t *root, struct zones *zones,
			      struct schedule_definition *definition_r,
			      struct job_request_error *err_r) must_check;
/* The job of one tick. `${schedule.name}` and `${schedule.tick}` in the payload's texts become its
 * name and time, `$${` a plain `${`. ctx->tenant and ->owner are not looked at. Strings live in the
 * arena. */
int schedule_definition_job(const struct schedule_definition *definition, const char *name,
			    int64_t tick_ms, const struct job_request_context *ctx,
			    struct arena *arena, struct new_job *job_r,
			    struct job_request_error *err_r) must_check;
const char *missed_policy_name(enum missed_policy policy);

#endif

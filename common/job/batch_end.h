/* SPDX-License-Identifier: Apache-2.0 */
/* The states and figures of a batch run, and the job that tells of its end. Pure. */
#ifndef COMMON_JOB_BATCH_END_H
#define COMMON_JOB_BATCH_END_H
#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/base/strbuf.h"
#include "common/job/job.h"

/* numbers are stored */
enum batch_state {
	BATCH_FEEDING = 1, /* rows become jobs */
	BATCH_RUNNING,     /* all rows are jobs, not all jobs have ended */
	BATCH_COMPLETED,
	BATCH_FAILED, /* ended, and a job was discarded, a row rejected, or the source failed */
	BATCH_CANCELLED,
};

struct batch_counts {
	int64_t total; /* jobs so far */
	int64_t done, failed, cancelled;
	int64_t rejected; /* rows that are no jobs */
	int round;        /* how often the failed ones were retried */
};

struct batch_ended {
	struct uuid id;
	enum batch_state state;
	const char *tenant, *owner, *name, *definition, *error;
	struct batch_counts counts;
};

const char *batch_state_name(enum batch_state state);
bool batch_state_parse(const char *text, enum batch_state *state_r);
/* What it ends in when all its jobs have ended. */
enum batch_state batch_end_state(const struct batch_counts *counts, const char *error);
/* The definition's on_complete or on_failure job: its payload is the one that was given, with a
 * member "batch" that tells of the batch. False: there is none. The strings are in the arena. */
bool batch_end_job(const struct batch_ended *ended, struct arena *arena, struct new_job *job_r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What is said about attempts that have ended: exactly one log line each (WINDLASS_LOG_JOBS thins
 * them) and the metrics of every stage. Loop thread. */
#ifndef WORKERS_ENGINE_OUTCOME_LOG_H
#define WORKERS_ENGINE_OUTCOME_LOG_H
#include "common/config/settings.h"
#include "common/service/metrics.h"
#include "common/store/completion.h"

struct outcome_log;

struct outcome_times {
	int64_t wait_ms;                            /* from due to taken */
	int64_t started_ns, ended_ns, committed_ns; /* monotonic; started 0: it never ran */
	int64_t wall_ms;                            /* now */
};

struct outcome_log *outcome_log_new(struct metrics *metrics, enum log_jobs which, int sample);
void outcome_log_free(struct outcome_log **log);
/* The attempt's fate is COMMITTED or LOST. */
void outcome_log_add(struct outcome_log *log, const char *type, const struct completion *completion,
		     const struct outcome_times *times);
/* Writes what is buffered when that is older than 100 ms. Returns ms until it wants to be called
 * again, -1: not. */
int outcome_log_flush(struct outcome_log *log, int64_t now_mono_ms);

#endif

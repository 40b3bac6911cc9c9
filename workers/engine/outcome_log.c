/* SPDX-License-Identifier: Apache-2.0 */
/* Outcome lines and stage metrics. At tens of thousands of attempts a second the look-ups by name
 * would show, so the series of the last types are remembered here. */
#include "workers/engine/outcome_log.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/log.h"

#define CACHED_TYPES 64 /* a power of two */
#define FLUSH_MS     100
/* beyond the outcomes: somebody else gave the job its end */
#define LOST (OUTCOME_RELEASED + 1)

struct type_series {
	char *type;
	struct metric_series *finished[LOST + 1]; /* made when first needed */
};

struct outcome_log {
	struct metrics *metrics;
	enum log_jobs which;
	int sample, sample_at;
	int64_t dirty_ms; /* since when lines are buffered; 0: none are, -1: not stamped yet */
	struct type_series series[CACHED_TYPES];
	struct metric_series *wait, *handler, *commit, *total;
};

struct outcome_log *outcome_log_new(struct metrics *metrics, enum log_jobs which, int sample)
{
	struct outcome_log *log = xcalloc(1, sizeof(*log));

	log->metrics = metrics;
	log->which = which;
	log->sample = sample;
	log->wait = metrics_series(metrics, METRIC_STAGE_SECONDS, "queue_wait", NULL);
	log->handler = metrics_series(metrics, METRIC_STAGE_SECONDS, "handler", NULL);
	log->commit = metrics_series(metrics, METRIC_STAGE_SECONDS, "commit", NULL);
	log->total = metrics_series(metrics, METRIC_STAGE_SECONDS, "total", NULL);
	return log;
}

void outcome_log_free(struct outcome_log **log)
{
	if (!*log)
		return;
	log_flush();
	for (size_t i = 0; i < CACHED_TYPES; i++)
		free((*log)->series[i].type);
	free(*log);
	*log = NULL;
}

static struct metric_series *finished_series(struct outcome_log *log, const char *type, int outcome)
{
	const char *name = outcome == LOST ? "lost" : job_outcome_name((enum job_outcome)outcome);
	uint32_t hash = 5381;
	struct type_series *entry;

	for (const char *at = type; *at; at++)
		hash = hash * 33 + (unsigned char)*at;
	entry = &log->series[hash % CACHED_TYPES];
	if (!entry->type || strcmp(entry->type, type) != 0) {
		free(entry->type);
		*entry = (struct type_series){ .type = xstrdup(type) };
	}
	if (!entry->finished[outcome])
		entry->finished[outcome] =
			metrics_series(log->metrics, METRIC_JOBS_FINISHED, type, name);
	return entry->finished[outcome];
}

static bool wanted(struct outcome_log *log, int outcome)
{
	bool failure = outcome == OUTCOME_RETRY || outcome == OUTCOME_CRASHED ||
		       outcome == OUTCOME_DISCARD || outcome == LOST;

	if (log->which == LOG_JOBS_ALL || failure)
		return true;
	return log->which == LOG_JOBS_SAMPLE && ++log->sample_at % log->sample == 0;
}

static int64_t span_ms(int64_t from_ns, int64_t to_ns)
{
	return from_ns && to_ns > from_ns ? (to_ns - from_ns) / 1000000 : 0;
}

static const char *state_name(const struct completion *completion)
{
	if (completion->kind == COMPLETION_FINISH || completion->kind == COMPLETION_NOTHING)
		return completion->state ? job_state_name(completion->state) : NULL;
	return job_state_name(completion->delay_ms < 0    ? JOB_PARKED
			      : completion->delay_ms == 0 ? JOB_AVAILABLE
			      : completion->counts        ? JOB_RETRYABLE
							  : JOB_SCHEDULED);
}

static void line_add(struct outcome_log *log, const char *type, const struct completion *completion,
		     int outcome, const struct outcome_times *times)
{
	char id[UUID_TEXT];
	const struct claimed_job *job = completion->job;

	log_buffered(
		LOG_INFO, "attempt",
		(struct log_field[]){
			LOG_S("id", uuid_format(&job->id, id)),
			LOG_S("type", type),
			LOG_I("attempt", job->attempt),
			LOG_S("outcome",
			      outcome == LOST ? "lost" : job_outcome_name(completion->outcome)),
			LOG_S("state", outcome == LOST ? NULL : state_name(completion)),
			LOG_S("reason", completion->reason),
			LOG_I("wait_ms", times->wait_ms),
			LOG_I("run_ms", span_ms(times->started_ns, times->ended_ns)),
			LOG_I("commit_ms", span_ms(times->ended_ns, times->committed_ns)),
			LOG_I("total_ms", times->wall_ms - job->created_ms),
			{ .key = NULL } });
	if (!log->dirty_ms)
		log->dirty_ms = -1;
}

void outcome_log_add(struct outcome_log *log, const char *type, const struct completion *completion,
		     const struct outcome_times *times)
{
	int outcome = completion->fate == COMPLETION_LOST ? LOST : (int)completion->outcome;

	metric_add(finished_series(log, type, outcome), 1);
	metric_observe(log->wait, (double)times->wait_ms / 1e3);
	if (times->started_ns)
		metric_observe(log->handler, (double)(times->ended_ns - times->started_ns) / 1e9);
	metric_observe(log->commit, (double)(times->committed_ns - times->ended_ns) / 1e9);
	if (job_state_terminal(completion->state) && outcome != LOST)
		metric_observe(log->total,
			       (double)(times->wall_ms - completion->job->created_ms) / 1e3);
	if (wanted(log, outcome))
		line_add(log, type, completion, outcome, times);
}

int outcome_log_flush(struct outcome_log *log, int64_t now_mono_ms)
{
	if (log->dirty_ms < 0)
		log->dirty_ms = now_mono_ms;
	if (!log->dirty_ms)
		return -1;
	if (now_mono_ms - log->dirty_ms < FLUSH_MS)
		return (int)(FLUSH_MS - (now_mono_ms - log->dirty_ms));
	log_flush();
	log->dirty_ms = 0;
	return -1;
}

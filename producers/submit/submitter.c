/* SPDX-License-Identifier: Apache-2.0 */
/* The submitter's thread: gather, commit, tell. A request that may not share a commit with one that
 * is in it (see twins.h) or does not fit any more leads the next one. 202 may only be said after
 * this file said SUBMIT_DONE. */
#include "producers/submit/submitter.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/base/mailbox.h"
#include "producers/submit/depth_gate.h"
#include "producers/submit/twins.h"

#define PROBE_PAUSE_MS 100
#define AWAY_MS        1000 /* a store that is away is tried once in this time */
#define GATHER_MAX     (2 * SUBMIT_REQUESTS_MAX)
/* places in the table of types; a type beyond it is counted without one */
#define TYPES_MAX 512

struct type_count { /* the accepted jobs of one type */
	char *name; /* NULL: free */
	struct metric_series *series;
};

struct submitter {
	struct submitter_options options;
	struct mailbox *box;
	_Atomic bool stopping;
	pthread_t thread;
	/* the thread's own */
	struct store *store; /* NULL until it could be opened */
	struct twins *twins;
	struct depth_gate *gate;
	struct submission *waiting[GATHER_MAX]; /* gathered, not committed yet */
	size_t waiting_count;
	struct submission *batch[SUBMIT_REQUESTS_MAX];
	size_t batch_count, batch_jobs;
	bool store_was_away;
	/* monotonic; the store is away: requests are refused without asking it */
	int64_t closed_until_ms;
	struct error away; /* why */
	struct metric_series *batch_sizes, *accept_seconds;
	struct type_count types[TYPES_MAX]; /* open addressing by name */
};

static void finish(struct submission *submission, enum submit_result result,
		   const struct error *error)
{
	submission->result = result;
	if (error)
		submission->error = *error;
	submission->done(submission);
}

static void finish_batch(struct submitter *submitter, enum submit_result result,
			 const struct error *error)
{
	for (size_t i = 0; i < submitter->batch_count; i++)
		finish(submitter->batch[i], result, error);
}

static void count_error(struct submitter *submitter, const struct error *error)
{
	const char *code = error_code_name(error->code);

	metric_add(metrics_series(submitter->options.metrics, METRIC_STORE_ERRORS, code, NULL), 1);
	if (!submitter->store_was_away)
		log_line(LOG_WARN, "accept-store-away", LOG_S("code", code),
			 LOG_S("error", error->message));
	submitter->store_was_away = true;
	submitter->closed_until_ms = clock_mono_ms() + AWAY_MS;
	submitter->away = *error;
}

static int open_store(struct submitter *submitter, struct error *err_r)
{
	if (submitter->store)
		return 0;
	return store_open(submitter->options.database_url, STORE_WRITE, "windlass-accept",
			  &submitter->store, err_r);
}

/* ---- gather */

static bool fits(const struct submitter *submitter, const struct submission *submission)
{
	if (submitter->batch_count == SUBMIT_REQUESTS_MAX)
		return false;
	return submitter->batch_count == 0 ||
	       submitter->batch_jobs + submission->acceptance.job_count <= SUBMIT_JOBS_MAX;
}

static void add_to_batch(struct submitter *submitter, struct submission *submission)
{
	submitter->batch[submitter->batch_count++] = submission;
	submitter->batch_jobs += submission->acceptance.job_count;
}

/* Moves what may be committed together from waiting to batch; the others keep their order. */
static void choose_batch(struct submitter *submitter)
{
	size_t kept = 0;

	submitter->batch_count = submitter->batch_jobs = 0;
	twins_clear(submitter->twins);
	for (size_t i = 0; i < submitter->waiting_count; i++) {
		struct submission *submission = submitter->waiting[i];
		if (!fits(submitter, submission) ||
		    !twins_add(submitter->twins, &submission->acceptance)) {
			submitter->waiting[kept++] = submission;
			continue;
		}
		if (depth_gate_admit(submitter->gate, submitter->store, submission->defs,
				     &submission->acceptance, &submission->full_queue))
			add_to_batch(submitter, submission);
		else
			finish(submission, SUBMIT_QUEUE_FULL, NULL);
	}
	submitter->waiting_count = kept;
}

static void gather(struct submitter *submitter)
{
	size_t room = GATHER_MAX - submitter->waiting_count;
	int timeout_ms = submitter->waiting_count ? 0 : -1;
	void *items[GATHER_MAX];

	if (room > SUBMIT_REQUESTS_MAX)
		room = SUBMIT_REQUESTS_MAX;
	size_t got = mailbox_take(submitter->box, items, room, timeout_ms);
	for (size_t i = 0; i < got; i++)
		submitter->waiting[submitter->waiting_count++] = items[i];
}

/* ---- commit */

static int commit(struct submitter *submitter, struct acceptance *const *requests, size_t count,
		  struct error *err_r)
{
	if (FAILPOINT("accept_before_enqueue"))
		return error_set(err_r, ERROR_UNAVAILABLE, "failpoint accept_before_enqueue");
	if (acceptance_commit(submitter->store, requests, count, err_r) < 0)
		return -1;
	if (FAILPOINT("confirmed_before_202"))
		return error_set(err_r, ERROR_UNKNOWN, "failpoint confirmed_before_202");
	return 0;
}

/* A connection that broke while idle fails its first statement for certain; the second one opens it
 * again. */
static int commit_twice(struct submitter *submitter, struct acceptance *const *requests,
			size_t count, struct error *err_r)
{
	if (commit(submitter, requests, count, err_r) == 0)
		return 0;
	if (err_r->code != ERROR_UNAVAILABLE)
		return -1;
	return commit(submitter, requests, count, err_r);
}

static int probe(struct submitter *submitter, struct acceptance *const *requests, size_t count,
		 bool *stored_r)
{
	int64_t until_ms = clock_mono_ms() + SUBMIT_PROBE_MS;
	struct timespec pause = { .tv_nsec = PROBE_PAUSE_MS * 1000000L };
	struct error err;

	while (acceptance_probe(submitter->store, requests, count, stored_r, &err) < 0) {
		if (clock_mono_ms() >= until_ms)
			return -1;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static bool is_plain(const struct acceptance *request)
{
	for (size_t i = 0; i < request->job_count; i++) {
		if (request->jobs[i].client_id || request->jobs[i].unique_key)
			return false;
	}
	return !request->idempotency_key;
}

/* What the lost answer must have said of a request that nothing else could have decided. */
static void answer_plain(struct acceptance *request)
{
	int64_t now_ms = clock_wall_ms();

	request->verdict = ACCEPTANCE_ACCEPTED;
	for (size_t i = 0; i < request->job_count; i++) {
		const struct new_job *job = &request->jobs[i];
		bool later = job->delay_ms > 0 || job->due_ms > now_ms;
		request->accepted[i] =
			(struct accepted_job){ .id = job->id,
					       .state = later ? JOB_SCHEDULED : JOB_AVAILABLE };
	}
}

/* Requests with keys are committed once more: they are idempotent, and only the store knows whether
 * the lost commit stored them or found them stored. */
static int recommit(struct submitter *submitter, struct acceptance **requests, size_t count,
		    struct error *err_r)
{
	size_t keyed = 0;

	for (size_t i = 0; i < count; i++) {
		if (is_plain(requests[i]))
			answer_plain(requests[i]);
		else
			requests[keyed++] = requests[i];
	}
	if (keyed == 0)
		return 0;
	if (acceptance_commit(submitter->store, requests, keyed, err_r) < 0)
		return -1;
	for (size_t i = 0; i < keyed; i++) {
		for (size_t j = 0; j < requests[i]->job_count; j++) {
			struct accepted_job *accepted = &requests[i]->accepted[j];
			if (accepted->unique_conflict &&
			    uuid_equal(&accepted->id, &requests[i]->jobs[j].id))
				accepted->unique_conflict = false;
		}
	}
	return 0;
}

static struct metric_series *type_series(struct submitter *submitter, const char *type)
{
	unsigned hash = 5381;

	for (const char *p = type; *p; p++)
		hash = hash * 33 + (unsigned char)*p;
	for (unsigned i = 0; i < 8; i++) {
		struct type_count *place = &submitter->types[(hash + i) % TYPES_MAX];
		if (place->name && strcmp(place->name, type) == 0)
			return place->series;
		if (place->name)
			continue;
		place->name = xstrdup(type);
		place->series = metrics_series(submitter->options.metrics, METRIC_JOBS_ACCEPTED,
					       type, NULL);
		return place->series;
	}
	return metrics_series(submitter->options.metrics, METRIC_JOBS_ACCEPTED, type, NULL);
}

static void count_request(struct submitter *submitter, const struct acceptance *request)
{
	if (request->verdict != ACCEPTANCE_ACCEPTED)
		return;
	for (size_t i = 0; i < request->job_count; i++) {
		if (!request->accepted[i].unique_conflict)
			metric_add(type_series(submitter, request->jobs[i].type), 1);
	}
}

/* The accepted ones of the batch, for those who watch. */
static void ring_accepted(struct submitter *submitter)
{
	struct bell *bell = submitter->options.bell;
	struct uuid ids[SUBMIT_REQUESTS_MAX];

	for (size_t i = 0; bell_watched(bell) && i < submitter->batch_count; i++) {
		const struct acceptance *request = &submitter->batch[i]->acceptance;
		size_t count = 0;

		if (request->verdict != ACCEPTANCE_ACCEPTED)
			continue;
		for (size_t n = 0; n < request->job_count; n++) {
			ids[count++] = request->accepted[n].id;
			if (count == ARRAY_LEN(ids) || n + 1 == request->job_count) {
				bell_ring_moved(bell, ids, count);
				count = 0;
			}
		}
	}
}

/* Only those that got no answer yet are told that it is not known. */
static void settle_unknown(struct submitter *submitter, struct acceptance **requests,
			   const struct error *error)
{
	struct error err = *error;
	size_t count = submitter->batch_count;
	bool stored;

	metric_add(
		metrics_series(submitter->options.metrics, METRIC_COMMIT_RETRIES, "unknown", NULL),
		1);
	if (probe(submitter, requests, count, &stored) < 0) {
		count_error(submitter, &err);
		finish_batch(submitter, SUBMIT_UNKNOWN, &err);
		return;
	}
	if (!stored) {
		finish_batch(submitter, SUBMIT_UNAVAILABLE, &err);
		return;
	}
	bool told = recommit(submitter, requests, count, &err) == 0;
	bell_ring(submitter->options.bell, BELL_READY);
	ring_accepted(submitter);
	submitter->store_was_away = false;
	for (size_t i = 0; i < count; i++) {
		count_request(submitter, &submitter->batch[i]->acceptance);
		bool known = told || is_plain(&submitter->batch[i]->acceptance);
		finish(submitter->batch[i], known ? SUBMIT_DONE : SUBMIT_UNKNOWN, &err);
	}
}

static void count_accepted(struct submitter *submitter, int64_t started_ns)
{
	for (size_t i = 0; i < submitter->batch_count; i++)
		count_request(submitter, &submitter->batch[i]->acceptance);
	metric_observe(submitter->batch_sizes, (double)submitter->batch_jobs);
	metric_observe(submitter->accept_seconds, (double)(clock_mono_ns() - started_ns) / 1e9);
	submitter->store_was_away = false;
}

static void commit_batch(struct submitter *submitter)
{
	struct acceptance *requests[SUBMIT_REQUESTS_MAX];
	int64_t started_ns = clock_mono_ns();
	struct error err;

	for (size_t i = 0; i < submitter->batch_count; i++)
		requests[i] = &submitter->batch[i]->acceptance;
	if (commit_twice(submitter, requests, submitter->batch_count, &err) == 0) {
		bell_ring(submitter->options.bell, BELL_READY);
		ring_accepted(submitter);
		count_accepted(submitter, started_ns);
		finish_batch(submitter, SUBMIT_DONE, NULL);
	} else if (err.code == ERROR_UNKNOWN) {
		settle_unknown(submitter, requests, &err);
	} else {
		count_error(submitter, &err);
		finish_batch(submitter, SUBMIT_UNAVAILABLE, &err);
	}
}

static void refuse_waiting(struct submitter *submitter)
{
	for (size_t i = 0; i < submitter->waiting_count; i++)
		finish(submitter->waiting[i], SUBMIT_UNAVAILABLE, &submitter->away);
	submitter->waiting_count = 0;
}

/* False: the store is away, or was just now. */
static bool store_may_be_asked(struct submitter *submitter)
{
	struct error err;

	if (clock_mono_ms() < submitter->closed_until_ms)
		return false;
	if (open_store(submitter, &err) == 0)
		return true;
	count_error(submitter, &err);
	return false;
}

static void *submitter_run(void *submitter_)
{
	struct submitter *submitter = submitter_;

	for (;;) {
		gather(submitter);
		if (submitter->waiting_count == 0) {
			if (atomic_load(&submitter->stopping))
				return NULL;
			continue;
		}
		if (!store_may_be_asked(submitter)) {
			refuse_waiting(submitter);
			continue;
		}
		choose_batch(submitter);
		if (submitter->batch_count)
			commit_batch(submitter);
	}
}

struct submitter *submitter_start(const struct submitter_options *options)
{
	struct submitter *submitter = xcalloc(1, sizeof(*submitter));

	submitter->options = *options;
	submitter->box = mailbox_new(SUBMIT_WAITING_MAX);
	submitter->twins = twins_new();
	submitter->gate = depth_gate_new(options->queue_max);
	submitter->batch_sizes =
		metrics_series(options->metrics, METRIC_COMMIT_BATCH, "accept", NULL);
	submitter->accept_seconds =
		metrics_series(options->metrics, METRIC_STAGE_SECONDS, "accept", NULL);
	CHECK(pthread_create(&submitter->thread, NULL, submitter_run, submitter) == 0);
	return submitter;
}

bool submitter_send(struct submitter *submitter, struct submission *submission)
{
	CHECK(submission->done && submission->acceptance.job_count > 0);
	CHECK(submission->acceptance.job_count <= SUBMIT_JOBS_MAX);
	return mailbox_send(submitter->box, submission);
}

void submitter_stop(struct submitter **submitter_)
{
	struct submitter *submitter = *submitter_;

	*submitter_ = NULL;
	if (!submitter)
		return;
	atomic_store(&submitter->stopping, true);
	mailbox_close(submitter->box);
	pthread_join(submitter->thread, NULL);
	CHECK(submitter->waiting_count == 0);
	mailbox_free(&submitter->box);
	store_close(&submitter->store);
	twins_free(&submitter->twins);
	depth_gate_free(&submitter->gate);
	for (size_t i = 0; i < TYPES_MAX; i++)
		free(submitter->types[i].name);
	free(submitter);
}

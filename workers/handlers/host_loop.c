/* SPDX-License-Identifier: Apache-2.0 */
/* One line after the other: a job or a batch is marked as started in the cell, its handler is
 * called, its answer is buffered. Answers of short jobs travel together; one never waits behind a
 * job that is not known to be short. */
#include "workers/handlers/host_loop.h"

#include <string.h>

#include "common/base/clock.h"
#include "workers/handlers/host_job.h"
#include "workers/handlers/host_main.h"

#define SHORT_NS   (50 * 1000)  /* a type whose jobs take less than this on average is short */
#define HELD_NS    (200 * 1000) /* so long may an answer wait for others when the next job begins */
#define HELD_BYTES (64 * 1024)
#define BATCH_MAX  10000

struct serving {
	struct host_link *link;
	struct host_module *module;
	struct host_cell *cell;
	struct arena *arena; /* of the line being worked on */
	uint64_t line;       /* job lines so far */
};

static void learn(struct host_served *served, int64_t took_ns)
{
	int64_t *average = &served->average_ns;

	if (*average == 0)
		*average = took_ns;
	else
		*average += (took_ns - *average) / (took_ns > *average ? 4 : 16);
	if (*average < 1)
		*average = 1;
}

static bool must_flush(const struct serving *serving, const struct host_served *served,
		       int64_t now_ns)
{
	const struct host_link *link = serving->link;

	if (link->out.len == 0)
		return false;
	return !served || served->average_ns == 0 || served->average_ns > SHORT_NS ||
	       link->out.len > HELD_BYTES || now_ns - link->out_since_ns > HELD_NS;
}

/* ---- one line of jobs */
static void run_each(struct wl_job *const *jobs, size_t count, const struct wl_handler *handler,
		     enum wl_outcome *outcomes_r)
{
	if (count > 1 ? handler->run_batch != NULL : handler->run == NULL) {
		handler->run_batch(jobs, count, outcomes_r);
		return;
	}
	for (size_t i = 0; i < count; i++)
		outcomes_r[i] = handler->run(jobs[i]);
}

static void refuse_type(struct wl_job *job)
{
	job->outcome = wl_retry(job, -1, "the module has no handler for type %s", job->type);
}

static void run_jobs(struct serving *serving, struct wl_job *const *jobs, size_t count)
{
	struct host_served *served = host_module_find(serving->module, jobs[0]->type);
	enum wl_outcome *outcomes = ARENA_ARRAY(serving->arena, enum wl_outcome, count);
	struct host_slot *slot = jobs[0]->slot;
	int64_t began_ns = clock_mono_ns(), ended_ns;

	if (must_flush(serving, served, began_ns))
		(void)host_link_flush(serving->link);
	if (slot)
		atomic_store(&slot->started_ns, began_ns);
	if (served) {
		run_each(jobs, count, served->handler, outcomes);
	} else {
		for (size_t i = 0; i < count; i++) {
			refuse_type(jobs[i]);
			outcomes[i] = WL_RETRY;
		}
	}
	ended_ns = clock_mono_ns();
	if (served)
		learn(served, ended_ns - began_ns);
	for (size_t i = 0; i < count; i++)
		host_job_finish(jobs[i], outcomes[i]);
	host_link_added(serving->link, ended_ns);
	if (slot) {
		atomic_store(&slot->finished_ns, ended_ns);
		atomic_store(&slot->state, SLOT_FINISHED);
	}
}

static struct wl_job *make_job(struct serving *serving, struct host_slot *slot,
			       struct json_slice object)
{
	struct wl_job *job = ARENA_NEW(serving->arena, struct wl_job);

	/* The engine's own writer made the line: what does not fit together here is a bug of ours.
	 */
	CHECK(host_job_init(job, serving->link, slot, serving->arena, object) == 0);
	return job;
}

static size_t make_jobs(struct serving *serving, struct host_slot *slot, struct json_slice line,
			bool batch, struct wl_job **jobs_r)
{
	struct json_slice array = json_slice_get(line, "batch"), object;
	const char *cursor = NULL;
	size_t count = 0;

	if (!batch) {
		jobs_r[0] = make_job(serving, slot, line);
		return 1;
	}
	while (count < BATCH_MAX && json_slice_element(array, &cursor, &object) == 1)
		jobs_r[count++] = make_job(serving, slot, object);
	return count;
}

static void run_line(struct serving *serving, struct json_slice line, bool batch,
		     struct host_slot *slot)
{
	size_t room = batch ? BATCH_MAX : 1, count;
	struct wl_job **jobs = arena_alloc(serving->arena, room * sizeof(struct wl_job *));

	count = make_jobs(serving, slot, line, batch, jobs);
	for (size_t i = 0; i < count; i++) {
		jobs[i]->line_jobs = jobs;
		jobs[i]->line_count = count;
	}
	if (count > 0)
		run_jobs(serving, jobs, count);
	for (size_t i = 0; i < count; i++)
		host_job_release(jobs[i]);
	arena_reset(serving->arena);
}

/* ---- lines of all kinds */
enum line_kind { LINE_OTHER, LINE_JOB, LINE_BATCH };

/* Cancels and answers that come this late are for jobs that have ended. */
static enum line_kind kind_of(struct json_slice line)
{
	struct json_member member;
	const char *cursor = NULL;

	if (json_slice_next(line, &cursor, &member) != 1)
		return LINE_OTHER;
	if (json_slice_is(member.key, "batch"))
		return LINE_BATCH;
	if (!json_slice_is(member.key, "job") || json_slice_next(line, &cursor, &member) != 1)
		return LINE_OTHER;
	return json_slice_is(member.key, "cancel") || json_slice_is(member.key, "answer")
		       ? LINE_OTHER
		       : LINE_JOB;
}

/* False: the engine has pulled the job back. */
static bool start(struct host_slot *slot)
{
	if (!slot || host_slot_move(slot, SLOT_QUEUED, SLOT_STARTED))
		return true;
	(void)host_slot_move(slot, SLOT_REVOKED, SLOT_FREE);
	return false;
}

void host_loop(struct host_link *link, struct host_module *module, struct host_cell *cell)
{
	struct serving serving = {
		.link = link, .module = module, .cell = cell, .arena = arena_new(0)
	};
	struct json_slice line;

	while (host_link_line(link, &line)) {
		enum line_kind kind = kind_of(line);
		struct host_slot *slot;

		if (kind == LINE_OTHER)
			continue;
		slot = cell ? host_cell_slot(cell, serving.line) : NULL;
		serving.line++;
		if (host_term_asked())
			break;
		if (start(slot))
			run_line(&serving, line, kind == LINE_BATCH, slot);
	}
	(void)host_link_flush(link);
	arena_free(&serving.arena);
}

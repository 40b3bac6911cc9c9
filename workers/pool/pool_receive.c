/* SPDX-License-Identifier: Apache-2.0 */
/* What hosts say: ready, progress, questions and the line that ends an attempt; and what they do
 * not say in time. A line that breaks the protocol ends the process: after it nothing that follows
 * could be believed. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "workers/pool/pool_impl.h"

#define UNWRITTEN_BYTES_MAX (32 * 1024 * 1024) /* answers asked for and not read */

struct pool_ask { /* what the engine holds as a task_ask */
	struct task_ask ask;
	struct run *run;
	uint32_t handover;
};

static void fault(struct host *host, const char *what)
{
	snprintf(host->fault, sizeof(host->fault), "broke the protocol: %s", what);
	host_kill(host, HOST_END_FAULT);
}

static struct run *find_run(struct host *host, const struct uuid *job)
{
	for (struct list *at = host->in_hand.next; at != &host->in_hand; at = at->next) {
		struct run *run = run_of(at);

		if (uuid_equal(&run->task->job->id, job))
			return run;
	}
	return NULL;
}

/* ---- ready or not */
static void host_ready(struct host *host, int concurrency)
{
	host->ready = true;
	host->group->failures = 0;
	host->group->retry_ns = 0;
	if (!host->cell && concurrency > 0)
		host->concurrency = concurrency;
	pool_kick(host->pool);
}

static void host_unready(struct host *host, const char *reason)
{
	host->refused = true;
	snprintf(host->fault, sizeof(host->fault), "%s", reason);
	if (host->state == HOST_UP)
		host->state = HOST_LEAVING;
	host->kill_ns = clock_mono_ns() + HOST_TERM_NS;
	host_wake_at(host, host->kill_ns);
}

/* ---- the end of an attempt */
/* Rises fast and falls slowly: a type that is now and then long is not treated as short. */
static void learn(int64_t *average, int64_t took_ns)
{
	if (*average == 0)
		*average = took_ns;
	else
		*average += (took_ns - *average) / (took_ns > *average ? 4 : 16);
	if (*average < 1)
		*average = 1;
}

static void note_duration(struct run *run)
{
	struct pool *pool = run->group->pool;
	struct host_slot *slot = run_slot(run);
	int64_t now_ns = clock_mono_ns(), began_ns = run_began(run, now_ns), ended_ns = now_ns,
		*average;

	if (began_ns == 0)
		began_ns = now_ns;
	if (slot && !run->host->batch) {
		ended_ns = atomic_load(&slot->finished_ns);
		if (ended_ns < began_ns || ended_ns > now_ns)
			ended_ns = now_ns;
	}
	run->task->started_ns = began_ns;
	average = pool_average(pool, run->task);
	if (average)
		learn(average, ended_ns - began_ns);
	learn(&pool->mean_ns, ended_ns - began_ns);
}

static void fit_cancelled(struct run *run, struct task_outcome *outcome)
{
	char text[24];

	if (outcome->kind != OUTCOME_CANCELLED || run->task->cancel == TASK_CANCEL_REQUESTED)
		return;
	if (run->task->cancel == TASK_CANCEL_DRAIN && !run->timed_out) {
		outcome->kind = OUTCOME_RELEASED;
		return;
	}
	outcome->kind = OUTCOME_RETRY;
	outcome->reason = arena_printf(run->task->job->arena, "timed out after %s",
				       duration_format(run->task->timeout_ms, text));
}

static void take_end(struct host *host, struct run *run, struct host_line *line)
{
	struct host_slot *slot = run_slot(run);
	struct task_outcome outcome;

	if (host_line_outcome(line, run->task, &host->pool->limits, &outcome) < 0) {
		fault(host, line->fault);
		return;
	}
	fit_cancelled(run, &outcome);
	note_duration(run);
	if (slot && (!host->batch || host->in_hand_count == 1))
		atomic_store(&slot->state, SLOT_FREE);
	run_end(run, &outcome);
}

/* ---- questions */
static void answer(struct host *host, const struct task_ask *ask, const char *members, size_t bytes)
{
	host_codec_answer(&host->out, &ask->task->job->id, ask->number, members, bytes);
	host_flush(host);
	if (host_unwritten(host) > UNWRITTEN_BYTES_MAX)
		fault(host, "it does not read its answers");
}

static void refuse(struct host *host, const struct task_ask *ask, const char *reason)
{
	struct strbuf members;

	strbuf_init(&members);
	strbuf_addstr(&members, "\"error\":");
	strbuf_json(&members, reason);
	answer(host, ask, members.data, members.len);
	strbuf_release(&members);
}

static void take_ask(struct host *host, struct run *run, struct host_line *line)
{
	struct pool_ask *ask = ARENA_NEW(run->task->job->arena, struct pool_ask);
	const char *refused;

	if (host_line_ask(line, run->task, &host->pool->limits, &ask->ask, &refused) < 0) {
		fault(host, line->fault);
	} else if (run->asks_open >= TASK_ASKS_MAX) {
		fault(host, "too many questions at once");
	} else if (refused) {
		refuse(host, &ask->ask, refused);
	} else {
		run->asks_open++;
		ask->run = run;
		ask->handover = run->handovers;
		host->pool->options.ops->ask(host->pool->options.ctx, &ask->ask);
	}
}

void pool_answer(struct pool *pool, struct task_ask *task_ask, const char *members, size_t bytes)
{
	struct pool_ask *ask = (struct pool_ask *)(void *)task_ask; /* its first member */
	struct run *run = task_ask->task->host;

	(void)pool;
	if (run != ask->run || !run->host || run->handovers != ask->handover)
		return;
	CHECK(run->asks_open > 0);
	run->asks_open--;
	answer(run->host, task_ask, members, bytes);
}

static void take_progress(struct host *host, struct run *run, struct host_line *line)
{
	double part;
	const char *note;

	if (host_line_progress(line, &part, &note) < 0)
		fault(host, line->fault);
	else
		host->pool->options.ops->progress(host->pool->options.ctx, run->task, part, note);
}

static void take_started(struct host *host, struct run *run)
{
	if (run->started || host->cell)
		return;
	run->started = true;
	run->started_ns = clock_mono_ns();
	host_wake_at(host, run->started_ns + run->task->timeout_ms * INT64_C(1000000));
}

static void take_job_line(struct host *host, struct host_line *line)
{
	struct run *run = find_run(host, &line->job);

	if (host->end == HOST_END_ABORT)
		return;
	if (!run) {
		fault(host, "an unknown job id");
		return;
	}
	if (!host->ready)
		host_ready(host, 0);
	switch (line->kind) {
	case HOST_LINE_STARTED:
		take_started(host, run);
		break;
	case HOST_LINE_PROGRESS:
		take_progress(host, run, line);
		break;
	case HOST_LINE_ASK:
		take_ask(host, run, line);
		break;
	default:
		take_end(host, run, line);
	}
}

void pool_line(struct host *host, const char *text, size_t bytes)
{
	struct host_line line;

	if (host_line_parse(text, bytes, &line) < 0) {
		fault(host, line.fault);
		return;
	}
	if (line.kind == HOST_LINE_READY)
		host_ready(host, line.concurrency);
	else if (line.kind == HOST_LINE_UNREADY)
		host_unready(host, line.reason);
	else
		take_job_line(host, &line);
	host_line_release(&line);
}

/* It has closed its input: what it has not read by now it never will. */
void pool_host_deaf(struct host *host)
{
	struct list *at = host->in_hand.prev, *previous;

	for (; at != &host->in_hand && !host->cell; at = previous) {
		previous = at->prev;
		if (!run_of(at)->timed_out && host_input_read(host) <= run_of(at)->input_start)
			run_requeue(run_of(at));
	}
	if (host->state == HOST_UP)
		host->state = HOST_LEAVING;
	if (host->in_hand_count == 0 && host->kill_ns == 0) {
		host->kill_ns = clock_mono_ns() + HOST_EXIT_NS;
		host_wake_at(host, host->kill_ns);
	}
}

/* ---- time-outs */
static void time_out(struct host *host, struct run *run)
{
	/* Of a batch nobody knows who takes so long, unless it is the last one. */
	run->timed_out = !(host->batch && host->in_hand_count > 1);
	run->cancel_sent = true;
	if (run->task->cancel == TASK_GO_ON)
		run->task->cancel = TASK_CANCEL_TIMEOUT;
	host_codec_cancel(&host->out, &run->task->job->id, TASK_CANCEL_TIMEOUT);
}

/* Those that stand behind it are taken away first: the process goes, whatever the handler says. */
static void end_by_timeout(struct host *host)
{
	struct list *at = host->in_hand.prev, *previous;

	host->end = HOST_END_TIMEOUT;
	if (host->state == HOST_UP)
		host->state = HOST_LEAVING;
	for (; at != &host->in_hand; at = previous) {
		previous = at->prev;
		if (run_revoke(run_of(at)))
			run_requeue(run_of(at));
	}
	host_flush(host);
	host_signal(host, SIGTERM);
	host->kill_ns = clock_mono_ns() + HOST_TERM_NS;
}

/* When this run is over its time; a job that its host never began is bound all the same. */
static int64_t deadline(const struct run *run, int64_t now_ns)
{
	int64_t began_ns = run_began(run, now_ns);
	struct host_slot *slot = run_slot(run);

	if (began_ns == 0)
		began_ns = run->host->in_hand.next == &run->task->link ? run->sent_ns : now_ns;
	else if (slot && atomic_load(&slot->state) == SLOT_FINISHED)
		began_ns = now_ns; /* its answer waits behind another job */
	return began_ns + run->task->timeout_ms * INT64_C(1000000);
}

static void check_deadlines(struct host *host, int64_t now_ns)
{
	int64_t next_ns = 0;
	bool late = false;

	for (struct list *at = host->in_hand.next; at != &host->in_hand; at = at->next) {
		struct run *run = run_of(at);
		int64_t due_ns = deadline(run, now_ns);

		if (due_ns <= now_ns) {
			late = true;
			time_out(host, run);
		} else if (next_ns == 0 || due_ns < next_ns) {
			next_ns = due_ns;
		}
	}
	if (late)
		end_by_timeout(host);
	else if (next_ns)
		host_wake_at(host, next_ns);
}

void pool_host_due(struct host *host)
{
	int64_t now_ns = clock_mono_ns();

	if (host->kill_ns && host->kill_ns <= now_ns) {
		host_kill(host, host->end);
		return;
	}
	if (host->kill_ns == 0)
		check_deadlines(host, now_ns);
	if (host->kill_ns)
		host_wake_at(host, host->kill_ns);
}

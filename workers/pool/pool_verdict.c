/* SPDX-License-Identifier: Apache-2.0 */
/* A host is dead: who is guilty? The one job that had been started and not answered; it gets the
 * strike, everything else of that host runs again as if nothing had been. Where several may be
 * guilty nobody is punished: each of them runs alone once, and the one that dies alone is it. A
 * host that dies before it has said anything is the handler's fault and no job's. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "workers/handlers/sandbox.h"
#include "workers/pool/pool_impl.h"

#define REASON_BYTES      320
#define BACK_OFF_FIRST_MS 50
#define BACK_OFF_MAX_MS   10000
/* Deaths in a row before anything was said, until waiting tasks end as retries; and when each was a
 * SIGKILL from outside, which says little about the handler. */
#define FAILURES_MAX        3
#define FAILURES_KILLED_MAX 10

struct death {
	struct host *host;
	int status;
	int64_t peak_bytes;
	char reason[REASON_BYTES];
};

/* ---- in words */
static void add_memory(struct death *death)
{
	int64_t limit = death->host->group->recipe.memory_bytes_max;
	size_t used = strlen(death->reason);

	if (limit > 0 && death->peak_bytes >= limit / 10 * 8)
		snprintf(death->reason + used, sizeof(death->reason) - used,
			 ", at its memory limit of %lld MiB", (long long)(limit >> 20));
	else if (WIFSIGNALED(death->status) && WTERMSIG(death->status) == SIGKILL)
		snprintf(death->reason + used, sizeof(death->reason) - used,
			 ", by the system or a person");
}

/* A module's host leaves the call's number; of a program only the signal is known. */
static void describe_forbidden(struct death *death)
{
	int number = death->host->cell ? atomic_load(&death->host->cell->forbidden) : 0;
	char name[SANDBOX_CALL_TEXT];

	snprintf(death->reason, REASON_BYTES, "crashed: forbidden system call%s%s%s",
		 number ? " (" : "", number ? sandbox_call_name(number - 1, name) : "",
		 number ? ")" : "");
}

static void describe(struct death *death)
{
	const struct host *host = death->host;
	char *reason = death->reason;

	if (host->end == HOST_END_FAULT || host->refused) {
		snprintf(reason, REASON_BYTES, "%s", host->fault);
	} else if (WIFSIGNALED(death->status) && WTERMSIG(death->status) == SIGSYS) {
		describe_forbidden(death);
	} else if (WIFSIGNALED(death->status)) {
		int number = WTERMSIG(death->status);

		snprintf(reason, REASON_BYTES, "killed by signal %d (%s)", number,
			 strsignal(number));
		add_memory(death);
	} else {
		snprintf(reason, REASON_BYTES, "exited with %d %s", WEXITSTATUS(death->status),
			 host->ready ? "while running" : "before it was ready");
		add_memory(death);
	}
}

/* ---- suspects */
static bool is_suspect(struct run *run)
{
	struct host_slot *slot = run_slot(run);
	struct host *host = run->host;
	uint32_t state;

	if (host->refused)
		return false;
	if (!slot)
		return run->started || host_input_read(host) > run->input_start;
	state = atomic_load(&slot->state);
	/* What it wrote besides the protocol may be of a job whose answer is still behind it. */
	return state == SLOT_STARTED || (host->end == HOST_END_FAULT && state == SLOT_FINISHED);
}

static size_t count_suspects(struct host *host, struct run **only_r)
{
	size_t count = 0, started = 0;

	for (struct list *at = host->in_hand.next; at != &host->in_hand; at = at->next) {
		struct run *run = run_of(at);

		started += run->started;
		if (is_suspect(run)) {
			*only_r = run;
			count++;
		}
	}
	/* Where a host names what it starts, the others are innocent. */
	if (started == 1 && !host->batch) {
		for (struct list *at = host->in_hand.next; at != &host->in_hand; at = at->next) {
			if (run_of(at)->started)
				*only_r = run_of(at);
		}
		return 1;
	}
	return count;
}

static void end_guilty(struct death *death, struct run *run)
{
	struct task *task = run->task;
	char duration[24], reason[REASON_BYTES];
	int64_t began_ns = run_began(run, clock_mono_ns());

	task->started_ns = began_ns ? began_ns : run->sent_ns;
	if (task->cancel == TASK_CANCEL_REQUESTED && death->host->end == HOST_END_TIMEOUT) {
		run_end_as(run, OUTCOME_CANCELLED, NULL);
	} else if (death->host->end == HOST_END_TIMEOUT) {
		snprintf(reason, sizeof(reason), "timed out after %s",
			 duration_format(task->timeout_ms, duration));
		run_end_as(run, OUTCOME_RETRY, reason);
	} else {
		run_end_as(run, OUTCOME_CRASHED, death->reason);
	}
}

static void end_timed_out(struct death *death)
{
	struct list *at = death->host->in_hand.next, *next;

	for (; at != &death->host->in_hand; at = next) {
		next = at->next;
		if (run_of(at)->timed_out) {
			end_guilty(death, run_of(at));
			next = death->host->in_hand.next; /* the engine was called: start over */
		}
	}
}

static bool anybody_timed_out(const struct host *host)
{
	for (struct list *at = host->in_hand.next; at != &host->in_hand; at = at->next) {
		if (run_of(at)->timed_out)
			return true;
	}
	return false;
}

static void mark_suspects(struct host *host)
{
	for (struct list *at = host->in_hand.next; at != &host->in_hand; at = at->next) {
		struct run *run = run_of(at);

		run->solo |= is_suspect(run);
	}
}

/* Returns whether any job was to blame or suspected. */
static bool judge(struct death *death)
{
	struct run *only = NULL;
	size_t suspects;

	if (anybody_timed_out(death->host)) {
		end_timed_out(death);
		return true;
	}
	suspects = count_suspects(death->host, &only);
	if (suspects == 1)
		end_guilty(death, only);
	else if (suspects > 1)
		mark_suspects(death->host);
	return suspects > 0;
}

static void requeue_rest(struct host *host)
{
	while (!list_empty(&host->in_hand)) {
		struct run *run = run_of(host->in_hand.prev);

		if (run->task->cancel == TASK_CANCEL_REQUESTED)
			run_end_as(run, OUTCOME_CANCELLED, NULL);
		else if (host->pool->draining)
			run_end_as(run, OUTCOME_RELEASED, NULL);
		else
			run_requeue(run);
	}
}

/* ---- handlers that cannot work */
void group_back_off(struct host_group *group)
{
	int64_t wait_ms = BACK_OFF_FIRST_MS;

	for (int i = 0; i < group->failures && wait_ms < BACK_OFF_MAX_MS; i++)
		wait_ms *= 2;
	if (wait_ms > BACK_OFF_MAX_MS)
		wait_ms = BACK_OFF_MAX_MS;
	group->failures++;
	group->retry_ns = clock_mono_ns() + wait_ms * INT64_C(1000000);
}

void group_fail(struct host_group *group, const char *reason)
{
	for (size_t count = group->waiting_count; count > 0 && !list_empty(&group->waiting);
	     count--)
		run_end_as(run_of(group->waiting.next), OUTCOME_RETRY, reason);
}

static void count_death(struct host *host)
{
	const char *why = host->end == HOST_END_TIMEOUT ? "timeout"
			  : host->end == HOST_END_FAULT ? "protocol"
							: "crashed";

	if (host->pool->options.metrics)
		metric_add(
			metrics_series(host->pool->options.metrics, METRIC_HOST_DEATHS, why, NULL),
			1);
}

/* A host that said nothing and that no job is to blame for. */
static void judge_handler(struct death *death)
{
	struct host_group *group = death->host->group;
	bool killed = WIFSIGNALED(death->status) && WTERMSIG(death->status) == SIGKILL;

	log_line(LOG_ERROR, "handler-unready", LOG_S("handler", group->name),
		 LOG_S("reason", death->reason), LOG_I("failures", group->failures + 1));
	group_back_off(group);
	if (death->host->refused ||
	    group->failures >= (killed ? FAILURES_KILLED_MAX : FAILURES_MAX))
		group_fail(group, death->reason);
}

void pool_host_gone(struct host *host, int status, int64_t peak_bytes)
{
	struct death death = { .host = host, .status = status, .peak_bytes = peak_bytes };
	bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
		     host->end == HOST_END_ITSELF && !host->refused;
	bool asked = host->in_fd < 0 || host->end == HOST_END_ABORT, blamed;
	struct pool *pool = host->pool;

	describe(&death);
	blamed = judge(&death);
	requeue_rest(host);
	if (blamed || (!clean && !asked)) {
		count_death(host);
		log_line(LOG_WARN, "host-died", LOG_S("handler", host->group->name),
			 LOG_S("reason", death.reason));
	}
	if (!blamed && !asked && (host->refused || !host->ready))
		judge_handler(&death);
	host_free(&host);
	pool_kick(pool);
}

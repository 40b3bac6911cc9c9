/* SPDX-License-Identifier: Apache-2.0 */
/* The pool's calls: tasks come in, wait in the group of their handler, are cancelled, drained,
 * given back. What callbacks and calls change is acted on once a round, in pool_dispatch, so that
 * lines travel in batches. */
#include "workers/pool/pool.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "workers/pool/pool_impl.h"

/* ---- life */
static void on_kick(void *ctx)
{
	struct pool *pool = ctx;

	pool->kick_ns = 0;
	pool_dispatch(pool);
}

static void on_tick(void *ctx)
{
	struct pool *pool = ctx;

	pool->tick_ns = 0;
	pool_tick(pool);
}

struct pool *pool_new(const struct pool_options *options)
{
	static const char *const nothing[] = { NULL };
	struct pool *pool = xcalloc(1, sizeof(*pool));
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	CHECK(options->hosts_max > 0 && options->loop && options->ops);
	pool->options = *options;
	pool->loop = options->loop;
	pool->limits =
		(struct host_limits){ options->payload_bytes_max, options->result_bytes_max };
	/* not resolved when it need not be: /proc/self/exe stays ours */
	pool->program = *options->program == '/' ? NULL : realpath(options->program, NULL);
	if (!pool->program)
		pool->program = xstrdup(options->program);
	pool->scratch = scratch_new();
	pool->confines =
		(struct host_confines){ .scratch = pool->scratch,
					.hidden = options->hidden ? options->hidden : nothing };
	list_init(&pool->groups);
	pool->kick = loop_timer_new(pool->loop, on_kick, pool);
	pool->tick = loop_timer_new(pool->loop, on_tick, pool);
	pool->processors = processors < 1 ? 1 : (int)processors;
	if (options->metrics) {
		pool->busy = metrics_series(options->metrics, METRIC_HOSTS, "busy", NULL);
		pool->idle = metrics_series(options->metrics, METRIC_HOSTS, "idle", NULL);
	}
	return pool;
}

void pool_free(struct pool **pointer)
{
	struct pool *pool = *pointer;

	if (!pool)
		return;
	CHECK(pool->in_hand == 0);
	while (!list_empty(&pool->groups)) {
		struct host_group *group = list_first(&pool->groups, struct host_group, link);

		while (!list_empty(&group->hosts)) {
			struct host *host = list_first(&group->hosts, struct host, link);

			host_free(&host);
		}
		host_group_free(&group);
	}
	scratch_free(&pool->scratch);
	loop_timer_free(&pool->kick);
	loop_timer_free(&pool->tick);
	definitions_unref(&pool->defs);
	free(pool->by_type);
	free(pool->average_ns);
	free(pool->program);
	free(pool);
	*pointer = NULL;
}

void pool_kick_at(struct pool *pool, int64_t due_ns)
{
	if (pool->kick_ns && pool->kick_ns <= due_ns)
		return;
	pool->kick_ns = due_ns;
	loop_timer_set(pool->kick, due_ns);
}

void pool_kick(struct pool *pool)
{
	pool_kick_at(pool, 1);
}

/* ---- which group */
static struct host_group *find_group(struct pool *pool, const struct definitions *defs,
				     const struct job_type *type)
{
	struct host_group *group;

	for (struct list *at = pool->groups.next; at != &pool->groups; at = at->next) {
		group = list_entry(at, struct host_group, link);
		if (host_group_fits(group, type))
			return group;
	}
	group = host_group_new(pool, &pool->confines, defs, type);
	list_append(&pool->groups, &group->link);
	return group;
}

static void adopt(struct pool *pool, struct definitions *defs)
{
	size_t count = definitions_type_count(defs);

	definitions_unref(&pool->defs);
	pool->defs = definitions_ref(defs);
	free(pool->by_type);
	free(pool->average_ns);
	pool->by_type = xcalloc(count + 1, sizeof(*pool->by_type));
	pool->average_ns = xcalloc(count + 1, sizeof(*pool->average_ns));
}

static struct host_group *group_of(struct pool *pool, const struct task *task)
{
	if (!pool->defs)
		adopt(pool, task->defs);
	if (task->defs != pool->defs)
		return find_group(pool, task->defs, task->type);
	if (!pool->by_type[task->type->index])
		pool->by_type[task->type->index] = find_group(pool, task->defs, task->type);
	return pool->by_type[task->type->index];
}

int64_t *pool_average(struct pool *pool, const struct task *task)
{
	return task->defs == pool->defs ? &pool->average_ns[task->type->index] : NULL;
}

/* ---- tasks in and out */
void pool_run(struct pool *pool, struct task *task)
{
	struct run *run = ARENA_NEW(task->job->arena, struct run);
	struct host_group *group = group_of(pool, task);

	CHECK(!task->host &&
	      (task->type->kind == HANDLER_MODULE || task->type->kind == HANDLER_EXEC));
	run->task = task;
	run->group = group;
	task->host = run;
	if (group->waiting_count++ == 0)
		group->waiting_since_ns = clock_mono_ns();
	list_init(&task->link);
	list_append(&group->waiting, &task->link);
	pool->waiting++;
	pool->in_hand++;
	pool_kick(pool);
}

static void leave_host(struct run *run)
{
	struct host *host = run->host;

	list_remove(&run->task->link);
	run->host = NULL;
	host->in_hand_count--;
	host->ahead_ns -= run->expected_ns;
	host->slow = false;
	if (host->in_hand_count > 0)
		return;
	host->batch = host->solo = false;
	host->idle_since_ns = clock_mono_ns();
	if (host->state == HOST_LEAVING || run->group->pool->draining)
		host_retire(host);
}

static void leave(struct run *run)
{
	if (run->host) {
		leave_host(run);
		return;
	}
	list_remove(&run->task->link);
	run->group->waiting_count--;
	run->group->pool->waiting--;
}

void run_end(struct run *run, const struct task_outcome *outcome)
{
	struct pool *pool = run->group->pool;
	struct task *task = run->task;

	leave(run);
	pool->in_hand--;
	task->host = NULL;
	task->outcome = *outcome;
	task->ended_ns = clock_mono_ns();
	pool_kick(pool);
	pool->options.ops->ended(pool->options.ctx, task);
}

void run_end_as(struct run *run, enum job_outcome kind, const char *reason)
{
	struct task_outcome outcome = { .kind = kind, .after_ms = -1 };

	outcome.reason = arena_strdup(run->task->job->arena, reason);
	run_end(run, &outcome);
}

void run_requeue(struct run *run)
{
	struct host_group *group = run->group;

	CHECK(run->host);
	leave_host(run);
	run->asks_open = 0;
	run->started = run->timed_out = run->cancel_sent = false;
	run->started_ns = run->sent_ns = 0;
	if (group->waiting_count++ == 0)
		group->waiting_since_ns = clock_mono_ns();
	group->pool->waiting++;
	list_prepend(&group->waiting, &run->task->link);
	pool_kick(group->pool);
}

struct host_slot *run_slot(const struct run *run)
{
	return run->host && run->host->cell ? host_cell_slot(run->host->cell, run->line) : NULL;
}

/* What the cell says is believed only where it is possible. */
int64_t run_began(const struct run *run, int64_t now_ns)
{
	struct host_slot *slot = run_slot(run);
	int64_t began_ns;

	if (!slot)
		return run->started_ns ? run->started_ns : run->sent_ns;
	if (atomic_load(&slot->state) == SLOT_QUEUED)
		return 0;
	began_ns = atomic_load(&slot->started_ns);
	if (began_ns < run->sent_ns)
		return run->sent_ns;
	return began_ns < now_ns ? began_ns : now_ns;
}

bool run_revoke(struct run *run)
{
	struct host_slot *slot = run_slot(run);

	return slot && !run->host->batch && host_slot_move(slot, SLOT_QUEUED, SLOT_REVOKED);
}

size_t pool_in_hand(const struct pool *pool)
{
	return pool->in_hand;
}

static size_t free_places(const struct pool *pool)
{
	size_t hosts = 0, places = 0, used = pool->waiting;

	for (const struct list *g = pool->groups.next; g != &pool->groups; g = g->next) {
		const struct host_group *group = list_entry(g, struct host_group, link);

		for (const struct list *at = group->hosts.next; at != &group->hosts;
		     at = at->next) {
			const struct host *host = list_entry(at, struct host, link);

			if (host->state == HOST_UP || host->in_hand_count > 0)
				hosts++;
			if (host->state == HOST_UP &&
			    host->in_hand_count < (size_t)host->concurrency)
				places += (size_t)host->concurrency - host->in_hand_count;
		}
	}
	if (hosts < (size_t)pool->options.hosts_max)
		places += (size_t)pool->options.hosts_max - hosts;
	return places > used ? places - used : 0;
}

size_t pool_room(const struct pool *pool)
{
	size_t room, ahead = 0;

	if (pool->draining || pool->in_hand >= POOL_IN_HAND_MAX)
		return 0;
	if (pool->mean_ns > 0)
		ahead = (size_t)(POOL_AHEAD_NS * pool->options.hosts_max / pool->mean_ns);
	room = free_places(pool);
	if (ahead > pool->in_hand && ahead - pool->in_hand > room)
		room = ahead - pool->in_hand;
	return room < POOL_IN_HAND_MAX - pool->in_hand ? room : POOL_IN_HAND_MAX - pool->in_hand;
}

/* ---- stopping */
void host_retire(struct host *host)
{
	if (host->state == HOST_UP)
		host->state = HOST_LEAVING;
	if (host->state != HOST_LEAVING || host->in_hand_count > 0 || host->in_fd < 0)
		return;
	host_flush(host);
	host_close_input(host);
	if (host->kill_ns == 0)
		host->kill_ns = clock_mono_ns() + HOST_EXIT_NS;
	host_wake_at(host, host->kill_ns);
}

static void end_unstarted(struct run *run, enum task_cancel why)
{
	run_end_as(run, why == TASK_CANCEL_REQUESTED ? OUTCOME_CANCELLED : OUTCOME_RELEASED, NULL);
}

void pool_cancel(struct pool *pool, struct task *task, enum task_cancel why)
{
	struct run *run = task->host;

	CHECK(why != TASK_GO_ON);
	if (!run)
		return;
	if (task->cancel != TASK_CANCEL_REQUESTED)
		task->cancel = why;
	if (!run->host || run_revoke(run)) {
		if (why != TASK_CANCEL_TIMEOUT || run->host)
			end_unstarted(run, why);
		return;
	}
	if (run->cancel_sent)
		return;
	run->cancel_sent = true;
	host_codec_cancel(&run->host->out, &task->job->id, why);
	host_flush(run->host);
	(void)pool;
}

static void each_host(struct pool *pool, void (*visit)(struct host *))
{
	for (struct list *g = pool->groups.next; g != &pool->groups; g = g->next) {
		struct host_group *group = list_entry(g, struct host_group, link);
		struct list *at = group->hosts.next, *next;

		for (; at != &group->hosts; at = next) {
			next = at->next;
			visit(list_entry(at, struct host, link));
		}
	}
}

static void release_waiting(struct pool *pool)
{
	for (struct list *g = pool->groups.next; g != &pool->groups; g = g->next) {
		struct host_group *group = list_entry(g, struct host_group, link);

		while (!list_empty(&group->waiting))
			run_end_as(run_of(group->waiting.next), OUTCOME_RELEASED, NULL);
	}
}

static void drain_host(struct host *host)
{
	struct list *at = host->in_hand.prev, *previous;

	for (; at != &host->in_hand; at = previous) {
		struct run *run = run_of(at);

		previous = at->prev;
		if (run_revoke(run))
			run_requeue(run); /* released with all that waits */
	}
	host_retire(host);
}

void pool_drain(struct pool *pool)
{
	pool->draining = true;
	each_host(pool, drain_host);
	release_waiting(pool);
}

static void urge_host(struct host *host)
{
	struct list *at = host->in_hand.next, *next;

	for (; at != &host->in_hand; at = next) {
		next = at->next;
		pool_cancel(host->pool, run_of(at)->task, TASK_CANCEL_DRAIN);
	}
}

void pool_urge(struct pool *pool)
{
	CHECK(pool->draining);
	each_host(pool, urge_host);
}

static void abort_host(struct host *host)
{
	while (!list_empty(&host->in_hand)) {
		host->state = HOST_DYING;
		run_end_as(run_of(host->in_hand.next), OUTCOME_RELEASED, NULL);
	}
	host_kill(host, HOST_END_ABORT);
}

void pool_abort(struct pool *pool)
{
	pool_drain(pool);
	each_host(pool, abort_host);
}

void pool_reload(struct pool *pool, struct definitions *defs)
{
	adopt(pool, defs);
	for (struct list *g = pool->groups.next; g != &pool->groups; g = g->next) {
		struct host_group *group = list_entry(g, struct host_group, link);

		if (!host_group_renew(group, defs))
			continue;
		for (struct list *at = group->hosts.next; at != &group->hosts; at = at->next)
			host_retire(list_entry(at, struct host, link));
	}
	pool_kick(pool);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which host gets what, and how many hosts there are. A module host takes several jobs ahead while
 * they are short, so that lines and answers travel in batches; a job that turns out to be long has
 * those behind it pulled back through the cell. */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "workers/pool/pool_impl.h"

#define MS INT64_C(1000000)
/* Tasks wait that long before another host is started, and hosts are started that far apart. */
#define GROW_NS (2 * MS)
/* Jobs shorter than this keep a processor busy: more hosts than processors would not help. */
#define SHORT_NS (1 * MS)
/* After that a group without its share takes a host from another, one that has been at work for its
 * tenure: starting costs tens of milliseconds. */
#define STARVING_NS (50 * MS)
#define TENURE_NS   (200 * MS)
#define WARM_NS     (60000 * MS)  /* idle hosts stay that long; one of each group for ever */
#define BATCH_BYTES (1024 * 1024) /* payloads of one batch line */
#define UNREADY_MAX 2             /* module hosts being started at a time */

/* ---- sending */
static int64_t expected_ns(struct pool *pool, const struct task *task)
{
	const int64_t *average = pool_average(pool, task);

	return average && *average ? *average : HOST_WINDOW_NS;
}

static bool may_follow(struct pool *pool, const struct host *host, const struct run *run)
{
	if (host->batch || host->solo || run->solo || run->task->type->batch > 1)
		return false;
	if (!host->cell)
		return host->in_hand_count < (size_t)host->concurrency;
	return host->ready && !host->slow && host->in_hand_count < HOST_JOBS_MAX &&
	       host->ahead_ns + expected_ns(pool, run->task) <= HOST_WINDOW_NS;
}

static bool takes(struct pool *pool, const struct host *host, const struct run *run)
{
	if (host->state != HOST_UP || host_unwritten(host) > HOST_AHEAD_BYTES)
		return false;
	if (host->cell &&
	    atomic_load(&host_cell_slot(host->cell, host->lines_sent)->state) != SLOT_FREE)
		return false; /* pulled back and not passed over yet */
	return host->in_hand_count == 0 || may_follow(pool, host, run);
}

/* The one with least to do; one that is still starting only when no other takes it. */
static struct host *choose(struct pool *pool, struct host_group *group, const struct run *run)
{
	struct host *best = NULL;

	for (struct list *at = group->hosts.next; at != &group->hosts; at = at->next) {
		struct host *host = list_entry(at, struct host, link);

		if (!takes(pool, host, run))
			continue;
		if (!best || (host->ready && !best->ready) ||
		    (host->ready == best->ready && host->in_hand_count < best->in_hand_count))
			best = host;
	}
	return best;
}

static void hand_over(struct pool *pool, struct host *host, struct run *run)
{
	struct host_group *group = run->group;

	list_remove(&run->task->link);
	group->waiting_count--;
	group->served_ns = pool->now_ns;
	pool->waiting--;
	list_append(&host->in_hand, &run->task->link);
	host->in_hand_count++;
	run->host = host;
	run->line = host->lines_sent;
	run->input_start = host_input_end(host);
	run->sent_ns = pool->now_ns;
	run->handovers++;
	run->expected_ns = expected_ns(pool, run->task);
	host->ahead_ns += run->expected_ns;
	host_wake_at(host, run->sent_ns + run->task->timeout_ms * INT64_C(1000000));
}

static void queue_slot(struct host *host)
{
	if (host->cell)
		atomic_store(&host_cell_slot(host->cell, host->lines_sent)->state, SLOT_QUEUED);
	host->lines_sent++;
}

static void send_one(struct pool *pool, struct host *host, struct run *run)
{
	hand_over(pool, host, run);
	host->solo = run->solo;
	host_codec_job(&host->out, run->task);
	strbuf_addch(&host->out, '\n');
	queue_slot(host);
	if (host->cell && host->in_hand_count > 1 && pool->tick_ns == 0) {
		pool->tick_ns = pool->now_ns + HOST_WINDOW_NS;
		loop_timer_set(pool->tick, pool->tick_ns);
	}
}

/* One line with as many waiting jobs of the first one's type as it takes. */
static void send_batch(struct pool *pool, struct host *host, struct run *first)
{
	struct host_group *group = first->group;
	const struct job_type *type = first->task->type;
	struct list *at = &first->task->link, *next;
	uint64_t input_start = host_input_end(host);
	size_t bytes = 0;
	int count = 0;

	host->batch = true;
	strbuf_addstr(&host->out, "{\"batch\":[");
	for (; at != &group->waiting && count < type->batch && bytes < BATCH_BYTES; at = next) {
		struct run *run = run_of(at);

		next = at->next;
		if (run->task->type != type || (run != first && (run->solo || first->solo)))
			continue;
		if (count++ > 0)
			strbuf_addch(&host->out, ',');
		bytes += run->task->job->payload_bytes;
		host_codec_job(&host->out, run->task);
		hand_over(pool, host, run);
		run->input_start = input_start; /* one line: read for all or for none */
	}
	strbuf_addstr(&host->out, "]}\n");
	host->solo = first->solo;
	queue_slot(host);
}

static void serve(struct pool *pool, struct host_group *group)
{
	while (!list_empty(&group->waiting)) {
		struct run *run = run_of(group->waiting.next);
		struct host *host = choose(pool, group, run);

		if (!host)
			return;
		if (run->task->type->batch > 1)
			send_batch(pool, host, run);
		else
			send_one(pool, host, run);
	}
}

static void flush_all(struct host_group *group)
{
	for (struct list *at = group->hosts.next; at != &group->hosts; at = at->next) {
		struct host *host = list_entry(at, struct host, link);

		if (host_unwritten(host) > 0)
			host_flush(host);
	}
}

/* ---- how many hosts */
static size_t count_all(const struct pool *pool, size_t *processes_r)
{
	size_t count = 0;

	*processes_r = 0;

	for (const struct list *g = pool->groups.next; g != &pool->groups; g = g->next) {
		const struct host_group *group = list_entry(g, struct host_group, link);

		for (const struct list *at = group->hosts.next; at != &group->hosts;
		     at = at->next) {
			const struct host *host = list_entry(at, struct host, link);

			count += host->state == HOST_UP || host->in_hand_count > 0;
			++*processes_r;
		}
	}
	return count;
}

/* The host of other groups that has been idle longest, of those with a second one if there is any
 * such. */
static struct host *idle_elsewhere(struct pool *pool, const struct host_group *group)
{
	struct host *best = NULL;
	bool best_spare = false;

	for (struct list *g = pool->groups.next; g != &pool->groups; g = g->next) {
		struct host_group *other = list_entry(g, struct host_group, link);
		size_t idle, unready;
		bool spare = host_group_count(other, &idle, &unready) > 1;

		if (other == group || idle == 0 || other->waiting_count > 0)
			continue;
		for (struct list *at = other->hosts.next; at != &other->hosts; at = at->next) {
			struct host *host = list_entry(at, struct host, link);

			if (host->state != HOST_UP || host->in_hand_count > 0 ||
			    (best_spare && !spare))
				continue;
			if (!best || (spare && !best_spare) ||
			    host->idle_since_ns < best->idle_since_ns) {
				best = host;
				best_spare = spare;
			}
		}
	}
	return best;
}

static struct host_group *largest_group(struct pool *pool, size_t *count_r, size_t *claimants_r,
					bool *leaving_r)
{
	struct host_group *largest = NULL;

	*count_r = *claimants_r = 0;
	*leaving_r = false;
	for (struct list *g = pool->groups.next; g != &pool->groups; g = g->next) {
		struct host_group *group = list_entry(g, struct host_group, link);
		size_t idle, unready, count = host_group_count(group, &idle, &unready);

		*claimants_r += group->waiting_count > 0 || count > idle;
		if (count > *count_r) {
			*count_r = count;
			largest = group;
		}
		for (struct list *at = group->hosts.next; at != &group->hosts; at = at->next) {
			struct host *host = list_entry(at, struct host, link);

			*leaving_r |= host->state == HOST_LEAVING && host->in_hand_count > 0;
		}
	}
	return largest;
}

static void pull_back(struct host *host);

/* All hosts are busy, and some group has more than its share of them: one leaves after its job. */
static void take_from_largest(struct pool *pool, struct host_group *group, size_t count)
{
	size_t most, claimants, share;
	bool leaving;
	struct host_group *largest = largest_group(pool, &most, &claimants, &leaving);

	share = (size_t)pool->options.hosts_max / (claimants ? claimants : 1);
	if (leaving || !largest || largest == group ||
	    (count > 0 && (count >= share || most <= share)))
		return;
	for (struct list *at = largest->hosts.next; at != &largest->hosts; at = at->next) {
		struct host *host = list_entry(at, struct host, link);

		if (host->state != HOST_UP || pool->now_ns - host->started_ns < TENURE_NS)
			continue;
		pool->claimant = group;
		host_retire(host);
		if (host->cell)
			pull_back(host);
		return;
	}
}

static bool starves(const struct pool *pool, const struct host_group *group)
{
	int64_t since_ns = group->served_ns > group->waiting_since_ns ? group->served_ns
								      : group->waiting_since_ns;

	return pool->now_ns - since_ns >= STARVING_NS;
}

/* A host of this group may be started now: there is a place, or an idle one of another group
 * leaves. */
static bool make_room(struct pool *pool, struct host_group *group, size_t count)
{
	size_t limit = (size_t)pool->options.hosts_max, processes,
	       all = count_all(pool, &processes);
	struct host *idle;

	if (pool->claimant && pool->claimant->waiting_count == 0)
		pool->claimant = NULL;
	if (processes < 2 * limit + 4) { /* those that leave are still there for a moment */
		if (all + (pool->claimant && pool->claimant != group) < limit) {
			pool->claimant = pool->claimant == group ? NULL : pool->claimant;
			return true;
		}
		idle = idle_elsewhere(pool, group);
		if (idle) {
			host_retire(idle);
			return true;
		}
		if (!pool->claimant && starves(pool, group))
			take_from_largest(pool, group, count);
	}
	pool_kick_at(pool, pool->now_ns + STARVING_NS);
	return false;
}

static bool spawn(struct pool *pool, struct host_group *group)
{
	/* A line carries the payload limit and a mebibyte beside it; a job's result is below that.
	 */
	size_t line_bytes = (size_t)pool->limits.payload_bytes_max + 1024 * 1024;
	struct error error;

	if (host_group_spawn(group, pool->program, pool->loop, line_bytes,
			     pool->limits.result_bytes_max, &error))
		return true;
	log_line(LOG_ERROR, "handler-not-started", LOG_S("handler", group->name),
		 LOG_S("reason", error.message));
	group_back_off(group);
	if (error.code == ERROR_NOT_FOUND || group->failures >= 3)
		group_fail(group, error.message);
	return false;
}

/* When the group may start its next host: now, later (the kick is set), or after something has
 * happened (0). */
static int64_t grow_at(struct pool *pool, struct host_group *group, size_t count, size_t unready)
{
	const struct run *first = run_of(group->waiting.next);
	int64_t due_ns = group->retry_ns;

	if (group->recipe.hosts_max > 0 && count >= (size_t)group->recipe.hosts_max)
		return 0;
	if (count == 0)
		return due_ns > 0 ? due_ns : 1;
	if (group->module && unready >= UNREADY_MAX)
		return 0;
	if (expected_ns(pool, first->task) < SHORT_NS && count >= (size_t)pool->processors)
		return 0;
	if (group->waiting_since_ns + GROW_NS > due_ns)
		due_ns = group->waiting_since_ns + GROW_NS;
	if (group->spawned_ns + GROW_NS > due_ns)
		due_ns = group->spawned_ns + GROW_NS;
	return due_ns;
}

static void grow(struct pool *pool, struct host_group *group)
{
	while (!list_empty(&group->waiting) && !pool->draining) {
		size_t idle, unready, count = host_group_count(group, &idle, &unready);
		int64_t due_ns = grow_at(pool, group, count, unready);

		if (due_ns > pool->now_ns)
			pool_kick_at(pool, due_ns);
		if (due_ns == 0 || due_ns > pool->now_ns || !make_room(pool, group, count) ||
		    !spawn(pool, group))
			return;
		serve(pool, group);
	}
}

static void count_hosts(struct pool *pool)
{
	size_t all = 0, all_idle = 0;

	if (!pool->busy)
		return;
	for (struct list *g = pool->groups.next; g != &pool->groups; g = g->next) {
		size_t idle, unready;

		all += host_group_count(list_entry(g, struct host_group, link), &idle, &unready);
		all_idle += idle;
	}
	metric_set(pool->busy, (double)(all - all_idle));
	metric_set(pool->idle, (double)all_idle);
}

static void retire_idle(struct pool *pool, struct host_group *group)
{
	size_t idle, unready, count = host_group_count(group, &idle, &unready);

	for (struct list *at = group->hosts.next; at != &group->hosts && count > 1; at = at->next) {
		struct host *host = list_entry(at, struct host, link);

		if (host->state != HOST_UP || host->in_hand_count > 0 ||
		    pool->now_ns - host->idle_since_ns < WARM_NS)
			continue;
		host_retire(host);
		count--;
	}
	if (count > 1 && idle > 0)
		pool_kick_at(pool, pool->now_ns + WARM_NS);
}

void pool_dispatch(struct pool *pool)
{
	pool->now_ns = clock_mono_ns();
	for (struct list *g = pool->groups.next; g != &pool->groups; g = g->next) {
		struct host_group *group = list_entry(g, struct host_group, link);

		while (pool->draining && !list_empty(&group->waiting))
			run_end_as(run_of(group->waiting.next), OUTCOME_RELEASED, NULL);
		serve(pool, group);
		grow(pool, group);
		flush_all(group);
		retire_idle(pool, group);
	}
	count_hosts(pool);
}

/* Of all hosts that are up, an idle one if there is any. */
static struct host *surplus(struct pool *pool, size_t *up_r)
{
	struct host *best = NULL;

	*up_r = 0;
	for (struct list *g = pool->groups.next; g != &pool->groups; g = g->next) {
		struct host_group *group = list_entry(g, struct host_group, link);

		for (struct list *at = group->hosts.next; at != &group->hosts; at = at->next) {
			struct host *host = list_entry(at, struct host, link);

			if (host->state != HOST_UP)
				continue;
			++*up_r;
			if (!best || (best->in_hand_count > 0 && host->in_hand_count == 0))
				best = host;
		}
	}
	return best;
}

void pool_resize(struct pool *pool, int hosts_max)
{
	struct host *host;
	size_t up;

	CHECK(hosts_max > 0);
	pool->options.hosts_max = hosts_max;
	while ((host = surplus(pool, &up)) && up > (size_t)hosts_max) {
		host_retire(host);
		if (host->cell)
			pull_back(host);
	}
	pool_kick(pool);
}

/* ---- what waits behind a slow job */
static void pull_back(struct host *host)
{
	struct list *at = host->in_hand.prev, *previous;

	for (; at != &host->in_hand; at = previous) {
		struct run *run = run_of(at);

		previous = at->prev;
		if (run_revoke(run))
			run_requeue(run);
	}
	host->slow = host->in_hand_count > 0;
}

/* True while there is something that could be pulled back. */
static bool look_at(struct host *host, int64_t now_ns)
{
	if (!host->cell || host->batch || host->in_hand_count < 2)
		return false;
	for (struct list *at = host->in_hand.next; at != &host->in_hand; at = at->next) {
		struct run *run = run_of(at);
		struct host_slot *slot = run_slot(run);

		if (atomic_load(&slot->state) != SLOT_STARTED ||
		    now_ns - run_began(run, now_ns) < HOST_WINDOW_NS)
			continue;
		pull_back(host);
		return false;
	}
	return true;
}

void pool_tick(struct pool *pool)
{
	int64_t now_ns = clock_mono_ns();
	bool more = false;

	for (struct list *g = pool->groups.next; g != &pool->groups; g = g->next) {
		struct host_group *group = list_entry(g, struct host_group, link);

		for (struct list *at = group->hosts.next; at != &group->hosts; at = at->next)
			more |= look_at(list_entry(at, struct host, link), now_ns);
	}
	if (more) {
		pool->tick_ns = now_ns + HOST_WINDOW_NS;
		loop_timer_set(pool->tick, pool->tick_ns);
	}
}

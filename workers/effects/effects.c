/* SPDX-License-Identifier: Apache-2.0 */
/* The effects thread's loop. Between thread and engine there are two lists under one lock: what was
 * submitted, what came back. While the store is away everything stays here and is tried again about
 * once a second; handlers go on until the engine's hands are full. */
#include "workers/effects/effects.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "workers/effects/commit.h"

#define REPAIR_POLL_MS 1000 /* look for work without having been told */
#define CLAIM_SMALL \
	256 /* a claim of fewer than it could take, and than this, has emptied the queues */
#define BACKLOG_MAX   (2 * COMMIT_ITEMS_MAX)
#define AWAY_FIRST_MS 50 /* wait after the first failure, doubled up to the next */
#define AWAY_MAX_MS   1000

/* Whether there may be work to claim. */
enum hunger {
	HUNGER_NONE,   /* the last claim found nothing, and nobody has rung since */
	HUNGER_RIDING, /* it found less than it could take: ask with the next transaction */
	HUNGER_NOW,
};

struct effects {
	struct committer committer;
	struct bell *bell;
	pthread_t thread;
	int fd;

	pthread_mutex_t lock; /* guards from here to `wake` */
	struct list inbox;
	struct list outbox;
	struct claimed_job **claimed;
	size_t claimed_count, claimed_room;
	uint64_t claim_limit;
	bool rung, tend, stop, stop_now;
	pthread_cond_t wake;

	/* the thread's own */
	bool claims_ride;    /* with commits; else jobs are taken between them */
	struct list pending; /* to be committed, oldest first */
	size_t pending_count;
	enum hunger hunger;
	uint64_t claimed_total;
	int64_t poll_ms, tend_ms; /* when due, monotonic; tend 0: not */
	int64_t away_since_ms;    /* 0: the store is there */
	int away_wait_ms;
	struct arena *arena; /* of a round */
};

static void pause_ms(int ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&time, NULL);
}

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---- the engine's side */

int effects_fd(const struct effects *effects)
{
	return effects->fd;
}

static void list_move(struct list *from, struct list *to)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

void effects_submit(struct effects *effects, struct list *items, size_t count, uint64_t claim_limit)
{
	bool news;

	pthread_mutex_lock(&effects->lock);
	news = count > 0 || claim_limit > effects->claim_limit;
	list_move(items, &effects->inbox);
	effects->claim_limit = claim_limit;
	if (news)
		pthread_cond_signal(&effects->wake);
	pthread_mutex_unlock(&effects->lock);
}

void effects_collect(struct effects *effects, struct list *items_r, struct claimed_job ***jobs_r,
		     size_t *job_count_r)
{
	uint64_t ignored;

	pthread_mutex_lock(&effects->lock);
	if (read(effects->fd, &ignored, sizeof(ignored)) < 0)
		CHECK(list_empty(&effects->outbox) && !effects->claimed_count);
	list_move(&effects->outbox, items_r);
	*jobs_r = effects->claimed;
	*job_count_r = effects->claimed_count;
	effects->claimed = NULL;
	effects->claimed_count = effects->claimed_room = 0;
	pthread_mutex_unlock(&effects->lock);
}

void effects_ring(struct effects *effects)
{
	pthread_mutex_lock(&effects->lock);
	effects->rung = true;
	pthread_cond_signal(&effects->wake);
	pthread_mutex_unlock(&effects->lock);
}

void effects_tend(struct effects *effects)
{
	pthread_mutex_lock(&effects->lock);
	effects->tend = true;
	pthread_cond_signal(&effects->wake);
	pthread_mutex_unlock(&effects->lock);
}

/* ---- the thread's side */

static void raise_fd(struct effects *e)
{
	uint64_t one = 1;

	CHECK(write(e->fd, &one, sizeof(one)) == sizeof(one));
}

static void give_claim(struct effects *e, const struct claim *claim)
{
	pthread_mutex_lock(&e->lock);
	if (e->claimed_count + claim->count > e->claimed_room) {
		e->claimed_room = e->claimed_count + claim->count + 256;
		e->claimed = xrealloc(e->claimed, e->claimed_room * sizeof(*e->claimed));
	}
	memcpy(e->claimed + e->claimed_count, claim->jobs, claim->count * sizeof(*e->claimed));
	e->claimed_count += claim->count;
	raise_fd(e);
	pthread_mutex_unlock(&e->lock);
}

static void ring_claimed(struct effects *e, const struct claim *claim)
{
	struct uuid *ids;

	if (!claim->count || !bell_watched(e->bell))
		return;
	ids = xmalloc(claim->count * sizeof(*ids));
	for (size_t i = 0; i < claim->count; i++)
		ids[i] = claim->jobs[i]->id;
	bell_ring_moved(e->bell, ids, claim->count);
	free(ids);
}

static void take_claim(struct effects *e, const struct claim *claim, size_t max)
{
	ring_claimed(e, claim);
	e->poll_ms = clock_mono_ms() + (claim->retry_ms ? claim->retry_ms : REPAIR_POLL_MS);
	if (claim->count == 0)
		e->hunger = HUNGER_NONE;
	else if ((int64_t)claim->count < min64((int64_t)max, CLAIM_SMALL) &&
		 e->hunger == HUNGER_NOW && e->claims_ride)
		e->hunger = HUNGER_RIDING;
	e->claimed_total += claim->count;
	if (claim->count)
		give_claim(e, claim);
}

/* True: this commit made work available to whoever looks. */
static bool made_ready(const struct completion *done)
{
	if (done->fate != COMPLETION_COMMITTED)
		return false;
	if (done->kind == COMPLETION_LATER)
		return done->delay_ms == 0;
	if (done->kind == COMPLETION_FINISH && done->state != JOB_COMPLETED)
		return true; /* perhaps an on_discard job */
	if (done->kind == COMPLETION_FINISH && (done->job->order_key || done->job->limited))
		return true; /* perhaps the next of its key or limit, which no claim before could
				find */
	return done->writes.follow_up_count > 0 || done->webhook_count > 0;
}

static void ring_bells(struct effects *e, struct effect **items, size_t count)
{
	struct uuid ended[COMMIT_ITEMS_MAX], moved[COMMIT_ITEMS_MAX];
	size_t ended_count = 0, moved_count = 0;
	bool ready = false;

	for (size_t i = 0; i < count; i++) {
		const struct completion *done = items[i]->completion;

		ready |= made_ready(done);
		if (done->fate != COMPLETION_COMMITTED)
			continue;
		if (done->kind == COMPLETION_FINISH)
			ended[ended_count++] = done->job->id;
		else
			moved[moved_count++] = done->job->id;
	}
	bell_ring_ended(e->bell, ended, ended_count);
	bell_ring_moved(e->bell, moved, moved_count);
	if (!ready)
		return;
	bell_ring(e->bell, BELL_READY);
	e->hunger = HUNGER_NOW;
}

static void give_back(struct effects *e, struct list *decided)
{
	if (list_empty(decided))
		return;
	pthread_mutex_lock(&e->lock);
	list_move(decided, &e->outbox);
	raise_fd(e);
	pthread_mutex_unlock(&e->lock);
}

/* What was submitted: the store need not hear of all of it. */
static void take_in(struct effects *e, struct list *submitted)
{
	struct list decided;

	list_init(&decided);
	while (!list_empty(submitted)) {
		struct effect *effect = list_first(submitted, struct effect, link);
		bool nothing = effect->completion->kind == COMPLETION_NOTHING;

		list_remove(&effect->link);
		if (nothing)
			commit_nothing(&e->committer, effect);
		list_append(nothing ? &decided : &e->pending, &effect->link);
		e->pending_count += !nothing;
	}
	give_back(e, &decided);
}

/* Gives back what has a fate. */
static void give_decided(struct effects *e, struct effect **items, size_t count)
{
	struct list decided;

	list_init(&decided);
	for (size_t i = 0; i < count; i++) {
		const char *value = items[i]->completion->stored_step_value;

		if (!items[i]->completion->fate)
			continue;
		if (items[i]->completion->kind == COMPLETION_STEP && value)
			items[i]->step_value = xstrdup(value);
		list_remove(&items[i]->link);
		list_append(&decided, &items[i]->link);
		e->pending_count--;
	}
	give_back(e, &decided);
}

static void store_answered(struct effects *e)
{
	if (!e->away_since_ms)
		return;
	log_line(LOG_INFO, "store-back", LOG_I("after_ms", clock_mono_ms() - e->away_since_ms));
	e->away_since_ms = 0;
	e->away_wait_ms = 0;
	e->hunger = HUNGER_NOW;
}

static void store_failed(struct effects *e, const struct error *error)
{
	if (!e->away_since_ms) {
		log_line(LOG_ERROR, "store-away", LOG_S("code", error_code_name(error->code)),
			 LOG_S("error", error->message));
		e->away_since_ms = clock_mono_ms();
	}
	e->away_wait_ms =
		e->away_wait_ms ? (int)min64(2 * e->away_wait_ms, AWAY_MAX_MS) : AWAY_FIRST_MS;
}

static bool is_away(const struct error *error)
{
	return error->code == ERROR_UNAVAILABLE || error->code == ERROR_UNKNOWN ||
	       error->code == ERROR_FULL;
}

/* While more is waiting here than the next transactions take, more jobs would only wait as well:
 * hosts are fast, the store is not. */
static bool wants_claim(const struct effects *e)
{
	if (e->pending_count > BACKLOG_MAX)
		return false;
	return e->hunger != HUNGER_NONE || clock_mono_ms() >= e->poll_ms;
}

static bool has_job(struct effect *const *items, size_t count, const struct uuid *id)
{
	for (size_t i = 0; i < count; i++) {
		if (uuid_equal(&items[i]->completion->job->id, id))
			return true;
	}
	return false;
}

/* The oldest that are waiting. The fences of a store are one a job, so of twins the second waits
 * for the next round. */
static size_t choose(const struct effects *e, struct effect **items_r)
{
	size_t count = 0;
	bool twins = false;

	for (const struct list *at = e->pending.next; at != &e->pending && count < COMMIT_ITEMS_MAX;
	     at = at->next) {
		struct effect *effect = list_entry(at, struct effect, link);

		twins |= effect->twin;
		if (!twins || !has_job(items_r, count, &effect->completion->job->id))
			items_r[count++] = effect;
	}
	return count;
}

static int run_commit(struct effects *e, size_t room, struct error *err_r)
{
	struct effect *items[COMMIT_ITEMS_MAX];
	struct commit_round round = { .items = items, .arena = e->arena };
	int rc;

	round.claim_max = e->claims_ride && wants_claim(e) ? room : 0;
	round.count = choose(e, items);
	rc = commit_round(&e->committer, &round, err_r);
	ring_bells(e, items, round.count);
	give_decided(e, items, round.count);
	if (round.claimed) /* after the ends: a job retried at once may be among the claimed */
		take_claim(e, &round.claim, room);
	return rc;
}

static int run_claim(struct effects *e, size_t room, struct error *err_r)
{
	struct subscriber *subscriber = e->committer.subscriber;
	struct claim claim;

	if (subscriber->ops->take(subscriber, room, e->arena, &claim, err_r) < 0) {
		e->poll_ms = clock_mono_ms() + REPAIR_POLL_MS;
		e->hunger = err_r->code == ERROR_CONTENTION ? HUNGER_RIDING : HUNGER_NOW;
		return -1;
	}
	take_claim(e, &claim, room);
	return 0;
}

static int run_tend(struct effects *e, int64_t now_ms, struct error *err_r)
{
	struct subscriber *subscriber = e->committer.subscriber;
	int64_t next_ms;
	int rc = subscriber->ops->tend(subscriber, now_ms, &next_ms, err_r);

	e->tend_ms = next_ms < 0 ? 0 : now_ms + next_ms;
	return rc;
}

/* A take that had nothing to ask about is no answer of the store. */
static int prove_back(struct effects *e, bool idle, struct error *err_r)
{
	if (idle && store_ping(e->committer.store, err_r) < 0)
		return -1;
	store_answered(e);
	return 0;
}

/* Commits, or claims, or both when claims do not ride; then what the subscriber has to do. */
static void run_round(struct effects *e, size_t room)
{
	int64_t now_ms = clock_mono_ms();
	struct error error = { 0 };
	bool idle = list_empty(&e->pending);
	bool claims = room > 0 && (e->hunger == HUNGER_NOW || now_ms >= e->poll_ms);
	int rc = 0;

	arena_reset(e->arena);
	if (!idle) {
		rc = run_commit(e, room, &error);
		claims = rc == 0 && room > 0 && !e->claims_ride && wants_claim(e);
	}
	if (claims)
		rc = run_claim(e, room, &error);
	if (rc == 0) /* cheap while nothing of it is due */
		rc = run_tend(e, now_ms, &error);
	if (rc == 0 && e->away_since_ms)
		rc = prove_back(e, idle, &error);
	if (rc == 0)
		return;
	if (is_away(&error)) {
		store_failed(e, &error);
	} else if (error.code != ERROR_CONTENTION) {
		log_line(LOG_ERROR, "claim-failed", LOG_S("code", error_code_name(error.code)),
			 LOG_S("error", error.message));
		e->hunger = HUNGER_NONE;
	}
}

/* How long there is nothing to do, 0: there is. Called with the lock. */
static int64_t idle_ms(const struct effects *e, int64_t now_ms)
{
	bool room = e->claim_limit > e->claimed_total;
	int64_t wait_ms = 60000;

	if (e->away_since_ms)
		return 0;
	if (!list_empty(&e->inbox) || !list_empty(&e->pending) || e->tend ||
	    (room && (e->rung || e->hunger == HUNGER_NOW)))
		return 0;
	if (room)
		wait_ms = min64(wait_ms, e->poll_ms - now_ms);
	if (e->tend_ms)
		wait_ms = min64(wait_ms, e->tend_ms - now_ms);
	return wait_ms > 0 ? wait_ms : 0;
}

static void wait_until(struct effects *e, int64_t mono_ms)
{
	struct timespec until = { .tv_sec = mono_ms / 1000,
				  .tv_nsec = (long)(mono_ms % 1000) * 1000000 };

	pthread_cond_timedwait(&e->wake, &e->lock, &until);
}

/* Waits until there is something to do and takes it. False: stop. */
static bool next_round(struct effects *e, size_t *room_r)
{
	int64_t now_ms = clock_mono_ms(),
		resume_ms = e->away_since_ms ? now_ms + e->away_wait_ms : now_ms;
	struct list submitted;
	bool stop, stop_now;

	list_init(&submitted);
	pthread_mutex_lock(&e->lock);
	while (!e->stop && (now_ms < resume_ms || idle_ms(e, now_ms) > 0)) {
		wait_until(e, now_ms < resume_ms ? resume_ms : now_ms + idle_ms(e, now_ms));
		now_ms = clock_mono_ms();
	}
	list_move(&e->inbox, &submitted);
	if (e->rung)
		e->hunger = HUNGER_NOW;
	e->rung = e->tend = false;
	*room_r = e->claim_limit > e->claimed_total && !e->stop ? e->claim_limit - e->claimed_total
								: 0;
	stop = e->stop;
	stop_now = e->stop_now;
	pthread_mutex_unlock(&e->lock);
	take_in(e, &submitted);
	return !stop || (!stop_now && !list_empty(&e->pending) && !e->away_since_ms);
}

static void *effects_main(void *arg)
{
	struct effects *e = arg;
	size_t room;

	while (next_round(e, &room))
		run_round(e, room);
	pthread_mutex_lock(&e->lock);
	list_move(&e->pending, &e->outbox);
	raise_fd(e);
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

struct effects *effects_new(const struct effects_options *options)
{
	struct effects *e = xcalloc(1, sizeof(*e));
	pthread_condattr_t attr;

	e->committer = (struct committer){
		.store = options->store,
		.subscriber = options->subscriber,
		.consumers = options->consumers,
		.metrics = options->metrics,
		.pause = pause_ms,
	};
	e->claims_ride = !options->subscriber->ops->on_ready;
	e->bell = options->bell;
	e->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	CHECK(e->fd >= 0);
	list_init(&e->inbox);
	list_init(&e->outbox);
	list_init(&e->pending);
	e->hunger = HUNGER_NOW;
	e->arena = arena_new(0);
	CHECK(pthread_mutex_init(&e->lock, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0);
	CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&e->wake, &attr) == 0);
	pthread_condattr_destroy(&attr);
	CHECK(pthread_create(&e->thread, NULL, effects_main, e) == 0);
	return e;
}

void effects_stop(struct effects *effects, bool now)
{
	pthread_mutex_lock(&effects->lock);
	effects->stop = true;
	effects->stop_now = now;
	pthread_cond_signal(&effects->wake);
	pthread_mutex_unlock(&effects->lock);
	CHECK(pthread_join(effects->thread, NULL) == 0);
}

void effects_free(struct effects **effects)
{
	if (!*effects)
		return;
	CHECK((*effects)->stop && list_empty(&(*effects)->outbox));
	close((*effects)->fd);
	free((*effects)->claimed);
	arena_free(&(*effects)->arena);
	pthread_cond_destroy(&(*effects)->wake);
	pthread_mutex_destroy(&(*effects)->lock);
	free(*effects);
	*effects = NULL;
}

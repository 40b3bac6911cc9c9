/* SPDX-License-Identifier: Apache-2.0 */
/* The effects thread against a store that is made up: what comes together into one transaction. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/store/store_impl.h"
#include "consumers/settle/settle.h"
#include "workers/effects/effects.h"

#define JOBS 4

static struct {
	struct store store;
	int transactions, twice; /* transactions; those with two items of one job */
	_Atomic bool away;
	_Atomic int pings;
	_Atomic int tries, takes, tends, ready_rings;
	_Atomic size_t give;      /* jobs that the next takes bring, one each */
	enum settle_verb verb[8]; /* told to the subscriber, in this order */
	struct uuid batch_then[8];
	size_t settled;
	struct uuid step_batch; /* lease of the job when its step was committed */
	bool step_foreign;
} fake;

static int fake_commit(struct store *store, const struct completion_batch *batch,
		       struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	(void)store;
	(void)arena;
	(void)claim_r;
	fake.tries++;
	if (fake.away)
		return error_set(err_r, ERROR_UNAVAILABLE, "away");
	fake.transactions++;
	for (size_t i = 0; i < batch->count; i++) {
		assert_int_not_equal(batch->items[i]->kind, COMPLETION_NOTHING);
		if (batch->items[i]->kind == COMPLETION_STEP) {
			fake.step_batch = batch->items[i]->job->batch;
			fake.step_foreign = batch->items[i]->job->source != NULL;
		}
		batch->items[i]->fate = COMPLETION_COMMITTED;
		for (size_t k = 0; k < i; k++)
			fake.twice +=
				uuid_equal(&batch->items[i]->job->id, &batch->items[k]->job->id);
	}
	return 0;
}

static int fake_ping(struct store *store, struct error *err_r)
{
	(void)store;
	fake.pings++;
	return fake.away ? error_set(err_r, ERROR_UNAVAILABLE, "away") : 0;
}

static const struct store_ops fake_store_ops = { .scheme = "fake",
						 .ping = fake_ping,
						 .completion_commit = fake_commit };

static int no_take(struct subscriber *subscriber, size_t max, struct arena *arena,
		   struct claim *claim_r, struct error *err_r)
{
	(void)subscriber;
	(void)max;
	(void)arena;
	(void)err_r;
	*claim_r = (struct claim){ 0 };
	return 0;
}

static void no_ride(struct subscriber *subscriber, struct completion_batch *batch, size_t max)
{
	(void)subscriber;
	(void)max;
	batch->session.b[0] = 1;
}

static void no_rode(struct subscriber *subscriber, const struct completion_batch *batch,
		    const struct claim *claim, const struct error *error)
{
	(void)subscriber;
	(void)batch;
	(void)claim;
	(void)error;
}

static void note_settle(struct subscriber *subscriber, const struct claimed_job *job,
			enum settle_verb verb)
{
	(void)subscriber;
	if (fake.settled == ARRAY_LEN(fake.verb))
		return;
	fake.batch_then[fake.settled] = job->batch;
	fake.verb[fake.settled++] = verb;
}

static int no_tend(struct subscriber *subscriber, int64_t now_mono_ms, int64_t *next_ms_r,
		   struct error *err_r)
{
	(void)subscriber;
	(void)now_mono_ms;
	(void)err_r;
	fake.tends++;
	*next_ms_r = -1;
	return 0;
}

/* Brings one job a time as long as there are any. */
static int one_take(struct subscriber *subscriber, size_t max, struct arena *arena,
		    struct claim *claim_r, struct error *err_r)
{
	static struct claimed_job job;

	(void)subscriber;
	assert_true(max > 0);
	fake.takes++;
	if (fake.give && fake.away)
		return error_set(err_r, ERROR_UNAVAILABLE, "away");
	*claim_r = (struct claim){ .jobs = ARENA_ARRAY(arena, struct claimed_job *, 1) };
	if (!fake.give)
		return 0;
	fake.give--;
	claim_r->count = 1;
	claim_r->jobs[0] = &job;
	return 0;
}

static void no_on_ready(struct subscriber *subscriber, void (*ring)(void *ctx), void *ctx)
{
	(void)subscriber;
	(void)ring;
	(void)ctx;
}

static const struct subscriber_ops no_ops = { .name = "none",
					      .take = no_take,
					      .ride = no_ride,
					      .rode = no_rode,
					      .settle = note_settle,
					      .tend = no_tend };
/* As with a broker: claims do not ride. */
static const struct subscriber_ops broker_ops = { .name = "broker",
						  .take = one_take,
						  .ride = no_ride,
						  .rode = no_rode,
						  .settle = note_settle,
						  .tend = no_tend,
						  .on_ready = no_on_ready };
static const struct consumer_ops consumers = { .verb = settle_verb };

static void no_ring(struct bell *bell, unsigned what)
{
	(void)bell;
	fake.ready_rings += (what & BELL_READY) != 0;
}

static void no_ring_ids(struct bell *bell, unsigned what, const struct uuid *ids, size_t count)
{
	(void)bell;
	(void)what;
	(void)ids;
	(void)count;
}

static bool not_watched(const struct bell *the_bell)
{
	(void)the_bell;
	return false;
}

static const struct bell_ops no_bell_ops = { .ring = no_ring,
					     .ring_ids = no_ring_ids,
					     .watched = not_watched };

/* ---- one thread and what it needs */

static struct subscriber subscriber;
static struct bell bell = { .ops = &no_bell_ops };
static struct metrics *metrics;
static struct effects *effects;
static size_t jobs_in; /* collected */

static void begin(const struct subscriber_ops *ops)
{
	memset(&fake, 0, sizeof(fake));
	fake.store.ops = &fake_store_ops;
	jobs_in = 0;
	subscriber.ops = ops;
	metrics = metrics_open("test");
	effects = effects_new(&(struct effects_options){ .store = &fake.store,
							 .subscriber = &subscriber,
							 .bell = &bell,
							 .consumers = &consumers,
							 .metrics = metrics });
}

/* What has no fate yet comes back without. */
static size_t finish(bool now)
{
	struct claimed_job **claimed;
	struct list back;
	size_t got = 0, count;

	effects_stop(effects, now);
	list_init(&back);
	effects_collect(effects, &back, &claimed, &count);
	free(claimed);
	for (; !list_empty(&back); got++)
		list_remove(back.next);
	effects_free(&effects);
	metrics_close(&metrics);
	return got;
}

/* Takes what is back. Returns how many effects. */
static size_t gather(void)
{
	struct pollfd readable = { .fd = effects_fd(effects), .events = POLLIN };
	struct claimed_job **claimed;
	struct list back;
	size_t got = 0, count;

	assert_int_equal(poll(&readable, 1, 5000), 1);
	list_init(&back);
	effects_collect(effects, &back, &claimed, &count);
	jobs_in += count;
	free(claimed);
	for (; !list_empty(&back); got++) {
		struct effect *effect = list_first(&back, struct effect, link);

		assert_int_equal(effect->completion->fate, COMPLETION_COMMITTED);
		list_remove(&effect->link);
	}
	return got;
}

static size_t collect(size_t want)
{
	size_t got = 0;

	while (got < want)
		got += gather();
	return got;
}

static void collect_jobs(size_t want)
{
	while (jobs_in < want)
		gather();
}

static void submit(struct effect *items, size_t count, uint64_t claim_limit)
{
	struct list submitted;

	list_init(&submitted);
	for (size_t i = 0; i < count; i++)
		list_append(&submitted, &items[i].link);
	effects_submit(effects, &submitted, count, claim_limit);
}

/* A job that was claimed again while its earlier attempt is still here: two ends of one job, which
 * no store takes in one transaction. */
static void twins_go_one_after_the_other(void **state)
{
	struct claimed_job jobs[JOBS] = { 0 };
	struct completion completions[JOBS];
	struct effect items[JOBS];

	(void)state;
	begin(&no_ops);
	for (int i = 0; i < JOBS; i++) { /* jobs 0 and 1, a twin of 0, job 3 */
		jobs[i].id.b[15] = i == 2 ? 0 : (uint8_t)i;
		completions[i] = (struct completion){ .kind = COMPLETION_FINISH,
						      .job = &jobs[i],
						      .state = JOB_COMPLETED };
		items[i] = (struct effect){ .completion = &completions[i], .twin = i == 2 };
	}
	submit(items, JOBS, 0);
	assert_int_equal(collect(JOBS), JOBS);
	assert_int_equal(fake.twice, 0);
	assert_int_equal(fake.transactions, 2);
	assert_int_equal(finish(false), 0);
}

static void nothing_is_settled_without_the_store(void **state)
{
	struct claimed_job jobs[2] = { 0 };
	struct completion completions[2];
	struct effect items[2];

	(void)state;
	begin(&broker_ops);
	fake.away = true;
	for (int i = 0; i < 2; i++) {
		jobs[i].id.b[0] = (uint8_t)i;
		completions[i] =
			(struct completion){ .kind = COMPLETION_NOTHING,
					     .job = &jobs[i],
					     .outcome = i ? OUTCOME_DONE : OUTCOME_RELEASED };
		items[i] = (struct effect){ .completion = &completions[i] };
	}
	submit(items, 2, 0);
	assert_int_equal(collect(2), 2);
	assert_int_equal(fake.tries, 0);
	assert_int_equal(fake.settled, 2);
	assert_int_equal(fake.verb[0], SETTLE_RETURN);
	assert_int_equal(fake.verb[1], SETTLE_ACK);
	assert_true(items[0].committed_ns > 0);
	assert_int_equal(finish(false), 0);
}

/* The store is away: an end waits for it, what needs no store does not, not even at the end. */
static void nothing_waits_for_no_weather(void **state)
{
	struct claimed_job jobs[2] = { 0 };
	struct completion completions[2] = {
		{ .kind = COMPLETION_FINISH, .job = &jobs[0], .state = JOB_COMPLETED },
		{ .kind = COMPLETION_NOTHING, .job = &jobs[1], .outcome = OUTCOME_DONE },
	};
	struct effect items[2] = { { .completion = &completions[0] },
				   { .completion = &completions[1] } };

	(void)state;
	jobs[1].id.b[0] = 1;
	begin(&broker_ops);
	fake.away = true;
	submit(&items[0], 1, 0);
	while (!fake.tries)
		usleep(1000);
	submit(&items[1], 1, 0);
	assert_int_equal(collect(1), 1);
	assert_int_equal(completions[1].fate, COMPLETION_COMMITTED);
	assert_int_equal(finish(true), 1);
	assert_int_equal(completions[0].fate, 0);
}

/* The job's step comes after its adoption, and finds it in its new lease. */
static void an_adopted_job_has_its_new_lease_at_once(void **state)
{
	struct claimed_job job = { .source = "s" };
	struct completion completions[2] = {
		{ .kind = COMPLETION_ADOPT, .job = &job },
		{ .kind = COMPLETION_STEP, .job = &job, .step = "a", .step_value = "1" },
	};
	struct effect items[2] = { { .completion = &completions[0], .twin = true, .adopts = &job },
				   { .completion = &completions[1] } };

	(void)state;
	uuid_v7(&job.batch);
	uuid_v7(&completions[0].adopted);
	begin(&broker_ops);
	submit(items, 2, 0);
	assert_int_equal(collect(2), 2);
	assert_int_equal(fake.transactions, 2);
	assert_int_equal(fake.settled, 1); /* a step settles nothing */
	assert_int_equal(fake.verb[0], SETTLE_LATER);
	assert_true(uuid_equal(&fake.batch_then[0], &completions[0].adopted));
	assert_true(uuid_equal(&fake.step_batch, &completions[0].adopted));
	assert_false(fake.step_foreign);
	assert_int_equal(finish(false), 0);
}

/* Commits go on and on: whoever waits in the feed must not starve. */
static void jobs_are_taken_between_commits(void **state)
{
	struct claimed_job jobs[20] = { 0 };
	struct completion completions[20];
	struct effect items[20];

	(void)state;
	begin(&broker_ops);
	fake.give = 10;
	for (int i = 0; i < 20; i++) {
		jobs[i].id.b[0] = (uint8_t)i;
		completions[i] = (struct completion){ .kind = COMPLETION_FINISH,
						      .job = &jobs[i],
						      .state = JOB_COMPLETED };
		items[i] = (struct effect){ .completion = &completions[i] };
		submit(&items[i], 1, 5);
		assert_int_equal(collect(1), 1);
	}
	collect_jobs(5);
	assert_int_equal(jobs_in, 5); /* as many as there is room for */
	assert_int_equal(fake.give, 5);
	assert_int_equal(finish(false), 0);
}

/* The end of a job with a key may let the next one of its key go, which no claim before could find.
 */
static void the_end_of_a_key_s_job_is_told(void **state)
{
	struct claimed_job jobs[2] = { 0 };
	struct completion completions[2];
	struct effect items[2];

	(void)state;
	begin(&no_ops);
	for (int i = 0; i < 2; i++) {
		jobs[i].id.b[0] = (uint8_t)i;
		jobs[i].order_key = i ? "row" : NULL;
		completions[i] = (struct completion){ .kind = COMPLETION_FINISH,
						      .job = &jobs[i],
						      .state = JOB_COMPLETED };
		items[i] = (struct effect){ .completion = &completions[i] };
		submit(&items[i], 1, 0);
		assert_int_equal(collect(1), 1);
		assert_int_equal(fake.ready_rings, i);
	}
	assert_int_equal(finish(false), 0);
}

/* Nothing to do: no take, no turn of the loop, until somebody rings. */
static void an_idle_thread_sleeps(void **state)
{
	int takes;

	(void)state;
	begin(&broker_ops);
	submit(NULL, 0, 100); /* there is room */
	while (!fake.takes)
		usleep(1000);
	usleep(100000);
	takes = fake.takes;
	assert_in_range(takes, 1, 2);
	fake.give = 3;
	effects_ring(effects);
	collect_jobs(3);
	usleep(100000);
	assert_in_range(fake.takes, takes + 4, takes + 5); /* the last one finds none */
	takes = fake.tends;
	effects_tend(effects);
	while (fake.tends == takes)
		usleep(1000);
	assert_int_equal(finish(false), 0);
}

/* What the thread said, of how often the store went and came back. */
static size_t said(FILE *log, const char *event)
{
	static char text[16384];
	ssize_t bytes = pread(fileno(log), text, sizeof(text) - 1, 0);
	size_t count = 0;

	assert_true(bytes >= 0);
	text[bytes] = 0;
	for (const char *at = strstr(text, event); at; at = strstr(at + 1, event))
		count++;
	return count;
}

/* With a broker a take that finds nothing asks no store: it is not back for that. */
static void an_idle_store_is_not_back_unasked(void **state)
{
	FILE *log = tmpfile();
	int stderr_then = dup(STDERR_FILENO);

	(void)state;
	assert_non_null(log);
	dup2(fileno(log), STDERR_FILENO);
	begin(&broker_ops);
	fake.away = true;
	fake.give = 1;
	submit(NULL, 0, 100);
	while (!fake.takes)
		usleep(1000);
	fake.give = 0; /* somebody else has it */
	while (fake.pings < 3 && fake.takes < 4)
		usleep(1000);
	assert_int_equal(said(log, "store-back"), 0);
	fake.away = false;
	while (said(log, "store-back") == 0)
		usleep(1000);
	assert_int_equal(finish(false), 0);
	dup2(stderr_then, STDERR_FILENO);
	close(stderr_then);
	assert_int_equal(said(log, "\"store-away\""), 1);
	assert_int_equal(said(log, "\"store-back\""), 1);
	fclose(log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(twins_go_one_after_the_other),
		cmocka_unit_test(nothing_is_settled_without_the_store),
		cmocka_unit_test(nothing_waits_for_no_weather),
		cmocka_unit_test(an_adopted_job_has_its_new_lease_at_once),
		cmocka_unit_test(jobs_are_taken_between_commits),
		cmocka_unit_test(the_end_of_a_key_s_job_is_told),
		cmocka_unit_test(an_idle_thread_sleeps),
		cmocka_unit_test(an_idle_store_is_not_back_unasked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

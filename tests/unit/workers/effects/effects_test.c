/* SPDX-License-Identifier: Apache-2.0 */
/* The effects thread against a store that is made up: what comes together into one transaction. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/store/store_impl.h"
#include "consumers/settle/settle.h"
#include "workers/effects/effects.h"

#define JOBS 4

static struct {
	struct store store;
	int transactions, twice; /* transactions; those with two items of one job */
} fake;

static int fake_commit(struct store *store, const struct completion_batch *batch,
		       struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	(void)store;
	(void)arena;
	(void)claim_r;
	(void)err_r;
	fake.transactions++;
	for (size_t i = 0; i < batch->count; i++) {
		batch->items[i]->fate = COMPLETION_COMMITTED;
		for (size_t k = 0; k < i; k++)
			fake.twice +=
				uuid_equal(&batch->items[i]->job->id, &batch->items[k]->job->id);
	}
	return 0;
}

static const struct store_ops fake_store_ops = { .scheme = "fake",
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
	(void)batch;
	(void)max;
}

static void no_rode(struct subscriber *subscriber, const struct completion_batch *batch,
		    const struct claim *claim, const struct error *error)
{
	(void)subscriber;
	(void)batch;
	(void)claim;
	(void)error;
}

static void no_settle(struct subscriber *subscriber, const struct claimed_job *job,
		      enum settle_verb verb)
{
	(void)subscriber;
	(void)job;
	(void)verb;
}

static int no_tend(struct subscriber *subscriber, int64_t now_mono_ms, int64_t *next_ms_r,
		   struct error *err_r)
{
	(void)subscriber;
	(void)now_mono_ms;
	(void)err_r;
	*next_ms_r = -1;
	return 0;
}

static const struct subscriber_ops no_ops = { .name = "none",
					      .take = no_take,
					      .ride = no_ride,
					      .rode = no_rode,
					      .settle = no_settle,
					      .tend = no_tend };
static const struct consumer_ops consumers = { .verb = settle_verb };

static void no_ring(struct bell *bell, unsigned what)
{
	(void)bell;
	(void)what;
}

static void no_ring_ended(struct bell *bell, const struct uuid *ids, size_t count)
{
	(void)bell;
	(void)ids;
	(void)count;
}

static const struct bell_ops no_bell_ops = { .ring = no_ring, .ring_ended = no_ring_ended };

static size_t collect(struct effects *effects, size_t want)
{
	struct pollfd readable = { .fd = effects_fd(effects), .events = POLLIN };
	struct claimed_job **claimed;
	struct list back;
	size_t got = 0, count;

	while (got < want && poll(&readable, 1, 5000) == 1) {
		list_init(&back);
		effects_collect(effects, &back, &claimed, &count);
		assert_int_equal(count, 0);
		for (; !list_empty(&back); got++) {
			struct effect *effect = list_first(&back, struct effect, link);

			assert_int_equal(effect->completion->fate, COMPLETION_COMMITTED);
			list_remove(&effect->link);
		}
	}
	return got;
}

/* A job that was claimed again while its earlier attempt is still here: two ends of one job, which
 * no store takes in one transaction. */
static void twins_go_one_after_the_other(void **state)
{
	struct subscriber subscriber = { .ops = &no_ops };
	struct bell bell = { .ops = &no_bell_ops };
	struct metrics *metrics = metrics_open("test");
	struct claimed_job jobs[JOBS] = { 0 };
	struct completion completions[JOBS];
	struct effect items[JOBS];
	struct list submitted;

	(void)state;
	memset(&fake, 0, sizeof(fake));
	fake.store.ops = &fake_store_ops;
	struct effects *effects = effects_new(&(struct effects_options){ .store = &fake.store,
									 .subscriber = &subscriber,
									 .bell = &bell,
									 .consumers = &consumers,
									 .metrics = metrics });

	list_init(&submitted);
	for (int i = 0; i < JOBS; i++) { /* jobs 0 and 1, a twin of 0, job 3 */
		jobs[i].id.b[15] = i == 2 ? 0 : (uint8_t)i;
		completions[i] = (struct completion){ .kind = COMPLETION_FINISH,
						      .job = &jobs[i],
						      .state = JOB_COMPLETED };
		items[i] = (struct effect){ .completion = &completions[i], .twin = i == 2 };
		list_append(&submitted, &items[i].link);
	}
	effects_submit(effects, &submitted, JOBS, 0);
	assert_int_equal(collect(effects, JOBS), JOBS);
	assert_int_equal(fake.twice, 0);
	assert_int_equal(fake.transactions, 2);
	effects_stop(effects, false);
	effects_free(&effects);
	metrics_close(&metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(twins_go_one_after_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

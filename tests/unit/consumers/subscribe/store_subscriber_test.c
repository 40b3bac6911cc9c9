/* SPDX-License-Identifier: Apache-2.0 */
/* Leases of the store as the queue, against a store that only notes what it was asked: when a lease
 * is deleted, with whom, and what becomes of claims whose COMMIT nobody answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/store/store_impl.h"
#include "consumers/subscribe/store_subscriber.h"

static struct {
	struct store store;
	size_t give;           /* jobs that a claim returns */
	bool unread;           /* it says that it could not read them */
	enum error_code fails; /* of the next claim */
	struct uuid batch;     /* of the last claim */
	size_t queues;
	struct uuid released[8];
	size_t released_count, sweeps, known, flushes, flushed;
} fake;

static struct claimed_job jobs[8], *handed[8];

static int fake_take(struct store *store, const struct claim_request *request, struct arena *arena,
		     struct claim *claim_r, struct error *err_r)
{
	(void)store;
	(void)arena;
	fake.batch = request->batch;
	fake.queues = request->queue_count;
	if (fake.fails)
		return error_set(err_r, fake.fails, "weather");
	claim_r->jobs = handed;
	claim_r->count = fake.give;
	claim_r->unread = fake.unread;
	for (size_t i = 0; i < fake.give; i++) {
		jobs[i].batch = request->batch;
		handed[i] = &jobs[i];
	}
	return 0;
}

static int fake_commit(struct store *store, const struct completion_batch *batch,
		       struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	(void)store;
	(void)arena;
	(void)claim_r;
	(void)err_r;
	assert_int_equal(batch->count, 0);
	fake.flushes++;
	fake.flushed += batch->finished_lease_count;
	return 0;
}

static int fake_release(struct store *store, const struct uuid *batch, struct error *err_r)
{
	(void)store;
	(void)err_r;
	fake.released[fake.released_count++] = *batch;
	return 0;
}

static int fake_sweep(struct store *store, const struct uuid *session, const struct uuid *known,
		      size_t count, int64_t *released_r, struct error *err_r)
{
	(void)store;
	(void)session;
	(void)known;
	(void)err_r;
	fake.sweeps++;
	fake.known = count;
	*released_r = 0;
	return 0;
}

static const struct store_ops fake_ops = {
	.scheme = "fake",
	.claim_take = fake_take,
	.completion_commit = fake_commit,
	.session_release_batch = fake_release,
	.session_sweep = fake_sweep,
};

static struct subscriber *subscriber;
static struct arena *arena;

static int setup(void **state)
{
	static const char two_queues[] =
		"jobs: {x: {sql: SELECT 1, queue: a}, y: {sql: SELECT 1, queue: b}}\n";
	struct definitions *defs;
	struct uuid session;

	(void)state;
	memset(&fake, 0, sizeof(fake));
	memset(jobs, 0, sizeof(jobs));
	fake.store.ops = &fake_ops;
	arena = arena_new(0);
	uuid_v7(&session);
	subscriber = store_subscriber_new(&fake.store, &session, "");
	defs = definitions_parse(two_queues, strlen(two_queues), "test.yaml", stderr);
	subscriber->ops->serve(subscriber, defs);
	definitions_unref(&defs);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	subscriber->ops->free(subscriber);
	arena_free(&arena);
	return 0;
}

static void take(size_t count)
{
	struct claim claim;
	struct error error;

	fake.give = count;
	assert_int_equal(subscriber->ops->take(subscriber, 10, arena, &claim, &error), 0);
	assert_int_equal(claim.count, count);
}

/* One transaction that ends these jobs. Returns how many leases it was to delete. */
static size_t commit(size_t first, size_t count, enum completion_mode mode,
		     const struct error *error)
{
	struct completion completions[8] = { 0 }, *items[8];
	struct completion_batch batch = { .items = items, .count = count, .mode = mode };
	struct claim claim = { 0 };

	for (size_t i = 0; i < count; i++) {
		completions[i] =
			(struct completion){ .kind = COMPLETION_FINISH, .job = &jobs[first + i] };
		items[i] = &completions[i];
	}
	subscriber->ops->ride(subscriber, &batch, 0);
	assert_null(batch.claim);
	subscriber->ops->rode(subscriber, &batch, &claim, error);
	for (size_t i = 0; !error && i < count; i++)
		subscriber->ops->settle(subscriber, &jobs[first + i], SETTLE_ACK);
	return batch.finished_lease_count;
}

static void a_lease_goes_with_its_last_job(void **state)
{
	(void)state;
	take(3);
	assert_int_equal(fake.queues, 2);
	assert_int_equal(commit(0, 2, COMPLETION_OPTIMISTIC, NULL), 0);
	assert_int_equal(commit(2, 1, COMPLETION_OPTIMISTIC, NULL), 1);
	assert_int_equal(commit(0, 0, COMPLETION_OPTIMISTIC, NULL), 0); /* and only once */
}

static void failed_transactions_count_nothing(void **state)
{
	struct error error = { .code = ERROR_CONTENTION };

	(void)state;
	take(2);
	assert_int_equal(commit(0, 2, COMPLETION_OPTIMISTIC, &error), 1);
	assert_int_equal(commit(0, 1, COMPLETION_OPTIMISTIC, NULL), 0);
	assert_int_equal(commit(1, 1, COMPLETION_OPTIMISTIC, NULL), 1);
}

static void careful_leases_go_with_the_next_transaction(void **state)
{
	(void)state;
	take(2);
	assert_int_equal(commit(0, 2, COMPLETION_CAREFUL, NULL), 0);
	assert_int_equal(commit(0, 0, COMPLETION_CAREFUL, NULL), 1);
	assert_int_equal(commit(0, 0, COMPLETION_CAREFUL, NULL), 0);
}

static void an_idle_moment_flushes(void **state)
{
	int64_t next_ms, now_ms = clock_mono_ms();
	struct error error;

	(void)state;
	take(1);
	commit(0, 1, COMPLETION_CAREFUL, NULL);
	assert_int_equal(subscriber->ops->tend(subscriber, now_ms, &next_ms, &error), 0);
	assert_int_equal(fake.flushes, 0);
	assert_in_range(next_ms, 1, 1000);
	assert_int_equal(subscriber->ops->tend(subscriber, now_ms + 1000, &next_ms, &error), 0);
	assert_int_equal(fake.flushes, 1);
	assert_int_equal(fake.flushed, 1);
	assert_int_equal(next_ms, -1);
}

static void unanswered_claims_are_released_and_swept(void **state)
{
	int64_t next_ms, now_ms = clock_mono_ms();
	struct claim claim;
	struct error error;

	(void)state;
	take(1);
	fake.fails = ERROR_UNKNOWN;
	assert_int_equal(subscriber->ops->take(subscriber, 10, arena, &claim, &error), -1);
	assert_int_equal(subscriber->ops->tend(subscriber, now_ms, &next_ms, &error), 0);
	assert_int_equal(fake.released_count, 1);
	assert_true(uuid_equal(&fake.released[0], &fake.batch));
	assert_int_equal(fake.sweeps, 0);
	for (int i = 1; i <= 5; i++)
		assert_int_equal(
			subscriber->ops->tend(subscriber, now_ms + i * 60000, &next_ms, &error), 0);
	assert_int_equal(fake.released_count, 1);
	assert_int_equal(fake.sweeps, 3);
	assert_int_equal(fake.known, 1); /* the lease that we do know is spared */
	assert_int_equal(next_ms, -1);
}

static void claims_that_cannot_be_read_are_released(void **state)
{
	struct completion_batch batch = { .mode = COMPLETION_OPTIMISTIC };
	struct claim claim = { .unread = true };
	struct uuid batches[2];
	struct error error;
	int64_t next_ms;

	(void)state;
	fake.unread = true;
	take(0);
	batches[1] = fake.batch;
	subscriber->ops->ride(subscriber, &batch, 10);
	assert_non_null(batch.claim);
	batches[0] = batch.claim->batch;
	subscriber->ops->rode(subscriber, &batch, &claim, NULL);
	assert_int_equal(subscriber->ops->tend(subscriber, clock_mono_ms(), &next_ms, &error), 0);
	assert_int_equal(fake.released_count, 2);
	for (int i = 0; i < 2; i++)
		assert_true(uuid_equal(&fake.released[i], &batches[i]));
}

static void weather_elsewhere_orphans_nothing(void **state)
{
	int64_t next_ms;
	struct claim claim;
	struct error error;

	(void)state;
	fake.fails = ERROR_UNAVAILABLE;
	assert_int_equal(subscriber->ops->take(subscriber, 10, arena, &claim, &error), -1);
	assert_int_equal(subscriber->ops->tend(subscriber, clock_mono_ms(), &next_ms, &error), 0);
	assert_int_equal(fake.released_count, 0);
	assert_int_equal(next_ms, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_lease_goes_with_its_last_job, setup, teardown),
		cmocka_unit_test_setup_teardown(failed_transactions_count_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(careful_leases_go_with_the_next_transaction, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_idle_moment_flushes, setup, teardown),
		cmocka_unit_test_setup_teardown(unanswered_claims_are_released_and_swept, setup,
						teardown),
		cmocka_unit_test_setup_teardown(claims_that_cannot_be_read_are_released, setup,
						teardown),
		cmocka_unit_test_setup_teardown(weather_elsewhere_orphans_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Four threads, each a gateway and a worker with a store of its own, accept 5,000 jobs (each
 * offered by two of them), claim, fail some once, commit most twice as if the answer had been lost,
 * and let sessions end in the middle. Every job must have exactly one effect. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "tests/integration/store_fixture.h"

enum { THREADS = 4, JOBS = 5000, BATCH = 50, CLAIM = 64 };

struct race {
	struct fixture *fx;
	struct uuid ids[JOBS];
	_Atomic int next[2]; /* jobs offered so far, by the first and the second round of offers */
	_Atomic int committed, lost;
	_Atomic bool stop, failed;
	char message[600];
};

struct racer {
	struct race *race;
	int number;
	struct store *store;
	struct uuid session;
	struct arena *arena; /* of one turn */
	struct error error;
	int turns;
};

/* Contention is weather in a race: again. */
static bool again(struct racer *racer, const char *what)
{
	if (racer->error.code == ERROR_CONTENTION)
		return true;
	if (!atomic_exchange(&racer->race->failed, true))
		snprintf(racer->race->message, sizeof(racer->race->message), "%s: %s", what,
			 racer->error.message);
	return false;
}

static void offer(struct racer *racer, int round)
{
	int first = atomic_fetch_add(&racer->race->next[round], BATCH);
	struct new_job jobs[BATCH];
	struct accepted_job accepted[BATCH];
	struct acceptance requests[BATCH];
	struct acceptance *list[BATCH];
	size_t count = 0;

	for (int i = first; i < first + BATCH && i < JOBS; i++, count++) {
		jobs[count] = a_job("race");
		jobs[count].id = racer->race->ids[i];
		jobs[count].client_id = true;
		memset(jobs[count].fingerprint, 7, sizeof(jobs[count].fingerprint));
		requests[count] = (struct acceptance){ .jobs = &jobs[count],
						       .job_count = 1,
						       .accepted = &accepted[count] };
		list[count] = &requests[count];
	}
	while (count && acceptance_commit(racer->store, list, count, &racer->error) &&
	       again(racer, "accept"))
		;
	for (size_t i = 0; i < count && !atomic_load(&racer->race->failed); i++)
		if (requests[i].verdict != ACCEPTANCE_ACCEPTED &&
		    requests[i].verdict != ACCEPTANCE_REPLAYED) {
			racer->error = requests[i].error;
			racer->error.code = ERROR_INTERNAL;
			again(racer, "verdict");
		}
}

static void fill_item(struct racer *racer, struct completion *item, struct completion **list,
		      struct claimed_job *job)
{
	struct sql_value *arg = ARENA_ARRAY(racer->arena, struct sql_value, 1);
	struct sql_statement *insert = ARENA_NEW(racer->arena, struct sql_statement);
	char id[UUID_TEXT];

	arg->kind = SQL_TEXT;
	arg->data = arena_strdup(racer->arena, uuid_format(&job->id, id));
	arg->bytes = UUID_TEXT - 1;
	*insert = (struct sql_statement){ .sql = "INSERT INTO effects VALUES ($1, 'race')",
					  .args = arg,
					  .arg_count = 1,
					  .rows = 1 };
	*item = job->id.b[15] % 8 == 0 && job->attempt == 1 ? a_retry(job, 0)
							    : a_finish(job, JOB_COMPLETED);
	if (item->kind == COMPLETION_FINISH)
		item->writes = (struct write_set){ .statements = insert, .statement_count = 1 };
	*list = item;
}

/* Commits what was claimed, twice: the second time is the repeat after an answer that was lost. */
static void settle(struct racer *racer, const struct claim *claim)
{
	struct completion *items = ARENA_ARRAY(racer->arena, struct completion, CLAIM);
	struct completion **list = ARENA_ARRAY(racer->arena, struct completion *, CLAIM);
	struct completion_batch batch = {
		.items = list,
		.count = claim->count,
		.finished_leases = &claim->jobs[0]->batch,
		.finished_lease_count = 1,
		.mode = racer->turns % 5 == 0 ? COMPLETION_CAREFUL : COMPLETION_OPTIMISTIC,
	};
	struct claim none;

	if (batch.mode == COMPLETION_CAREFUL && batch.count > 50) {
		batch.count = 50; /* the rest comes back when the lease is found unfinished */
		batch.finished_lease_count = 0;
	}
	for (size_t i = 0; i < batch.count; i++)
		fill_item(racer, &items[i], &list[i], claim->jobs[i]);
	for (int times = 0; times < 2; times++) {
		while (completion_commit(racer->store, &batch, racer->arena, &none, &racer->error))
			if (!again(racer, "complete"))
				return;
		for (size_t i = 0; times == 0 && i < batch.count; i++) {
			if (items[i].fate == COMPLETION_LOST)
				atomic_fetch_add(&racer->race->lost, 1);
			else if (items[i].kind == COMPLETION_FINISH)
				atomic_fetch_add(&racer->race->committed, 1);
		}
	}
	if (batch.count < claim->count)
		while (session_release_batch(racer->store, &claim->jobs[0]->batch, &racer->error) &&
		       again(racer, "release"))
			;
}

/* Now and then its session ends while it holds jobs: it goes on as a zombie, others run the same
 * jobs. */
static void end_session(struct racer *racer)
{
	struct session_info info = { .host = "race", .pid = racer->number, .lease_ms = 60000 };
	int64_t released;
	bool fresh;

	while (session_end(racer->store, &racer->session, &released, &racer->error) &&
	       again(racer, "end"))
		;
	uuid_v7(&racer->session);
	info.id = racer->session;
	while (session_renew(racer->store, &info, &fresh, &racer->error) && again(racer, "renew"))
		;
}

static void turn(struct racer *racer, struct claim_cursor *cursor)
{
	const char *queue = "q";
	struct claim_request request = { .session = racer->session,
					 .queues = &queue,
					 .queue_count = 1,
					 .max = CLAIM,
					 .cursor = cursor };
	struct claim claim = { 0 };

	uuid_v7(&request.batch);
	if (claim_take(racer->store, &request, racer->arena, &claim, &racer->error)) {
		again(racer, "claim");
		return;
	}
	if (racer->turns++ % 7 == 3)
		end_session(racer);
	if (claim.count)
		settle(racer, &claim);
	for (size_t i = 0; i < claim.count; i++) {
		struct arena *arena = claim.jobs[i]->arena;

		arena_free(&arena);
	}
}

static void *race_on(void *data)
{
	struct racer *racer = data;
	struct claim_cursor *cursor = claim_cursor_new();

	while (!atomic_load(&racer->race->stop) && !atomic_load(&racer->race->failed)) {
		racer->arena = arena_new(0);
		for (int round = 0; round < 2; round++)
			if (atomic_load(&racer->race->next[round]) < JOBS)
				offer(racer, round);
		turn(racer, cursor);
		arena_free(&racer->arena);
	}
	claim_cursor_free(&cursor);
	return NULL;
}

static void start(struct race *race, struct racer *racer, int number)
{
	struct session_info info = { .host = "race", .pid = number, .lease_ms = 60000 };
	bool fresh;

	*racer = (struct racer){ .race = race, .number = number };
	uuid_v7(&racer->session);
	info.id = racer->session;
	check_store(race->fx, store_open(race->fx->url, STORE_WRITE, "race", &racer->store,
					 &race->fx->error));
	check_store(race->fx, session_renew(racer->store, &info, &fresh, &race->fx->error));
}

/* A release beside a zombie's commit may leave a ready row of a job that has ended: whoever claims
 * it sees that. So the race goes on until those are gone too. */
static bool over(struct fixture *fx, struct race *race)
{
	struct queue_view queue;

	if (atomic_load(&race->committed) < JOBS)
		return false;
	queue = queue_of(fx, "q");
	return queue.available == 0 && queue.running == 0;
}

static void exactly_once(struct fixture *fx)
{
	struct race *race = ARENA_NEW(fx->arena, struct race);
	struct racer racers[THREADS];
	pthread_t threads[THREADS];
	int64_t until = clock_mono_ms() + 240000;

	race->fx = fx;
	for (int i = 0; i < JOBS; i++)
		uuid_v7(&race->ids[i]);
	for (int i = 0; i < THREADS; i++)
		start(race, &racers[i], i);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, race_on, &racers[i]), 0);
	while (!over(fx, race) && !atomic_load(&race->failed) && clock_mono_ms() < until)
		pause_ms(20);
	atomic_store(&race->stop, true);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		store_close(&racers[i].store);
	}
	if (atomic_load(&race->failed))
		fail_msg("%s", race->message);
	assert_int_equal(effects(fx, "race"), JOBS);
	assert_string_equal(read_value(fx, "SELECT count(DISTINCT job) FROM effects"), "5000");
	for (int i = 0; i < JOBS; i += 97)
		assert_int_equal(state_of(fx, &race->ids[i]), JOB_COMPLETED);
	assert_true(atomic_load(&race->lost) > 0); /* else the zombies did not bite */
	assert_int_equal(queue_of(fx, "q").available, 0);
	assert_int_equal(queue_of(fx, "q").running, 0);
}

static const struct store_case cases[] = {
	{ "exactly_once", exactly_once },
};

int main(void)
{
	return store_cases_run("store_race", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that get lost: a process fails or dies in front of a COMMIT, while it is on its way, or
 * behind it, at every point where the store can be made to. Whoever repeats the operation must find
 * it done once. Every case runs on every store; what is armed happens in a process of its own. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/store_fixture.h"

enum { DIED = -1 };

/* What the armed process does: the code of the store's error, or 0. */
typedef int act_fn(struct fixture *fx, struct store *store, void *what);

/* Runs it with a store of its own. Returns what it returned, or DIED. */
static int armed(struct fixture *fx, const char *point, const char *action, act_fn *act, void *what)
{
	char setting[100];
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct store *store;

		snprintf(setting, sizeof(setting), "%s:1:%s", point, action);
		setenv("WINDLASS_FAILPOINT", setting, 1);
		if (store_open(fx->url, STORE_WRITE, "armed", &store, &fx->error))
			_exit(99);
		_exit(act(fx, store, what));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return DIED;
	assert_true(WIFEXITED(status));
	assert_int_not_equal(WEXITSTATUS(status), 99);
	return WEXITSTATUS(status);
}

static bool has_failpoints(struct fixture *fx);

struct point {
	const char *name, *action;
	int want; /* error code, or DIED */
};

/* ---- completions */

struct commitment {
	struct completion item;
	enum completion_mode mode;
};

static int act_commit(struct fixture *fx, struct store *store, void *what)
{
	struct commitment *c = what;

	return commit_items(fx, store, c->mode, &c->item, 1) ? (int)fx->error.code : 0;
}

static const struct point commit_points[] = {
	{ "before_commit", "err", ERROR_UNAVAILABLE }, { "before_commit", "kill", DIED },
	{ "commit_sent", "err", ERROR_UNKNOWN },       { "commit_sent", "kill", DIED },
	{ "after_commit", "err", ERROR_UNKNOWN },      { "after_commit", "kill", DIED },
};

/* The dead one's transaction may still be on its way: that is contention. */
static void repeat(struct fixture *fx, struct commitment *c)
{
	int rc, tries = 0;

	do
		rc = commit_items(fx, fx->store, c->mode, &c->item, 1);
	while (rc && fx->error.code == ERROR_CONTENTION && tries++ < 20);
	check_store(fx, rc);
	if (c->item.fate != COMPLETION_COMMITTED)
		fail_msg("fate %d, %s", (int)c->item.fate, c->item.error.message);
}

static void strike(struct fixture *fx, const struct point *point, struct commitment *c)
{
	int got = armed(fx, point->name, point->action, act_commit, c);

	if (got != point->want)
		fail_msg("%s:%s gave %s", point->name, point->action,
			 got == DIED ? "a death" : error_code_name((enum error_code)got));
	repeat(fx, c);
	repeat(fx, c);
}

static void finishes(struct fixture *fx, enum completion_mode mode)
{
	for (size_t i = 0; i < ARRAY_LEN(commit_points) && has_failpoints(fx); i++) {
		struct new_job next = a_job("next");
		struct commitment c = { .mode = mode };

		next.queue = "q2";
		accept_job(fx, a_job("mail"));
		c.item = a_finish(claim_one(fx), JOB_COMPLETED);
		with_effect(fx, &c.item, commit_points[i].name);
		c.item.writes.follow_ups = &next;
		c.item.writes.follow_up_count = 1;
		c.item.result = "7";
		strike(fx, &commit_points[i], &c);
		assert_int_equal(effects(fx, NULL), (int64_t)i + 1);
		assert_int_equal(queue_of(fx, "q2").available, (int64_t)i + 1);
		assert_int_equal(state_of(fx, &c.item.job->id), JOB_COMPLETED);
		assert_int_equal(queue_of(fx, "q").running, 0);
	}
}

static void completions_at_once(struct fixture *fx)
{
	finishes(fx, COMPLETION_OPTIMISTIC);
}

static void completions_carefully(struct fixture *fx)
{
	finishes(fx, COMPLETION_CAREFUL);
}

static void steps(struct fixture *fx)
{
	for (size_t i = 0; i < ARRAY_LEN(commit_points) && has_failpoints(fx); i++) {
		struct commitment c = { .mode = COMPLETION_OPTIMISTIC };

		accept_job(fx, a_job("mail"));
		c.item = a_step(claim_one(fx), "reserve", "1");
		with_effect(fx, &c.item, commit_points[i].name);
		strike(fx, &commit_points[i], &c);
		assert_int_equal(effects(fx, NULL), (int64_t)i + 1);
		finish_job(fx, c.item.job, JOB_COMPLETED);
	}
}

static void retries(struct fixture *fx)
{
	for (size_t i = 0; i < ARRAY_LEN(commit_points) && has_failpoints(fx); i++) {
		struct commitment c = { .mode = COMPLETION_OPTIMISTIC };

		accept_job(fx, a_job("mail"));
		c.item = a_retry(claim_one(fx), 0);
		strike(fx, &commit_points[i], &c);
		assert_int_equal(view_of(fx, &c.item.job->id).attempt_count, 1);
		assert_int_equal(queue_of(fx, "q").available, 1);
		finish_job(fx, claim_this(fx, &c.item.job->id), JOB_COMPLETED);
	}
}

/* ---- acceptance */

static int act_accept(struct fixture *fx, struct store *store, void *what)
{
	struct acceptance *list[] = { what };
	bool stored = false;
	int code;

	if (acceptance_commit(store, list, 1, &fx->error) == 0)
		return 0;
	code = (int)fx->error.code;
	/* Whoever has no answer asks. */
	if (code == ERROR_UNKNOWN &&
	    (acceptance_probe(store, list, 1, &stored, &fx->error) || !stored))
		return 98;
	return code;
}

static void acceptances(struct fixture *fx)
{
	static const struct point points[] = {
		{ "accept_before_commit", "err", ERROR_UNAVAILABLE },
		{ "accept_before_commit", "kill", DIED },
		{ "accept_after_commit", "err", ERROR_UNKNOWN },
		{ "accept_after_commit", "kill", DIED },
	};

	for (size_t i = 0; i < ARRAY_LEN(points) && has_failpoints(fx); i++) {
		bool there = strstr(points[i].name, "after") != NULL;
		struct new_job job = a_job("mail"), again;
		struct acceptance first = a_request(fx, &job, 1), second;
		struct acceptance *list[] = { &second };
		bool stored = !there;

		first.idempotency_scope = "test";
		first.idempotency_key = arena_printf(fx->arena, "key-%zu", i);
		assert_int_equal(armed(fx, points[i].name, points[i].action, act_accept, &first),
				 points[i].want);
		/* The client sends it again: another id, the same key. */
		again = a_job("mail");
		second = a_request(fx, &again, 1);
		second.idempotency_scope = first.idempotency_scope;
		second.idempotency_key = first.idempotency_key;
		assert_int_equal(accept_request(fx, &second),
				 there ? ACCEPTANCE_REPLAYED : ACCEPTANCE_ACCEPTED);
		assert_uuid(&second.accepted[0].id, there ? &job.id : &again.id);
		assert_int_equal(queue_of(fx, "q").available, (int64_t)i + 1);
		second.verdict = ACCEPTANCE_ACCEPTED;
		check_store(fx, acceptance_probe(fx->store, list, 1, &stored, &fx->error));
		assert_int_equal(stored, !there);
	}
}

/* ---- claims */

struct taking {
	struct uuid session, batch;
};

static int act_claim(struct fixture *fx, struct store *store, void *what)
{
	const char *queue = "q";
	struct taking *taking = what;
	struct claim_request request = { .session = taking->session,
					 .batch = taking->batch,
					 .queues = &queue,
					 .queue_count = 1,
					 .max = 10 };
	struct claim claim;

	return claim_take(store, &request, fx->arena, &claim, &fx->error) ? (int)fx->error.code : 0;
}

/* One that failed gives its batch back; one that died is ended by somebody else. */
static void claims(struct fixture *fx)
{
	static const struct point points[] = {
		{ "claim_before_commit", "err", ERROR_UNAVAILABLE },
		{ "claim_before_commit", "kill", DIED },
		{ "claim_after_commit", "err", ERROR_UNKNOWN },
		{ "claim_after_commit", "kill", DIED },
	};

	for (size_t i = 0; i < ARRAY_LEN(points) && has_failpoints(fx); i++) {
		bool taken = strstr(points[i].name, "after") != NULL;
		struct taking taking;
		struct new_job job = a_job("mail");
		int64_t released;

		uuid_v7(&taking.session);
		uuid_v7(&taking.batch);
		renew(fx, &taking.session, 60000);
		accept_job(fx, job);
		assert_int_equal(armed(fx, points[i].name, points[i].action, act_claim, &taking),
				 points[i].want);
		assert_int_equal(state_of(fx, &job.id), taken ? JOB_RUNNING : JOB_AVAILABLE);
		if (points[i].want == DIED) {
			check_store(fx,
				    session_end(fx->store, &taking.session, &released, &fx->error));
			assert_int_equal(released, taken);
		} else {
			check_store(fx,
				    session_release_batch(fx->store, &taking.batch, &fx->error));
		}
		assert_int_equal(claim_this(fx, &job.id)->attempt, taken ? 2 : 1);
		assert_int_equal(claim_some(fx, 10).count, 0);
	}
}

static int act_nothing(struct fixture *fx, struct store *store, void *what)
{
	struct new_job job = a_job("probe");
	struct acceptance request = a_request(fx, &job, 1), *list[] = { &request };

	(void)what;
	job.queue = "probes";
	return acceptance_commit(store, list, 1, &fx->error) ? (int)fx->error.code : 0;
}

static bool has_failpoints(struct fixture *fx)
{
	static int has = -1;

	if (has < 0)
		has = armed(fx, "accept_before_commit", "err", act_nothing, NULL) != 0;
	if (!has)
		print_message("built without failpoints\n");
	return has;
}

static const struct store_case cases[] = {
	{ "completions_at_once", completions_at_once },
	{ "completions_carefully", completions_carefully },
	{ "steps", steps },
	{ "retries", retries },
	{ "acceptances", acceptances },
	{ "claims", claims },
};

int main(void)
{
	return store_cases_run("store_answers", cases, ARRAY_LEN(cases));
}

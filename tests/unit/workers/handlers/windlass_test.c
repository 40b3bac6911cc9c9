/* SPDX-License-Identifier: Apache-2.0 */
/* windlass.h from both sides: handlers of this file run in a child as a module host would run them,
 * this process plays the engine over pipes and a cell. */
#include "workers/handlers/windlass.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "workers/handlers/host_loop.h"

#define ID    "01930000-0000-7000-8000-000000000000"
#define OTHER "01930000-0000-7000-8000-000000000001"

/* ---- handlers under test */
static enum wl_outcome look(struct wl_job *job)
{
	size_t bytes;

	wl_payload(job, &bytes);
	return wl_done(job, "[%s,%d,%zu,%s,%s,%lld,%lld,%g,%zu,%zu,%s]", wl_quote(job, wl_id(job)),
		       wl_attempt(job), bytes, wl_quote(job, wl_str(job, "a/b", "no")),
		       wl_quote(job, wl_str(job, "n", "no")), (long long)wl_int(job, "n", -1),
		       (long long)wl_int(job, "real", -1), wl_num(job, "real", -1),
		       wl_len(job, "list"), wl_len(job, "n"),
		       wl_quote(job, wl_str(job, wl_at(job, "list/%d/x~1y", 1), "no")));
}

static enum wl_outcome columns(struct wl_job *job)
{
	struct wl_rows *rows = wl_query(job, "SELECT", WL_NONE);
	int count = 0;

	if (!wl_next(rows))
		return wl_discard(job, "no rows");
	while (wl_next(rows))
		count++;
	rows = wl_query(job, "SELECT", WL(wl_text("\xff"), wl_f64(1e300 * 1e10), wl_f64(2)));
	wl_next(rows);
	return wl_done(job, "[%d,%s,%s,%lld,%g,%s,%s,%lld,%s]", count,
		       wl_quote(job, wl_col_str(rows, 0)), wl_quote(job, wl_col_str(rows, 1)),
		       (long long)wl_col_int(rows, 1), wl_col_num(rows, 2),
		       wl_quote(job, wl_col_str(rows, 3)), wl_quote(job, wl_col_str(rows, 4)),
		       (long long)wl_col_int(rows, 5), wl_quote(job, wl_col_str(rows, 9)));
}

static enum wl_outcome polls(struct wl_job *job)
{
	while (!wl_cancelled(job))
		usleep(500);
	return wl_cancel(job);
}

static enum wl_outcome early(struct wl_job *job)
{
	return wl_cancel(job);
}

static enum wl_outcome steps(struct wl_job *job)
{
	char value[64];

	wl_write(job, 1, "X", WL_NONE);
	snprintf(value, sizeof(value), "%s", wl_step(job, "one", "{\"n\":%d}", 1));
	wl_write(job, WL_ANY, "Y", WL_NONE);
	return wl_done(job, "[%s,%s,%lld]", value, wl_stepped(job, "one"),
		       (long long)wl_json_int(job, value, "n", -1));
}

static enum wl_outcome pays(struct wl_job *job)
{
	const char *headers[] = { "A: b", "A:c", NULL };
	struct wl_reply reply = wl_call(
		job, "pay",
		&(struct wl_request){
			.url = "http://x", .headers = headers, .body = "a\0b", .body_bytes = 3 });

	return wl_done(job, "[%d,%d,%s,%s]", reply.fate, reply.status, wl_quote(job, reply.body),
		       wl_quote(job, reply.error));
}

static enum wl_outcome changes_its_mind(struct wl_job *job)
{
	wl_write(job, 1, "X", WL_NONE);
	(void)wl_done(job, NULL);
	return wl_retry(job, 0, "no");
}

static void batch(struct wl_job *const *jobs, size_t count, enum wl_outcome *outcomes_r)
{
	for (size_t i = 0; i < count; i++)
		outcomes_r[i] =
			i == 1 ? wl_retry(jobs[i], -1, "second") : wl_done(jobs[i], "%zu", count);
}

static const struct wl_handler handlers[] = {
	{ "look", look, 0 },
	{ "columns", columns, 0 },
	{ "polls", polls, 0 },
	{ "early", early, 0 },
	{ "steps", steps, 0 },
	{ "pays", pays, 0 },
	{ "mind", changes_its_mind, 0 },
	{ "batch", 0, batch },
	{ 0, 0, 0 },
};

/* ---- a host in a child, the engine's ends here */
struct world {
	pid_t pid;
	int in, out;
	struct host_cell *cell;
	FILE *lines;
	char line[65536];
};

static void be_host(int in, int out, struct host_cell *cell)
{
	struct host_served served[ARRAY_LEN(handlers)] = { { 0 } };
	const struct wl_module module = { WL_ABI, sizeof(module), handlers, 0, 0 };
	struct host_module loaded = { .module = &module,
				      .served = served,
				      .count = ARRAY_LEN(handlers) - 1 };
	struct host_link link;

	for (size_t i = 0; i < loaded.count; i++)
		served[i].handler = &handlers[i];
	host_link_init(&link, in, out);
	host_loop(&link, &loaded, cell);
	_exit(0);
}

static int open_world(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	int in[2], out[2];

	CHECK(world && pipe(in) == 0 && pipe(out) == 0);
	world->cell = mmap(NULL, sizeof(struct host_cell), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(world->cell != MAP_FAILED);
	world->pid = fork();
	CHECK(world->pid >= 0);
	if (world->pid == 0) {
		close(in[1]);
		close(out[0]);
		be_host(in[0], out[1], world->cell);
	}
	close(in[0]);
	close(out[1]);
	world->in = in[1];
	world->out = out[0];
	world->lines = fdopen(out[0], "r");
	*state = world;
	return 0;
}

static int close_world(void **state)
{
	struct world *world = *state;
	int status = -1;

	close(world->in);
	waitpid(world->pid, &status, 0);
	fclose(world->lines);
	munmap(world->cell, sizeof(struct host_cell));
	free(world);
	return status == 0 ? 0 : -1; /* every end here is exit 0 */
}

static void say(struct world *world, const char *text)
{
	CHECK(write(world->in, text, strlen(text)) == (ssize_t)strlen(text));
}

static void say_job(struct world *world, unsigned line, const char *id, const char *type,
		    const char *payload, const char *more)
{
	char text[2048];

	atomic_store(&world->cell->slots[line].state, SLOT_QUEUED);
	snprintf(
		text, sizeof(text),
		"{\"job\":\"%s\",\"type\":\"%s\",\"attempt\":3,\"timeout_s\":60,\"tags\":[],\"payload\":%s%s}\n",
		id, type, payload, more);
	say(world, text);
}

static void expect(struct world *world, const char *want)
{
	if (!fgets(world->line, sizeof(world->line), world->lines))
		fail_msg("end of output, wanted %s", want);
	world->line[strcspn(world->line, "\n")] = 0;
	assert_string_equal(world->line, want);
}

static bool silent(struct world *world, int ms)
{
	struct pollfd ready = { .fd = world->out, .events = POLLIN };

	return poll(&ready, 1, ms) == 0;
}

/* ---- the tests */
static void payload_is_looked_into(void **state)
{
	struct world *world = *state;

	say(world, "{\"windlass\":1,\"types\":[\"look\"],\"settings\":{}}\n");
	say_job(world, 0, ID, "look",
		"{\"a\":{\"b\":\"c\\\"\"},\"n\":7,\"real\":2.5,\"list\":[1,{\"x/y\":\"deep\"}]}",
		"");
	expect(world, "{\"job\":\"" ID "\",\"done\":[\"" ID
		      "\",3,60,\"c\\\"\",\"no\",7,2,2.5,2,0,\"deep\"]}");
	assert_int_equal(atomic_load(&world->cell->slots[0].state), SLOT_FINISHED);
	assert_true(atomic_load(&world->cell->slots[0].finished_ns) >=
		    atomic_load(&world->cell->slots[0].started_ns));
	say_job(world, 1, ID, "nobody", "{}", "");
	expect(world,
	       "{\"job\":\"" ID "\",\"retry\":\"the module has no handler for type nobody\"}");
}

static void rows_of_every_kind(void **state)
{
	struct world *world = *state;

	say_job(world, 0, ID, "columns", "{}", "");
	say_job(world, 1, OTHER, "look", "{}", ""); /* lies before the answers and must survive */
	expect(world, "{\"job\":\"" ID "\",\"ask\":1,\"query\":\"SELECT\",\"args\":[]}");
	say(world,
	    "{\"job\":\"" ID "\",\"answer\":1,\"columns\":[\"a\"],\"rows\":[[1],[2],[3]]}\n");
	expect(world,
	       "{\"job\":\"" ID
	       "\",\"ask\":2,\"query\":\"SELECT\",\"args\":[{\"base64\":\"/w==\"},\"Infinity\",2.0]}");
	say(world,
	    "{\"job\":\"" ID
	    "\",\"answer\":2,\"columns\":[],\"rows\":[[\"t\",42,1.5,true,{\"base64\":\"eHk=\"},\"17.9\",null]]}\n");
	expect(world,
	       "{\"job\":\"" ID "\",\"done\":[2,\"t\",\"42\",42,1.5,\"true\",\"xy\",17,null]}");
	if (!fgets(world->line, sizeof(world->line), world->lines) || !strstr(world->line, OTHER))
		fail_msg("the job behind was lost: %s", world->line);
}

static void a_failed_query_ends_the_attempt_and_the_process(void **state)
{
	struct world *world = *state;

	say_job(world, 0, ID, "columns", "{}", "");
	say_job(world, 1, OTHER, "look", "{}", "");
	expect(world, "{\"job\":\"" ID "\",\"ask\":1,\"query\":\"SELECT\",\"args\":[]}");
	say(world, "{\"job\":\"" ID "\",\"answer\":1,\"error\":\"no such \\\"table\\\"\"}\n");
	expect(world, "{\"job\":\"" ID "\",\"retry\":\"wl_query: no such \\\"table\\\"\"}");
	assert_null(fgets(world->line, sizeof(world->line), world->lines));
	assert_int_equal(atomic_load(&world->cell->slots[0].state), SLOT_FINISHED);
	assert_int_equal(atomic_load(&world->cell->slots[1].state),
			 SLOT_QUEUED); /* nobody's fault */
}

static void cancel_is_seen(void **state)
{
	struct world *world = *state;

	say_job(world, 0, ID, "polls", "{}", "");
	assert_true(silent(world, 20));
	say(world, "{\"job\":\"" OTHER "\",\"cancel\":\"requested\"}\n");
	assert_true(silent(world, 20));
	say(world, "{\"job\":\"" ID "\",\"cancel\":\"requested\"}\n");
	expect(world, "{\"job\":\"" ID "\",\"cancelled\":true}");
	say_job(world, 1, ID, "early", "{}", "");
	expect(world, "{\"job\":\"" ID "\",\"retry\":\"wl_cancel: nobody had asked to stop\"}");
}

static void steps_commit_and_are_remembered(void **state)
{
	struct world *world = *state;

	say_job(world, 0, ID, "steps", "{}", "");
	expect(world,
	       "{\"job\":\"" ID
	       "\",\"ask\":1,\"step\":\"one\",\"value\":{\"n\":1},\"write\":[{\"sql\":\"X\",\"args\":[],\"rows\":1}],"
	       "\"lock\":[],\"enqueue\":[]}");
	say(world, "{\"job\":\"" ID "\",\"answer\":1,\"value\":{\"n\":1}}\n");
	expect(world,
	       "{\"job\":\"" ID
	       "\",\"done\":[{\"n\":1},{\"n\":1},1],\"write\":[{\"sql\":\"Y\",\"args\":[]}]}");
	say_job(world, 1, ID, "steps", "{}", ",\"steps\":{\"zero\":0,\"on\\u0065\":{\"n\":9}}");
	expect(world,
	       "{\"job\":\"" ID
	       "\",\"done\":[{\"n\":9},{\"n\":9},9],\"write\":[{\"sql\":\"Y\",\"args\":[]}]}");
	say_job(world, 2, ID, "steps", "{}", "");
	assert_non_null(fgets(world->line, sizeof(world->line), world->lines));
	say(world, "{\"job\":\"" ID "\",\"answer\":1,\"unmet\":0}\n");
	expect(world,
	       "{\"job\":\"" ID
	       "\",\"again\":\"step one: statement 1 did not touch as many rows as it must\"}");
}

static void calls_carry_bytes_both_ways(void **state)
{
	struct world *world = *state;

	say_job(world, 0, ID, "pays", "{}", "");
	expect(world,
	       "{\"job\":\"" ID
	       "\",\"ask\":1,\"call\":\"pay\",\"request\":{\"method\":\"GET\",\"url\":\"http://x\",\"headers\":{\"A\":\"c\"},"
	       "\"body\":{\"base64\":\"YQBi\"},\"timeout_ms\":0}}");
	say(world,
	    "{\"job\":\"" ID
	    "\",\"answer\":1,\"fate\":\"answered\",\"status\":402,\"body\":\"poor\",\"error\":\"\"}\n");
	expect(world, "{\"job\":\"" ID "\",\"done\":[1,402,\"poor\",\"HTTP 402\"]}");
	say_job(world, 1, ID, "pays", "{}", "");
	assert_non_null(fgets(world->line, sizeof(world->line), world->lines));
	say(world, "{\"job\":\"" ID "\",\"answer\":1,\"error\":\"refused\"}\n");
	expect(world, "{\"job\":\"" ID "\",\"done\":[2,0,\"\",\"refused\"]}");
}

static void what_was_staged_goes_with_done_alone(void **state)
{
	struct world *world = *state;

	say_job(world, 0, ID, "mind", "{}", "");
	expect(world, "{\"job\":\"" ID "\",\"retry\":\"no\",\"after\":0}");
}

static void batches_end_job_by_job(void **state)
{
	struct world *world = *state;
	static const char job[] =
		"\"type\":\"batch\",\"attempt\":1,\"timeout_s\":1,\"tags\":[],\"payload\":{}}";
	char text[1024];

	atomic_store(&world->cell->slots[0].state, SLOT_QUEUED);
	snprintf(text, sizeof(text),
		 "{\"batch\":[{\"job\":\"" ID "\",%s,{\"job\":\"" OTHER "\",%s]}\n", job, job);
	say(world, text);
	expect(world, "{\"job\":\"" ID "\",\"done\":2}");
	expect(world, "{\"job\":\"" OTHER "\",\"retry\":\"second\"}");
}

static void revoked_jobs_are_passed_over(void **state)
{
	struct world *world = *state;

	say_job(world, 0, ID, "polls", "{}", "");
	assert_true(silent(world, 20));
	say_job(world, 1, OTHER, "mind", "{}", "");
	say_job(world, 2, OTHER, "mind", "{}", "");
	assert_true(host_slot_move(&world->cell->slots[1], SLOT_QUEUED, SLOT_REVOKED));
	assert_false(host_slot_move(&world->cell->slots[0], SLOT_QUEUED, SLOT_REVOKED));
	say(world, "{\"job\":\"" ID "\",\"cancel\":\"drain\"}\n");
	expect(world, "{\"job\":\"" ID "\",\"cancelled\":true}");
	expect(world, "{\"job\":\"" OTHER "\",\"retry\":\"no\",\"after\":0}");
	assert_true(silent(world, 20));
	assert_int_equal(atomic_load(&world->cell->slots[1].state), SLOT_FREE);
	assert_int_equal(atomic_load(&world->cell->slots[2].state), SLOT_FINISHED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(payload_is_looked_into),
		TEST(rows_of_every_kind),
		TEST(a_failed_query_ends_the_attempt_and_the_process),
		TEST(cancel_is_seen),
		TEST(steps_commit_and_are_remembered),
		TEST(calls_carry_bytes_both_ways),
		TEST(what_was_staged_goes_with_done_alone),
		TEST(batches_end_job_by_job),
		TEST(revoked_jobs_are_passed_over),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

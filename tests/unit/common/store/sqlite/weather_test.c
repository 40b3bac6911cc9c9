/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine does to a SQLite store: somebody else's writer, a full disk, a disk that fails
 * during the commit, answers that get lost. Nothing may be half-done, and the store must come back
 * by itself. */
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/integration/store_fixture.h"

static void foreign_writer(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct acceptance request = a_request(fx, &job, 1);
	struct acceptance *list[] = { &request };
	sqlite3 *db;

	assert_int_equal(sqlite3_open(fx->file_url + strlen("sqlite:"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(acceptance_commit(fx->store, list, 1, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_CONTENTION);
	assert_int_equal(claim_some(fx, 1).count, 0); /* reading goes on */
	assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_ACCEPTED);
	sqlite3_close(db);
}

/* Files may not grow any further: writing fails in the middle of a commit. */
static void disk_fails_in_the_commit(struct fixture *fx)
{
	enum { COUNT = 400 };
	struct new_job *jobs = ARENA_ARRAY(fx->arena, struct new_job, COUNT);
	struct rlimit limit, before;
	struct acceptance request;
	struct acceptance *list[] = { &request };
	bool stored = true;

	for (size_t i = 0; i < COUNT; i++) {
		jobs[i] = a_job("mail");
		jobs[i].payload_bytes = 4000;
		jobs[i].payload = memset(arena_alloc(fx->arena, 4001), ' ', 4000);
	}
	request = a_request(fx, jobs, COUNT);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = 700000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(acceptance_commit(fx->store, list, 1, &fx->error), -1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	if (fx->error.code != ERROR_UNKNOWN && fx->error.code != ERROR_UNAVAILABLE &&
	    fx->error.code != ERROR_FULL)
		fail_msg("%s: %s", error_code_name(fx->error.code), fx->error.message);
	check_store(fx, acceptance_probe(fx->store, list, 1, &stored, &fx->error));
	assert_false(stored);
	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_ACCEPTED);
	assert_int_equal(queue_of(fx, "q").available, COUNT);
}

/* A file system of 2 MiB in a mount name space of this process's own; where that is not allowed,
 * the case says so. */
static bool mount_small(const char *folder)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("windlass", folder, "tmpfs", 0, "size=2m") == 0;
}

static size_t fill_disk(struct fixture *fx, struct store *store)
{
	char *payload = memset(arena_alloc(fx->arena, 20001), ' ', 20000);
	size_t accepted = 0;

	for (; accepted < 1000; accepted++) {
		struct new_job job = a_job("mail");
		struct acceptance request = a_request(fx, &job, 1);
		struct acceptance *list[] = { &request };

		job.payload = payload;
		job.payload_bytes = 20000;
		if (acceptance_commit(store, list, 1, &fx->error))
			return accepted;
		assert_int_equal(request.verdict, ACCEPTANCE_ACCEPTED);
	}
	return accepted;
}

static void disk_full(struct fixture *fx)
{
	char folder[100], url[140], ballast[140];
	struct store *store;
	struct claim claim = { 0 };
	size_t accepted, drained = 0;
	FILE *file;
	int applied;

	snprintf(folder, sizeof(folder), "%s/small", fx->folder);
	snprintf(url, sizeof(url), "sqlite:%s/queue.db", folder);
	snprintf(ballast, sizeof(ballast), "%s/ballast", folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	if (!mount_small(folder)) {
		print_message("no mount of our own here: the disk stays as large as it is\n");
		return;
	}
	file = fopen(ballast, "w");
	for (int i = 0; i < 300000; i++)
		fputc('x', file);
	fclose(file);
	check_store(fx, store_open(url, STORE_WRITE, "full", &store, &fx->error));
	check_store(fx, store_migrate(store, &applied, &fx->error));
	accepted = fill_disk(fx, store);
	assert_int_equal(fx->error.code, ERROR_FULL);
	assert_true(accepted > 10 && accepted < 1000);
	assert_int_equal(fill_disk(fx, store), 0);
	assert_int_equal(fx->error.code, ERROR_FULL);
	remove(ballast); /* somebody made room */
	struct session_info info = { .id = fx->session, .host = "", .lease_ms = 60000 };
	bool fresh;
	check_store(fx, session_renew(store, &info, &fresh, &fx->error));
	do {
		claim = claim_as(fx, store, &fx->session, "q", 10);
		drained += claim.count;
	} while (claim.count);
	assert_int_equal(drained, accepted);
	store_close(&store);
	umount2(folder, MNT_DETACH);
}

/* The commit happened, its answer did not come: the caller repeats. Passages are counted over all
 * armed points of the process. */
static void lost_answers(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct acceptance request = a_request(fx, &job, 1);
	struct acceptance *list[] = { &request };
	struct completion item;
	bool stored = false;

	setenv("WINDLASS_FAILPOINT", "accept_after_commit:1:err", 1);
	if (acceptance_commit(fx->store, list, 1, &fx->error) == 0) {
		unsetenv("WINDLASS_FAILPOINT");
		print_message("built without failpoints\n");
		return;
	}
	assert_int_equal(fx->error.code, ERROR_UNKNOWN);
	check_store(fx, acceptance_probe(fx->store, list, 1, &stored, &fx->error));
	assert_true(stored);
	item = a_finish(claim_one(fx), JOB_COMPLETED);
	with_effect(fx, &item, "once");
	setenv("WINDLASS_FAILPOINT", "after_commit:2:err", 1);
	assert_int_equal(commit_items(fx, fx->store, COMPLETION_OPTIMISTIC, &item, 1), -1);
	assert_int_equal(fx->error.code, ERROR_UNKNOWN);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	setenv("WINDLASS_FAILPOINT", "before_commit:4:err", 1);
	accept_job(fx, a_job("mail"));
	item = a_finish(claim_one(fx), JOB_COMPLETED);
	with_effect(fx, &item, "once");
	assert_int_equal(commit_items(fx, fx->store, COMPLETION_OPTIMISTIC, &item, 1), -1);
	assert_int_equal(fx->error.code, ERROR_UNAVAILABLE);
	assert_int_equal(effects(fx, "once"), 1);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(effects(fx, "once"), 2);
	unsetenv("WINDLASS_FAILPOINT");
}

static void bad_urls(struct fixture *fx)
{
	static const char *const urls[] = { "sqlite:", "sqlite::memory:", "sqlite:/tmp/",
					    "sqlite:///" };
	struct store *store;

	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		if (store_open(urls[i], STORE_WRITE, "x", &store, &fx->error) == 0)
			fail_msg("%s was opened", urls[i]);
		assert_int_equal(fx->error.code, ERROR_INVALID);
	}
	assert_int_equal(
		store_open("sqlite:/no/such/folder/queue.db", STORE_WRITE, "x", &store, &fx->error),
		-1);
	assert_int_equal(fx->error.code, ERROR_UNAVAILABLE);
}

static const struct store_case cases[] = {
	{ "foreign_writer", foreign_writer },
	{ "disk_fails_in_the_commit", disk_fails_in_the_commit },
	{ "lost_answers", lost_answers },
	{ "bad_urls", bad_urls },
	/* last: it leaves this process in a mount name space of its own
	 */
	{ "disk_full", disk_full },
};

int main(void)
{
	return sqlite_cases_run("weather", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A child's lives: what it is started with, when it is started again, how it is told to stop. Time
 * is an input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "workers/supervisor/child.h"

static const char *const env[] = { "PATH=/usr/bin:/bin", NULL };
static const struct child_context ctx = { .program = "/bin/true",
					  .env = env,
					  .settings_fd = 0,
					  .metrics_fd = -1,
					  .grace_ms = 1000,
					  .lease_ms = 30000 };

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	chmod(path, 0755);
}

static void read_file(const char *path, char *text_r, size_t bytes)
{
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	text_r[fread(text_r, 1, bytes - 1, file)] = '\0';
	fclose(file);
}

static int reap(struct child *child, int64_t now_ms)
{
	struct pollfd fd = { .fd = child->process.pidfd, .events = POLLIN };
	int status;

	assert_int_equal(poll(&fd, 1, 10000), 1);
	assert_int_equal(process_reap(&child->process, &status), 1);
	child_ended(child, now_ms);
	return status;
}

static void is_started_at_once_then_with_patience(void **state)
{
	static const int64_t delays[] = { 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000 };
	struct child child = { .role = "work", .process = PROCESS_NONE };
	int64_t now_ms = 50000;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(delays); i++) {
		child_start(&child, &ctx, now_ms);
		now_ms += 5;
		reap(&child, now_ms);
		assert_int_equal(child.start_at_ms - now_ms, delays[i]);
		now_ms = child.start_at_ms;
	}
	assert_false(child.settled);
	child_start(&child, &ctx, now_ms);
	now_ms += CHILD_SETTLED_MS;
	reap(&child, now_ms);
	assert_int_equal(child.start_at_ms, now_ms);
	assert_true(child.settled);
}

static void has_a_session_for_each_life(void **state)
{
	struct child child = { .role = "work", .process = PROCESS_NONE };
	struct uuid first;

	(void)state;
	child_start(&child, &ctx, 0);
	first = child.session;
	assert_int_equal(child.former_count, 0);
	reap(&child, 1);
	child_start(&child, &ctx, 2);
	assert_int_equal(child.former_count, 1);
	assert_true(uuid_equal(&child.formers[0].session, &first));
	assert_false(uuid_equal(&child.session, &first));
	reap(&child, 3);
}

/* What `work` is told: sessions whose leases may still be held, the newest first. */
static void names_the_sessions_before_it(void **state)
{
	static const char script[] = "#!/bin/sh\nshift 3\necho \"$*\" > \"${0%/*}/said\"\n";
	char folder[] = "/tmp/child_test.XXXXXX", program[64], said[64], text[1024], want[1024];
	struct child child = { .role = "work", .process = PROCESS_NONE };
	struct child_context here = ctx;
	struct uuid lives[12];
	char id[UUID_TEXT];

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(program, sizeof(program), "%s/windlass", folder);
	snprintf(said, sizeof(said), "%s/said", folder);
	write_file(program, script);
	here.program = program;
	for (size_t i = 0; i < ARRAY_LEN(lives); i++) {
		size_t most = i < SERVICE_PREDECESSORS_MAX ? i : SERVICE_PREDECESSORS_MAX;
		int n;

		child_start(&child, &here, (int64_t)i * 100);
		reap(&child, (int64_t)i * 100 + 50);
		lives[i] = child.session;
		n = snprintf(want, sizeof(want), "--session %s", uuid_format(&lives[i], id));
		for (size_t k = 1; k <= most; k++)
			n += snprintf(want + n, sizeof(want) - (size_t)n, " --predecessor %s",
				      uuid_format(&lives[i - k], id));
		read_file(said, text, sizeof(text));
		assert_string_equal(strtok(strstr(text, "--session"), "\n"), want);
	}
	/* Leases of those that died so long ago have run out. */
	child_start(&child, &here, 1050 + here.lease_ms);
	assert_int_equal(child.former_count, 1);
	reap(&child, 1060 + here.lease_ms);
	unlink(program);
	unlink(said);
	rmdir(folder);
}

static void tries_again_what_cannot_be_started(void **state)
{
	struct child child = { .role = "gateway", .process = PROCESS_NONE };
	struct child_context bad = ctx;

	(void)state;
	bad.program = "/no/such/program";
	child_start(&child, &bad, 1000);
	assert_int_equal(child.process.pid, 0);
	assert_int_equal(child.start_at_ms, 1000);
	child_start(&child, &bad, 1000);
	assert_int_equal(child.start_at_ms, 1100);
}

static void is_drained_then_killed(void **state)
{
	struct child child = { .role = "gateway", .process = PROCESS_NONE };
	const char *stubborn[] = { "sh", "-c",
				   "trap '' TERM INT; echo >&3; while :; do sleep 1; done", NULL };
	int ends[2], status;
	struct process_fd fd = { .there = 3 };
	struct process_spec spec = {
		.argv = stubborn, .env = env, .own_group = true, .fds = &fd, .fd_count = 1
	};
	struct error error;
	char byte;

	(void)state;
	child_drain(&child, &ctx, 0); /* down: nothing */
	assert_int_equal(child.kill_at_ms, 0);
	assert_int_equal(pipe(ends), 0);
	fd.here = ends[1];
	assert_int_equal(process_spawn(&spec, &child.process, &error), 0);
	assert_int_equal(read(ends[0], &byte, 1), 1); /* the trap is set */
	close(ends[0]);
	close(ends[1]);
	child_drain(&child, &ctx, 100);
	assert_int_equal(child.kill_at_ms, 100 + 1000 + CHILD_KILL_AFTER_MS);
	child_drain(&child, &ctx, 5000); /* told once */
	assert_int_equal(child.kill_at_ms, 100 + 1000 + CHILD_KILL_AFTER_MS);
	child_now(&child, 200);
	assert_int_equal(child.kill_at_ms, 200 + CHILD_KILL_AFTER_MS);
	child_enforce(&child, 200 + CHILD_KILL_AFTER_MS - 1);
	usleep(20000);
	assert_int_equal(process_reap(&child.process, &status), 0);
	child_enforce(&child, 200 + CHILD_KILL_AFTER_MS);
	status = reap(&child, 6000);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_started_at_once_then_with_patience),
		cmocka_unit_test(has_a_session_for_each_life),
		cmocka_unit_test(names_the_sessions_before_it),
		cmocka_unit_test(tries_again_what_cannot_be_started),
		cmocka_unit_test(is_drained_then_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

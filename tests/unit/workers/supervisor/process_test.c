/* SPDX-License-Identifier: Apache-2.0 */
/* Children: their descriptors, environment, folder, signals, limits and ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "workers/supervisor/process.h"

static const char *const env[] = { "PATH=/usr/bin:/bin", "A=b c", NULL };

static int wait_for(struct process *process)
{
	struct pollfd fd = { .fd = process->pidfd, .events = POLLIN };
	int status = -1;

	assert_int_equal(poll(&fd, 1, 10000), 1);
	assert_int_equal(process_reap(process, &status), 1);
	assert_int_equal(process->pid, 0);
	return status;
}

/* Runs a shell line with its output (1) and a further descriptor (5) on one pipe; what it wrote. */
static void run(struct process_spec spec, const char *line, char *output_r, size_t room)
{
	const char *argv[] = { "sh", "-c", line, NULL };
	struct process process;
	struct error error;
	int ends[2];
	size_t bytes = 0;
	ssize_t n;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	spec.argv = argv;
	spec.env = env;
	spec.fds = (struct process_fd[]){ { ends[1], 1 }, { ends[1], 5 } };
	spec.fd_count = 2;
	if (process_spawn(&spec, &process, &error) != 0)
		fail_msg("%s", error.message);
	close(ends[1]);
	while ((n = read(ends[0], output_r + bytes, room - 1 - bytes)) > 0)
		bytes += (size_t)n;
	output_r[bytes] = 0;
	close(ends[0]);
	assert_int_equal(wait_for(&process), 0);
}

static void gives_descriptors_and_nothing_else(void **state)
{
	char output[4096];
	int leaked = open("/dev/null", O_RDONLY); /* not close-on-exec */

	(void)state;
	run((struct process_spec){ 0 }, "ls /proc/self/fd | tr '\\n' ' '", output, sizeof(output));
	assert_string_equal(output, "0 1 2 3 5 "); /* 3 is ls's own */
	run((struct process_spec){ 0 }, "echo x >&5; readlink /proc/self/fd/0", output,
	    sizeof(output));
	assert_string_equal(output, "x\n/dev/null\n");
	close(leaked);
}

static void swaps_descriptors(void **state)
{
	const char *argv[] = { "sh", "-c", "printf a >&8; printf b >&9", NULL };
	struct process_fd fds[2];
	struct process_spec spec = { .argv = argv, .env = env, .fds = fds, .fd_count = 2 };
	struct process process;
	struct error error;
	int one[2], two[2];
	char byte;

	(void)state;
	assert_int_equal(pipe2(one, O_CLOEXEC), 0);
	assert_int_equal(pipe2(two, O_CLOEXEC), 0);
	assert_int_equal(dup3(one[1], 9, O_CLOEXEC),
			 9); /* each one's number is the other one's target */
	assert_int_equal(dup3(two[1], 8, O_CLOEXEC), 8);
	fds[0] = (struct process_fd){ 9, 8 };
	fds[1] = (struct process_fd){ 8, 9 };
	assert_int_equal(process_spawn(&spec, &process, &error), 0);
	assert_int_equal(wait_for(&process), 0);
	assert_int_equal(read(one[0], &byte, 1), 1);
	assert_int_equal(byte, 'a');
	assert_int_equal(read(two[0], &byte, 1), 1);
	assert_int_equal(byte, 'b');
	for (int i = 0; i < 2; i++) {
		close(one[i]);
		close(two[i]);
	}
	close(8);
	close(9);
}

static void gives_environment_folder_and_limits(void **state)
{
	char output[4096];

	(void)state;
	run((struct process_spec){ 0 },
	    "/usr/bin/env | grep -v '^_=\\|^PWD=\\|^SHLVL=\\|^OLDPWD=' | sort", output,
	    sizeof(output));
	assert_string_equal(output, "A=b c\nPATH=/usr/bin:/bin\n");
	run((struct process_spec){ .directory = "/usr" }, "pwd -P", output, sizeof(output));
	assert_string_equal(output, "/usr\n");
	/* Set just after the start, so a moment may pass. */
	run((struct process_spec){ .memory_bytes_max = 300 * 1024 * 1024 }, "sleep 0.1; ulimit -d",
	    output, sizeof(output));
	assert_string_equal(output, "307200\n");
}

static void resets_signals(void **state)
{
	unsigned long long blocked = 1, ignored = 1;
	char output[4096];
	sigset_t set;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	run((struct process_spec){ 0 }, "grep 'Sig[BI]' /proc/self/status | cut -f2 | tr '\\n' ' '",
	    output, sizeof(output));
	assert_int_equal(sscanf(output, "%llx %llx", &blocked, &ignored), 2);
	assert_int_equal(blocked, 0);
	assert_int_equal(ignored & 0x7fffffff, 0); /* those above are the C library's own */
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	signal(SIGPIPE, SIG_DFL);
}

static void ends_in_a_group_of_its_own(void **state)
{
	const char *argv[] = { "sh", "-c", "sleep 100 & wait", NULL };
	struct process_spec spec = { .argv = argv, .env = env, .own_group = true };
	struct process process;
	struct error error;
	char text[PROCESS_STATUS_TEXT];
	int status;

	(void)state;
	assert_int_equal(process_spawn(&spec, &process, &error), 0);
	assert_int_equal(getpgid(process.pid), process.pid);
	assert_int_equal(process_reap(&process, &status), 0);
	process_signal(&process, SIGKILL, true);
	status = wait_for(&process);
	assert_true(WIFSIGNALED(status));
	assert_string_equal(process_status(status, text), "signal 9 (KILL)");
	process_signal(&process, SIGKILL, true); /* none: harmless */
}

static void says_what_cannot_be_started(void **state)
{
	static const struct {
		const char *program, *directory;
	} cases[] = { { "no-such-program", NULL },
		      { "/etc/passwd", NULL },
		      { "./sh", "/tmp" },
		      { "sh", "/no/such/folder" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *argv[] = { cases[i].program, NULL };
		struct process_spec spec = { .argv = argv,
					     .env = env,
					     .directory = cases[i].directory };
		struct process process;
		struct error error;

		assert_int_equal(process_spawn(&spec, &process, &error), -1);
		assert_int_equal(error.code, ERROR_NOT_FOUND);
		assert_non_null(strstr(error.message, cases[i].program));
		assert_int_equal(process.pid, 0);
	}
}

static void tells_exit_codes(void **state)
{
	const char *argv[] = { "renamed", "-c", "exit 3", NULL };
	struct process_spec spec = { .program = "/bin/sh", .argv = argv, .env = env };
	struct process process;
	struct error error;
	char text[PROCESS_STATUS_TEXT];

	(void)state;
	assert_int_equal(process_spawn(&spec, &process, &error), 0);
	assert_string_equal(process_status(wait_for(&process), text), "exit 3");
}

static void dies_with_its_parent(void **state)
{
	int ends[2];
	char byte;
	pid_t middle;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	middle = fork();
	if (middle == 0) {
		pid_t me = getpid(), child = fork();

		if (child == 0) {
			if (!process_follow_parent(me) || write(ends[1], "x", 1) != 1)
				_exit(1);
			pause();
			_exit(0);
		}
		pause();
		_exit(0);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	kill(middle, SIGKILL);
	assert_int_equal(waitpid(middle, NULL, 0), middle);
	assert_int_equal(read(ends[0], &byte, 1), 0); /* the last writer is gone */
	close(ends[0]);
	if (fork() == 0)
		_exit(process_follow_parent(1) ? 1 : 0); /* not our parent */
	assert_int_not_equal(wait(ends), -1);
	assert_int_equal(ends[0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_descriptors_and_nothing_else),
		cmocka_unit_test(swaps_descriptors),
		cmocka_unit_test(gives_environment_folder_and_limits),
		cmocka_unit_test(resets_signals),
		cmocka_unit_test(ends_in_a_group_of_its_own),
		cmocka_unit_test(says_what_cannot_be_started),
		cmocka_unit_test(tells_exit_codes),
		cmocka_unit_test(dies_with_its_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

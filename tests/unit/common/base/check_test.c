/* SPDX-License-Identifier: Apache-2.0 */
/* A CHECK that fails must end the process and say where; one that holds must do nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/check.h"

/* Runs CHECK(ok) in a child. Returns its wait status and what it wrote on stderr. */
static int run_check(int ok, char *text, size_t bytes)
{
	int pipes[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(pipes[1], STDERR_FILENO);
		close(pipes[0]);
		signal(SIGABRT, SIG_DFL);
		CHECK(ok == 1);
		_exit(0);
	}
	close(pipes[1]);
	while ((n = read(pipes[0], text + len, bytes - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void holds(void **state)
{
	char text[512];

	(void)state;
	assert_int_equal(run_check(1, text, sizeof(text)), 0);
	assert_string_equal(text, "");
}

static void fails(void **state)
{
	char text[512];
	int status;

	(void)state;
	status = run_check(0, text, sizeof(text));
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_non_null(strstr(text, "CHECK failed: ok == 1 at "));
	assert_non_null(strstr(text, "check_test.c:"));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(holds), cmocka_unit_test(fails) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

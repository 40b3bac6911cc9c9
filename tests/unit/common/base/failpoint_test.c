/* SPDX-License-Identifier: Apache-2.0 */
/* An armed failpoint acts at the passage it was told and at no other; without the compile-time
 * switch it never does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"

/* Passes "before_commit" three times in a child. Returns its wait status; the exit code has a bit
 * for each failure. */
static int pass(const char *armed)
{
	int status, failures = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("WINDLASS_FAILPOINT", armed, 1);
		for (int i = 0; i < 3; i++) {
			(void)FAILPOINT("before");
			(void)FAILPOINT("after_commit");
			if (FAILPOINT("before_commit"))
				failures |= 1 << i;
		}
		_exit(failures);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

#ifdef WINDLASS_FAILPOINTS
static void acts(void **state)
{
	int64_t start_ms = clock_mono_ms();
	int status;

	(void)state;
	assert_int_equal(WEXITSTATUS(pass("before_commit:1:err")), 1);
	assert_int_equal(WEXITSTATUS(pass("before_commit:3:err")), 4);
	assert_int_equal(pass("before_commit:4:err"), 0);
	assert_int_equal(pass("commit:1:err"), 0);
	status = pass("before_commit:2:kill");
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	assert_int_equal(pass("before_commit:2:delay=120"), 0);
	assert_true(clock_mono_ms() - start_ms >= 120);
}
#else
static void acts(void **state)
{
	(void)state;
	assert_int_equal(pass("before_commit:1:err"), 0);
	assert_int_equal(pass("before_commit:1:kill"), 0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(acts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/pool/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/log.h"

#define DEEP 300 /* folders in each other: far more than are held open at once */

static char parent[64];

static int set_up(void **state)
{
	(void)state;
	snprintf(parent, sizeof(parent), "/tmp/windlass-scratch-XXXXXX");
	assert_non_null(mkdtemp(parent));
	return setenv("TMPDIR", parent, 1);
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(parent); /* nothing is left in it */
}

static bool is_there(const struct scratch *scratch, long pid)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%ld", scratch_path(scratch), pid);
	return access(path, F_OK) == 0;
}

static int make(const struct scratch *scratch, long pid)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%ld", scratch_path(scratch), pid);
	assert_int_equal(mkdir(path, 0700), 0);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	return fd;
}

static void wait_until_empty(const struct scratch *scratch)
{
	struct stat about;

	/* two links: no folder is in it */
	for (int i = 0; i < 2000; i++) {
		assert_int_equal(stat(scratch_path(scratch), &about), 0);
		if (about.st_nlink == 2)
			return;
		usleep(10000);
	}
	fail_msg("not empty after 20 s");
}

static void an_empty_one_goes_at_once(void **state)
{
	struct scratch *scratch = scratch_new();
	struct stat about;

	(void)state;
	assert_non_null(scratch);
	assert_int_equal(stat(scratch_path(scratch), &about), 0);
	assert_int_equal(about.st_mode & 0777, 0700);
	close(make(scratch, 7));
	scratch_drop(scratch, 7);
	assert_false(is_there(scratch, 7));
	scratch_drop(scratch, 8); /* never made one */
	scratch_free(&scratch);
	assert_null(scratch);
}

static void what_hosts_leave_is_removed(void **state)
{
	struct scratch *scratch = scratch_new();
	char outside[96];
	int fd, file;

	(void)state;
	snprintf(outside, sizeof(outside), "%s/outside", parent);
	file = open(outside, O_CREAT | O_WRONLY, 0600);
	close(file);
	fd = make(scratch, 7);
	assert_int_equal(symlinkat(parent, fd, "link"), 0);
	assert_int_equal(mkdirat(fd, "closed", 0700), 0);
	assert_int_equal(mkdirat(fd, "closed/inner", 0), 0);
	assert_int_equal(fchmodat(fd, "closed", 0, 0), 0);
	for (int i = 0; i < DEEP; i++) {
		int deeper;

		assert_int_equal(mkdirat(fd, "d", 0700), 0);
		deeper = openat(fd, "d", O_RDONLY | O_DIRECTORY);
		close(fd);
		fd = deeper;
	}
	close(fd);
	close(make(scratch, 9)); /* of a host that lives */
	scratch_drop(scratch, 7);
	assert_false(is_there(scratch, 7)); /* its name is free at once */
	close(make(scratch, 7));
	scratch_drop(scratch, 7);
	assert_true(is_there(scratch, 9));
	scratch_drop(scratch, 9);
	wait_until_empty(scratch);
	assert_int_equal(access(outside, F_OK), 0);
	assert_int_equal(unlink(outside), 0);
	scratch_free(&scratch);
}

static void the_end_takes_all(void **state)
{
	struct scratch *scratch = scratch_new();
	int fd = make(scratch, 11);

	(void)state;
	close(openat(fd, "file", O_CREAT | O_WRONLY, 0600));
	close(fd);
	scratch_free(&scratch);
}

static void left_behind_ones_are_removed(void **state)
{
	char dead[96], inner[128];
	struct scratch *alive = scratch_new(), *next;
	int tries = 2000;

	(void)state;
	snprintf(dead, sizeof(dead), "%s/windlass-hosts-abc", parent);
	snprintf(inner, sizeof(inner), "%s/12", dead);
	assert_int_equal(mkdir(dead, 0700), 0);
	assert_int_equal(mkdir(inner, 0700), 0);
	next = scratch_new();
	while (access(dead, F_OK) == 0 && tries-- > 0)
		usleep(10000);
	assert_int_not_equal(access(dead, F_OK), 0);
	assert_int_equal(access(scratch_path(alive), F_OK), 0);
	scratch_free(&next);
	scratch_free(&alive);
}

static void no_place_is_no_disaster(void **state)
{
	struct scratch *scratch;

	(void)state;
	setenv("TMPDIR", "/nowhere", 1);
	scratch = scratch_new();
	assert_null(scratch);
	scratch_free(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_empty_one_goes_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_hosts_leave_is_removed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_end_takes_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(left_behind_ones_are_removed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_place_is_no_disaster, set_up, tear_down),
	};

	log_init("test", LOG_FATAL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

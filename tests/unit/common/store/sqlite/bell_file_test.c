/* SPDX-License-Identifier: Apache-2.0 */
/* <file>-bell: what is left of it after crashes must be harmless, and what other versions hold open
 * must be left alone. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/store/sqlite/bell_file.h"
#include "common/store/sqlite/sqlite_impl.h"
#include "tests/integration/store_fixture.h"

static char folder[64], path[100], bell_path[110];
static struct error error;

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/windlass-bell-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/queue.db", folder);
	snprintf(bell_path, sizeof(bell_path), "%s-bell", path);
	return 0;
}

static int tear_down(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static struct bell_file *must_open(void)
{
	struct bell_file *file = bell_file_open(path, &error);

	if (!file)
		fail_msg("%s", error.message);
	return file;
}

static void must_lock(struct bell_file *file)
{
	if (bell_file_lock(file, 2000, &error))
		fail_msg("%s", error.message);
}

static void excludes(void **state)
{
	struct bell_file *one = must_open(), *two = must_open();
	pid_t child;
	int status;

	(void)state;
	must_lock(one);
	child = fork();
	if (child == 0)
		_exit(bell_file_lock(two, 200, &error) == 0 ? 1
		      : error.code == ERROR_CONTENTION      ? 0
							    : 2);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	bell_file_unlock(one);
	must_lock(two);
	bell_file_unlock(two);
	bell_file_close(&two);
	bell_file_close(&one);
}

static void survives_its_owner(void **state)
{
	struct bell_file *file = must_open();
	pid_t child = fork();
	int status;

	(void)state;
	if (child == 0) {
		must_lock(file);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	for (int i = 0; i < 3; i++) {
		must_lock(file);
		bell_file_unlock(file);
	}
	bell_file_close(&file);
}

static void rubbish_is_made_anew(void **state)
{
	static const size_t sizes[] = { 0, 3, 100, sizeof(struct bell_shared), 300000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct bell_file *file;
		char *rubbish = xmalloc(sizes[i] + 1);
		FILE *out = fopen(bell_path, "w");

		memset(rubbish, 0x5a, sizes[i]);
		assert_int_equal(fwrite(rubbish, 1, sizes[i], out), sizes[i]);
		fclose(out);
		free(rubbish);
		file = must_open();
		must_lock(file);
		bell_file_unlock(file);
		bell_file_close(&file);
	}
}

static void other_layouts_are_left_alone(void **state)
{
	struct bell_file *file = must_open();
	uint32_t other = BELL_FILE_LAYOUT + 1;
	int fd = open(bell_path, O_RDWR);

	(void)state;
	assert_int_equal(flock(fd, LOCK_SH), 0);
	bell_file_close(&file);
	assert_int_equal(pwrite(fd, &other, sizeof(other), 0), sizeof(other));
	assert_null(bell_file_open(path, &error));
	assert_non_null(strstr(error.message, "another version"));
	close(fd); /* the last one is gone */
	file = must_open();
	bell_file_close(&file);
}

static void links_share_a_bell(void **state)
{
	char link_path[110], one[SQLITE_PATH_BYTES], two[SQLITE_PATH_BYTES];

	(void)state;
	close(open(path, O_CREAT | O_WRONLY, 0600));
	snprintf(link_path, sizeof(link_path), "%s/link.db", folder);
	assert_int_equal(symlink("queue.db", link_path), 0);
	assert_int_equal(sqlite_bell_path(path, one, &error), 0);
	assert_int_equal(sqlite_bell_path(link_path, two, &error), 0);
	assert_string_equal(one, two);
}

/* One that takes it again and again must not keep out another one that wants it now and then. A
 * machine that is busy with something else may hold up a few turns. */
static void nobody_starves(void **state)
{
	struct bell_file *file;
	int slow = 0;
	pid_t greedy = fork();

	(void)state;
	file = must_open();
	for (int64_t until = clock_mono_ms() + 20000; greedy == 0 && clock_mono_ms() < until;) {
		must_lock(file);
		for (int64_t held = clock_mono_ns() + 500000; clock_mono_ns() < held;)
			;
		bell_file_unlock(file);
	}
	if (greedy == 0)
		_exit(0);
	for (int i = 0; i < 200; i++) {
		int64_t start = clock_mono_ms();

		must_lock(file);
		bell_file_unlock(file);
		slow += clock_mono_ms() - start > 100;
		pause_ms(2);
	}
	kill(greedy, SIGKILL);
	assert_int_equal(waitpid(greedy, NULL, 0), greedy);
	bell_file_close(&file);
	if (slow > 20)
		fail_msg("had to wait %d times of 200", slow);
}

/* All at once from nothing: exactly one makes it, nobody is refused, and the mutex holds. */
static void opened_by_many(void **state)
{
	enum { CHILDREN = 16, TURNS = 200 };
	char count_path[110];
	FILE *count;
	int sum = 0;

	(void)state;
	snprintf(count_path, sizeof(count_path), "%s/count", folder);
	for (int i = 0; i < CHILDREN; i++) {
		if (fork())
			continue;
		struct bell_file *file = must_open();

		for (int turn = 0; turn < TURNS; turn++) {
			int n = 0;

			must_lock(file);
			count = fopen(count_path, "r");
			if (count && fscanf(count, "%d", &n) != 1)
				_exit(1);
			if (count)
				fclose(count);
			count = fopen(count_path, "w");
			fprintf(count, "%d", n + 1);
			fclose(count);
			bell_file_unlock(file);
		}
		_exit(0);
	}
	for (int i = 0; i < CHILDREN; i++) {
		int status;

		wait(&status);
		assert_int_equal(status, 0);
	}
	count = fopen(count_path, "r");
	assert_int_equal(fscanf(count, "%d", &sum), 1);
	fclose(count);
	assert_int_equal(sum, CHILDREN * TURNS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(excludes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(survives_its_owner, set_up, tear_down),
		cmocka_unit_test_setup_teardown(rubbish_is_made_anew, set_up, tear_down),
		cmocka_unit_test_setup_teardown(other_layouts_are_left_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(links_share_a_bell, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nobody_starves, set_up, tear_down),
		cmocka_unit_test_setup_teardown(opened_by_many, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

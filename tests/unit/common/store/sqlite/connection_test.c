/* SPDX-License-Identifier: Apache-2.0 */
/* Who may read the files of a SQLite store: its owner alone, whatever the umask, unless somebody
 * has made the file beforehand. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/integration/store_fixture.h"

static char folder[64], path[80], url[120];
static struct error error;

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/windlass-mode-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/queue.db", folder);
	snprintf(url, sizeof(url), "sqlite:%s", path);
	return 0;
}

static int tear_down(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static void open_and_expect(mode_t mode)
{
	static const char *const suffixes[] = { "", "-bell", "-wal", "-shm" };
	struct store *store;
	int applied;

	if (store_open(url, STORE_WRITE, "test", &store, &error) ||
	    store_migrate(store, &applied, &error))
		fail_msg("%s", error.message);
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		char name[100];
		struct stat st;

		snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		assert_int_equal(stat(name, &st), 0);
		if ((st.st_mode & 07777) != mode)
			fail_msg("%s has mode %o", name, st.st_mode & 07777);
	}
	store_close(&store);
}

static void new_files_are_private(void **state)
{
	static const mode_t umasks[] = { 0, 022, 077, 0277 };
	char command[200];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s && mkdir -m 700 %s", folder, folder);
	for (size_t i = 0; i < ARRAY_LEN(umasks); i++) {
		mode_t before = umask(umasks[i]);

		open_and_expect(0600);
		umask(before);
		assert_int_equal(system(command), 0);
	}
}

static void through_a_link(void **state)
{
	char link[100];

	(void)state;
	snprintf(link, sizeof(link), "%s/link.db", folder);
	assert_int_equal(symlink(path, link), 0);
	snprintf(url, sizeof(url), "sqlite:%s", link);
	mode_t before = umask(0);
	struct store *store;

	assert_int_equal(store_open(url, STORE_WRITE, "test", &store, &error), 0);
	store_close(&store);
	umask(before);
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void the_mode_of_a_file_stays(void **state)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	(void)state;
	assert_int_equal(fchmod(fd, 0660), 0);
	close(fd);
	mode_t before = umask(077);

	open_and_expect(0660);
	umask(before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(new_files_are_private, set_up, tear_down),
		cmocka_unit_test_setup_teardown(through_a_link, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_mode_of_a_file_stays, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

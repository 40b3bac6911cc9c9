/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox cannot be left: each case runs in a process of its own, this program called again. */
#include "workers/handlers/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "workers/supervisor/process.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true /* their runtimes use calls that are forbidden */
#else
#define SANITIZED false
#endif

static char folder[64]; /* definitions, scratch, a secret, something shown */

static const char *in_folder(const char *name)
{
	static char paths[8][128];
	static unsigned next;
	char *path = paths[next++ % ARRAY_LEN(paths)];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static void put(const char *name)
{
	int fd = open(in_folder(name), O_CREAT | O_WRONLY, 0600);

	CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/windlass-sandbox-XXXXXX");
	CHECK(mkdtemp(folder));
	for (const char *const *name =
		     (const char *const[]){ "jobs", "jobs/sub", "scratch", "other", NULL };
	     *name; name++)
		CHECK(mkdir(in_folder(*name), 0700) == 0);
	for (const char *const *name = (const char *const[]){ "jobs/file", "jobs/secret",
							      "jobs/.dot", "jobs/sub/secret",
							      "jobs/sub/file", "other/file", NULL };
	     *name; name++)
		put(*name);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

/* ---- in the process that is shut in: its exit code is how the case went */
static int enter(bool other_read, bool greedy)
{
	const char *hidden[] = { in_folder("jobs/secret"), in_folder("jobs/sub/secret"),
				 in_folder("jobs/not-yet") };
	const char *other[] = { in_folder("other") }, *jobs[] = { in_folder("jobs") };
	struct sandbox sandbox = { .directory = in_folder("jobs"),
				   .scratch = in_folder("scratch"),
				   .program = "sh",
				   .read = { other, other_read },
				   .write = { jobs, greedy },
				   .hidden = { hidden, ARRAY_LEN(hidden) } };
	struct error error;

	if (sandbox_drop_privileges(&error) < 0 || sandbox_close_files(&sandbox, &error) < 0) {
		fprintf(stderr, "%s\n", error.message);
		return -1;
	}
	return 0;
}

static bool can(const char *name, int flags)
{
	int fd = open(*name == '/' ? name : in_folder(name), flags, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int case_files(void)
{
	const struct {
		const char *name;
		int flags;
		bool want;
	} cases[] = {
		{ "jobs/file", O_RDONLY, true },
		{ "jobs/sub/file", O_RDONLY, true },
		{ "jobs", O_RDONLY | O_DIRECTORY, true },
		{ "jobs/file", O_WRONLY, false },
		{ "jobs/new", O_WRONLY | O_CREAT, false },
		{ "jobs/not-yet", O_WRONLY | O_CREAT, false },
		{ "jobs/secret", O_RDONLY, false },
		{ "jobs/sub/secret", O_RDONLY, false },
		{ "jobs/.dot", O_RDONLY, false },
		{ "other/file", O_RDONLY, false },
		{ "scratch/new", O_RDWR | O_CREAT, true },
		{ "scratch/new", O_WRONLY | O_TRUNC, true },
		{ "/etc/passwd", O_RDONLY, true },
		{ "/etc/shadow", O_RDONLY, false },
		{ "/dev/null", O_WRONLY, true },
		{ "/proc/self/maps", O_RDONLY, true },
		{ "/proc/1/environ", O_RDONLY, false },
		{ "/tmp", O_RDONLY | O_DIRECTORY, false },
	};
	int wrong = 0;

	if (enter(false, false) < 0)
		return 1;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (can(cases[i].name, cases[i].flags) != cases[i].want) {
			fprintf(stderr, "%s, flags %x: wanted %d\n", cases[i].name, cases[i].flags,
				cases[i].want);
			wrong++;
		}
	}
	return wrong + (kill(getppid(), 0) == 0 && sandbox_landlock() >= 6);
}

static int case_asked(void)
{
	return enter(true, false) < 0 || !can("other/file", O_RDONLY) ||
	       can("other/file", O_WRONLY);
}

static int case_greedy(void)
{
	return enter(false, true) < 0 ? 0 : 1;
}

static void on_caught(int number)
{
	char text[16];

	snprintf(text, sizeof(text), "# call %d\n", number);
	(void)!write(STDOUT_FILENO, text, strlen(text));
}

static int forbid(sandbox_caught_fn *caught)
{
	struct error error;

	return sandbox_drop_privileges(&error) < 0 || sandbox_forbid_calls(caught, &error) < 0;
}

static int case_module_calls(void)
{
	struct sigaction mine = { .sa_handler = SIG_IGN };

	if (forbid(on_caught) || sigaction(SIGSYS, &mine, NULL) == 0)
		return 1;
	return (int)syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0);
}

static int case_program_calls(void)
{
	if (forbid(NULL) || syscall(SYS_keyctl, 0, 0, 0, 0, 0) == 0 || errno != EPERM)
		return 1;
	execl("/bin/sh", "sh", "-c", "exit 0", NULL);
	return 1;
}

static int case_program_killed(void)
{
	return forbid(NULL) + (int)syscall(SYS_mount, NULL, NULL, NULL, 0, NULL);
}

static const struct {
	const char *name;
	int (*run)(void);
} cases[] = {
	{ "files", case_files },           { "asked", case_asked },
	{ "greedy", case_greedy },         { "module", case_module_calls },
	{ "program", case_program_calls }, { "killed", case_program_killed },
};

static int run_case(char **argv)
{
	snprintf(folder, sizeof(folder), "%s", argv[2]);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (strcmp(cases[i].name, argv[1]) == 0)
			return cases[i].run();
	}
	return 99;
}

/* ---- outside */
static int status_of(const char *name)
{
	const char *const argv[] = { "/proc/self/exe", name, folder, NULL };
	const char *const env[] = { "PATH=/usr/bin:/bin", NULL };
	struct process_spec spec = { .argv = argv, .env = env };
	struct process process;
	struct error error;
	int status;

	assert_int_equal(process_spawn(&spec, &process, &error), 0);
	while (process_reap(&process, &status) == 0)
		usleep(1000);
	return status;
}

static void files(void **state)
{
	(void)state;
	if (!sandbox_landlock())
		skip();
	assert_int_equal(status_of("files"), 0);
	assert_int_equal(status_of("asked"), 0);
	assert_int_equal(status_of("greedy"), 0);
}

static void calls(void **state)
{
	int status;

	(void)state;
	if (!sandbox_seccomp() || SANITIZED)
		skip();
	status = status_of("module");
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	assert_int_equal(status_of("program"), 0);
	status = status_of("killed");
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void names(void **state)
{
	char text[SANDBOX_CALL_TEXT];

	(void)state;
	assert_string_equal(sandbox_call_name(SYS_ptrace, text), "ptrace");
	assert_string_equal(sandbox_call_name(99999, text), "system call 99999");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(files, set_up, tear_down),
		cmocka_unit_test(calls),
		cmocka_unit_test(names),
	};

	if (argc == 3)
		return run_case(argv);
	log_init("test", LOG_FATAL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

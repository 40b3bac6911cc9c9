/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor with a shell script in place of `windlass`: who is started with what, respawn, the
 * order of stopping, exit codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "workers/supervisor/supervisor.h"

#define JOBS "jobs: {a: {sql: SELECT 1}}"

struct scene {
	char folder[64], program[96], log[96];
	pid_t supervisor;
};

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	chmod(path, 0755);
}

static int setup(void **state)
{
	static struct scene scene;

	strcpy(scene.folder, "/tmp/supervisor_test.XXXXXX");
	if (!mkdtemp(scene.folder))
		return -1;
	snprintf(scene.program, sizeof(scene.program), "%s/windlass", scene.folder);
	snprintf(scene.log, sizeof(scene.log), "%s/log", scene.folder);
	write_file(scene.log, "");
	*state = &scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	unlink(scene->program);
	unlink(scene->log);
	return rmdir(scene->folder);
}

/* Runs the supervisor in a process of its own with children that run this script; $role, $pid and
 * `say` are there. */
static void start(struct scene *scene, const char *script)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "#!/bin/sh\nrole=$1 pid=$$\nsay() { echo \"$@\" >> %s; }\n%s\n", scene->log,
		 script);
	write_file(scene->program, text);
	scene->supervisor = fork();
	if (scene->supervisor == 0) {
		struct settings settings;
		struct service service = { .settings = &settings };

		setenv("WINDLASS_WORKERS", "2", 1);
		setenv("WINDLASS_GRACE", "2s", 1);
		setenv("DATABASE_URL", "sqlite:geheim", 1);
		setenv("CUSTOM", "kept", 1);
		service.defs = definitions_parse(JOBS, strlen(JOBS), "jobs.yaml", stderr);
		if (!service.defs || settings_load(&settings, stderr) != 0 ||
		    service_init(&service, "run") != 0)
			_exit(99);
		_exit(supervisor_main(&service, scene->program));
	}
}

static char *read_log(const struct scene *scene)
{
	static char text[65536];
	FILE *file = fopen(scene->log, "r");
	size_t bytes = fread(text, 1, sizeof(text) - 1, file);

	fclose(file);
	text[bytes] = 0;
	return text;
}

/* Waits until the log has so many lines that begin with this. */
static const char *await(const struct scene *scene, const char *begin, int count)
{
	for (int turn = 0; turn < 500; turn++) {
		const char *last = NULL;
		int found = 0;

		for (const char *line = read_log(scene); line && *line;
		     line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
			if (strncmp(line, begin, strlen(begin)) == 0 && strchr(line, '\n')) {
				found++;
				last = line;
			}
		}
		if (found >= count)
			return last;
		usleep(20000);
	}
	fail_msg("no %d lines %s in\n%s", count, begin, read_log(scene));
	return NULL;
}

static int ended(const struct scene *scene)
{
	int status;

	assert_int_equal(waitpid(scene->supervisor, &status, 0), scene->supervisor);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char patient[] =
	"trap 'say end $role; exit 0' TERM\n"
	"say start \"$@\" pid=$pid secret=$DATABASE_URL workers=$WINDLASS_WORKERS custom=$CUSTOM fd=$WINDLASS_SETTINGS_FD\n"
	"while :; do sleep 0.02; done";

static void keeps_children_running_and_stops_downstream(void **state)
{
	struct scene *scene = *state;
	char line[1024], session[64], *at;
	int pid;

	start(scene, patient);
	snprintf(line, sizeof(line), "%s", await(scene, "start gateway --parent ", 1));
	*strchr(line, '\n') = 0;
	assert_non_null(strstr(line, "secret= workers= custom=kept fd=3"));
	await(scene, "start scaler --parent ", 1);
	await(scene, "start work --parent ", 2);
	snprintf(line, sizeof(line), "%s", await(scene, "start work ", 2));
	at = strstr(line, "--session ");
	assert_non_null(at);
	assert_int_equal(sscanf(at, "--session %36s pid=%d", session, &pid), 2);
	assert_null(strstr(line, "--predecessor"));
	kill(pid, SIGKILL);
	snprintf(line, sizeof(line), "%s", await(scene, "start work ", 3));
	at = strstr(line, "--predecessor ");
	assert_non_null(at);
	assert_memory_equal(at + 14, session, 36);
	kill(scene->supervisor, SIGTERM);
	assert_int_equal(ended(scene), 0);
	await(scene, "end work", 2);
	at = strstr(read_log(scene), "end ");
	assert_memory_equal(at, "end gateway", 11);
	assert_null(strstr(at, "start "));
}

static void ends_when_the_configuration_is_refused(void **state)
{
	struct scene *scene = *state;

	start(scene,
	      "[ $role = gateway ] && exit 78\ntrap 'say end $role; exit 0' TERM\nsay up; while :; do sleep 0.02; done");
	assert_int_equal(ended(scene), 78);
}

static void stops_at_once_when_told_twice(void **state)
{
	struct scene *scene = *state;

	/* Goes on at the first signal, leaves at the second one. */
	start(scene,
	      "n=0; hit() { n=$((n + 1)); say hit $role; [ $n = 2 ] && exit 0; }\ntrap hit TERM INT\n"
	      "say up $role; while :; do sleep 0.02; done");
	await(scene, "up ", 4);
	kill(scene->supervisor, SIGTERM);
	await(scene, "hit gateway", 1);
	kill(scene->supervisor, SIGTERM);
	assert_int_equal(ended(scene), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keeps_children_running_and_stops_downstream, setup,
						teardown),
		cmocka_unit_test_setup_teardown(ends_when_the_configuration_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(stops_at_once_when_told_twice, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

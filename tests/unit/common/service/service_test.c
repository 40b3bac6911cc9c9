/* SPDX-License-Identifier: Apache-2.0 */
/* Signals as a role sees them, and definitions that are read again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/service/service.h"

static int setup(void **state)
{
	static struct service service;

	service = (struct service){ 0 };
	*state = &service;
	return service_init(&service, "test");
}

static int teardown(void **state)
{
	struct service *service = *state;

	definitions_unref(&service->defs);
	return close(service->signal_fd);
}

static void first_drains_then_stops(void **state)
{
	struct service *service = *state;
	struct pollfd fd = { .fd = service->signal_fd, .events = POLLIN };

	assert_int_equal(service_signal(service), SERVICE_NONE);
	kill(getpid(), SIGTERM);
	assert_int_equal(poll(&fd, 1, 1000), 1);
	assert_int_equal(service_signal(service), SERVICE_DRAIN);
	assert_int_equal(service_signal(service), SERVICE_NONE);
	kill(getpid(), SIGINT);
	assert_int_equal(service_signal(service), SERVICE_NOW);
	kill(getpid(), SIGTERM);
	assert_int_equal(service_signal(service), SERVICE_NOW);
}

/* More and less are for `run` alone: others would stop at the terminal for them. */
static void tells_of_scaling(void **state)
{
	struct service *service = *state;

	kill(getpid(), SIGUSR1);
	assert_int_equal(service_signal(service), SERVICE_RETIRE);
	assert_false(service->draining);
	close(service->signal_fd);
	assert_int_equal(service_init(service, "run"), 0);
	kill(getpid(), SIGTTIN);
	assert_int_equal(service_signal(service), SERVICE_MORE);
	kill(getpid(), SIGTTOU);
	assert_int_equal(service_signal(service), SERVICE_LESS);
	kill(getpid(), SIGTERM);
	assert_int_equal(service_signal(service), SERVICE_DRAIN);
}

static void tells_of_reloads_and_children(void **state)
{
	struct service *service = *state;
	pid_t pid;

	kill(getpid(), SIGHUP);
	assert_int_equal(service_signal(service), SERVICE_RELOAD);
	pid = fork();
	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	assert_int_equal(service_signal(service), SERVICE_CHILD);
	assert_false(service->draining);
}

static void survives_broken_pipes(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	close(ends[0]);
	assert_int_equal(write(ends[1], "x", 1), -1);
	close(ends[1]);
}

static void keeps_others_out(void **state)
{
	(void)state;
#ifndef __SANITIZE_ADDRESS__
	assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
#endif
}

static void write_jobs(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void keeps_the_old_definitions_when_new_ones_are_bad(void **state)
{
	struct service *service = *state;
	char path[] = "/tmp/service_test.XXXXXX";
	struct settings settings = {
		.jobs_path = path, .broker_url = "", .broker_prefix = "", .webhook_secret = ""
	};
	struct definitions *held;

	close(mkstemp(path));
	service->settings = &settings;
	write_jobs(path, "jobs: {a: {sql: SELECT 1}}\n");
	assert_true(service_reload(service));
	held = definitions_ref(service->defs);
	write_jobs(path, "jobs: {b: {sql: SELECT 1}}\n");
	assert_true(service_reload(service));
	assert_non_null(definitions_type(service->defs, "b"));
	assert_non_null(definitions_type(held, "a")); /* whoever holds it goes on with it */
	write_jobs(path, "jobs: {c: {sql: SELECT 1}\n");
	assert_false(service_reload(service));
	assert_non_null(definitions_type(service->defs, "b"));
	definitions_unref(&held);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(first_drains_then_stops, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_of_reloads_and_children, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_of_scaling, setup, teardown),
		cmocka_unit_test_setup_teardown(survives_broken_pipes, setup, teardown),
		cmocka_unit_test_setup_teardown(keeps_others_out, setup, teardown),
		cmocka_unit_test_setup_teardown(keeps_the_old_definitions_when_new_ones_are_bad,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

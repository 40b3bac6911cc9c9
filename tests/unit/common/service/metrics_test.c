/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics: the page, histograms, labels, what finds no room, several threads, several processes,
 * and a process that dies and comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/service/metrics.h"

static char *render(struct metrics *metrics)
{
	struct strbuf out;

	strbuf_init(&out);
	metrics_render(metrics, &out);
	return strbuf_take(&out);
}

static void assert_line(struct metrics *metrics, const char *line)
{
	char *page = render(metrics), *at = strstr(page, line);

	if (!at || (at > page && at[-1] != '\n') || at[strlen(line)] != '\n')
		fail_msg("no line %s in\n%s", line, page);
	free(page);
}

static int setup(void **state)
{
	unsetenv("WINDLASS_METRICS_FD");
	*state = metrics_open("test");
	return 0;
}

static int teardown(void **state)
{
	metrics_close((struct metrics **)state);
	return 0;
}

static void counts(void **state)
{
	struct metrics *m = *state;
	struct metric_series *series = metrics_series(m, METRIC_JOBS_FINISHED, "a", "done");

	metric_add(series, 2);
	assert_ptr_equal(metrics_series(m, METRIC_JOBS_FINISHED, "a", "done"), series);
	metric_add(series, 3);
	metric_add(metrics_series(m, METRIC_JOBS_FINISHED, "a", "retry"), 1);
	assert_int_equal(metric_value(series), 5);
	assert_line(m, "windlass_jobs_finished_total{type=\"a\",outcome=\"done\"} 5");
	assert_line(m, "windlass_jobs_finished_total{type=\"a\",outcome=\"retry\"} 1");
	assert_line(m, "# TYPE windlass_jobs_finished_total counter");
	assert_line(m, "windlass_log_dropped_total 0");
}

static void gauges(void **state)
{
	struct metrics *m = *state;

	metric_set(metrics_series(m, METRIC_QUEUE_OLDEST_SECONDS, "q", NULL), 1.25);
	metric_move(metrics_series(m, METRIC_WAITERS, NULL, NULL), 5);
	metric_move(metrics_series(m, METRIC_WAITERS, NULL, NULL), -2);
	assert_line(m, "windlass_queue_oldest_seconds{queue=\"q\"} 1.25");
	assert_line(m, "windlass_waiters 3");
}

static void sorts_into_buckets(void **state)
{
	struct metrics *m = *state;
	struct metric_series *times = metrics_series(m, METRIC_HTTP_SECONDS, "r", NULL);

	metric_observe(times, 0.0005); /* a bound belongs to its bucket */
	metric_observe(times, 0.0006);
	metric_observe(times, -1);
	metric_observe(times, 61);
	assert_line(m, "windlass_http_seconds_bucket{route=\"r\",le=\"0.0005\"} 2");
	assert_line(m, "windlass_http_seconds_bucket{route=\"r\",le=\"0.001\"} 3");
	assert_line(m, "windlass_http_seconds_bucket{route=\"r\",le=\"60\"} 3");
	assert_line(m, "windlass_http_seconds_bucket{route=\"r\",le=\"+Inf\"} 4");
	assert_line(m, "windlass_http_seconds_count{route=\"r\"} 4");
	assert_line(m, "windlass_http_seconds_sum{route=\"r\"} 61.0011");
	metric_observe(metrics_series(m, METRIC_COMMIT_BATCH, "accept", NULL), 256);
	assert_line(m, "windlass_commit_batch_jobs_bucket{kind=\"accept\",le=\"128\"} 0");
	assert_line(m, "windlass_commit_batch_jobs_bucket{kind=\"accept\",le=\"256\"} 1");
	assert_line(m, "windlass_commit_batch_jobs_sum{kind=\"accept\"} 256");
}

static void escapes_and_cuts_labels(void **state)
{
	struct metrics *m = *state;
	char name[400];

	metric_add(metrics_series(m, METRIC_JOBS_ACCEPTED, "a\"b\\c\nd", NULL), 1);
	assert_line(m, "windlass_jobs_accepted_total{type=\"a\\\"b\\\\c\\nd\"} 1");
	memset(name, 'x', sizeof(name));
	memcpy(name + 130, "\xc3\xa9", 2); /* must not be cut in two */
	name[399] = 0;
	metric_add(metrics_series(m, METRIC_JOBS_ACCEPTED, name, NULL), 1);
	name[130] = 0;
	metric_add(metrics_series(m, METRIC_JOBS_ACCEPTED, name, NULL), 1);
	assert_int_equal(metric_value(metrics_series(m, METRIC_JOBS_ACCEPTED, name, NULL)), 2);
}

static void puts_what_finds_no_room_into_other(void **state)
{
	struct metrics *m = *state;
	char name[32];

	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		metric_add(metrics_series(m, METRIC_JOBS_ACCEPTED, name, NULL), 1);
	}
	metric_add(metrics_series(m, METRIC_HTTP_REQUESTS, "r", "200"), 1);
	assert_line(m, "windlass_jobs_accepted_total{type=\"t2047\"} 1");
	assert_line(m, "windlass_jobs_accepted_total{type=\"other\"} 952");
	assert_line(m, "windlass_http_requests_total{route=\"other\",status=\"other\"} 1");
}

static void *count_much(void *ctx)
{
	struct metrics *m = ctx;

	for (int i = 0; i < 20000; i++) {
		metric_add(metrics_series(m, METRIC_CALLS, "answered", NULL), 1);
		metric_observe(metrics_series(m, METRIC_STAGE_SECONDS, "total", NULL), 0.25);
		metric_move(metrics_series(m, METRIC_JOBS_IN_FLIGHT, NULL, NULL), i % 2 ? 1 : -1);
	}
	return NULL;
}

static void loses_nothing_between_threads(void **state)
{
	struct metrics *m = *state;
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_much, m), 0);
	for (int i = 0; i < 10; i++)
		free(render(m));
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_line(m, "windlass_calls_total{fate=\"answered\"} 80000");
	assert_line(m, "windlass_stage_seconds_count{stage=\"total\"} 80000");
	assert_line(m, "windlass_stage_seconds_sum{stage=\"total\"} 20000");
	assert_line(m, "windlass_jobs_in_flight 0");
}

/* A process that counts `n`, says so on a pipe, and waits to be killed. */
static pid_t spawn_counter(int n)
{
	int ready[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		struct metrics *m = metrics_open("work");

		metric_add(metrics_series(m, METRIC_CALLS, "answered", NULL), (uint64_t)n);
		metric_set(metrics_series(m, METRIC_JOBS_IN_FLIGHT, NULL, NULL), n);
		if (write(ready[1], "x", 1) == 1)
			pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void sums_processes_and_outlives_them(void **state)
{
	char number[16];
	struct metrics *m;
	pid_t one, two;
	int fd = metrics_create();

	(void)state;
	assert_true(fd > 2);
	snprintf(number, sizeof(number), "%d", fd);
	setenv("WINDLASS_METRICS_FD", number, 1);
	m = metrics_open("gateway");
	one = spawn_counter(5);
	two = spawn_counter(7);
	assert_line(m, "windlass_calls_total{fate=\"answered\"} 12");
	assert_line(m, "windlass_jobs_in_flight 12");
	end(one);
	assert_line(m, "windlass_calls_total{fate=\"answered\"} 12"); /* counters stay */
	assert_line(m, "windlass_jobs_in_flight 7");                  /* gauges of the dead go */
	one = spawn_counter(1); /* counts on in the free slot */
	assert_line(m, "windlass_calls_total{fate=\"answered\"} 13");
	assert_line(m, "windlass_jobs_in_flight 8");
	for (int i = 0; i < 100; i++)
		end(spawn_counter(1));
	assert_line(m, "windlass_calls_total{fate=\"answered\"} 113");
	end(one);
	end(two);
	metrics_close(&m);
	unsetenv("WINDLASS_METRICS_FD");
}

/* In a process of its own, for its stderr goes nowhere: `closes` tells at its end, otherwise at a
 * tick. */
static pid_t spawn_mute(bool closes)
{
	int ready[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		struct metrics *m = metrics_open("work");
		int nowhere[2];

		signal(SIGPIPE, SIG_IGN);
		if (pipe(nowhere) != 0 || dup2(nowhere[1], STDERR_FILENO) < 0)
			_exit(1);
		close(nowhere[0]);
		close(nowhere[1]);
		log_line(LOG_ERROR, "into-the-void");
		log_line(LOG_ERROR, "into-the-void");
		if (closes)
			metrics_close(&m);
		for (int i = 0; !closes && i < 3; i++)
			metrics_count_log(m);
		if (write(ready[1], "x", 1) == 1)
			pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void lost_lines_of_every_process(void **state)
{
	char number[16];
	struct metrics *m;
	pid_t pid;
	int fd = metrics_create();

	(void)state;
	snprintf(number, sizeof(number), "%d", fd);
	setenv("WINDLASS_METRICS_FD", number, 1);
	m = metrics_open("gateway");
	assert_line(m, "windlass_log_dropped_total 0");
	pid = spawn_mute(false);
	assert_line(m, "windlass_log_dropped_total 2");
	end(pid);
	end(spawn_mute(true));
	assert_line(m, "windlass_log_dropped_total 4");
	metrics_close(&m);
	unsetenv("WINDLASS_METRICS_FD");
}

static void makes_do_without_a_good_mapping(void **state)
{
	struct metrics *m;

	(void)state;
	setenv("WINDLASS_METRICS_FD", "987", 1);
	m = metrics_open("work");
	metric_add(metrics_series(m, METRIC_CALLS, "answered", NULL), 1);
	assert_line(m, "windlass_calls_total{fate=\"answered\"} 1");
	metrics_close(&m);
	assert_null(m);
	unsetenv("WINDLASS_METRICS_FD");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(counts, setup, teardown),
		cmocka_unit_test_setup_teardown(gauges, setup, teardown),
		cmocka_unit_test_setup_teardown(sorts_into_buckets, setup, teardown),
		cmocka_unit_test_setup_teardown(escapes_and_cuts_labels, setup, teardown),
		cmocka_unit_test_setup_teardown(puts_what_finds_no_room_into_other, setup,
						teardown),
		cmocka_unit_test_setup_teardown(loses_nothing_between_threads, setup, teardown),
		cmocka_unit_test(sums_processes_and_outlives_them),
		cmocka_unit_test(lost_lines_of_every_process),
		cmocka_unit_test(makes_do_without_a_good_mapping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

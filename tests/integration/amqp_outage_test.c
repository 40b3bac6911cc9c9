/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to publisher and feed while a RabbitMQ of their own has a memory alarm, throws its
 * clients out, is killed and started again, or freezes: no call takes longer than it may, nothing
 * spins, everything comes back by itself, and acknowledgements of an older connection are dropped.
 * Heartbeats are shorter than in life, so that silence is noticed within seconds. */
#include "tests/integration/amqp_fixture.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEARTBEAT_MS 3000
#define SCRIPT       "tests/services/services"

static char root[] = "/tmp/windlass-amqp-XXXXXX";
static char url[128];
static char early[80]; /* a queue with 100 messages, from the beginning */

/* ---- the server */

static pid_t spawn(char *const arguments[], int out_fd, bool session)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	if (out_fd >= 0)
		posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
	else
		posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (session)
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
	assert_int_equal(
		posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return pid;
}

static void services_to(int out_fd, const char *a, const char *b, const char *c, const char *d)
{
	char *const arguments[] = { SCRIPT,
				    (char *)(uintptr_t)a,
				    (char *)(uintptr_t)b,
				    (char *)(uintptr_t)c,
				    (char *)(uintptr_t)d,
				    NULL };
	int status;

	assert_int_equal(waitpid(spawn(arguments, out_fd, false), &status, 0) > 0, 1);
	if (status != 0)
		fail_msg("services %s %s: %d", a, b, status);
}

static void services(const char *command, const char *argument)
{
	services_to(-1, command, argument, NULL, NULL);
}

/* Cleans up when this program cannot. */
static void watch_over(void)
{
	char text[256], pid[16];
	char *const arguments[] = { "sh", "-c", text, NULL };

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	snprintf(text, sizeof(text),
		 "while [ -d /proc/%s ]; do sleep 1; done; [ -d %s ] || exit 0; " SCRIPT
		 " wipe rabbit; rm -rf %s",
		 pid, root, root);
	spawn(arguments, -1, true);
}

/* A queue that is seconds old when the server is killed is lost with it, whatever was confirmed. */
static void fill_early(void)
{
	struct rig *rig = rig_new(url);

	snprintf(early, sizeof(early), "%skilled", rig->prefix);
	publisher_fill(rig, early, 100);
	rig_free(rig);
}

static int server_up(void **state)
{
	int pipe_fds[2];
	ssize_t n;

	(void)state;
	assert_non_null(mkdtemp(root));
	assert_int_equal(chmod(root, 0755), 0);
	setenv("SVC_ROOT", root, 1);
	setenv("RMQ_CHANNEL_TICK", "500", 1); /* how often acknowledgements are missed */
	watch_over();
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	services_to(pipe_fds[1], "up", "rabbit", NULL, NULL);
	n = read(pipe_fds[0], url, sizeof(url) - 32);
	assert_true(n > 0);
	url[strcspn(url, "\n")] = '\0';
	snprintf(url + strlen(url), 32, "?heartbeat=3");
	fill_early();
	return 0;
}

static int server_down(void **state)
{
	char *const arguments[] = { "rm", "-rf", root, NULL };

	(void)state;
	services("wipe", "rabbit");
	waitpid(spawn(arguments, -1, false), NULL, 0);
	return 0;
}

static int set_up(void **state)
{
	struct rig *rig = rig_new(url);

	client_open(rig);
	*state = rig;
	return 0;
}

static double cpu_s(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- asking ours */

static bool publisher_ready(struct rig *rig)
{
	struct strbuf why;
	bool ready;

	strbuf_init(&why);
	rig->publisher->ops->tend(rig->publisher);
	ready = rig->publisher->ops->ready(rig->publisher, &why);
	strbuf_release(&why);
	return ready;
}

static bool publisher_becomes(struct rig *rig, bool ready, int timeout_ms)
{
	int64_t until_ms = clock_mono_ms() + timeout_ms;

	while (publisher_ready(rig) != ready) {
		if (clock_mono_ms() >= until_ms)
			return false;
		pause_ms(50);
	}
	return true;
}

static bool feed_becomes_unready(struct rig *rig, int timeout_ms)
{
	int64_t until_ms = clock_mono_ms() + timeout_ms;

	while (feed_ready_within(rig, 0)) {
		if (clock_mono_ms() >= until_ms)
			return false;
		pause_ms(50);
	}
	return true;
}

/* A send that fails, and how long it took. */
static int64_t send_fails(struct rig *rig, const char *queue, int timeout_ms)
{
	enum { COUNT = 2000 };
	struct publication *items = xcalloc(COUNT, sizeof(*items));
	char *body = xcalloc(1, 4000);
	int64_t began_ms = clock_mono_ms(), took_ms;
	size_t open = 0;
	int rc;

	memset(body, 'x', 3999);
	for (size_t i = 0; i < COUNT; i++)
		items[i] = a_publication(queue, body);
	rc = rig->publisher->ops->send(rig->publisher, items, COUNT, timeout_ms, &rig->error);
	took_ms = clock_mono_ms() - began_ms;
	assert_int_equal(rc, -1);
	assert_int_equal(rig->error.code, ERROR_UNAVAILABLE);
	for (size_t i = 0; i < COUNT; i++)
		open += !items[i].confirmed && !items[i].refused;
	assert_true(open > 0);
	free(items);
	free(body);
	return took_ms;
}

static void publish_one(struct rig *rig, const char *queue)
{
	struct publication item = a_publication(queue, "{}");

	publisher_send(rig, &item, 1);
	assert_true(item.confirmed);
}

/* ---- the tests */

static void a_memory_alarm(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "alarm");
	struct feed_place place = { .topic = queue, .classic = true, .prefetch = 50 };
	struct delivery *taken[200];
	int64_t took_ms;

	publisher_fill(rig, queue, 200);
	services_to(-1, "rabbitctl", "set_vm_memory_high_watermark", "absolute", "1024");
	took_ms = send_fails(rig, queue, 1000); /* only now the server says so */
	assert_true(took_ms < 1300);
	assert_false(publisher_ready(rig));
	took_ms = send_fails(rig, queue, 5000);
	assert_true(took_ms < 200);
	assert_non_null(strstr(rig->error.message, "low on memory"));
	/* Consumers go on. */
	feed_serve(rig, &place, 1);
	feed_take(rig, taken, ARRAY_LEN(taken) - 150, 10000);
	for (size_t i = 0; i < ARRAY_LEN(taken) - 150; i++)
		feed_ack(rig, taken[i]);
	feed_take(rig, taken, 150 - 100, 10000);
	for (size_t i = 0; i < 50; i++)
		feed_ack(rig, taken[i]);
	pause_ms(2 * HEARTBEAT_MS + 1000); /* blocked, and still alive */
	assert_false(publisher_ready(rig));
	assert_true(feed_ready_within(rig, 0));
	services_to(-1, "rabbitctl", "set_vm_memory_high_watermark", "absolute", "1GB");
	assert_true(publisher_becomes(rig, true, 10000));
	publish_one(rig, queue);
}

/* The connections end, the server does not. */
static void thrown_out(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "thrown");
	struct feed_place place = { .topic = queue, .classic = true };
	struct delivery *taken[100];

	publisher_fill(rig, queue, 100);
	feed_serve(rig, &place, 1);
	feed_take(rig, taken, 40, 10000);
	client_close(rig);
	services_to(-1, "rabbitctl", "close_all_connections", "test", NULL);
	for (size_t i = 0; i < 40; i++)
		feed_ack(rig, taken[i]); /* tags 1 to 40 of a channel that is gone */
	assert_true(publisher_becomes(rig, true, 10000));
	assert_true(feed_ready_within(rig, 10000));
	feed_take(rig, taken, 100, 10000);
	for (size_t i = 0; i < 100; i++)
		feed_ack(rig, taken[i]);
	feed_flush(rig);
	feed_take_none(rig, 300);
	assert_true(feed_ready_within(rig, 0));
	publish_one(rig, queue);
	feed_ack(rig, feed_take_one(rig));
	rig->feed->ops->free(&rig->feed);
	client_open(rig);
	assert_int_equal(client_depth(rig, queue), 0);
}

/* consumer_timeout: one delivery that is held for too long closes its channel; the neighbour's goes
 * on, the message comes again, and its late acknowledgement does not close the next channel. */
static void an_acknowledgement_too_late(void **state)
{
	struct rig *rig = *state;
	const char *slow = rig_name(rig, "slow"), *other = rig_name(rig, "other");
	struct feed_place places[] = { { .topic = slow, .classic = true },
				       { .topic = other, .classic = true, .index = 1 } };
	struct delivery *held, *again;

	services_to(-1, "rabbitctl", "eval", "application:set_env(rabbit, consumer_timeout, 1000).",
		    NULL);
	publisher_fill(rig, slow, 1);
	publisher_fill(rig, other, 0);
	feed_serve(rig, places, 2);
	held = feed_take_one(rig);
	again = feed_take_one(rig);
	assert_int_equal(again->place, 0);
	assert_true(again->message.redelivered);
	feed_ack(rig, held);
	feed_ack(rig, again);
	client_publish(rig, other, "x", "x", 1);
	held = feed_take_one(rig);
	assert_int_equal(held->place, 1);
	assert_false(held->message.redelivered);
	feed_ack(rig, held);
	feed_flush(rig);
	services_to(-1, "rabbitctl", "eval",
		    "application:set_env(rabbit, consumer_timeout, 1800000).", NULL);
	feed_take_none(rig, 2000);
	rig->feed->ops->free(&rig->feed);
	assert_int_equal(client_depth(rig, slow), 0);
}

static void killed_and_started_again(void **state)
{
	struct rig *rig = *state;
	const char *queue = early;
	struct feed_place place = { .topic = queue, .classic = true };
	struct delivery *taken[100];
	double cpu;

	publisher_open(rig);
	assert_true(publisher_becomes(rig, true, 2000));
	feed_serve(rig, &place, 1);
	feed_take(rig, taken, 10, 10000);
	client_close(rig);
	services("crash", "rabbit");
	assert_true(publisher_becomes(rig, false, 2000));
	assert_true(feed_becomes_unready(rig, 2000));
	assert_true(send_fails(rig, queue, 1000) < 1300);
	for (size_t i = 0; i < 10; i++)
		feed_ack(rig, taken[i]);
	feed_take_none(rig, 10);
	cpu = cpu_s();
	services("up", "rabbit");
	assert_true(publisher_becomes(rig, true, 10000));
	assert_true(feed_ready_within(rig, 10000));
	assert_true(cpu_s() - cpu < 1);
	feed_take(rig, taken, 100, 10000);
	for (size_t i = 0; i < 100; i++)
		feed_ack(rig, taken[i]);
	feed_flush(rig);
	feed_take_none(rig, 300);
	publish_one(rig, queue);
	feed_ack(rig, feed_take_one(rig));
	client_open(rig);
	rig->feed->ops->free(&rig->feed);
	assert_int_equal(client_depth(rig, queue), 0);
}

/* The peer is there, TCP acknowledges, but nobody answers: heartbeats find out. */
static void frozen(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "frozen");
	struct feed_place place = { .topic = queue, .classic = true };
	int64_t began_ms;
	double cpu;

	publisher_fill(rig, queue, 10);
	feed_serve(rig, &place, 1);
	feed_ack(rig, feed_take_one(rig));
	services("freeze", "rabbit");
	began_ms = clock_mono_ms();
	cpu = cpu_s();
	assert_true(send_fails(rig, queue, 500) < 800);
	assert_true(feed_becomes_unready(rig, 2 * HEARTBEAT_MS + 2000));
	assert_true(publisher_becomes(rig, false, 2000));
	assert_true(clock_mono_ms() - began_ms >= HEARTBEAT_MS);
	pause_ms(1000);
	assert_true(cpu_s() - cpu < 0.5);
	began_ms = clock_mono_ms();
	rig->publisher->ops->tend(rig->publisher);
	assert_true(clock_mono_ms() - began_ms < 200);
	services("thaw", "rabbit");
	assert_true(publisher_becomes(rig, true, 10000));
	assert_true(feed_ready_within(rig, 10000));
	publish_one(rig, queue);
	feed_ack(rig, feed_take_one(rig));
}

int main(void)
{
#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, rig_tear_down)
	const struct CMUnitTest tests[] = {
		RIG_TEST(a_memory_alarm),
		RIG_TEST(thrown_out),
		RIG_TEST(an_acknowledgement_too_late),
		RIG_TEST(killed_and_started_again),
		RIG_TEST(frozen),
	};

	if (!rig_server_url())
		return 0;
	return cmocka_run_group_tests(tests, server_up, server_down);
}

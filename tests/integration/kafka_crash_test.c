/* SPDX-License-Identifier: Apache-2.0 */
/* A Kafka broker of this test's own is killed with -9 and comes back, three times, while messages
 * go through publisher and feed: what was confirmed is delivered, and what ended is stored. While
 * it is away nobody hammers at its door. */
#include "tests/integration/kafka_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"

#define ROUNDS 3
#define BATCH  100
#define MOST   100000

#define AWAY_MS 5000

/* In the way of everybody's in this program. */
static atomic_int connects;

int connect(int fd, const struct sockaddr *address, socklen_t bytes)
{
	atomic_fetch_add(&connects, 1);
	return (int)syscall(SYS_connect, fd, address, bytes);
}

struct server {
	char root[64], url[128];
};

/* The tests run at the top of the tree. */
static void service(const struct server *server, const char *command, const char *redirect)
{
	char line[512];

	snprintf(line, sizeof(line), "SVC_ROOT=%s tests/services/services %s kafka %s",
		 server->root, command, redirect);
	assert_int_equal(system(line), 0);
}

static void start(struct server *server)
{
	char redirect[128], path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/url", server->root);
	snprintf(redirect, sizeof(redirect), "> %s", path);
	service(server, "up", redirect);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%127s", server->url), 1);
	fclose(file);
}

static int set_up(void **state)
{
	struct server *server = xcalloc(1, sizeof(*server));

	snprintf(server->root, sizeof(server->root), "/tmp/windlass-kafka-XXXXXX");
	assert_non_null(mkdtemp(server->root));
	start(server);
	*state = server;
	return 0;
}

static int tear_down(void **state)
{
	struct server *server = *state;
	char line[128];

	service(server, "wipe", "");
	snprintf(line, sizeof(line), "rm -rf %s", server->root);
	assert_int_equal(system(line), 0);
	free(server);
	return 0;
}

struct flow {
	struct kafka_fixture *fx;
	struct feed *feed;
	bool confirmed[MOST], seen[MOST];
	int sent, refused, delivered;
};

/* One batch, whatever becomes of it. */
static void send_batch(struct flow *flow)
{
	struct publication items[BATCH];
	char texts[BATCH][32];

	for (int i = 0; i < BATCH; i++) {
		snprintf(texts[i], sizeof(texts[i]), "k %d", flow->sent + i);
		items[i] = (struct publication){ .topic = flow->fx->topic,
						 .body = texts[i],
						 .body_bytes = strlen(texts[i]) };
	}
	if (flow->fx->publisher->ops->send(flow->fx->publisher, items, BATCH, 1000,
					   &flow->fx->error) < 0)
		pause_ms(20);
	for (int i = 0; i < BATCH; i++) {
		flow->confirmed[flow->sent + i] = items[i].confirmed;
		flow->refused += items[i].refused != NULL;
	}
	flow->sent += BATCH;
}

static void take_some(struct flow *flow)
{
	struct delivery *got[1000];
	size_t count = flow->feed->ops->take(flow->feed, got, 1000);

	for (size_t i = 0; i < count; i++) {
		int number = kafka_number(got[i]);

		flow->delivered += !flow->seen[number];
		flow->seen[number] = true;
		flow->feed->ops->ack(flow->feed, got[i]);
	}
}

static int missing(const struct flow *flow)
{
	int count = 0;

	for (int i = 0; i < flow->sent; i++)
		count += flow->confirmed[i] && !flow->seen[i];
	return count;
}

static void run_for(struct flow *flow, int ms)
{
	int64_t until_ms = clock_mono_ms() + ms;

	while (clock_mono_ms() < until_ms) {
		if (flow->sent < MOST)
			send_batch(flow);
		take_some(flow);
		pause_ms(20);
	}
}

static void killed_and_back(void **state)
{
	struct server *server = *state;
	struct flow *flow = xcalloc(1, sizeof(*flow));
	int delivered = 0;

	flow->fx = kafka_fixture_new(server->url, 4);
	flow->feed = kafka_feed_of(flow->fx, 500, false);
	for (int round = 0; round < ROUNDS; round++) {
		run_for(flow, 600);
		service(server, "crash", "");
		run_for(flow, 600);
		start(server);
		for (int i = 0; i < 200 && flow->delivered == delivered; i++)
			run_for(flow, 100);
		assert_true(flow->delivered > delivered);
		delivered = flow->delivered;
	}
	for (int i = 0; i < 400 && (i < 50 || missing(flow) > 0); i++) {
		run_for(flow, 10);
		pause_ms(50);
		take_some(flow);
	}
	assert_int_equal(missing(flow), 0);
	assert_int_equal(flow->refused, 0);
	assert_true(flow->delivered > ROUNDS * BATCH);
	print_message("# %d sent, %d delivered\n", flow->sent, flow->delivered);
	kafka_ready(flow->feed);
	kafka_feed_end(flow->fx, &flow->feed);
	kafka_fixture_free(&flow->fx);
	free(flow);
}

static int64_t cpu_ms(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

/* As the dispatcher does: it looks, declares anew, and sends. */
static void try_everything(struct flow *flow)
{
	struct publisher *publisher = flow->fx->publisher;
	struct publisher_place place = { .topic = flow->fx->topic, .partitions = 4 };

	publisher->ops->tend(publisher);
	assert_int_equal(publisher->ops->declare(publisher, &place, 1, 2000, &flow->fx->error), -1);
	assert_int_equal(flow->fx->error.code, ERROR_UNAVAILABLE);
	send_batch(flow);
	take_some(flow);
}

/* The library would connect in a busy loop for as long as topics are to be made. */
static void calm_while_away(void **state)
{
	struct server *server = *state;
	struct flow *flow = xcalloc(1, sizeof(*flow));
	int64_t until_ms, burnt_ms;
	int tries;

	flow->fx = kafka_fixture_new(server->url, 4);
	flow->feed = kafka_feed_of(flow->fx, 500, false);
	run_for(flow, 1000);
	service(server, "crash", "");
	burnt_ms = -cpu_ms();
	tries = -atomic_load(&connects);
	until_ms = clock_mono_ms() + AWAY_MS;
	while (clock_mono_ms() < until_ms) {
		try_everything(flow);
		pause_ms(100);
	}
	burnt_ms += cpu_ms();
	tries += atomic_load(&connects);
	print_message("# %d connects, %d ms of CPU in %d ms\n", tries, (int)burnt_ms, AWAY_MS);
	assert_in_range(tries, 1, 100);
	assert_true(burnt_ms < AWAY_MS / 5);
	kafka_feed_end(flow->fx, &flow->feed);
	kafka_fixture_free(&flow->fx);
	free(flow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(killed_and_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(calm_while_away, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

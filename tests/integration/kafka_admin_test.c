/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to a Kafka cluster, and who may ask them: passwords by PLAIN and SCRAM, certificates
 * that fit, that are a stranger's, and that are another host's. */
#include "tests/integration/kafka_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/broker/kafka_admin.h"

static int set_up(void **state)
{
	*state = kafka_fixture_new(NULL, 3); /* TEST_KAFKA_URL */
	return 0;
}

static int tear_down(void **state)
{
	struct kafka_fixture *fx = *state;

	kafka_fixture_free(&fx);
	return 0;
}

static struct kafka_admin *open_admin(struct kafka_fixture *fx)
{
	struct kafka_admin *admin;

	assert_int_equal(kafka_admin_open(fx->url, "test", NULL, &admin, &fx->error), 0);
	return admin;
}

static void what_is_there(void **state)
{
	struct kafka_fixture *fx = *state;
	struct kafka_admin *admin = open_admin(fx);
	int count = 0;

	assert_int_equal(kafka_admin_check(admin, WAIT_MS, &count, &fx->error), 0);
	assert_int_equal(count, 1);
	assert_int_equal(kafka_admin_partitions(admin, fx->topic, WAIT_MS, &count, &fx->error), 0);
	assert_int_equal(count, 3);
	assert_int_equal(
		kafka_admin_partitions(admin, "no-such-topic", WAIT_MS, &count, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
	kafka_admin_close(&admin);
	assert_null(admin);
	kafka_admin_close(&admin);
}

static void check_offsets(struct kafka_fixture *fx, struct kafka_admin *admin, int64_t time_ms,
			  int64_t want)
{
	struct arena *arena = arena_new(0);
	struct position *positions;
	size_t count;

	assert_int_equal(kafka_admin_offsets(admin, fx->topic, time_ms, WAIT_MS, arena, &positions,
					     &count, &fx->error),
			 0);
	assert_int_equal(count, 3);
	assert_string_equal(positions[1].topic, fx->topic);
	assert_int_equal(positions[1].partition, 1);
	assert_int_equal(positions[1].offset, want);
	assert_int_equal(positions[2].offset, 0);
	arena_free(&arena);
}

static void offsets_at_a_time(void **state)
{
	struct kafka_fixture *fx = *state;
	struct kafka_admin *admin = open_admin(fx);
	int64_t between_ms;

	kafka_send_to(fx, 1, 0, 10, 1);
	pause_ms(50);
	between_ms = clock_wall_ms();
	pause_ms(50);
	kafka_send_to(fx, 1, 10, 5, 1);
	check_offsets(fx, admin, KAFKA_EARLIEST, 0);
	check_offsets(fx, admin, KAFKA_LATEST, 15);
	check_offsets(fx, admin, between_ms, 10);
	check_offsets(fx, admin, 1, 0);
	check_offsets(fx, admin, clock_wall_ms() + 60000, 15);
	kafka_admin_close(&admin);
}

static void a_group_at_work(void **state)
{
	struct kafka_fixture *fx = *state;
	struct kafka_admin *admin = open_admin(fx);
	struct feed *feed;
	bool active = true;

	assert_int_equal(kafka_admin_group_active(admin, fx->group, WAIT_MS, &active, &fx->error),
			 0);
	assert_false(active);
	feed = kafka_feed_of(fx, 100, false);
	kafka_ready(feed);
	kafka_await(kafka_admin_group_active(admin, fx->group, WAIT_MS, &active, &fx->error) == 0 &&
		    active);
	kafka_feed_end(fx, &feed);
	assert_int_equal(kafka_admin_group_active(admin, fx->group, WAIT_MS, &active, &fx->error),
			 0);
	assert_false(active);
	kafka_admin_close(&admin);
}

static const struct door {
	const char *name, *port, *password, *mechanism, *ca;
	bool opens;
	int since; /* version of librdkafka, or 0 */
} doors[] = {
	{ "PLAIN", "TEST_KAFKA_TLS_PORT", "windlass-secret", "PLAIN", "ca.pem", true, 0 },
	{ "SCRAM", "TEST_KAFKA_TLS_PORT", "windlass-secret", "SCRAM-SHA-512", "ca.pem", true,
	  0x020601ff }, /* Kafka refuses that of older ones */
	{ "wrong password", "TEST_KAFKA_TLS_PORT", "wrong", "SCRAM-SHA-512", "ca.pem", false, 0 },
	{ "unknown authority", "TEST_KAFKA_TLS_PORT", "windlass-secret", "PLAIN", "stranger.pem",
	  false, 0 },
	{ "system's authorities", "TEST_KAFKA_TLS_PORT", "windlass-secret", "PLAIN", NULL, false,
	  0 },
	{ "another host's certificate", "TEST_KAFKA_WRONG_PORT", "windlass-secret", "PLAIN",
	  "ca.pem", false, 0 },
};

static void try_door(const struct door *door)
{
	char url[256], ca[512];
	struct kafka_admin *admin;
	struct error error;
	int brokers = 0;
	bool opens, shall = door->opens && rd_kafka_version() >= door->since;

	assert_non_null(getenv(door->port));
	snprintf(url, sizeof(url),
		 "kafka://windlass:%s@localhost:%s?security=sasl_ssl&mechanism=%s", door->password,
		 getenv(door->port), door->mechanism);
	snprintf(ca, sizeof(ca), "%s/%s", getenv("TEST_SVC_CERTS"), door->ca ? door->ca : "");
	if (kafka_admin_open(url, "test", door->ca ? ca : NULL, &admin, &error) < 0)
		fail_msg("%s: %s", door->name, error.message);
	opens = kafka_admin_check(admin, shall ? WAIT_MS : 1500, &brokers, &error) == 0;
	if (opens != shall)
		fail_msg("%s: opens: %d", door->name, opens);
	if (!opens && strstr(error.message, door->password) != NULL)
		fail_msg("%s: tells the password", door->name);
	kafka_admin_close(&admin);
}

static void doors_and_keys(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(doors); i++)
		try_door(&doors[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(offsets_at_a_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_group_at_work, set_up, tear_down),
		cmocka_unit_test(doors_and_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

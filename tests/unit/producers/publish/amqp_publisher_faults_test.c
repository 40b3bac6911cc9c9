/* SPDX-License-Identifier: Apache-2.0 */
/* The publisher against a server that does not confirm, or does not even read: a send ends in time,
 * and when there is no room left for unanswered publications the connection is made anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/broker/publisher.h"
#include "common/service/metrics.h"

#include "tests/unit/common/broker/fake_amqp.h"

#define COUNT      3000
#define BODY_BYTES 8000

struct sender {
	struct fake_amqp *fake;
	struct metrics *metrics;
	struct publisher *publisher;
	struct publication *items;
	char *body;
	struct error error;
};

static struct sender sender_new(enum fake_fault fault)
{
	struct sender s = { .fake = fake_amqp_start(fault), .metrics = metrics_open("test") };
	struct publisher_options options = { .broker_url = fake_amqp_url(s.fake),
					     .client = "test",
					     .metrics = s.metrics };

	s.publisher = amqp_publisher_new(&options, &s.error);
	assert_non_null(s.publisher);
	s.items = xcalloc(COUNT, sizeof(*s.items));
	s.body = xmalloc(BODY_BYTES);
	memset(s.body, 'x', BODY_BYTES);
	return s;
}

static void sender_free(struct sender *s)
{
	s->publisher->ops->free(&s->publisher);
	metrics_close(&s->metrics);
	fake_amqp_stop(&s->fake);
	free(s->items);
	free(s->body);
}

/* A send that fails; how long it took. */
static int64_t send_fails(struct sender *s, size_t body_bytes, int timeout_ms)
{
	int64_t began_ms = clock_mono_ms();

	for (size_t i = 0; i < COUNT; i++) {
		s->items[i] = (struct publication){ .topic = "q",
						    .body = s->body,
						    .body_bytes = body_bytes };
		uuid_v7(&s->items[i].id);
	}
	assert_int_equal(
		s->publisher->ops->send(s->publisher, s->items, COUNT, timeout_ms, &s->error), -1);
	assert_int_equal(s->error.code, ERROR_UNAVAILABLE);
	for (size_t i = 0; i < COUNT; i++)
		assert_false(s->items[i].confirmed || s->items[i].refused);
	return clock_mono_ms() - began_ms;
}

static void nothing_is_confirmed(void **state)
{
	struct sender s = sender_new(FAKE_NO_CONFIRMS);

	(void)state;
	assert_true(send_fails(&s, 10, 500) < 1500);
	assert_true(send_fails(&s, 10, 500) < 1500); /* does not find room for all of it */
	assert_true(send_fails(&s, 10, 500) < 1500);
	assert_non_null(strstr(s.error.message, "confirms nothing"));
	for (int i = 0; fake_amqp_logins(s.fake) < 2 && i < 200; i++) {
		s.publisher->ops->tend(s.publisher);
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	assert_int_equal(fake_amqp_logins(s.fake), 2);
	sender_free(&s);
}

static void nothing_is_read(void **state)
{
	struct sender s = sender_new(FAKE_NO_READING);

	(void)state;
	assert_true(send_fails(&s, BODY_BYTES, 500) < 1500);
	assert_true(send_fails(&s, BODY_BYTES, 300) < 1300);
	sender_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_confirmed),
		cmocka_unit_test(nothing_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a feed serves: the queues and sources of its pool, and always what the broker dead-letters.
 */
#include "consumers/subscribe/broker_places.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define JOBS                                                                                  \
	"jobs: {a: {queue: orders, sql: SELECT 1}, b: {queue: mails, sql: SELECT 1}}\n"       \
	"pools: {orders: {queues: [orders]}}\n"                                               \
	"sources: {bought: {topic: t.bought, type: a}, sent: {topic: t.sent, type: b}, any: " \
	"{topic: t.any}}\n"

/* The topics in order, with blanks between. */
static const char *served(struct broker_places *places, const struct definitions *defs,
			  const char *pool)
{
	static char text[512];
	const struct feed_place *list;
	size_t count;

	text[0] = 0;
	list = broker_places_serve(places, defs, pool, &count);
	for (size_t i = 0; i < count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
			 list[i].topic);
	return text;
}

static void a_pool_serves_its_own(void **state)
{
	struct definitions *defs = definitions_parse(JOBS, strlen(JOBS), "jobs.yaml", stderr);
	struct metrics *metrics = metrics_open("test");
	struct broker_places *amqp = broker_places_new(BROKER_AMQP, "w.", metrics);
	struct broker_places *kafka = broker_places_new(BROKER_KAFKA, "w.", metrics);
	size_t index, count;

	(void)state;
	assert_non_null(defs);
	assert_string_equal(served(amqp, defs, "orders"), "w.orders t.bought w.dead");
	assert_string_equal(served(amqp, defs, "default"), "w.mails t.sent t.any w.dead");
	assert_string_equal(served(amqp, defs, ""),
			    "w.orders w.mails t.bought t.sent t.any w.dead");
	assert_string_equal(served(kafka, defs, "orders"), "w.orders t.bought");
	assert_string_equal(served(kafka, defs, "gone"), "");
	/* A place keeps its index, whoever asks. */
	index = broker_places_serve(amqp, defs, "orders", &count)[0].index;
	assert_string_equal(broker_places_at(amqp, index)->name, "orders");
	broker_places_serve(amqp, defs, "default", &count);
	assert_string_equal(broker_places_at(amqp, index)->name, "orders");
	broker_places_free(&amqp);
	broker_places_free(&kafka);
	metrics_close(&metrics);
	definitions_unref(&defs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pool_serves_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

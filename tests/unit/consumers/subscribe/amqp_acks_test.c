/* SPDX-License-Identifier: Apache-2.0 */
/* Acknowledgements are few, each names a tag that the server holds, and every tag is told exactly
 * once and as it was settled: checked against a model of the server, over fixed and random orders.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consumers/subscribe/amqp_acks.h"

struct order_case {
	const char *name;
	int delivered;
	const char *settled; /* tag digits, with '-' in front of one that goes back */
	const char *told;    /* "5*" multiple, "-3" nack */
};

static const struct order_case cases[] = {
	{ "one", 1, "1", "1" },
	{ "in order", 5, "12345", "5*" },
	{ "in any order", 5, "53124", "5*" },
	{ "behind a slow one", 5, "345", "3 4 5" },
	{ "up to a slow one", 5, "1245", "2* 4 5" },
	{ "given back", 3, "-1-2-3", "-3*" },
	{ "mixed", 5, "12-3-45", "2* -4* 5" },
	{ "nothing", 4, "", "" },
};

static void run_case(const struct order_case *c)
{
	struct amqp_acks *acks = amqp_acks_new();
	struct amqp_ack ack;
	char told[128] = "";

	for (int tag = 1; tag <= c->delivered; tag++)
		assert_true(amqp_acks_delivered(acks, (uint64_t)tag));
	for (const char *p = c->settled; *p; p++) {
		bool back = *p == '-';

		p += back;
		amqp_acks_settle(acks, (uint64_t)(*p - '0'), back ? AMQP_VERB_BACK : AMQP_VERB_ACK);
	}
	while (amqp_acks_next(acks, &ack))
		snprintf(told + strlen(told), sizeof(told) - strlen(told), "%s%s%d%s",
			 told[0] ? " " : "", ack.verb == AMQP_VERB_BACK ? "-" : "", (int)ack.tag,
			 ack.multiple ? "*" : "");
	if (strcmp(told, c->told) != 0)
		fail_msg("%s: told \"%s\", wanted \"%s\"", c->name, told, c->told);
	amqp_acks_free(&acks);
}

static void orders(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		run_case(&cases[i]);
}

/* What RabbitMQ does with an acknowledgement: the tag must be one that is outstanding, even with
 * `multiple`. */
struct server {
	uint8_t held[4096]; /* by tag: 1 outstanding */
	uint8_t wish[4096]; /* how it was settled; 0: it was not */
	uint64_t last;
	size_t frames;
};

static void server_hears(struct server *server, const struct amqp_ack *ack)
{
	assert_true(ack->tag <= server->last && server->held[ack->tag]);
	for (uint64_t tag = ack->multiple ? 1 : ack->tag; tag <= ack->tag; tag++) {
		if (!server->held[tag])
			continue;
		assert_int_equal(server->wish[tag], ack->verb);
		server->held[tag] = 0;
	}
	server->frames++;
}

static void settle_random(struct amqp_acks *acks, struct server *server)
{
	uint64_t tag = 1 + (uint64_t)rand() % server->last;

	/* Mostly in order, as jobs end. */
	for (uint64_t t = tag > 40 ? tag - 40 : 1; t <= server->last; t++)
		if (!server->wish[t] && rand() % 8) {
			server->wish[t] = rand() % 10 ? AMQP_VERB_ACK : AMQP_VERB_BACK;
			amqp_acks_settle(acks, t, server->wish[t]);
			return;
		}
}

static void random_orders(void **state)
{
	(void)state;
	srand(7);
	for (int round = 0; round < 50; round++) {
		struct amqp_acks *acks = amqp_acks_new();
		struct server server = { .last = 0 };
		struct amqp_ack ack;

		while (server.last < 3000) {
			for (int n = rand() % 20; n >= 0; n--) {
				server.held[++server.last] = 1;
				assert_true(amqp_acks_delivered(acks, server.last));
			}
			for (int n = rand() % 20; n > 0; n--)
				settle_random(acks, &server);
			while (rand() % 3 && amqp_acks_next_head(acks, &ack))
				server_hears(&server, &ack);
			while (rand() % 3 == 0 && amqp_acks_next(acks, &ack))
				server_hears(&server, &ack);
		}
		for (uint64_t tag = 1; tag <= server.last; tag++)
			if (!server.wish[tag]) {
				server.wish[tag] = AMQP_VERB_ACK;
				amqp_acks_settle(acks, tag, AMQP_VERB_ACK);
			}
		while (amqp_acks_next(acks, &ack))
			server_hears(&server, &ack);
		for (uint64_t tag = 1; tag <= server.last; tag++)
			assert_false(server.held[tag]);
		assert_int_equal(amqp_acks_open(acks), 0);
		assert_true(server.frames < server.last);
		amqp_acks_free(&acks);
	}
}

/* Those behind an open delivery are kept, and go with it in one. */
static void patience(void **state)
{
	struct amqp_acks *acks = amqp_acks_new();
	struct amqp_ack ack;

	(void)state;
	for (uint64_t tag = 1; tag <= 4; tag++)
		assert_true(amqp_acks_delivered(acks, tag));
	for (uint64_t tag = 2; tag <= 4; tag++)
		amqp_acks_settle(acks, tag, AMQP_VERB_ACK);
	assert_false(amqp_acks_next_head(acks, &ack));
	assert_int_equal(amqp_acks_settled(acks), 3);
	amqp_acks_settle(acks, 1, AMQP_VERB_ACK);
	assert_true(amqp_acks_next_head(acks, &ack));
	assert_int_equal(ack.tag, 4);
	assert_true(ack.multiple);
	assert_int_equal(amqp_acks_settled(acks), 0);
	assert_false(amqp_acks_next(acks, &ack));
	amqp_acks_free(&acks);
}

static void out_of_step(void **state)
{
	struct amqp_acks *acks = amqp_acks_new();

	(void)state;
	assert_false(amqp_acks_delivered(acks, 2));
	assert_true(amqp_acks_delivered(acks, 1));
	assert_false(amqp_acks_delivered(acks, 1));
	amqp_acks_reset(acks);
	assert_int_equal(amqp_acks_open(acks), 0);
	assert_true(amqp_acks_delivered(acks, 1));
	amqp_acks_free(&acks);
	amqp_acks_free(&acks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(orders),
		cmocka_unit_test(random_orders),
		cmocka_unit_test(patience),
		cmocka_unit_test(out_of_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

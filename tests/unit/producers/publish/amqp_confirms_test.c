/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of unanswered publications: single and multiple answers in any order, nacks, returns
 * that come before their ack, room, and what nobody waits for any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "producers/publish/amqp_confirms.h"

#define ITEMS 8

struct answer_step {
	uint64_t number;
	bool multiple, good;
};

struct answer_case {
	const char *name;
	struct answer_step steps[4]; /* up to number 99 */
	int returned;                /* index of an item that comes back first; -1: none */
	const char *confirmed; /* a digit an item: 1 confirmed, 0 not, - no answer, R refused */
	size_t room;           /* afterwards */
};

static const struct answer_case cases[] = {
	{ "one by one", { { 1, 0, 1 }, { 2, 0, 1 }, { 99, 0, 0 } }, -1, "11------", 2 },
	{ "many at once", { { 5, 1, 1 }, { 99, 0, 0 } }, -1, "11111---", 5 },
	{ "all", { { 0, 1, 1 }, { 99, 0, 0 } }, -1, "11111111", 8 },
	{ "out of order", { { 3, 0, 1 }, { 99, 0, 0 } }, -1, "--1-----", 0 },
	{ "the gap closes", { { 3, 0, 1 }, { 2, 1, 1 }, { 99, 0, 0 } }, -1, "111-----", 3 },
	{ "a multiple does not change its mind",
	  { { 2, 0, 0 }, { 4, 1, 1 }, { 99, 0, 0 } },
	  -1,
	  "1011----",
	  4 },
	{ "refused by the queue", { { 2, 1, 0 }, { 8, 1, 1 }, { 99, 0, 0 } }, -1, "00111111", 8 },
	{ "returned, then confirmed", { { 3, 1, 1 }, { 99, 0, 0 } }, 1, "1R1-----", 3 },
	{ "the same answer twice", { { 1, 0, 1 }, { 1, 0, 0 }, { 99, 0, 0 } }, -1, "1-------", 1 },
};

static char state_of(const struct publication *item, bool waiting)
{
	if (item->refused)
		return 'R';
	if (item->confirmed)
		return '1';
	return waiting ? '-' : '0';
}

struct found {
	const struct publication *items;
	bool waiting[ITEMS];
};

static void find(void *ctx, struct publication *item)
{
	struct found *found = ctx;

	found->waiting[item - found->items] = true;
}

static void run_case(const struct answer_case *c)
{
	struct amqp_confirms *confirms = amqp_confirms_new(ITEMS);
	struct publication items[ITEMS] = { 0 };
	struct found found = { .items = items };
	char got[ITEMS + 1] = "";

	for (size_t i = 0; i < ITEMS; i++) {
		uuid_v7(&items[i].id);
		amqp_confirms_add(confirms, &items[i]);
	}
	if (c->returned >= 0)
		amqp_confirms_returned(confirms, &items[c->returned].id, "no route");
	for (const struct answer_step *s = c->steps; s->number != 99; s++)
		assert_true(amqp_confirms_answer(confirms, s->number, s->multiple, s->good));
	amqp_confirms_each(confirms, find, &found);
	for (size_t i = 0; i < ITEMS; i++)
		got[i] = state_of(&items[i], found.waiting[i]);
	if (strcmp(got, c->confirmed) != 0 || amqp_confirms_room(confirms) != c->room)
		fail_msg("%s: %s, room %zu; wanted %s, room %zu", c->name, got,
			 amqp_confirms_room(confirms), c->confirmed, c->room);
	amqp_confirms_free(&confirms);
}

static void answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		run_case(&cases[i]);
}

static void numbers_that_were_never_given(void **state)
{
	struct amqp_confirms *confirms = amqp_confirms_new(ITEMS);
	struct publication item = { 0 };

	(void)state;
	assert_false(amqp_confirms_answer(confirms, 1, false, true));
	amqp_confirms_add(confirms, &item);
	assert_true(amqp_confirms_answer(confirms, 1, false, true));
	assert_false(amqp_confirms_answer(confirms, 2, true, true));
	amqp_confirms_free(&confirms);
}

/* After a send that timed out its items may be gone; late answers must not touch them. */
static void abandoned(void **state)
{
	struct amqp_confirms *confirms = amqp_confirms_new(4);
	struct publication old[3] = { 0 }, new = { 0 };

	(void)state;
	for (size_t i = 0; i < 3; i++)
		amqp_confirms_add(confirms, &old[i]);
	amqp_confirms_abandon(confirms);
	assert_int_equal(amqp_confirms_waiting(confirms), 0);
	assert_int_equal(amqp_confirms_room(confirms), 1);
	amqp_confirms_add(confirms, &new);
	amqp_confirms_returned(confirms, &old[0].id, "no route");
	assert_null(old[0].refused);
	new.refused = NULL;
	assert_true(amqp_confirms_answer(confirms, 4, true, true));
	assert_true(new.confirmed);
	for (size_t i = 0; i < 3; i++)
		assert_false(old[i].confirmed);
	assert_int_equal(amqp_confirms_room(confirms), 4);
	amqp_confirms_free(&confirms);
}

static void goes_round(void **state)
{
	struct amqp_confirms *confirms = amqp_confirms_new(3);
	struct publication items[3] = { 0 };

	(void)state;
	for (uint64_t n = 1; n < 1000; n++) {
		struct publication *item = &items[n % 3];

		item->confirmed = false;
		amqp_confirms_add(confirms, item);
		if (n >= 3) {
			assert_int_equal(amqp_confirms_room(confirms), 0);
			assert_true(amqp_confirms_answer(confirms, n - 2, n % 2, true));
			assert_true(items[(n - 2) % 3].confirmed);
		}
	}
	amqp_confirms_reset(confirms);
	assert_int_equal(amqp_confirms_room(confirms), 3);
	amqp_confirms_free(&confirms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(numbers_that_were_never_given),
		cmocka_unit_test(abandoned),
		cmocka_unit_test(goes_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

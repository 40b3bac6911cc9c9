/* SPDX-License-Identifier: Apache-2.0 */
/* The intrusive list: order of what is linked, and that an unlinked node is harmless. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/list.h"

struct item {
	int n;
	struct list link;
};

static int digits(const struct list *head)
{
	int number = 0;

	for (const struct list *at = head->next; at != head; at = at->next) {
		assert_ptr_equal(at->next->prev, at);
		number = number * 10 + list_entry(at, struct item, link)->n;
	}
	return number;
}

static void keeps_order(void **state)
{
	struct item items[4] = { { .n = 1 }, { .n = 2 }, { .n = 3 }, { .n = 4 } };
	struct list head;

	(void)state;
	list_init(&head);
	assert_true(list_empty(&head));
	list_append(&head, &items[1].link);
	list_append(&head, &items[2].link);
	list_prepend(&head, &items[0].link);
	list_insert_before(&items[2].link, &items[3].link);
	assert_int_equal(digits(&head), 1243);
	assert_ptr_equal(list_first(&head, struct item, link), &items[0]);
	list_remove(&items[1].link);
	list_remove(&items[1].link);
	assert_int_equal(digits(&head), 143);
	list_remove(&items[0].link);
	list_remove(&items[2].link);
	list_remove(&items[3].link);
	assert_true(list_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(keeps_order) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

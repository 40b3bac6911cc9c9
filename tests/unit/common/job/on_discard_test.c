/* SPDX-License-Identifier: Apache-2.0 */
/* What a compensation is told of the job that ended, and that it has one id per end. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/job/on_discard.h"

static struct on_discard_source a_source(void)
{
	struct on_discard_source source = {
		.type = "order.checkout",
		.payload = "{ \"n\": 1.50 }",
		.steps = "{\"reserve\":[1,2]}",
		.calls = "{\"charge\":{\"status\":200,\"body\":\"{}\"}}",
		.state = JOB_DISCARDED,
		.reason = "card refused",
	};

	assert_true(uuid_parse("01890a5d-ac96-774b-bcce-b302099a8057", &source.id));
	return source;
}

static void everything_known_is_told(void **state)
{
	static const char want[] = "{\"job\":\"01890a5d-ac96-774b-bcce-b302099a8057\","
				   "\"type\":\"order.checkout\",\"payload\":{ \"n\": 1.50 },"
				   "\"steps\":{\"reserve\":[1,2]},"
				   "\"calls\":{\"charge\":{\"status\":200,\"body\":\"{}\"}},"
				   "\"state\":\"discarded\",\"reason\":\"card refused\"}";
	struct on_discard_source source = a_source();
	struct arena *arena = arena_new(0);

	(void)state;
	assert_string_equal(on_discard_payload(arena, &source), want);
	arena_free(&arena);
}

static void what_is_missing_has_its_member(void **state)
{
	struct on_discard_source source = a_source();
	struct arena *arena = arena_new(0);
	json_t *root;

	(void)state;
	source.steps = source.calls = source.reason = NULL;
	source.state = JOB_CANCELLED;
	root = json_loads(on_discard_payload(arena, &source), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(root);
	assert_int_equal(json_object_size(root), 7);
	assert_int_equal(json_object_size(json_object_get(root, "steps")), 0);
	assert_true(json_is_object(json_object_get(root, "calls")));
	assert_true(json_is_null(json_object_get(root, "reason")));
	assert_string_equal(json_string_value(json_object_get(root, "state")), "cancelled");
	json_decref(root);
	arena_free(&arena);
}

/* Types and reasons are text of other people. */
static void text_is_escaped(void **state)
{
	static const char *const reasons[] = { "a \"quoted\" \\ word", "two\nlines\t\001",
					       "Zo\xc3\xab", "" };
	struct arena *arena = arena_new(0);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
		struct on_discard_source source = a_source();
		json_t *root;

		source.reason = source.type = reasons[i];
		root = json_loads(on_discard_payload(arena, &source), 0, NULL);
		assert_non_null(root);
		assert_string_equal(json_string_value(json_object_get(root, "reason")), reasons[i]);
		assert_string_equal(json_string_value(json_object_get(root, "type")), reasons[i]);
		json_decref(root);
	}
	arena_free(&arena);
}

static void one_id_per_end(void **state)
{
	struct on_discard_source source = a_source();
	struct uuid first, again, later, other, none = source.id;

	(void)state;
	on_discard_id(&source.id, 3, &first);
	on_discard_id(&source.id, 3, &again);
	on_discard_id(&source.id, 31, &later);
	none.b[15] ^= 1;
	on_discard_id(&none, 3, &other);
	assert_true(uuid_equal(&first, &again));
	assert_false(uuid_equal(&first, &later));
	assert_false(uuid_equal(&first, &other));
	assert_false(uuid_equal(&first, &source.id));
	/* the same day: it lies in the same partition, and goes with it */
	assert_memory_equal(first.b, source.id.b, 6);
	assert_int_equal(uuid_version(&first), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_known_is_told),
		cmocka_unit_test(what_is_missing_has_its_member),
		cmocka_unit_test(text_is_escaped),
		cmocka_unit_test(one_id_per_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers where doubles would round. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/schema/schema_impl.h"

static json_t *number(const char *text)
{
	json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(json);
	return json;
}

static void compares(void **state)
{
	static const struct {
		const char *a, *b;
		int want;
	} cases[] = {
		{ "1", "1.0", 0 },
		{ "-0.0", "0", 0 },
		{ "9007199254740993", "9007199254740992.0", 1 },
		{ "9223372036854775807", "9223372036854775807.0", -1 },
		{ "-9223372036854775808", "-9223372036854775808.0", 0 },
		{ "9223372036854775807", "1e300", -1 },
		{ "-9223372036854775808", "-1e300", 1 },
		{ "1", "1.5", -1 },
		{ "-1", "-1.5", 1 },
		{ "0.1", "0.2", -1 },
		{ "3", "2", 1 },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *a = number(cases[i].a), *b = number(cases[i].b);

		assert_int_equal(schema_number_compare(a, b), cases[i].want);
		assert_int_equal(schema_number_compare(b, a), -cases[i].want);
		assert_int_equal(schema_equal(a, b), cases[i].want == 0);
		if (cases[i].want == 0)
			assert_true(schema_hash(a) == schema_hash(b));
		json_decref(a);
		json_decref(b);
	}
}

static void divides(void **state)
{
	static const struct {
		const char *value, *of;
		bool want;
	} cases[] = {
		{ "10", "5", true },
		{ "-10", "3", false },
		{ "4.02", "0.01", true },
		{ "0.3", "0.1", true },
		{ "1.1", "0.1", true },
		{ "0.0075", "0.0001", true },
		{ "0.00751", "0.0001", false },
		{ "1e308", "0.123456789", false },
		{ "1e308", "0.5", true },
		{ "0.0", "7.5", true },
		{ "9223372036854775807", "0.5", true },
		{ "9007199254740993", "2.0", false },
		{ "-9223372036854775808", "2.0", true },
		{ "19.99", "0.01", true },
		{ "19.995", "0.01", false },
		{ "1e-300", "1e-301", true },
		{ "100.0", "4", true },
		{ "10.0", "4", false },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *value = number(cases[i].value), *of = number(cases[i].of);

		if (schema_number_multiple(value, of) != cases[i].want)
			fail_msg("%s of %s", cases[i].value, cases[i].of);
		json_decref(value);
		json_decref(of);
	}
}

static void knows_whole_numbers(void **state)
{
	static const struct {
		const char *text;
		bool want;
	} cases[] = { { "1", true }, { "1.0", true }, { "1e300", true }, { "1.5", false } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *value = number(cases[i].text);

		assert_int_equal(schema_number_whole(value), cases[i].want);
		json_decref(value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compares),
		cmocka_unit_test(divides),
		cmocka_unit_test(knows_whole_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Order and layout of new ids, stability of named ones, and what counts as the text of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/uuid.h"

static void v7_layout(void **state)
{
	int64_t before_ms = clock_wall_ms();
	struct uuid id;

	(void)state;
	uuid_v7(&id);
	assert_int_equal(uuid_version(&id), 7);
	assert_int_equal(id.b[8] >> 6, 2);
	assert_in_range(uuid_time_ms(&id), before_ms, clock_wall_ms() + 1);
}

static void v7_ascends(void **state)
{
	struct uuid former, id;

	(void)state;
	uuid_v7(&former);
	for (int i = 0; i < 300000; i++, former = id) {
		uuid_v7(&id);
		if (uuid_compare(&former, &id) >= 0)
			fail_msg("id %d does not ascend", i);
	}
	assert_in_range(uuid_time_ms(&id), clock_wall_ms() - 1000, clock_wall_ms() + 1);
}

/* A child must not make the ids that its parent makes next. */
static void v7_after_fork(void **state)
{
	struct uuid mine[64], theirs[64];
	int pipes[2], status;
	pid_t pid;

	(void)state;
	uuid_v7(&mine[0]);
	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	for (int i = 0; i < 64; i++)
		uuid_v7(&mine[i]);
	if (pid == 0)
		_exit(write(pipes[1], mine, sizeof(mine)) != sizeof(mine));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(read(pipes[0], theirs, sizeof(theirs)), sizeof(theirs));
	for (int i = 0; i < 64; i++) {
		for (int k = 0; k < 64; k++)
			assert_memory_not_equal(mine[i].b + 6, theirs[k].b + 6, 10);
	}
	close(pipes[0]);
	close(pipes[1]);
}

/* The figure is printf 'name' behind the 16 bytes of the name space, through sha256sum. */
static void named(void **state)
{
	struct uuid ns, a, b, c;
	char text[UUID_TEXT], long_name[1000];

	(void)state;
	assert_true(uuid_parse("0193abcd-1234-7abc-8def-0123456789ab", &ns));
	uuid_named(&ns, "name", 4, &a);
	uuid_named(&ns, "name", 4, &b);
	uuid_named(&ns, "names", 5, &c);
	assert_string_equal(uuid_format(&a, text), "3e023882-d94e-814e-9007-5dbef0bf9b53");
	assert_int_equal(uuid_version(&a), 8);
	assert_int_equal(a.b[8] >> 6, 2);
	assert_true(uuid_equal(&a, &b));
	assert_false(uuid_equal(&a, &c));
	uuid_named_dated(&ns, "name", 4, &b);
	assert_int_equal(uuid_time_ms(&b), uuid_time_ms(&ns));
	assert_memory_equal(a.b + 6, b.b + 6, 10);
	memset(long_name, 'n', sizeof(long_name));
	uuid_named(&ns, long_name, sizeof(long_name), &a);
	uuid_named(&ns, long_name, sizeof(long_name) - 1, &b);
	assert_false(uuid_equal(&a, &b));
	uuid_named(&ns, NULL, 0, &a);
	uuid_named_dated(&ns, "x", 1, &ns);
	assert_int_equal(uuid_version(&ns), 8);
}

static void parses(void **state)
{
	static const struct {
		const char *text;
		bool ok;
	} cases[] = {
		{ "0193abcd-1234-7abc-8def-0123456789ab", true },
		{ "0193ABCD-1234-7ABC-8DEF-0123456789AB", true },
		{ "00000000-0000-0000-0000-000000000000", true },
		{ "", false },
		{ "0193abcd-1234-7abc-8def-0123456789a", false },
		{ "0193abcd-1234-7abc-8def-0123456789abc", false },
		{ "0193abcd-1234-7abc-8def-0123456789ag", false },
		{ "0193abcd_1234-7abc-8def-0123456789ab", false },
		{ "0193abcd1234-7abc-8def-0123456789ab-", false },
		{ "{193abcd-1234-7abc-8def-0123456789a}", false },
		{ "0193abcd-1234-7abc-8def-012345678 ab", false },
		{ "0193abcd-1234-7abc-8def-01234567@9ab", false },
	};
	struct uuid id, again;
	char text[UUID_TEXT], hex[33];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (uuid_parse(cases[i].text, &id) != cases[i].ok)
			fail_msg("%s: want %d", cases[i].text, cases[i].ok);
		if (!cases[i].ok)
			continue;
		assert_int_equal(strcasecmp(uuid_format(&id, text), cases[i].text), 0);
		uuid_hex(&id, hex);
		assert_int_equal(strlen(hex), 32);
		assert_true(uuid_parse_hex(hex, &again));
		assert_true(uuid_equal(&id, &again));
	}
	assert_true(uuid_parse_n("0193abcd-1234-7abc-8def-0123456789ab and more", 36, &id));
	assert_string_equal(uuid_format(&id, text), "0193abcd-1234-7abc-8def-0123456789ab");
	assert_false(uuid_parse_hex("0193abcd12347abc8def0123456789a-", &id));
}

static void compares(void **state)
{
	struct uuid a = { .b = { 1 } }, b = { .b = { 2 } }, nil = { .b = { 0 } };

	(void)state;
	assert_true(uuid_compare(&a, &b) < 0);
	assert_true(uuid_compare(&b, &a) > 0);
	assert_int_equal(uuid_compare(&a, &a), 0);
	assert_true(uuid_is_nil(&nil));
	assert_false(uuid_is_nil(&a));
}

static void day_floor(void **state)
{
	int64_t midnight_ms, noon_ms;
	struct uuid day, next, named_id, id;

	(void)state;
	assert_int_equal(clock_parse("2026-11-23T00:00:00Z", &midnight_ms), 0);
	noon_ms = midnight_ms + 43200000;
	uuid_day_floor(noon_ms, &day);
	assert_int_equal(uuid_time_ms(&day), midnight_ms);
	uuid_day_floor(midnight_ms, &id);
	assert_true(uuid_equal(&day, &id));
	uuid_day_floor(midnight_ms + 86399999, &id);
	assert_true(uuid_equal(&day, &id));
	uuid_day_floor(midnight_ms + 86400000, &next);
	assert_int_equal(uuid_time_ms(&next), midnight_ms + 86400000);
	uuid_named_dated(&day, "x", 1, &named_id);
	assert_true(uuid_compare(&day, &named_id) < 0);
	assert_true(uuid_compare(&named_id, &next) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(v7_layout),     cmocka_unit_test(v7_ascends),
		cmocka_unit_test(v7_after_fork), cmocka_unit_test(named),
		cmocka_unit_test(parses),        cmocka_unit_test(compares),
		cmocka_unit_test(day_floor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ${…} in SQL: what it becomes, what is left alone in quotes and comments, where problems are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/config/sql_template.h"

static const char *const env[] = { "SITE", NULL };

static void becomes_parameters(void **state)
{
	static const struct {
		const char *text, *sql, *sources; /* sources separated by blanks */
	} cases[] = {
		{ "SELECT 1", "SELECT 1", "" },
		{ "SELECT 1 ; ", "SELECT 1  ", "" },
		{ "SELECT 1; -- done\n/* really */", "SELECT 1 -- done\n/* really */", "" },
		{ "${job.id},${job.type},${job.attempt}", "$1,$2,$3",
		  "job.id job.type job.attempt" },
		{ "${payload.a.b-c.0}::int", "$1::int", "payload.a.b-c.0" },
		{ "${payload.a}${payload.a}", "$1$2", "payload.a payload.a" },
		{ "${payload.a}2", "$1 2", "payload.a" },
		{ "${env.SITE}", "$1", "env.SITE" },
		{ "'it''s $${x}' || ${job.id}", "'it''s ${x}' || $1", "job.id" },
		{ "E'\\'' || ${job.id}", "E'\\'' || $1", "job.id" },
		{ "'\\' || ${job.id}", "'\\' || $1", "job.id" }, /* no escape without E */
		{ "\"a'b\" = ${job.id}", "\"a'b\" = $1", "job.id" },
		{ "$$ ' $$ || $x$ $$ $x$ || ${job.id}", "$$ ' $$ || $x$ $$ $x$ || $1", "job.id" },
		{ "-- don't\n${job.id}", "-- don't\n$1", "job.id" },
		{ "/* don't; */ ${job.id}", "/* don't; */ $1", "job.id" },
		{ "foo$bar + ${job.id}", "foo$bar + $1", "job.id" },
		{ "a -> '$.x' -- ;", "a -> '$.x' -- ;", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		struct sql_template template = { 0 };
		struct substitution_problem problem;
		char sources[256] = "";

		if (sql_template_parse(cases[i].text, env, arena, &template, &problem) != 0)
			fail_msg("%s: %s", cases[i].text, problem.message);
		for (size_t j = 0; j < template.source_count; j++) {
			strcat(sources, j ? " " : "");
			strcat(sources, template.sources[j]);
		}
		if (strcmp(template.sql, cases[i].sql) != 0 ||
		    strcmp(sources, cases[i].sources) != 0)
			fail_msg("%s: got %s (%s)", cases[i].text, template.sql, sources);
		arena_free(&arena);
	}
}

static void refuses_with_a_place(void **state)
{
	static const struct {
		const char *text;
		size_t offset;
		const char *message;
	} cases[] = {
		{ "  ;", 0, "empty" },
		{ "SELECT '${job.id}'", 8, "inside a quoted text" },
		{ "SELECT \"${job.id}\"", 8, "inside a quoted name" },
		{ "-- ${job.id}", 3, "inside a comment" },
		{ "/* ${job.id} */", 3, "inside a comment" },
		{ "$t$ ${job.id} $t$", 4, "inside a dollar-quoted text" },
		{ "SELECT 'x", 7, "is not closed" },
		{ "SELECT /* x", 7, "is not closed" },
		{ "SELECT $a$ x $b$", 7, "is not closed" },
		{ "SELECT ${job.id", 7, "is not closed" },
		{ "SELECT ${}", 7, "unknown ${}" },
		{ "SELECT ${payload.}", 7, "unknown ${payload.}" },
		{ "SELECT ${payload.a b}", 7, "unknown" },
		{ "SELECT ${job.tenant}", 7, "unknown" },
		{ "SELECT ${env.HOME}", 7, "not listed in this type's `env`" },
		{ "SELECT $12", 7, "numbered parameters" },
		{ "SELECT $", 7, "a lone $" },
		{ "a; b", 1, "more than one statement" },
		{ "a; ${job.id}", 1, "more than one statement" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		struct sql_template template = { 0 };
		struct substitution_problem problem = { 0 };

		if (sql_template_parse(cases[i].text, env, arena, &template, &problem) == 0)
			fail_msg("%s was taken", cases[i].text);
		if (problem.offset != cases[i].offset || !strstr(problem.message, cases[i].message))
			fail_msg("%s: %zu %s", cases[i].text, problem.offset, problem.message);
		arena_free(&arena);
	}
}

static void bounds_the_parameters(void **state)
{
	struct arena *arena = arena_new(0);
	struct sql_template template = { 0 };
	struct substitution_problem problem = { 0 };
	char text[2048] = "";

	(void)state;
	for (int i = 0; i < SQL_TEMPLATE_PARAMETERS_MAX; i++)
		strcat(text, "${job.id},");
	assert_int_equal(sql_template_parse(text, env, arena, &template, &problem), 0);
	assert_int_equal(template.source_count, SQL_TEMPLATE_PARAMETERS_MAX);
	strcat(text, "${job.id}");
	assert_int_equal(sql_template_parse(text, env, arena, &template, &problem), -1);
	assert_non_null(strstr(problem.message, "too many values"));
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(becomes_parameters),
		cmocka_unit_test(refuses_with_a_place),
		cmocka_unit_test(bounds_the_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

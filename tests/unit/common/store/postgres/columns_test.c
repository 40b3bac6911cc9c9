/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/store/postgres/postgres_impl.h"

/* Rows of three columns: a key, a pair of group 1, a text of group 2. */
struct row {
	const char *key, *pair;
	int64_t n;
	const char *text;
};

static const struct column_facts facts[] = {
	{ "key", "text", TYPE_TEXT, COLUMN_EACH_ITS_OWN },
	{ "pair", "text", TYPE_TEXT, 1 },
	{ "n", "int4", TYPE_INT4, 1 },
	{ "text", "text", TYPE_TEXT, 2 },
};

static struct cell cell_of(const void *rows, size_t row, size_t column)
{
	const struct row *r = (const struct row *)rows + row;

	switch (column) {
	case 0:
		return cell_text(r->key);
	case 1:
		return cell_text(r->pair);
	case 2:
		return cell_number(r->n);
	default:
		return cell_text(r->text);
	}
}

#define SELECT_ONE "SELECT key, $2::text AS pair, $3::int4 AS n"

static const struct {
	struct row rows[2];
	size_t count;
	unsigned arrays;
	const char *sql;
} cases[] = {
	{ { { "a", "p", 1, "t" } },
	  1,
	  1,
	  SELECT_ONE ", $4::text AS text FROM unnest($1::text[]) AS u(key)" },
	{ { { "a", "p", 1, "t" }, { "b", "p", 1, "t" } },
	  2,
	  1,
	  SELECT_ONE ", $4::text AS text FROM unnest($1::text[]) AS u(key)" },
	{ { { "a", "p", 1, NULL }, { "b", "p", 1, "" } }, /* NULL is not the empty text */
	  2,
	  1 | 1 << 2,
	  "SELECT key, text, $2::text AS pair, $3::int4 AS n"
	  " FROM unnest($1::text[], $4::text[]) AS u(key, text)" },
	{ { { "a", NULL, 1, NULL }, { "b", NULL, 2, NULL } }, /* a group goes together */
	  2,
	  1 | 1 << 1,
	  "SELECT key, pair, n, $4::text AS text"
	  " FROM unnest($1::text[], $2::text[], $3::int4[]) AS u(key, pair, n)" },
	{ { { "a", "p", 1, "t" }, { "b", "q", 1, "tt" } },
	  2,
	  1 | 1 << 1 | 1 << 2,
	  "SELECT key, pair, n, text FROM unnest($1::text[], $2::text[], $3::int4[],"
	  " $4::text[]) AS u(key, pair, n, text)" },
};

static void test_shared_columns_are_one_value(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct columns columns = { facts, ARRAY_LEN(facts), cell_of, cases[i].rows,
					   cases[i].count };
		struct strbuf sql;

		strbuf_init(&sql);
		assert_int_equal(columns_differ(&columns), cases[i].arrays);
		columns_select(&sql, &columns, cases[i].arrays);
		assert_string_equal(sql.data, cases[i].sql);
		strbuf_release(&sql);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared_columns_are_one_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

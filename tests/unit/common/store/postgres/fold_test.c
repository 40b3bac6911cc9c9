/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/store/postgres/postgres_impl.h"

#define FROM1 " FROM unnest($1) AS r(c1)"
#define FROM2 " FROM unnest($1,$2) AS r(c1,c2)"

static const struct {
	const char *sql;
	size_t args;
	const char *want; /* NULL: left alone */
} inserts[] = {
	{ "INSERT INTO t VALUES ($1)", 1, "INSERT INTO t SELECT r.c1" FROM1 },
	{ " insert\ninto t ( a , b ) values ( $2 , $1 ) ; ", 2,
	  "INSERT INTO t(a,b) SELECT r.c2,r.c1" FROM2 },
	{ "INSERT INTO s.t (a) VALUES ($1::jsonb)", 1,
	  "INSERT INTO s.t(a) SELECT r.c1::jsonb" FROM1 },
	{ "INSERT INTO \"a \"\"b\" VALUES ($1,'it''s',-1.5,NULL,now(),true)", 1,
	  "INSERT INTO \"a \"\"b\" SELECT r.c1,'it''s',-1.5,NULL,now(),TRUE" FROM1 },
	{ "INSERT INTO t VALUES ($1, current_timestamp)", 1,
	  "INSERT INTO t SELECT r.c1,CURRENT_TIMESTAMP" FROM1 },
	{ "INSERT INTO t VALUES ($1, '2026-01-01'::date)", 1,
	  "INSERT INTO t SELECT r.c1,'2026-01-01'::date" FROM1 },
	{ "INSERT INTO t VALUES ($1) RETURNING a", 1, NULL },
	{ "INSERT INTO t VALUES ($1) ON CONFLICT DO NOTHING", 1, NULL },
	{ "INSERT INTO t VALUES ($1), ($1)", 1, NULL },
	{ "INSERT INTO t VALUES ($2)", 1, NULL },
	{ "INSERT INTO t VALUES ($0)", 1, NULL },
	{ "INSERT INTO t VALUES ($1 + 1)", 1, NULL },
	{ "INSERT INTO t VALUES (DEFAULT, $1)", 1, NULL },
	{ "INSERT INTO t VALUES (nextval('s'), $1)", 1, NULL },
	{ "INSERT INTO t VALUES ((SELECT max(a) FROM t), $1)", 1, NULL },
	{ "INSERT INTO t VALUES (E'\\n', $1)", 1, NULL },
	{ "INSERT INTO t VALUES ($1, 'open)", 1, NULL },
	{ "INSERT INTO t VALUES ($1", 1, NULL },
	{ "INSERT INTO t -- x\n VALUES ($1)", 1, NULL },
	{ "INSERT INTO t SELECT $1", 1, NULL },
	{ "INSERT INTO t VALUES ($1); DROP TABLE t", 1, NULL },
	{ "UPDATE t SET a = $1", 1, NULL },
	{ "INSERTINTO t VALUES ($1)", 1, NULL },
	{ "", 1, NULL },
};

static void inserts_are_rewritten(void **state)
{
	struct arena *arena = arena_new(0);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(inserts); i++) {
		const char *got = fold_insert(arena, inserts[i].sql, inserts[i].args);
		const char *want = inserts[i].want;

		if (!got != !want || (got && strcmp(got, want) != 0))
			fail_msg("%s\ngot  %s\nwant %s", inserts[i].sql, got ? got : "(left alone)",
				 want ? want : "(left alone)");
	}
	arena_free(&arena);
}

static void arguments_become_array_literals(void **state)
{
	static const struct sql_value values[] = {
		{ .kind = SQL_TEXT, .data = "a\"b\\c,{}", .bytes = 8 },
		{ .kind = SQL_NULL },
		{ .kind = SQL_INT, .i = INT64_MIN },
		{ .kind = SQL_BOOL, .i = 1 },
		{ .kind = SQL_FLOAT, .d = 0.5 },
		{ .kind = SQL_BLOB, .data = "\0\xff", .bytes = 2 },
		{ .kind = SQL_TEXT, .data = "", .bytes = 0 },
	};
	struct sql_statement statements[ARRAY_LEN(values)];
	struct completion items[ARRAY_LEN(values)];
	struct write_member members[ARRAY_LEN(values)];
	struct write_group group = { .members = members, .count = ARRAY_LEN(values) };
	struct arena *arena = arena_new(0);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		statements[i] = (struct sql_statement){ .args = &values[i], .arg_count = 1 };
		items[i] = (struct completion){ .writes = { .statements = &statements[i],
							    .statement_count = 1 } };
		members[i] = (struct write_member){ .item = &items[i] };
	}
	assert_string_equal(fold_literal(arena, &group, 0),
			    "{\"a\\\"b\\\\c,{}\",NULL,-9223372036854775808,\"true\",\"0.5\","
			    "\"\\\\x00ff\",\"\"}");
	arena_free(&arena);
}

#define ID      "0198c8a0-1234-7abc-8def-0123456789ab"
#define ID_WIRE "\x01\x98\xc8\xa0\x12\x34\x7a\xbc\x8d\xef\x01\x23\x45\x67\x89\xab"
/* of an array of one element that is not NULL */
#define HEAD(type)  "\0\0\0\1\0\0\0\0" type "\0\0\0\1\0\0\0\1"
#define BYTES(text) text, sizeof(text) - 1

static const struct {
	Oid array;
	struct sql_value value;
	const char *want; /* NULL: a literal has to do */
	size_t bytes;
} binaries[] = {
	{ TYPE_UUID_ARRAY,
	  { .kind = SQL_TEXT, .data = ID },
	  BYTES(HEAD("\0\0\x0b\x86") "\0\0\0\x10" ID_WIRE) },
	{ TYPE_UUID_ARRAY,
	  { .kind = SQL_NULL },
	  BYTES("\0\0\0\1\0\0\0\1\0\0\x0b\x86\0\0\0\1\0\0\0\1\xff\xff\xff\xff") },
	{ TYPE_UUID_ARRAY, { .kind = SQL_TEXT, .data = "{" ID "}" }, NULL, 0 },
	{ TYPE_UUID_ARRAY, { .kind = SQL_INT, .i = 1 }, NULL, 0 },
	{ TYPE_TEXT_ARRAY,
	  { .kind = SQL_TEXT, .data = "a\"", .bytes = 2 },
	  BYTES(HEAD("\0\0\0\x19") "\0\0\0\2a\"") },
	{ TYPE_TEXT_ARRAY, { .kind = SQL_BOOL, .i = 1 }, BYTES(HEAD("\0\0\0\x19") "\0\0\0\4true") },
	{ TYPE_INT4_ARRAY,
	  { .kind = SQL_INT, .i = -2 },
	  BYTES(HEAD("\0\0\0\x17") "\0\0\0\4\xff\xff\xff\xfe") },
	{ TYPE_INT4_ARRAY, { .kind = SQL_INT, .i = INT64_C(1) << 31 }, NULL, 0 },
	{ TYPE_INT4_ARRAY, { .kind = SQL_TEXT, .data = "1", .bytes = 1 }, NULL, 0 },
	{ TYPE_INT8_ARRAY,
	  { .kind = SQL_INT, .i = INT64_C(1) << 31 },
	  BYTES(HEAD("\0\0\0\x14") "\0\0\0\x08\0\0\0\0\x80\0\0\0") },
	{ 3802 + 5 /* jsonb[] */, { .kind = SQL_TEXT, .data = "1", .bytes = 1 }, NULL, 0 },
};

static void plain_arguments_become_binary_arrays(void **state)
{
	struct arena *arena = arena_new(0);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(binaries); i++) {
		struct sql_statement statement = { .args = &binaries[i].value, .arg_count = 1 };
		struct completion item = { .writes = { .statements = &statement,
						       .statement_count = 1 } };
		struct write_member member = { .item = &item };
		struct write_group group = { .members = &member, .count = 1 };
		struct array array = { 0 };

		assert_int_equal(fold_binary(arena, &group, 0, binaries[i].array, &array),
				 binaries[i].want != NULL);
		if (binaries[i].want) {
			assert_int_equal(array_end(&array), binaries[i].bytes);
			assert_memory_equal(array.bytes.data, binaries[i].want, binaries[i].bytes);
		}
		if (array.bytes.data)
			strbuf_release(&array.bytes);
	}
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inserts_are_rewritten),
		cmocka_unit_test(arguments_become_array_literals),
		cmocka_unit_test(plain_arguments_become_binary_arrays),
	};

	return cmocka_run_group_tests_name("fold", tests, NULL, NULL);
}

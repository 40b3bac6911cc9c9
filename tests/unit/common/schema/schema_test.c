/* SPDX-License-Identifier: Apache-2.0 */
/* What the official suite does not look at: which faults are told and how, what a schema that is
 * wrong is refused with, and that nothing goes on for ever. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/strbuf.h"
#include "common/json/json_text.h"
#include "common/schema/schema.h"

static json_t *parse(const char *text)
{
	struct json_error error;
	json_t *json = json_text_parse(text, strlen(text), &error);

	if (!json)
		fail_msg("%d:%d: %s: %s", error.line, error.column, error.message, text);
	return json;
}

static struct schema *compile(const char *text, bool formats, struct arena *arena,
			      struct schema_faults *problems)
{
	struct schema_options options = { .formats = formats };
	json_t *json = parse(text);
	struct schema *schema = schema_compile(json, "", &options, arena, problems);

	json_decref(json);
	return schema;
}

/* "pointer keyword: message", one a line. */
static const char *tell(const struct schema_faults *faults, struct arena *arena)
{
	struct strbuf text;
	const char *kept;

	strbuf_init(&text);
	for (size_t i = 0; i < faults->count; i++)
		strbuf_printf(&text, "%s%s %s: %s", i ? "\n" : "", faults->faults[i].pointer,
			      faults->faults[i].keyword, faults->faults[i].message);
	kept = arena_strdup(arena, text.data);
	strbuf_release(&text);
	return kept;
}

static void faults_are_told(void **state)
{
	static const struct {
		const char *schema, *value, *want;
	} cases[] = {
		{ "{\"type\":\"object\",\"required\":[\"a\",\"b/c\"],\"properties\":{\"n\":{\"minimum\":1}}}",
		  "{\"n\":0}",
		  "/a required: is missing\n/b~1c required: is missing\n/n minimum: must be at least 1" },
		{ "{\"type\":[\"string\",\"null\"]}", "1", " type: must be a text or null" },
		{ "{\"type\":\"integer\",\"multipleOf\":0.01}", "1.005",
		  " type: must be a whole number\n multipleOf: must be a multiple of 0.01" },
		{ "{\"enum\":[\"a\",1,null]}", "\"b\"", " enum: must be one of \"a\",1,null" },
		{ "{\"const\":{\"a\":1}}", "{}", " const: must be {\"a\":1}" },
		{ "{\"items\":{\"maxLength\":2}}", "[\"ab\",\"äöü\",\"abc\"]",
		  "/1 maxLength: must have at most 2 characters\n/2 maxLength: must have at most 2 characters" },
		{ "{\"properties\":{\"a\":true},\"additionalProperties\":false}",
		  "{\"a\":1,\"~b\":2}",
		  "/~0b additionalProperties: is not a member that is allowed here" },
		{ "{\"prefixItems\":[true],\"items\":false}", "[1,2]",
		  "/1 items: is one element more than is allowed" },
		{ "{\"anyOf\":[{\"type\":\"string\"},{\"minimum\":5}]}", "3",
		  " anyOf: must match at least one of the alternatives" },
		{ "{\"oneOf\":[{\"minimum\":1},{\"minimum\":2}]}", "3",
		  " oneOf: must match only one of the alternatives, not several" },
		{ "{\"not\":{\"type\":\"null\"}}", "null",
		  " not: must not match what is excluded here" },
		{ "{\"if\":{\"required\":[\"a\"]},\"then\":{\"required\":[\"b\"]}}", "{\"a\":1}",
		  "/b required: is missing" },
		{ "{\"dependentRequired\":{\"card\":[\"zip\"]}}", "{\"card\":1}",
		  "/zip dependentRequired: is missing; it is wanted beside \"card\"" },
		{ "{\"propertyNames\":{\"pattern\":\"^[a-z]+$\"}}", "{\"A\":1}",
		  "/A propertyNames: has a name that is not allowed here" },
		{ "{\"pattern\":\"^[a-z]+$\"}", "\"A\"",
		  " pattern: must match the pattern \"^[a-z]+$\"" },
		{ "{\"format\":\"email\"}", "\"a\"", " format: must be in the format \"email\"" },
		{ "{\"format\":\"colour\"}", "\"a\"", "" },
		{ "{\"uniqueItems\":true}", "[1,2,1.0]",
		  " uniqueItems: must have no element twice" },
		{ "{\"contains\":{\"const\":1},\"minContains\":2}", "[1]",
		  " contains: must have at least 2 elements of the kind wanted" },
		{ "{\"properties\":{\"a\":{\"$ref\":\"#/$defs/n\"}},\"$defs\":{\"n\":{\"maximum\":1}}}",
		  "{\"a\":2}", "/a maximum: must be at most 1" },
		{ "{\"allOf\":[{\"properties\":{\"a\":true}}],\"unevaluatedProperties\":false}",
		  "{\"a\":1,\"b\":2}",
		  "/b unevaluatedProperties: is not a member that is allowed here" },
		{ "{\"$defs\":{\"a\":false},\"$ref\":\"#/$defs/a\"}", "1",
		  " $ref: is not allowed here" },
		{ "false", "1", " : is not allowed here" },
		{ "true", "1", "" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		struct schema_faults faults;
		struct schema *schema = compile(cases[i].schema, true, arena, &faults);
		json_t *value = parse(cases[i].value);

		if (!schema)
			fail_msg("%s: %s", cases[i].schema, tell(&faults, arena));
		assert_int_equal(schema_validate(schema, value, arena, &faults), !*cases[i].want);
		assert_string_equal(tell(&faults, arena), cases[i].want);
		assert_int_equal(schema_accepts(schema, value), !*cases[i].want);
		json_decref(value);
		schema_free(&schema);
		assert_null(schema);
		arena_free(&arena);
	}
}

static void locations_name_the_schema(void **state)
{
	static const char text[] =
		"{\"properties\":{\"a/b\":{\"items\":{\"$ref\":\"#/$defs/positive\"}}},"
		"\"$defs\":{\"positive\":{\"allOf\":[{\"exclusiveMinimum\":0}]}}}";
	struct arena *arena = arena_new(0);
	struct schema_faults faults;
	struct schema *schema = compile(text, false, arena, &faults);
	json_t *value = parse("{\"a/b\":[1,-1]}");

	(void)state;
	assert_non_null(schema);
	assert_false(schema_validate(schema, value, arena, &faults));
	assert_int_equal(faults.count, 1);
	assert_string_equal(faults.faults[0].pointer, "/a~1b/1");
	assert_string_equal(faults.faults[0].location, "#/$defs/positive/allOf/0/exclusiveMinimum");
	json_decref(value);
	schema_free(&schema);
	arena_free(&arena);
}

static void problems_are_told(void **state)
{
	static const struct {
		const char *schema, *want;
	} cases[] = {
		{ "5", " : must be a schema: an object, true or false" },
		{ "{\"type\":\"text\",\"minLength\":-1,\"properties\":{\"a\":{\"pattern\":\"(\"}}}",
		  "/type type: must be one or a list of string, integer, number, boolean, object, array, null\n"
		  "/minLength minLength: must be a whole number, not negative\n"
		  "/properties/a/pattern pattern: \"(\" is not a pattern that can be used: missing closing parenthesis" },
		{ "{\"$ref\":\"#/$defs/a\"}", "/$ref $ref: \"#/$defs/a\" leads nowhere" },
		{ "{\"$ref\":\"#a\"}", "/$ref $ref: \"#a\" leads nowhere" },
		{ "{\"title\":\"t\",\"$ref\":\"#/title\"}",
		  "/$ref $ref: \"#/title\" leads to something that is no schema" },
		{ "{\"$ref\":\"https://example.com/a.json\"}",
		  "/$ref $ref: \"https://example.com/a.json\" is not known, and nothing is fetched" },
		{ "{\"$ref\":\"other.json\"}",
		  "/$ref $ref: \"other.json\" is not known, and nothing is fetched" },
		{ "{\"$ref\":\"#\"}", "/$ref $ref: leads back to itself" },
		{ "{\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/b\"}]},\"b\":{\"not\":{\"$ref\":\"#/$defs/a\"}}}}",
		  NULL },
		{ "{\"required\":[\"a\",\"a\"]}",
		  "/required required: must be a list of texts, all different" },
		{ "{\"required\":\"a\"}",
		  "/required required: must be a list of texts, all different" },
		{ "{\"multipleOf\":0}", "/multipleOf multipleOf: must be a number above 0" },
		{ "{\"anyOf\":[]}", "/anyOf anyOf: must be a list of schemas, not empty" },
		{ "{\"items\":[{}]}", "/items : must be a schema: an object, true or false" },
		{ "{\"properties\":{\"a\":1}}",
		  "/properties/a : must be a schema: an object, true or false" },
		{ "{\"$schema\":\"http://json-schema.org/draft-04/schema#\"}",
		  "/$schema $schema: \"http://json-schema.org/draft-04/schema#\" is not a draft that is known; expected draft 7 or 2020-12" },
		{ "{\"$id\":true}", "/$id $id: must be a text" },
		{ "{\"$defs\":{\"a\":{\"$id\":\"b\",\"$ref\":\"/b\"}},\"$id\":7,\"$schema\":1}",
		  NULL },
		{ "{\"$id\":\"#a\"}", "/$id $id: must have no fragment; use $anchor" },
		{ "{\"$defs\":{\"a\":{\"$anchor\":\"x\"},\"b\":{\"$anchor\":\"x\"}}}",
		  "/$defs/b/$anchor $anchor: \"x\" is there twice" },
		{ "{\"$defs\":{\"a\":{\"$id\":\"x\"},\"b\":{\"$id\":\"x\"}}}",
		  "/$defs/b/$id $id: \"x\" is there twice" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		struct schema_faults faults;
		struct schema *schema = compile(cases[i].schema, true, arena, &faults);

		if (schema)
			fail_msg("taken: %s", cases[i].schema);
		assert_true(faults.count > 0);
		if (cases[i].want)
			assert_string_equal(tell(&faults, arena), cases[i].want);
		arena_free(&arena);
	}
}

/* No more than SCHEMA_FAULTS_MAX are listed; the rest is counted. */
static void faults_are_bounded(void **state)
{
	struct arena *arena = arena_new(0);
	struct schema_faults faults;
	struct schema *schema = compile("{\"items\":{\"type\":\"null\"}}", false, arena, &faults);
	json_t *value = json_array();

	(void)state;
	for (int i = 0; i < 1000; i++)
		json_array_append_new(value, json_integer(i));
	assert_false(schema_validate(schema, value, arena, &faults));
	assert_int_equal(faults.count, SCHEMA_FAULTS_MAX);
	assert_int_equal(faults.more, 1000 - SCHEMA_FAULTS_MAX);
	json_decref(value);
	schema_free(&schema);
	arena_free(&arena);
}

/* A limit is a fault wherever it is reached: `not` does not turn it round. */
static void limits_are_faults(void **state)
{
	static const struct {
		const char *schema, *keyword;
		int letters;
	} cases[] = {
		{ "{\"pattern\":\"^(a+)+$\"}", "pattern", 40 },
		{ "{\"not\":{\"pattern\":\"^(a+)+$\"}}", "pattern", 40 },
		{ "{\"anyOf\":[{\"pattern\":\"^(a+)+$\"},true]}", "pattern", 40 },
		{ "{\"$dynamicAnchor\":\"x\",\"$dynamicRef\":\"#y\",\"$defs\":{\"a\":{\"$dynamicAnchor\":\"y\"},"
		  "\"b\":{\"$id\":\"b\",\"$dynamicAnchor\":\"y\"}}}",
		  NULL, 1 },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		struct schema_faults faults;
		struct schema *schema = compile(cases[i].schema, false, arena, &faults);
		json_t *value;
		struct strbuf text;

		assert_non_null(schema);
		strbuf_init(&text);
		for (int n = 0; n < cases[i].letters; n++)
			strbuf_addch(&text, 'a');
		strbuf_addch(&text, '!');
		value = json_string(text.data);
		assert_int_equal(schema_validate(schema, value, arena, &faults), !cases[i].keyword);
		assert_int_equal(schema_accepts(schema, value), !cases[i].keyword);
		if (cases[i].keyword) {
			assert_int_equal(faults.count, 1);
			assert_string_equal(faults.faults[0].keyword, cases[i].keyword);
			assert_string_equal(faults.faults[0].message,
					    "takes too long to compare with a pattern");
		}
		strbuf_release(&text);
		json_decref(value);
		schema_free(&schema);
		arena_free(&arena);
	}
}

/* A circle that only the dynamic scope closes is found while a value is checked. */
static void dynamic_circles_end(void **state)
{
	static const char text[] =
		"{\"$id\":\"http://x/outer\",\"$dynamicAnchor\":\"n\",\"$ref\":\"inner\",\"$defs\":{"
		"\"inner\":{\"$id\":\"inner\",\"$defs\":{\"n\":{\"$dynamicAnchor\":\"n\"}},"
		"\"$dynamicRef\":\"#n\"}}}";
	struct arena *arena = arena_new(0);
	struct schema_faults faults;
	struct schema *schema = compile(text, false, arena, &faults);

	(void)state;
	assert_non_null(schema);
	assert_false(schema_validate(schema, json_null(), arena, &faults));
	assert_int_equal(faults.count, 1);
	assert_string_equal(faults.faults[0].message, "is nested too deeply to check");
	assert_false(schema_accepts(schema, json_null()));
	schema_free(&schema);
	arena_free(&arena);
}

static void long_chains_are_refused(void **state)
{
	struct arena *arena = arena_new(0);
	struct schema_faults faults;
	struct strbuf text;
	struct schema *schema;

	(void)state;
	strbuf_init(&text);
	strbuf_addstr(&text, "{\"$defs\":{");
	for (int i = 0; i < 5000; i++)
		strbuf_printf(&text, "\"%d\":{\"$ref\":\"#/$defs/%d\"},", i, i + 1);
	strbuf_addstr(&text, "\"5000\":true}}");
	schema = compile(text.data, false, arena, &faults);
	assert_null(schema);
	assert_string_equal(faults.faults[0].message, "too many schemas, one inside the other");
	strbuf_release(&text);
	arena_free(&arena);
}

static void deep_schemas_are_refused(void **state)
{
	struct arena *arena = arena_new(0);
	struct schema_faults faults;
	json_t *json = json_object();

	(void)state;
	for (int i = 0; i < 1000; i++) {
		json_t *outer = json_object();

		json_object_set_new(outer, "not", json);
		json = outer;
	}
	assert_null(schema_compile(json, "", NULL, arena, &faults));
	assert_string_equal(faults.faults[0].message, "is nested too deeply");
	json_decref(json);
	arena_free(&arena);
}

/* Equal whole numbers beyond the doubles' 53 bits, and elements whose hashes are the same. */
static void unique_items_are_exact(void **state)
{
	struct arena *arena = arena_new(0);
	struct schema_faults faults;
	struct schema *schema = compile("{\"uniqueItems\":true}", false, arena, &faults);
	json_t *value = json_array();

	(void)state;
	for (int i = 0; i < 500; i++)
		json_array_append_new(value, json_integer(INT64_C(4611686018427387904) + i));
	assert_true(schema_accepts(schema, value));
	json_array_append_new(value, json_integer(INT64_C(4611686018427387904) + 7));
	assert_false(schema_accepts(schema, value));
	json_decref(value);
	schema_free(&schema);
	arena_free(&arena);
}

static void known_documents_are_used(void **state)
{
	struct arena *arena = arena_new(0);
	struct schema_faults faults;
	json_t *known = parse("{\"type\":\"string\"}");
	json_t *json = parse("{\"items\":{\"$ref\":\"types/name.json\"}}");
	struct schema_document document = { .uri = "file:///s/types/name.json", .json = known };
	struct schema_options options = { .documents = &document, .document_count = 1 };
	struct schema *schema = schema_compile(json, "file:///s/a.json", &options, arena, &faults);
	json_t *value = parse("[\"a\",1]");

	(void)state;
	assert_non_null(schema);
	json_decref(known); /* it has a copy */
	json_decref(json);
	assert_false(schema_validate(schema, value, arena, &faults));
	assert_string_equal(faults.faults[0].pointer, "/1");
	assert_string_equal(faults.faults[0].location, "file:///s/types/name.json#/type");
	json_decref(value);
	schema_free(&schema);
	arena_free(&arena);
}

/* Two documents that call themselves the same. */
static void known_documents_may_clash(void **state)
{
	struct arena *arena = arena_new(0);
	struct schema_faults faults;
	json_t *known = parse("{\"$id\":\"http://x/a\"}");
	json_t *json = parse("{\"$id\":\"http://x/a\",\"items\":{\"$ref\":\"http://x/b\"}}");
	struct schema_document document = { .uri = "http://x/b", .json = known };
	struct schema_options options = { .documents = &document, .document_count = 1 };

	(void)state;
	assert_null(schema_compile(json, "", &options, arena, &faults));
	assert_string_equal(tell(&faults, arena), "/$id $id: \"http://x/a\" is there twice");
	json_decref(known);
	json_decref(json);
	arena_free(&arena);
}

/* ---- threads */

struct shared {
	const struct schema *schema;
	int wrong;
};

static void *validate_often(void *ctx)
{
	struct shared *shared = ctx;
	json_t *good = parse("{\"a\":[\"x1\",\"x2\"]}"), *bad = parse("{\"a\":[\"x1\",\"y\"]}");

	for (int i = 0; i < 2000; i++) {
		struct arena *arena = arena_new(0);
		struct schema_faults faults;

		shared->wrong += !schema_validate(shared->schema, good, arena, &faults);
		shared->wrong += schema_validate(shared->schema, bad, arena, &faults);
		shared->wrong += faults.count != 1;
		arena_free(&arena);
	}
	json_decref(good);
	json_decref(bad);
	return NULL;
}

static void threads_share_a_schema(void **state)
{
	struct arena *arena = arena_new(0);
	struct schema_faults faults;
	struct schema *schema =
		compile("{\"properties\":{\"a\":{\"items\":{\"pattern\":\"^x[0-9]$\"}}}}", false,
			arena, &faults);
	struct shared shared[4];
	pthread_t threads[ARRAY_LEN(shared)];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(shared); i++) {
		shared[i] = (struct shared){ .schema = schema };
		assert_int_equal(pthread_create(&threads[i], NULL, validate_often, &shared[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(shared); i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(shared[i].wrong, 0);
	}
	schema_free(&schema);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faults_are_told),
		cmocka_unit_test(locations_name_the_schema),
		cmocka_unit_test(problems_are_told),
		cmocka_unit_test(faults_are_bounded),
		cmocka_unit_test(limits_are_faults),
		cmocka_unit_test(dynamic_circles_end),
		cmocka_unit_test(long_chains_are_refused),
		cmocka_unit_test(deep_schemas_are_refused),
		cmocka_unit_test(unique_items_are_exact),
		cmocka_unit_test(known_documents_are_used),
		cmocka_unit_test(known_documents_may_clash),
		cmocka_unit_test(threads_share_a_schema),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

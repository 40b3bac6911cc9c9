/* SPDX-License-Identifier: Apache-2.0 */
/* graphql-core as the oracle: every document of the corpus, and what becomes of the good ones when
 * something is wrong with them, gets the same data, the same messages at the same places and paths.
 * oracle.py asks it. Says how many agree. */
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "producers/graphql/execute.h"
#include "producers/graphql/parser.h"
#include "producers/graphql/validate.h"

#define CASES_MIN 300
#define HERE      "tests/unit/producers/graphql/"

extern char **environ;

static const char *python(void)
{
	const char *named = getenv("TEST_PYTHON");

	return named ? named : "build/venv/bin/python";
}

/* What oracle.py wrote, or NULL when there is no Python with graphql-core. */
static json_t *ask_oracle(void)
{
	char out[] = "/tmp/windlass-oracle-XXXXXX";
	char *argv[] = { (char *)(uintptr_t)python(), HERE "oracle.py", out, NULL };
	int fd = mkstemp(out), status = -1;
	json_t *cases = NULL;
	pid_t pid;

	assert_true(fd >= 0);
	close(fd);
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) == 0)
		waitpid(pid, &status, 0);
	if (status == 0)
		cases = json_load_file(out, JSON_ALLOW_NUL, NULL);
	unlink(out);
	return cases;
}

static struct types *load_types(const char *path)
{
	char text[32 * 1024];
	FILE *file = fopen(path, "re");
	struct error err = { 0 };
	struct types *types;
	size_t bytes;

	assert_non_null(file);
	bytes = fread(text, 1, sizeof(text), file);
	assert_true(bytes > 0 && bytes < sizeof(text));
	fclose(file);
	types = types_build(text, bytes, &err);
	if (!types)
		fail_msg("%s: %s", path, err.message);
	return types;
}

/* ---- one document */

static json_t *only_errors(const struct faults *faults, const char *text)
{
	return json_pack("{s:o}", "errors", faults_json(faults, text));
}

static json_t *run_operation(const struct types *types, struct arena *arena,
			     const struct node *document, const json_t *test, const json_t *root)
{
	const char *why, *text = json_string_value(json_object_get(test, "query"));
	const char *name = json_string_value(json_object_get(test, "operationName"));
	struct execute_request request = {
		.types = types,
		.arena = arena,
		.document = document,
		.operation = document_operation(arena, document, name, &why),
		.variables = json_object_get(test, "variables"),
	};
	struct execution execution;
	json_t *answer;

	if (!request.operation)
		return json_pack("{s:[{s:s}]}", "errors", "message", why);
	execute_start(&execution, &request);
	for (size_t i = 0; i < execution.field_count; i++) {
		struct root_field *field = &execution.fields[i];

		if (field->elsewhere)
			execute_value(&execution, i,
				      json_incref(json_object_get(root, field->name)));
	}
	answer = execute_finish(&execution, text);
	execute_release(&execution);
	return answer;
}

static json_t *run(const struct types *types, const json_t *test, const json_t *root)
{
	static const struct validate_options options = { .introspection = true };
	const char *text = json_string_value(json_object_get(test, "query"));
	struct arena *arena = arena_new(0);
	struct node *document;
	struct faults faults;
	json_t *answer;

	faults_init(&faults, arena, FAULTS_VALIDATION_MAX);
	document = parser_document(arena, text, strlen(text), 0, &faults);
	if (document)
		validate(types, document, &options, &faults);
	answer = faults.count > 0 ? only_errors(&faults, text)
				  : run_operation(types, arena, document, test, root);
	arena_free(&arena);
	return answer;
}

/* Our own words describe what graphql-core's describe, too. */
static void drop_descriptions(json_t *data)
{
	const char *key;
	json_t *value;
	size_t i;

	json_array_foreach(data, i, value)
	{
		drop_descriptions(value);
	}
	json_object_del(data, "description");
	json_object_foreach(data, key, value)
	{
		drop_descriptions(value);
	}
}

/* 2 and 2.0 are the same number to those who read JSON. */
static bool same(const json_t *a, const json_t *b)
{
	const char *key;
	json_t *value;

	if (json_is_number(a) && json_is_number(b))
		return json_number_value(a) == json_number_value(b);
	if (json_typeof(a) != json_typeof(b) || json_array_size(a) != json_array_size(b) ||
	    json_object_size(a) != json_object_size(b))
		return false;
	for (size_t i = 0; i < json_array_size(a); i++) {
		if (!same(json_array_get(a, i), json_array_get(b, i)))
			return false;
	}
	json_object_foreach((json_t *)(uintptr_t)a, key, value)
	{
		if (!json_object_get(b, key) || !same(value, json_object_get(b, key)))
			return false;
	}
	return json_is_array(a) || json_is_object(a) || json_equal(a, b);
}

static bool agrees(const json_t *test, json_t *got)
{
	const json_t *want = json_object_get(test, "want");
	const char *query = json_string_value(json_object_get(test, "query"));
	char *got_text, *want_text;

	if (strstr(query, "__schema") || strstr(query, "__type"))
		drop_descriptions(got);
	if (same(got, want))
		return true;
	got_text = json_dumps(got, JSON_COMPACT);
	want_text = json_dumps(want, JSON_COMPACT);
	printf("# %s: %s\n#   got  %s\n#   want %s\n",
	       json_string_value(json_object_get(test, "name")), query, got_text, want_text);
	free(got_text);
	free(want_text);
	return false;
}

static void agrees_with_graphql_core(void **state)
{
	json_t *oracle = ask_oracle(), *cases = json_object_get(oracle, "cases");
	size_t right = 0, valid = 0, count = json_array_size(cases), i;
	struct types *zoo, *jobs;
	json_t *test;

	(void)state;
	if (!oracle) {
		print_message("# figure: GraphQL: skipped, there is no Python with graphql-core\n");
		skip();
	}
	zoo = load_types(HERE "zoo.graphql");
	jobs = load_types("producers/graphql/schema.graphql");
	json_array_foreach(cases, i, test)
	{
		const char *schema = json_string_value(json_object_get(test, "schema"));
		json_t *got = run(strcmp(schema, "jobs") == 0 ? jobs : zoo, test,
				  json_object_get(oracle, "root"));

		valid += json_object_get(json_object_get(test, "want"), "data") != NULL;
		right += agrees(test, got);
		json_decref(got);
	}
	print_message(
		"# figure: GraphQL, like graphql-core %s: %zu/%zu documents, %zu of them run\n",
		json_string_value(json_object_get(oracle, "version")), right, count, valid);
	types_free(&zoo);
	types_free(&jobs);
	json_decref(oracle);
	assert_true(count >= CASES_MIN);
	assert_int_equal(right, count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_graphql_core),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

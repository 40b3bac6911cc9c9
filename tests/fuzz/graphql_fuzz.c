/* SPDX-License-Identifier: Apache-2.0 */
/* A document and, behind the first line feed that is followed by another, variables: it is refused
 * with messages at places in the text, or it is run against values that fit nothing, within its
 * limits and in both ways alike. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/utf8.h"
#include "common/json/json_text.h"
#include "producers/graphql/execute.h"
#include "producers/graphql/limits.h"
#include "producers/graphql/parser.h"
#include "producers/graphql/validate.h"

#define TOKENS_MAX 2000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const char sdl[] =
	"interface N { a: Int! n: N } type Q implements N { a: Int! n: N u: U l: [[Q!]!] e: E b: "
	"Boolean f(i: I, e: E = A, l: [Int!], j: JSON, x: ID, s: String!, r: Float = 1.5): String } "
	"type R implements N { a: Int! n: N c: R s: JSON } union U = Q | R enum E { A B } scalar "
	"JSON input I @oneOf { a: Int b: J } input J { x: I y: [J!] = [] z: String! } schema { "
	"query: Q mutation: R subscription: R }";

static const struct types *types_once(void)
{
	static struct types *types;
	struct error err;

	if (!types)
		types = types_build(sdl, strlen(sdl), &err);
	CHECK(types);
	return types;
}

static void check_faults(const struct faults *faults, const char *text)
{
	json_t *errors = faults_json(faults, text);
	char *dump = json_dumps(errors, JSON_COMPACT);

	CHECK(faults->count > 0 && faults->count <= FAULTS_VALIDATION_MAX + 1);
	CHECK(dump && utf8_text(dump, strlen(dump)));
	for (const struct fault *fault = faults->first; fault; fault = fault->next) {
		CHECK(*fault->message);
		for (size_t i = 0; i < fault->place_count; i++)
			CHECK(fault->places[i] <= strlen(text));
	}
	free(dump);
	json_decref(errors);
}

static json_t *root_value(void)
{
	return json_pack("{s:s,s:i,s:{s:s,s:n},s:[[n,{}],n],s:s,s:b,s:f,s:s}", "__typename", "Q",
			 "a", 1, "n", "__typename", "R", "a", "l", "e", "A", "b", 1, "f", 2.5, "c",
			 "x");
}

static void run(const struct types *types, struct arena *arena, const struct node *document,
		const char *text, json_t *variables)
{
	for (const struct node *d = document->items; d; d = d->next) {
		struct execute_request request = {
			.types = types,
			.arena = arena,
			.document = document,
			.operation = d,
			.variables = variables,
		};
		struct execution execution;
		json_t *answer;

		if (d->kind != NODE_OPERATION || !types->roots[d->operation])
			continue;
		execute_start(&execution, &request);
		for (size_t i = 0; i < execution.field_count; i++) {
			if (execution.fields[i].elsewhere && i % 3 < 2)
				execute_value(&execution, i, root_value());
			else if (execution.fields[i].elsewhere)
				execute_error(&execution, i, "no", json_pack("{s:i}", "status", 4));
		}
		answer = execute_finish(&execution, text);
		CHECK(json_object_get(answer, "data") || json_object_get(answer, "errors"));
		execute_release(&execution);
		json_decref(answer);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const struct limits limits = { .depth = 30, .nodes = 500, .aliases = 100 };
	struct validate_options options = { .introspection = bytes % 2,
					    .hide_suggestions = bytes % 3 };
	const char *split = memmem(data, bytes, "\n\n", 2), *code;
	size_t text_bytes = split ? (size_t)(split - (const char *)data) : bytes;
	struct arena *arena = arena_new(0);
	char *text = arena_strndup(arena, (const char *)data, text_bytes);
	struct json_error error;
	json_t *variables = NULL;
	struct node *document;
	struct faults faults;

	if (split)
		variables = json_text_parse(split + 2, bytes - text_bytes - 2, &error);
	faults_init(&faults, arena, FAULTS_VALIDATION_MAX);
	if (utf8_text(text, text_bytes)) {
		document = parser_document(arena, text, text_bytes, TOKENS_MAX, &faults);
		if (document && !limits_exceeded(&limits, arena, document, &code)) {
			validate(types_once(), document, &options, &faults);
			if (faults.count == 0)
				run(types_once(), arena, document, text,
				    json_is_object(variables) ? variables : NULL);
		}
		if (faults.count > 0)
			check_faults(&faults, text);
	}
	json_decref(variables);
	arena_free(&arena);
	return 0;
}

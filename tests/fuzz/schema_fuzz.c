/* SPDX-License-Identifier: Apache-2.0 */
/* A schema of any text and, behind the first line feed that is followed by another, a value: the
 * schema is refused with a place, or it decides about the value, in both ways alike and within its
 * limits. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/utf8.h"
#include "common/json/json_text.h"
#include "common/schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_faults(const struct schema_faults *faults)
{
	CHECK(faults->count > 0 && faults->count <= SCHEMA_FAULTS_MAX);
	CHECK(!faults->more || faults->count == SCHEMA_FAULTS_MAX);
	for (size_t i = 0; i < faults->count; i++) {
		const struct schema_fault *fault = &faults->faults[i];

		CHECK(!*fault->pointer || *fault->pointer == '/');
		CHECK(fault->keyword && *fault->message && strchr(fault->location, '#'));
		CHECK(utf8_text(fault->message, strlen(fault->message)));
		CHECK(utf8_text(fault->pointer, strlen(fault->pointer)));
	}
}

static void check_value(const struct schema *schema, json_t *value)
{
	struct arena *arena = arena_new(0);
	json_t *before = json_deep_copy(value);
	struct schema_faults faults;
	bool valid = schema_validate(schema, value, arena, &faults);

	CHECK(schema_accepts(schema, value) == valid);
	CHECK(json_equal(value, before));
	if (valid) {
		CHECK(faults.count == 0 && faults.more == 0);
	} else {
		const char *brief = schema_faults_brief(&faults, "value", arena);

		check_faults(&faults);
		CHECK(utf8_text(brief, strlen(brief)) && strlen(brief) < 2000);
	}
	json_decref(before);
	arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	const char *text = (const char *)data, *split = memmem(data, bytes, "\n\n", 2);
	size_t schema_bytes = split ? (size_t)(split - text) : bytes;
	struct json_error error;
	json_t *json = json_text_parse(text, schema_bytes, &error);
	json_t *value = split ? json_text_parse(split + 2, bytes - schema_bytes - 2, &error) : NULL;
	struct schema_options options = { .draft = bytes % 2 ? SCHEMA_DRAFT_7 : SCHEMA_2020_12,
					  .formats = true };
	struct arena *arena = arena_new(0);
	struct schema_faults problems;
	struct schema *schema = json ? schema_compile(json, "", &options, arena, &problems) : NULL;

	if (json && !schema)
		check_faults(&problems);
	if (schema) {
		check_value(schema, value ? value : json);
		check_value(schema, json);
	}
	schema_free(&schema);
	json_decref(json);
	json_decref(value);
	arena_free(&arena);
	return 0;
}

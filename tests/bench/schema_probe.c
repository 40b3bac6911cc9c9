/* SPDX-License-Identifier: Apache-2.0 */
/* What a payload schema costs: a payload of 300 bytes against a schema with a nested object, a
 * list, patterns, formats and limits. Usage: schema_probe [SECONDS=1] [parse]. Prints one JSON
 * line: how many payloads a second are checked, their tree being there already; with `parse`, how
 * many trees are made, which is what the check comes on top of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/json/json_text.h"
#include "common/schema/schema.h"

static const char schema_text[] =
	"{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"type\":\"object\","
	"\"required\":[\"order\",\"customer\",\"lines\",\"currency\"],\"additionalProperties\":false,"
	"\"properties\":{\"order\":{\"type\":\"string\",\"format\":\"uuid\"},"
	"\"customer\":{\"type\":\"object\",\"required\":[\"id\",\"email\"],\"additionalProperties\":false,"
	"\"properties\":{\"id\":{\"type\":\"integer\",\"minimum\":1},\"email\":{\"type\":\"string\",\"format\":\"email\"},"
	"\"country\":{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}$\"}}},"
	"\"lines\":{\"type\":\"array\",\"minItems\":1,\"maxItems\":100,\"items\":{\"$ref\":\"#/$defs/line\"}},"
	"\"currency\":{\"enum\":[\"EUR\",\"USD\",\"GBP\"]},\"placed\":{\"type\":\"string\",\"format\":\"date-time\"},"
	"\"note\":{\"type\":\"string\",\"maxLength\":500}},"
	"\"$defs\":{\"line\":{\"type\":\"object\",\"required\":[\"sku\",\"qty\"],\"additionalProperties\":false,"
	"\"properties\":{\"sku\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":64},"
	"\"qty\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":1000000},"
	"\"price\":{\"type\":\"number\",\"exclusiveMinimum\":0,\"multipleOf\":0.01}}}}}";

static const char payload_text[] =
	"{\"order\":\"0193588b-6c1a-7d2e-9f33-5a1b2c3d4e5f\",\"customer\":{\"id\":48151,"
	"\"email\":\"ada.lovelace@example.com\",\"country\":\"GB\"},\"lines\":[{\"sku\":\"tea-500\",\"qty\":2,"
	"\"price\":19.99},{\"sku\":\"cup\",\"qty\":6,\"price\":4.5}],\"currency\":\"EUR\","
	"\"placed\":\"2026-11-23T06:40:00Z\",\"note\":\"Please ring twice; and leave it there.\"}";

/* CPU time: what others do on the machine does not matter to what is only computed. */
static int64_t cpu_ns(void)
{
	struct timespec now;

	CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static struct schema *compile(struct arena *arena)
{
	struct schema_options options = { .formats = true };
	struct schema_faults faults;
	struct json_error error;
	json_t *json = json_text_parse(schema_text, strlen(schema_text), &error);
	struct schema *schema;

	CHECK(json);
	schema = schema_compile(json, "", &options, arena, &faults);
	CHECK(schema);
	json_decref(json);
	return schema;
}

int main(int argc, char **argv)
{
	int64_t run_ns = (int64_t)(1e9 * (argc > 1 ? atof(argv[1]) : 1.0)), began, took;
	bool parse = argc > 2 && strcmp(argv[2], "parse") == 0;
	struct arena *arena = arena_new(0);
	struct schema *schema = compile(arena);
	struct json_error error;
	json_t *payload = json_text_parse(payload_text, strlen(payload_text), &error);
	struct schema_faults faults;
	long count = 0;

	CHECK(payload && strlen(payload_text) >= 300);
	began = cpu_ns();
	do {
		for (int i = 0; i < 1000; i++) {
			if (parse)
				json_decref(json_text_parse(payload_text, strlen(payload_text),
							    &error));
			else
				CHECK(schema_validate(schema, payload, arena, &faults));
		}
		count += 1000;
		took = cpu_ns() - began;
	} while (took < run_ns);
	printf("{\"rate\":%.0f,\"us_each\":%.3f}\n", (double)count * 1e9 / (double)took,
	       (double)took / 1e3 / (double)count);
	json_decref(payload);
	schema_free(&schema);
	arena_free(&arena);
	return 0;
}

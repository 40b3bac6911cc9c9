/* SPDX-License-Identifier: Apache-2.0 */
/* A definitions file of any bytes: it is refused with at least one line of file:line:column, or it
 * gives definitions that hold what their header promises. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/config/definitions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_refusal(const char *said)
{
	int line = 0, column = 0;

	CHECK(sscanf(said, "f.yaml:%d:%d: ", &line, &column) == 2 && line > 0 && column > 0);
}

static void check_type(const struct definitions *defs, const struct job_type *type)
{
	CHECK(job_name_valid(type->name) && definitions_type(defs, type->name) == type);
	CHECK(job_name_valid(type->queue) && definitions_queue(defs, type->queue));
	CHECK(type->kind >= HANDLER_MODULE && type->kind <= HANDLER_HTTP);
	CHECK(!type->module == (type->kind != HANDLER_MODULE) &&
	      !type->exec == (type->kind != HANDLER_EXEC));
	CHECK(!type->sql.sql == (type->kind != HANDLER_SQL) && type->env);
	CHECK(!type->http.url.count == (type->kind != HANDLER_HTTP));
	CHECK(type->timeout_ms >= 100 && type->batch >= 1 && type->memory_bytes_max > 0);
	CHECK(type->retry.max_attempts >= 1 && type->retry.base_ms <= type->retry.cap_ms);
	for (const char *at = type->on_discard; at;) {
		CHECK(definitions_type(defs, at) && strcmp(at, type->name) != 0);
		/* ends, or the fuzzer's time-out says that there is a ring */
		at = definitions_type(defs, at)->on_discard;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char *text = malloc(bytes ? bytes : 1), *said = NULL;
	size_t said_bytes;
	FILE *errors = open_memstream(&said, &said_bytes);
	struct definitions *defs;

	CHECK(text && errors);
	memcpy(text, data, bytes);
	defs = definitions_parse(text, bytes, "f.yaml", errors);
	fclose(errors);
	free(text); /* definitions must not lean on it */
	if (!defs)
		check_refusal(said);
	else
		CHECK(!said_bytes);
	for (size_t i = 0; defs && i < definitions_type_count(defs); i++)
		check_type(defs, definitions_type_at(defs, i));
	definitions_unref(&defs);
	free(said);
	return 0;
}

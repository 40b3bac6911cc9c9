/* SPDX-License-Identifier: Apache-2.0 */
/* Binds `sql:` templates. Values from a job are only ever bind parameters, so nothing is quoted
 * here. Called by the engine on its loop thread instead of pool_run. */
#include "workers/handlers/sql_handler.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/json/json_text.h"
#include "workers/handlers/payload_member.h"

static struct sql_value text_value(const char *text)
{
	return text ? (struct sql_value){ .kind = SQL_TEXT, .data = text, .bytes = strlen(text) }
		    : (struct sql_value){ 0 };
}

static struct sql_value json_value(struct arena *arena, json_t *json)
{
	char *dump;
	struct sql_value value;

	switch (json ? json_typeof(json) : JSON_NULL) {
	case JSON_STRING:
		return text_value(
			arena_strndup(arena, json_string_value(json), json_string_length(json)));
	case JSON_INTEGER:
		return (struct sql_value){ .kind = SQL_INT, .i = json_integer_value(json) };
	case JSON_REAL:
		return (struct sql_value){ .kind = SQL_FLOAT, .d = json_real_value(json) };
	case JSON_TRUE:
	case JSON_FALSE:
		return (struct sql_value){ .kind = SQL_BOOL, .i = json_is_true(json) };
	case JSON_NULL:
		return (struct sql_value){ 0 };
	default: /* an object or an array goes in as its text */
		dump = json_dumps(json, JSON_COMPACT);
		CHECK(dump);
		value = text_value(arena_strdup(arena, dump));
		free(dump);
		return value;
	}
}

static struct sql_value source_value(const char *source, const struct claimed_job *job,
				     json_t *payload)
{
	char id[UUID_TEXT];

	if (!strcmp(source, "job.id"))
		return text_value(arena_strdup(job->arena, uuid_format(&job->id, id)));
	if (!strcmp(source, "job.type"))
		return text_value(job->type);
	if (!strcmp(source, "job.attempt"))
		return (struct sql_value){ .kind = SQL_INT, .i = job->attempt };
	if (!strncmp(source, "env.", 4))
		return text_value(getenv(source + 4));
	if (!strcmp(source, "payload"))
		return (struct sql_value){ .kind = SQL_TEXT,
					   .data = job->payload,
					   .bytes = job->payload_bytes };
	CHECK(!strncmp(source, "payload.", 8)); /* config has checked it */
	return json_value(job->arena, payload_member(payload, source + 8));
}

static bool wants_payload(const struct sql_template *sql)
{
	for (size_t i = 0; i < sql->source_count; i++) {
		if (!strncmp(sql->sources[i], "payload.", 8))
			return true;
	}
	return false;
}

int sql_handler_writes(const struct job_type *type, const struct claimed_job *job,
		       struct write_set *writes_r, struct error *err_r)
{
	const struct sql_template *sql = &type->sql;
	struct sql_statement *statement = ARENA_NEW(job->arena, struct sql_statement);
	struct sql_value *args = ARENA_ARRAY(job->arena, struct sql_value, sql->source_count + 1);
	struct json_error error;
	json_t *payload = NULL;

	if (wants_payload(sql)) {
		payload = json_text_parse(job->payload, job->payload_bytes, &error);
		if (!payload)
			return error_set(err_r, ERROR_INVALID, "payload %d:%d: %s", error.line,
					 error.column, error.message);
	}
	for (size_t i = 0; i < sql->source_count; i++)
		args[i] = source_value(sql->sources[i], job, payload);
	json_decref(payload);
	*statement = (struct sql_statement){
		.sql = sql->sql, .args = args, .arg_count = sql->source_count, .rows = sql->rows
	};
	*writes_r = (struct write_set){ .statements = statement, .statement_count = 1 };
	return 0;
}

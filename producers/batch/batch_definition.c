/* SPDX-License-Identifier: Apache-2.0 */
/* See batch_definition.h. The members are few, so they are read by name, and every other one is
 * refused. */
#include "producers/batch/batch_definition.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "common/job/chain_payload.h"

struct reading {
	const struct job_request_context *ctx;
	struct arena *arena;
	struct batch_definition *definition;
	struct strbuf text;
	struct job_request_error *err;
};

static int refuse(struct reading *r, const char *pointer, const char *fmt, ...) printf_like(3, 4);

static int refuse(struct reading *r, const char *pointer, const char *fmt, ...)
{
	va_list args;

	r->err->fault = JOB_REQUEST_INVALID;
	snprintf(r->err->pointer, sizeof(r->err->pointer), "%s", pointer);
	va_start(args, fmt);
	vsnprintf(r->err->message, sizeof(r->err->message), fmt, args);
	va_end(args);
	return -1;
}

/* Only these members, written without escapes. */
static int only(struct reading *r, struct json_slice object, const char *pointer,
		const char *const *names, size_t count)
{
	struct json_member member;
	const char *cursor = NULL;
	int got;

	while ((got = json_slice_next(object, &cursor, &member)) == 1) {
		bool known = false;

		for (size_t i = 0; i < count; i++)
			known = known || json_slice_is(member.key, names[i]);
		if (!known)
			return refuse(r, pointer, "unknown member \"%.*s\"",
				      (int)(member.key.bytes < 100 ? member.key.bytes : 100),
				      member.key.text);
	}
	return got < 0 ? refuse(r, pointer, "expected an object") : 0;
}

/* ---- the source */

static int read_sql(struct reading *r, struct json_slice source)
{
	static const char *const names[] = { "sql", "key" };
	struct batch_definition *d = r->definition;

	d->kind = BATCH_SQL;
	d->sql = json_slice_string(r->arena, json_slice_get(source, "sql"));
	d->key = json_slice_string(r->arena, json_slice_get(source, "key"));
	if (only(r, source, "/source", names, ARRAY_LEN(names)) != 0)
		return -1;
	if (!d->sql || !*d->sql || strlen(d->sql) > BATCH_SQL_BYTES_MAX)
		return refuse(r, "/source/sql", "expected a query of at most %d bytes",
			      BATCH_SQL_BYTES_MAX);
	if (!d->key || !*d->key || strlen(d->key) > 63 || strchr(d->key, '"'))
		return refuse(r, "/source/key",
			      "expected the name of a column whose values are unique and not null");
	return 0;
}

static bool safe_name(const char *file)
{
	if (!file || !*file || *file == '/' || strlen(file) > 1000)
		return false;
	for (const char *at = file; at; at = strchr(at, '/')) {
		at += *at == '/';
		if (*at == '.' || *at == '/' || !*at)
			return false;
	}
	return true;
}

static int read_file(struct reading *r, struct json_slice source)
{
	static const char *const names[] = { "file", "format" };
	struct batch_definition *d = r->definition;
	struct json_slice format = json_slice_get(source, "format");
	const char *dot;

	d->kind = BATCH_FILE;
	d->file = json_slice_string(r->arena, json_slice_get(source, "file"));
	if (only(r, source, "/source", names, ARRAY_LEN(names)) != 0)
		return -1;
	if (!safe_name(d->file))
		return refuse(r, "/source/file",
			      "expected the name of a file below WINDLASS_BATCH_DIR; no part of it "
			      "begins with a dot");
	dot = strrchr(d->file, '.');
	d->csv = format.bytes ? json_slice_is(format, "\"csv\"") : dot && !strcmp(dot, ".csv");
	if (format.bytes && !d->csv && !json_slice_is(format, "\"ndjson\""))
		return refuse(r, "/source/format", "expected \"csv\" or \"ndjson\"");
	return 0;
}

static int read_job_source(struct reading *r, struct json_slice source)
{
	static const char *const names[] = { "job" };
	const char *id = json_slice_string(r->arena, json_slice_get(source, "job"));

	r->definition->kind = BATCH_JOB;
	if (only(r, source, "/source", names, ARRAY_LEN(names)) != 0)
		return -1;
	if (!id || !uuid_parse(id, &r->definition->job))
		return refuse(r, "/source/job", "expected the id of a job");
	return 0;
}

static int read_source(struct reading *r, struct json_slice source)
{
	static const char *const names[] = { "upload" };

	if (json_slice_get(source, "sql").bytes)
		return read_sql(r, source);
	if (json_slice_get(source, "file").bytes)
		return read_file(r, source);
	if (json_slice_get(source, "job").bytes)
		return read_job_source(r, source);
	r->definition->kind = BATCH_PUSHED;
	if (!json_slice_is(json_slice_get(source, "upload"), "true"))
		return refuse(r, "/source",
			      "expected an object with \"sql\" and \"key\", \"file\", \"job\", or "
			      "\"upload\": true");
	return only(r, source, "/source", names, ARRAY_LEN(names));
}

/* ---- jobs */

static int inside(struct reading *r, const char *pointer)
{
	char inner[sizeof(r->err->pointer)];

	memcpy(inner, r->err->pointer, sizeof(inner));
	snprintf(r->err->pointer, sizeof(inner), "%s%.*s", pointer,
		 (int)(sizeof(inner) - 1 - strlen(pointer)), inner);
	return -1;
}

static int read_job(struct reading *r, struct json_slice text, const char *pointer,
		    struct new_job *job_r)
{
	struct job_request_context ctx = *r->ctx;

	ctx.unfilled = true;
	if (!text.bytes)
		return refuse(r, pointer, "expected a job: \"type\", and what is to be said of it");
	if (job_request_parse(&ctx, text, NULL, r->arena, job_r, r->err) != 0)
		return inside(r, pointer);
	if (job_r->client_id || job_r->unique_key || job_r->after_count || job_r->then_count)
		return refuse(r, pointer,
			      "id, unique, after and then are not available for jobs of batches");
	return 0;
}

static int read_model(struct reading *r, struct json_slice text)
{
	struct new_job *model = &r->definition->model;
	const char *fault;

	if (read_job(r, text, "/job", model) != 0)
		return -1;
	if (!json_slice_get(text, "payload").bytes) {
		model->payload = NULL;
		return 0;
	}
	fault = chain_payload_row_fault(model->payload, model->payload_bytes, r->arena);
	return fault ? refuse(r, "/job/payload", "%s", fault) : 0;
}

/* As common/job/batch_end.h reads it. */
static int read_end(struct reading *r, struct json_slice request, const char *name)
{
	struct json_slice text = json_slice_get(request, name);
	const char *pointer = arena_printf(r->arena, "/%s", name);
	struct new_job job;

	if (!text.bytes)
		return 0;
	if (read_job(r, text, pointer, &job) != 0)
		return -1;
	if (job.payload[0] != '{' ||
	    json_slice_get((struct json_slice){ job.payload, job.payload_bytes }, "batch").bytes)
		return refuse(r, pointer,
			      "its payload is an object; \"batch\" in it tells of the batch");
	strbuf_printf(&r->text,
		      ",\"%s\":{\"type\":\"%s\",\"queue\":\"%s\",\"priority\":\"%s\","
		      "\"payload\":",
		      name, job.type, job.queue, job_priority_name(job.priority));
	strbuf_add(&r->text, job.payload, job.payload_bytes);
	strbuf_addch(&r->text, '}');
	return 0;
}

static int read_all(struct reading *r, struct json_slice request)
{
	struct json_slice source = json_slice_get(request, "source"),
			  job = json_slice_get(request, "job");

	if (!source.bytes)
		return refuse(r, "/source", "missing");
	if (read_source(r, source) != 0 || read_model(r, job) != 0)
		return -1;
	strbuf_addstr(&r->text, "{\"source\":");
	strbuf_add(&r->text, source.text, source.bytes);
	strbuf_addstr(&r->text, ",\"job\":");
	strbuf_add(&r->text, job.text, job.bytes);
	if (read_end(r, request, "on_complete") != 0 || read_end(r, request, "on_failure") != 0)
		return -1;
	strbuf_addch(&r->text, '}');
	return 0;
}

int batch_definition_read(const struct job_request_context *ctx, struct json_slice request,
			  struct arena *arena, struct batch_definition *definition_r,
			  const char **text_r, struct job_request_error *err_r)
{
	struct reading r = { .ctx = ctx, .arena = arena, .definition = definition_r, .err = err_r };
	int rc;

	*definition_r = (struct batch_definition){ 0 };
	*err_r = (struct job_request_error){ 0 };
	strbuf_init(&r.text);
	rc = read_all(&r, request);
	if (rc == 0)
		*text_r = arena_strndup(arena, r.text.data, r.text.len);
	strbuf_release(&r.text);
	return rc;
}

/* ---- the job of a row */

int batch_definition_job(const struct job_request_context *ctx,
			 const struct batch_definition *definition, const struct uuid *run,
			 struct json_slice row, struct arena *arena, struct new_job *job_r,
			 const char **reason_r)
{
	const struct job_type *type = definitions_type(ctx->defs, definition->model.type);
	struct job_request_error error;
	char *reason = NULL;

	*job_r = definition->model;
	job_r->run = *run;
	job_r->payload = row.text;
	job_r->payload_bytes = row.bytes;
	if (definition->model.payload) {
		job_r->payload = chain_payload_row(definition->model.payload,
						   definition->model.payload_bytes, row.text,
						   row.bytes, arena, &reason);
		*reason_r = reason;
		if (!job_r->payload)
			return -1;
		job_r->payload_bytes = strlen(job_r->payload);
	}
	if (job_r->payload_bytes > ctx->payload_bytes_max) {
		*reason_r = arena_printf(arena, "%zu bytes; at most %zu are allowed",
					 job_r->payload_bytes, ctx->payload_bytes_max);
		return -1;
	}
	if (type->payload_schema &&
	    job_request_payload(type, (struct json_slice){ job_r->payload, job_r->payload_bytes },
				arena, &error) != 0) {
		*reason_r = job_request_reason(&error, "payload", arena);
		return -1;
	}
	uuid_v7(&job_r->id);
	return 0;
}

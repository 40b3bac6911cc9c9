/* SPDX-License-Identifier: Apache-2.0 */
/* Turns a request into a struct new_job. A table of members says what each may be; others are
 * refused by name. The payload stays the text it was sent as. Every door uses it. */
#include "common/config/job_request.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/config/job_request_impl.h"
#include "common/config/suggest.h"
#include "common/job/chain.h"

#define HOUR_MS         INT64_C(3600000)
#define DAY_MS          (24 * HOUR_MS)
#define ID_AGE_MAX_MS   DAY_MS
#define ID_AHEAD_MAX_MS (5 * 60 * INT64_C(1000))
#define DURATION_MAX_MS (3650 * DAY_MS)

int request_refuse_at(struct request *request, const char *pointer, const char *fmt, ...)
{
	va_list args;

	request->err->fault = JOB_REQUEST_INVALID;
	snprintf(request->err->pointer, sizeof(request->err->pointer), "%s", pointer);
	va_start(args, fmt);
	vsnprintf(request->err->message, sizeof(request->err->message), fmt, args);
	va_end(args);
	return -1;
}

/* ---- kinds of values. A duration: "90s" or a number of seconds. */
static int get_duration(struct request *request, const char *pointer, const json_t *value,
			int64_t min_ms, int64_t max_ms, int64_t *ms_r)
{
	char low[24], high[24];
	bool good = false;
	double ms;

	if (json_is_string(value)) {
		good = duration_parse(json_string_value(value), ms_r) == 0;
	} else if (json_is_number(value)) {
		ms = json_number_value(value) * 1000;
		good = ms >= 0 && ms <= (double)DURATION_MAX_MS;
		*ms_r = good ? llround(ms) : 0;
	}
	if (good && *ms_r >= min_ms && *ms_r <= max_ms)
		return 0;
	return request_refuse_at(
		request, pointer,
		"%s; expected a duration of %s to %s, as in \"90s\", \"5m\", \"1h\" or seconds",
		good ? "out of range" : "not a duration", duration_format(min_ms, low),
		duration_format(max_ms, high));
}

static int get_name(struct request *request, const char *pointer, const json_t *value,
		    const char **name_r)
{
	const char *name = json_string_value(value);

	if (!name || !job_name_valid(name))
		return request_refuse_at(
			request, pointer,
			"expected a name of 1 to %d letters, digits and . _ : -, the first a letter or digit",
			JOB_TYPE_MAX);
	*name_r = name;
	return 0;
}

static int get_key(struct request *request, const char *pointer, const json_t *value,
		   const char **key_r)
{
	const char *key = json_string_value(value);
	size_t bytes = json_string_length(value);

	if (!key || !bytes || bytes > JOB_KEY_MAX)
		return request_refuse_at(request, pointer, "expected a text of 1 to %d bytes",
					 JOB_KEY_MAX);
	for (const char *p = key; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return request_refuse_at(request, pointer,
						 "control characters are not allowed here");
	}
	*key_r = arena_strdup(request->arena, key);
	return 0;
}

/* ---- members, one function each */

static int on_id(struct request *request, const char *pointer, const json_t *value)
{
	struct uuid *id = &request->job->id;
	int64_t age_ms;

	if (!json_is_string(value) ||
	    !uuid_parse_n(json_string_value(value), json_string_length(value), id) ||
	    uuid_version(id) != 7)
		return request_refuse_at(request, pointer, "expected a UUID of version 7");
	age_ms = request->ctx->now_ms - uuid_time_ms(id);
	if (age_ms > ID_AGE_MAX_MS)
		return request_refuse_at(
			request, pointer,
			"its time lies more than 24 hours back; make the id when the job is made");
	if (age_ms < -ID_AHEAD_MAX_MS)
		return request_refuse_at(
			request, pointer,
			"its time lies more than 5 minutes ahead; check the clock");
	request->job->client_id = true;
	return 0;
}

static int on_queue(struct request *request, const char *pointer, const json_t *value)
{
	const struct queue_definition *queue;
	const char *name = NULL;

	if (get_name(request, pointer, value, &name) != 0)
		return -1;
	if (webhook_reserved(name))
		return request_refuse_at(request, pointer,
					 "queues that begin with " RESERVED_PREFIX
					 " are Windlass's own");
	queue = definitions_queue(request->ctx->defs, name);
	if (!queue)
		return request_refuse_at(
			request, pointer,
			"unknown queue \"%s\": no job type or queue definition names it", name);
	request->job->queue = queue->name;
	return 0;
}

static int on_priority(struct request *request, const char *pointer, const json_t *value)
{
	if (json_is_string(value) &&
	    job_priority_parse(json_string_value(value), &request->job->priority))
		return 0;
	return request_refuse_at(request, pointer, "expected \"high\", \"normal\" or \"low\"");
}

static int on_delay(struct request *request, const char *pointer, const json_t *value)
{
	return get_duration(request, pointer, value, 0, DURATION_MAX_MS, &request->job->delay_ms);
}

static int on_run_at(struct request *request, const char *pointer, const json_t *value)
{
	int64_t due_ms;

	if (!json_is_string(value) || clock_parse(json_string_value(value), &due_ms) != 0)
		return request_refuse_at(
			request, pointer,
			"expected a time of RFC 3339, as in \"2026-11-23T06:40:00Z\"");
	if (due_ms > request->ctx->now_ms + DURATION_MAX_MS)
		return request_refuse_at(request, pointer, "more than ten years ahead");
	request->job->due_ms = due_ms > request->ctx->now_ms ? due_ms : 0; /* past: now */
	return 0;
}

static int on_order_key(struct request *request, const char *pointer, const json_t *value)
{
	return get_key(request, pointer, value, &request->job->order_key);
}

static int on_fair_key(struct request *request, const char *pointer, const json_t *value)
{
	return get_key(request, pointer, value, &request->job->fair_key);
}

static int on_max_attempts(struct request *request, const char *pointer, const json_t *value)
{
	json_int_t n = json_is_integer(value) ? json_integer_value(value) : 0;

	if (n < 1 || n > 1000)
		return request_refuse_at(request, pointer, "expected a whole number of 1 to 1000");
	request->job->max_attempts = (int)n;
	return 0;
}

static int on_timeout(struct request *request, const char *pointer, const json_t *value)
{
	return get_duration(request, pointer, value, 100, 7 * DAY_MS, &request->job->timeout_ms);
}

static int on_tags(struct request *request, const char *pointer, const json_t *value)
{
	size_t count = json_array_size(value);
	struct strbuf tags;
	int rc = 0;

	if (!json_is_array(value) || count > JOB_TAGS_MAX)
		return request_refuse_at(request, pointer, "expected a list of at most %d tags",
					 JOB_TAGS_MAX);
	strbuf_init(&tags);
	for (size_t i = 0; i < count && rc == 0; i++) {
		const char *tag = NULL;
		char item[32];

		snprintf(item, sizeof(item), "%s/%zu", pointer, i);
		rc = get_name(request, item, json_array_get(value, i), &tag);
		strbuf_addch(&tags, i ? ',' : '[');
		strbuf_json(&tags, tag);
	}
	strbuf_addch(&tags, ']');
	if (rc == 0 && count)
		request->job->tags = arena_strndup(request->arena, tags.data, tags.len);
	strbuf_release(&tags);
	return rc;
}

static int on_callback(struct request *request, const char *pointer, const json_t *value)
{
	const char *url = json_string_value(value), *fault;
	bool http;

	if (!definitions_webhooks(request->ctx->defs, &http))
		return request_refuse_at(
			request, pointer,
			"there are no webhooks here: WINDLASS_WEBHOOK_SECRET, which signs "
			"them, is not set");
	fault = url ? webhook_url_fault(url, http) : "expected a URL";
	if (fault)
		return request_refuse_at(request, pointer, "%s", fault);
	request->job->callback = arena_strdup(request->arena, url);
	return 0;
}

static int on_conflict(struct request *request, const char *pointer, const json_t *value)
{
	const char *text = json_string_value(value);

	if (text && strcmp(text, "return") == 0)
		request->job->unique_conflict = UNIQUE_RETURN;
	else if (text && strcmp(text, "replace") == 0)
		request->job->unique_conflict = UNIQUE_REPLACE;
	else
		return request_refuse_at(request, pointer, "expected \"return\" or \"replace\"");
	return 0;
}

static int on_unique_key(struct request *request, const char *pointer, const json_t *value)
{
	return get_key(request, pointer, value, &request->job->unique_key);
}

static int on_unique_for(struct request *request, const char *pointer, const json_t *value)
{
	return get_duration(request, pointer, value, 1000, 366 * DAY_MS,
			    &request->job->unique_for_ms);
}

static member_fn on_unique;

/* type and payload: read before the others */
static int on_nothing(struct request *request, const char *pointer, const json_t *value)
{
	return (void)request, (void)pointer, (void)value, 0;
}

/* ---- tables of members */

struct member {
	const char *name;
	unsigned where;
	member_fn *read;
};

static const struct member members[] = {
	{ "type", DOOR | THEN, on_nothing },
	{ "payload", DOOR | THEN, on_nothing },
	{ "id", DOOR, on_id },
	{ "queue", DOOR | FOLLOW_UP | THEN, on_queue },
	{ "priority", DOOR | FOLLOW_UP | THEN, on_priority },
	{ "delay", DOOR | FOLLOW_UP, on_delay },
	{ "run_at", DOOR | FOLLOW_UP, on_run_at },
	{ "order_key", DOOR | FOLLOW_UP | THEN, on_order_key },
	{ "fair_key", DOOR | FOLLOW_UP | THEN, on_fair_key },
	{ "unique", DOOR | FOLLOW_UP, on_unique },
	{ "max_attempts", DOOR | FOLLOW_UP | THEN, on_max_attempts },
	{ "timeout", DOOR | FOLLOW_UP | THEN, on_timeout },
	{ "tags", DOOR | FOLLOW_UP | THEN, on_tags },
	{ "callback_url", DOOR | FOLLOW_UP | THEN, on_callback },
	{ "after", DOOR, request_on_after },
	{ "then", DOOR | THEN, on_nothing }, /* read behind the others */
	{ "on_failure", THEN, request_on_failure },
};

static const struct member unique_members[] = {
	{ "key", DOOR | FOLLOW_UP, on_unique_key },
	{ "for", DOOR | FOLLOW_UP, on_unique_for },
	{ "on_conflict", DOOR | FOLLOW_UP, on_conflict },
};

/* Parts that this version does not have. */
static const char *const later_members[] = { "result", "depends_on", "workflow", "ttl", "expires" };

static const char *child_pointer(struct request *request, const char *parent, const char *name)
{
	struct strbuf pointer;
	const char *text;

	strbuf_init(&pointer);
	strbuf_addstr(&pointer, parent);
	json_pointer_add(&pointer, name);
	text = arena_strdup(request->arena, pointer.data);
	strbuf_release(&pointer);
	return text;
}

static int refuse_member(struct request *request, const char *pointer, const char *name,
			 const struct member *table, size_t count, unsigned where)
{
	struct suggest suggest = { .word = name };

	for (size_t i = 0; i < ARRAY_LEN(later_members); i++) {
		if (strcmp(later_members[i], name) == 0)
			return request_refuse_at(request, pointer,
						 "\"%s\" is not available in this version", name);
	}
	for (size_t i = 0; i < count; i++) {
		if (table[i].where & where)
			suggest_offer(&suggest, table[i].name);
	}
	return request_refuse_at(request, pointer, "unknown member%s%s%s",
				 suggest.best ? "; did you mean \"" : "",
				 suggest.best ? suggest.best : "", suggest.best ? "\"?" : "");
}

static int read_member(struct request *request, const char *parent, const char *name,
		       const json_t *value, const struct member *table, size_t count,
		       unsigned where)
{
	const char *pointer = child_pointer(request, parent, name);

	for (size_t i = 0; i < count; i++) {
		if (table[i].where & where && strcmp(table[i].name, name) == 0)
			return table[i].read(request, pointer, value);
	}
	return refuse_member(request, pointer, name, table, count, where);
}

static int read_members(struct request *request, const char *parent, json_t *object,
			const struct member *table, size_t count, unsigned where)
{
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		if (read_member(request, parent, name, value, table, count, where) != 0)
			return -1;
	}
	return 0;
}

static int on_unique(struct request *request, const char *pointer, const json_t *value)
{
	if (!json_is_object(value))
		return request_refuse_at(
			request, pointer,
			"expected an object with \"key\", \"for\", \"on_conflict\"");
	/* Only walked; jansson's iteration wants it writable. */
	if (read_members(request, pointer, (json_t *)(uintptr_t)value, unique_members,
			 ARRAY_LEN(unique_members), DOOR) != 0)
		return -1;
	return request->job->unique_key
		       ? 0
		       : request_refuse_at(request, child_pointer(request, pointer, "key"),
					   "missing");
}

/* ---- type and payload */

/* All that the schema finds, and the first of it as the error's own. */
static void tell_faults(const struct schema_faults *faults, const char *prefix, struct arena *arena,
			struct job_request_error *err_r)
{
	err_r->fault = JOB_REQUEST_PAYLOAD;
	for (size_t i = 0; i < faults->count; i++)
		faults->faults[i].pointer =
			arena_printf(arena, "%s%s", prefix, faults->faults[i].pointer);
	err_r->faults = *faults;
	snprintf(err_r->pointer, sizeof(err_r->pointer), "%s", faults->faults[0].pointer);
	snprintf(err_r->message, sizeof(err_r->message), "%s", faults->faults[0].message);
}

static int check_payload(const struct job_type *type, json_t *payload, const char *prefix,
			 struct arena *arena, struct job_request_error *err_r)
{
	struct schema_faults faults;

	if (!type->payload_schema || schema_validate(type->payload_schema, payload, arena, &faults))
		return 0;
	tell_faults(&faults, prefix, arena, err_r);
	return -1;
}

static int put_type(struct request *request, const char *name)
{
	const struct job_type *type = name ? definitions_type(request->ctx->defs, name) : NULL;

	if (name && webhook_reserved(name))
		return request_refuse_at(request, "/type",
					 "types that begin with " RESERVED_PREFIX
					 " are Windlass's own");
	if (!type) {
		(void)request_refuse_at(request, "/type",
					name ? "unknown job type \"%.150s\""
					     : "expected the name of a job type%s",
					name ? name : "");
		if (name)
			request->err->fault = JOB_REQUEST_UNKNOWN_TYPE;
		return -1;
	}
	request->type = type;
	request->job->type = type->name;
	request->job->queue = type->queue;
	request->job->priority = type->priority;
	request->job->tenant = request->ctx->tenant, request->job->owner = request->ctx->owner;
	return 0;
}

static int put_payload(struct request *request, struct json_slice payload, json_t *parsed)
{
	request->job->fair_key = definitions_fair_key(request->ctx->defs, request->job);
	if (payload.bytes > request->ctx->payload_bytes_max) {
		(void)request_refuse_at(request, "/payload", "%zu bytes; expected at most %zu",
					payload.bytes, request->ctx->payload_bytes_max);
		request->err->fault = JOB_REQUEST_TOO_LARGE;
		return -1;
	}
	request->job->payload = payload.bytes ? payload.text : "{}";
	request->job->payload_bytes = payload.bytes ? payload.bytes : 2;
	if (request->job->after_count &&
	    chain_refers(request->job->payload, request->job->payload_bytes))
		return request_check_references(request);
	if (request->ctx->unfilled)
		return 0;
	return check_payload(request->type, parsed, "/payload", request->arena, request->err);
}

static struct request request_init(const struct job_request_context *ctx, struct arena *arena,
				   struct new_job *job, struct job_request_error *err)
{
	*job = (struct new_job){ 0 };
	*err = (struct job_request_error){ 0 };
	return (struct request){
		.ctx = ctx,
		.arena = arena,
		.job = job,
		.err = err,
		.where = DOOR,
		.on_failure = EDGE_DISCARD,
	};
}

static int read_payload(struct request *request, struct json_slice text, json_t *root)
{
	struct json_slice payload = json_slice_get(text, "payload");
	json_t *parsed = json_object_get(root, "payload"), *none;
	int rc;

	/* Slices are found by the name as it is written; jansson has undone escapes. */
	if (parsed && !payload.bytes)
		return request_refuse_at(request, "/payload",
					 "write the name \"payload\" without escapes");
	none = parsed ? NULL : json_object();
	rc = put_payload(request, payload, parsed ? parsed : none);
	json_decref(none);
	return rc;
}

static int check_times(struct request *request, bool delay, bool run_at)
{
	if (request->job->after_count && (delay || run_at))
		return request_refuse_at(
			request, delay ? "/delay" : "/run_at",
			"not available for a job that waits for others (\"after\")");
	if (delay && run_at)
		return request_refuse_at(request, "/run_at",
					 "\"delay\" is there as well; expected one of them");
	return 0;
}

static int read_tree(struct request *request, struct json_slice text, json_t *root)
{
	if (!json_is_object(root))
		return request_refuse_at(request, "",
					 "expected an object with \"type\" and \"payload\"");
	if (put_type(request, json_string_value(json_object_get(root, "type"))) != 0 ||
	    read_members(request, "", root, members, ARRAY_LEN(members), request->where) != 0 ||
	    read_payload(request, text, root) != 0)
		return -1;
	if (json_object_get(root, "then") && !json_slice_get(text, "then").bytes)
		return request_refuse_at(request, "/then",
					 "write the name \"then\" without escapes");
	return check_times(request, json_object_get(root, "delay"),
			   json_object_get(root, "run_at"));
}

/* ---- a request without a tree: most have a type and a payload, and nothing else */

struct outline {
	struct json_slice type, payload;
	bool delay, run_at;
	bool others; /* beside type and payload */
};

/* False: it is not an object, or a name in it is written with escapes. */
static bool read_outline(struct json_slice text, struct outline *outline_r)
{
	struct json_member member;
	const char *cursor = NULL;
	int got;

	*outline_r = (struct outline){ 0 };
	while ((got = json_slice_next(text, &cursor, &member)) == 1) {
		if (memchr(member.key.text, '\\', member.key.bytes))
			return false;
		if (json_slice_is(member.key, "type")) {
			outline_r->type = member.value;
		} else if (json_slice_is(member.key, "payload")) {
			outline_r->payload = member.value;
		} else {
			outline_r->others = true;
			outline_r->delay |= json_slice_is(member.key, "delay");
			outline_r->run_at |= json_slice_is(member.key, "run_at");
		}
	}
	return got == 0;
}

static json_t *tree_of(struct request *request, struct json_slice text)
{
	struct json_error error;
	json_t *tree = json_text_parse(text.text, text.bytes, &error);
	if (!tree)
		(void)request_refuse_at(request, "", "%d:%d: %s", error.line, error.column,
					error.message);
	return tree;
}

static int read_others(struct request *request, struct json_slice text)
{
	struct json_member member;
	const char *cursor = NULL;
	int rc = 0;

	while (rc == 0 && json_slice_next(text, &cursor, &member) == 1) {
		if (json_slice_is(member.key, "type") || json_slice_is(member.key, "payload"))
			continue;
		json_t *value = tree_of(request, member.value);

		const char *name = arena_strndup(request->arena, member.key.text, member.key.bytes);

		rc = value ? read_member(request, "", name, value, members, ARRAY_LEN(members),
					 request->where)
			   : -1;
		json_decref(value);
	}
	return rc;
}

static int put_valid_payload(struct request *request, struct json_slice payload)
{
	json_t *parsed;
	int rc;

	if (!request->type->payload_schema || request->ctx->unfilled ||
	    payload.bytes > request->ctx->payload_bytes_max)
		return put_payload(request, payload, NULL);
	parsed = payload.bytes ? tree_of(request, payload) : json_object();
	rc = parsed ? put_payload(request, payload, parsed) : -1;
	json_decref(parsed);
	return rc;
}

int request_read_text(struct request *request, struct json_slice text)
{
	struct outline outline;

	if (!read_outline(text, &outline)) {
		json_t *root = tree_of(request, text);
		int rc = root ? read_tree(request, text, root) : -1;

		json_decref(root);
		return rc;
	}
	if (put_type(request, json_slice_string(request->arena, outline.type)) != 0 ||
	    (outline.others && read_others(request, text) != 0) ||
	    put_valid_payload(request, outline.payload) != 0)
		return -1;
	return check_times(request, outline.delay, outline.run_at);
}

/* ---- doors */

int job_request_parse(const struct job_request_context *ctx, struct json_slice request,
		      json_t *root, struct arena *arena, struct new_job *job_r,
		      struct job_request_error *err_r)
{
	struct request reading = request_init(ctx, arena, job_r, err_r);

	if ((root ? read_tree(&reading, request, root) : request_read_text(&reading, request)) != 0)
		return -1;
	if (job_r->client_id)
		digest_sha256(request.text, request.bytes, job_r->fingerprint);
	else
		uuid_v7(&job_r->id);
	return request_read_then(&reading, request);
}

static int read_options(struct request *request, struct json_slice options)
{
	struct json_error error;
	json_t *root;
	int rc = 0;

	if (!options.bytes)
		return 0;
	root = json_text_parse(options.text, options.bytes, &error);
	if (!root)
		return request_refuse_at(request, "/options", "%d:%d: %s", error.line, error.column,
					 error.message);
	if (!json_is_object(root))
		rc = request_refuse_at(request, "/options", "expected an object");
	if (rc == 0)
		rc = read_members(request, "/options", root, members, ARRAY_LEN(members),
				  FOLLOW_UP);
	if (rc == 0 && json_object_get(root, "delay") && json_object_get(root, "run_at"))
		rc = request_refuse_at(request, "/options/run_at",
				       "\"delay\" is there as well; expected one of them");
	json_decref(root);
	return rc;
}

int job_request_follow_up(const struct job_request_context *ctx, const struct uuid *id,
			  const char *type, struct json_slice payload, struct json_slice options,
			  struct arena *arena, struct new_job *job_r,
			  struct job_request_error *err_r)
{
	static const char empty[] = "{}";
	struct request reading = request_init(ctx, arena, job_r, err_r);
	struct json_error error;
	json_t *parsed;
	int rc;

	if (!payload.bytes)
		payload = (struct json_slice){ .text = empty, .bytes = sizeof(empty) - 1 };
	if (put_type(&reading, type) != 0)
		return -1;
	if (payload.bytes > ctx->payload_bytes_max)
		return put_payload(&reading, payload, NULL);
	parsed = json_text_parse(payload.text, payload.bytes, &error);
	if (!parsed)
		return request_refuse_at(&reading, "/payload", "%d:%d: %s", error.line,
					 error.column, error.message);
	rc = put_payload(&reading, payload, parsed);
	json_decref(parsed);
	if (rc != 0 || read_options(&reading, options) != 0)
		return -1;
	if (id && !uuid_is_nil(id))
		job_r->id = *id;
	else
		uuid_v7(&job_r->id);
	return 0;
}

int job_request_payload(const struct job_type *type, struct json_slice payload, struct arena *arena,
			struct job_request_error *err_r)
{
	struct json_error error;
	json_t *parsed;
	int rc;

	*err_r = (struct job_request_error){ 0 };
	if (!type->payload_schema)
		return 0;
	parsed = json_text_parse(payload.text, payload.bytes, &error);
	if (!parsed) {
		err_r->fault = JOB_REQUEST_PAYLOAD;
		snprintf(err_r->message, sizeof(err_r->message), "%d:%d: %s", error.line,
			 error.column, error.message);
		return -1;
	}
	rc = check_payload(type, parsed, "", arena, err_r);
	json_decref(parsed);
	return rc;
}

const char *job_request_reason(const struct job_request_error *error, const char *root,
			       struct arena *arena)
{
	return error->faults.count
		       ? schema_faults_brief(&error->faults, root, arena)
		       : arena_printf(arena, "%s%s: %s", root, error->pointer, error->message);
}

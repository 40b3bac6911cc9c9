/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a schedule's definition, and makes the job of a tick of it. The payload stays the text that
 * was given; references are replaced in the text, where only strings can hold them. */
#include "common/config/schedule_definition.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/config/suggest.h"

#define LATE_DEFAULT_MS INT64_C(86400000)
#define LATE_MAX_MS     (366 * INT64_C(86400000))
#define REFERENCE       "${"
#define PLAIN_REFERENCE "$${"

static int refuse(struct job_request_error *err_r, const char *pointer, const char *fmt, ...)
	printf_like(3, 4);

static int refuse(struct job_request_error *err_r, const char *pointer, const char *fmt, ...)
{
	va_list args;

	*err_r = (struct job_request_error){ .fault = JOB_REQUEST_INVALID };
	snprintf(err_r->pointer, sizeof(err_r->pointer), "%s", pointer);
	va_start(args, fmt);
	vsnprintf(err_r->message, sizeof(err_r->message), fmt, args);
	va_end(args);
	return -1;
}

/* ---- members */

/* What is told to the job, under these names or others. */
static const struct {
	const char *name, *request;
} job_members[] = {
	{ "job", "type" },          { "payload", "payload" },           { "queue", "queue" },
	{ "priority", "priority" }, { "max_attempts", "max_attempts" }, { "timeout", "timeout" },
	{ "tags", "tags" },         { "order_key", "order_key" },       { "fair_key", "fair_key" },
	{ "unique", "unique" },     { "callback_url", "callback_url" },
};
static const char *const own_members[] = { "cron",   "every",    "at",     "zone",
					   "missed", "max_late", "tenant", "batch" };

static const char *request_name(const char *name, size_t bytes)
{
	for (size_t i = 0; i < ARRAY_LEN(job_members); i++) {
		if (strlen(job_members[i].name) == bytes &&
		    memcmp(job_members[i].name, name, bytes) == 0)
			return job_members[i].request;
	}
	return NULL;
}

static int refuse_member(const char *name, struct job_request_error *err_r)
{
	struct suggest suggest = { .word = name };

	for (size_t i = 0; i < ARRAY_LEN(own_members); i++)
		suggest_offer(&suggest, own_members[i]);
	for (size_t i = 0; i < ARRAY_LEN(job_members); i++)
		suggest_offer(&suggest, job_members[i].name);
	return refuse(err_r, "", "unknown member \"%.64s\"%s%s%s", name,
		      suggest.best ? "; did you mean \"" : "", suggest.best ? suggest.best : "",
		      suggest.best ? "\"?" : "");
}

static int check_members(const json_t *root, struct job_request_error *err_r)
{
	const json_t *value;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)root, name, value)
	{
		bool known = request_name(name, strlen(name)) != NULL;

		for (size_t i = 0; !known && i < ARRAY_LEN(own_members); i++)
			known = strcmp(own_members[i], name) == 0;
		if (!known)
			return refuse_member(name, err_r);
	}
	if (json_object_get(root, "batch"))
		return refuse(err_r, "/batch", "not available in this version");
	return 0;
}

/* A duration as text, whatever way it is written. */
static const char *duration_text(const json_t *value, char room[32])
{
	if (json_is_string(value))
		return json_string_value(value);
	if (!json_is_number(value) || json_number_value(value) < 0)
		return "";
	snprintf(room, 32, "%.3f", json_number_value(value));
	return room;
}

static int read_timing(const json_t *root, struct schedule_definition *definition,
		       struct job_request_error *err_r)
{
	const json_t *cron = json_object_get(root, "cron"), *every = json_object_get(root, "every"),
		     *at = json_object_get(root, "at");
	struct timing *timing = &definition->timing;
	char room[32];
	struct error err;

	if ((cron != NULL) + (every != NULL) + (at != NULL) != 1)
		return refuse(err_r, "", "expected one of \"cron\", \"every\" and \"at\"");
	if (cron && timing_parse_cron(json_is_string(cron) ? json_string_value(cron) : "", timing,
				      &err) < 0)
		return refuse(err_r, "/cron", "%s", err.message);
	if (every && timing_parse_every(duration_text(every, room), timing, &err) < 0)
		return refuse(err_r, "/every", "%s", err.message);
	if (!at)
		return 0;
	timing->kind = TIMING_AT;
	if (!json_is_string(at) || clock_parse(json_string_value(at), &timing->at_ms) < 0)
		return refuse(err_r, "/at",
			      "expected a time (RFC 3339), as in \"2027-01-31T18:00:00Z\"");
	return 0;
}

static int read_zone(const json_t *root, struct zones *zones,
		     struct schedule_definition *definition, struct job_request_error *err_r)
{
	const json_t *zone = json_object_get(root, "zone");
	struct error err;

	if (zone && !json_object_get(root, "cron"))
		return refuse(err_r, "/zone", "has no meaning without \"cron\"");
	if (zone && !json_is_string(zone))
		return refuse(err_r, "/zone", "expected the name of a time zone");
	definition->zone_name = zone ? json_string_value(zone) : "UTC";
	definition->zone = zones_find(zones, definition->zone_name, &err);
	if (!definition->zone)
		return refuse(err_r, "/zone", "%s", err.message);
	return 0;
}

static const char *const policy_names[] = {
	[MISSED_RUN_ONCE] = "run_once", [MISSED_SKIP] = "skip", [MISSED_RUN_ALL] = "run_all"
};

const char *missed_policy_name(enum missed_policy policy)
{
	return policy_names[policy];
}

static int read_missed(const json_t *root, struct schedule_definition *definition,
		       struct job_request_error *err_r)
{
	const json_t *missed = json_object_get(root, "missed"),
		     *late = json_object_get(root, "max_late");
	const char *word = missed ? json_string_value(missed) : policy_names[MISSED_RUN_ONCE];
	char room[32];
	size_t i = 0;

	while (i < ARRAY_LEN(policy_names) && !(word && strcmp(word, policy_names[i]) == 0))
		i++;
	if (i == ARRAY_LEN(policy_names))
		return refuse(err_r, "/missed", "expected \"skip\", \"run_once\" or \"run_all\"");
	definition->missed = (enum missed_policy)i;
	definition->max_late_ms = LATE_DEFAULT_MS;
	if (late && (duration_parse(duration_text(late, room), &definition->max_late_ms) < 0 ||
		     definition->max_late_ms < 1000 || definition->max_late_ms > LATE_MAX_MS))
		return refuse(err_r, "/max_late", "expected a duration of 1s to 366d");
	return 0;
}

int schedule_definition_parse(struct json_slice text, const json_t *root, struct zones *zones,
			      struct schedule_definition *definition_r,
			      struct job_request_error *err_r)
{
	const json_t *tenant = json_object_get(root, "tenant");

	*definition_r = (struct schedule_definition){ .text = text, .tenant = "" };
	if (!json_is_object(root))
		return refuse(err_r, "", "expected an object");
	if (text.bytes > SCHEDULE_BYTES_MAX)
		return refuse(err_r, "", "larger than %d bytes", SCHEDULE_BYTES_MAX);
	if (check_members(root, err_r) < 0 || read_timing(root, definition_r, err_r) < 0 ||
	    read_zone(root, zones, definition_r, err_r) < 0 ||
	    read_missed(root, definition_r, err_r) < 0)
		return -1;
	if (tenant && !(json_is_string(tenant) && job_name_valid(json_string_value(tenant))))
		return refuse(err_r, "/tenant", "expected the name of a tenant");
	if (tenant)
		definition_r->tenant = json_string_value(tenant);
	if (!json_is_string(json_object_get(root, "job")))
		return refuse(err_r, "/job", "expected the type of the job");
	return 0;
}

/* ---- the job of a tick */

static int add_reference(struct strbuf *out, const char *reference, size_t bytes, const char *name,
			 int64_t tick_ms, struct job_request_error *err_r)
{
	char time[CLOCK_TEXT];

	if (bytes == strlen("schedule.name") && memcmp(reference, "schedule.name", bytes) == 0) {
		strbuf_addstr(out, name);
	} else if (bytes == strlen("schedule.tick") &&
		   memcmp(reference, "schedule.tick", bytes) == 0) {
		strbuf_addstr(out, clock_format(tick_ms, time));
	} else {
		return refuse(err_r, "/payload",
			      "unknown reference ${%.*s}; expected ${schedule.name} or "
			      "${schedule.tick}, or $${ for a plain ${",
			      (int)(bytes < 60 ? bytes : 60), reference);
	}
	return 0;
}

static int add_payload(struct strbuf *out, struct json_slice payload, const char *name,
		       int64_t tick_ms, struct job_request_error *err_r)
{
	const char *at = payload.text, *end = at + payload.bytes, *found, *close;

	while ((found = memmem(at, (size_t)(end - at), REFERENCE, 2)) != NULL) {
		if (found > at && found[-1] == '$') {
			strbuf_add(out, at, (size_t)(found - at - 1));
			strbuf_addstr(out, REFERENCE);
			at = found + 2;
			continue;
		}
		strbuf_add(out, at, (size_t)(found - at));
		close = memchr(found, '}', (size_t)(end - found));
		close = close ? close : end;
		if (add_reference(out, found + 2, (size_t)(close - found - 2), name, tick_ms,
				  err_r) < 0)
			return -1;
		at = close + 1;
	}
	strbuf_add(out, at, (size_t)(end - at));
	return 0;
}

static int write_request(const struct schedule_definition *definition, const char *name,
			 int64_t tick_ms, struct strbuf *out, struct job_request_error *err_r)
{
	const char *cursor = NULL, *request;
	struct json_member member;

	strbuf_addch(out, '{');
	while (json_slice_next(definition->text, &cursor, &member) == 1) {
		request = request_name(member.key.text, member.key.bytes);
		if (!request)
			continue;
		strbuf_printf(out, "%s\"%s\":", out->len > 1 ? "," : "", request);
		if (strcmp(request, "payload") != 0)
			strbuf_add(out, member.value.text, member.value.bytes);
		else if (add_payload(out, member.value, name, tick_ms, err_r) < 0)
			return -1;
	}
	strbuf_addch(out, '}');
	return 0;
}

int schedule_definition_job(const struct schedule_definition *definition, const char *name,
			    int64_t tick_ms, const struct job_request_context *ctx,
			    struct arena *arena, struct new_job *job_r,
			    struct job_request_error *err_r)
{
	struct job_request_context context = *ctx;
	struct json_slice request;
	struct strbuf text;
	int rc;

	strbuf_init(&text);
	rc = write_request(definition, name, tick_ms, &text, err_r);
	request = (struct json_slice){ arena_strndup(arena, text.data, text.len), text.len };
	strbuf_release(&text);
	if (rc < 0)
		return -1;
	context.tenant = arena_strdup(arena, definition->tenant);
	context.owner = arena_printf(arena, SCHEDULE_OWNER "%s", name);
	if (job_request_parse(&context, request, NULL, arena, job_r, err_r) == 0)
		return 0;
	if (strcmp(err_r->pointer, "/type") == 0)
		memcpy(err_r->pointer, "/job", sizeof("/job"));
	return -1;
}

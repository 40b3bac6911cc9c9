/* SPDX-License-Identifier: Apache-2.0 */
/* From a job's end to the jobs that tell of it, and back to what is sent. The event is written once
 * and travels as it is: a signature covers bytes, and a delivery that is repeated sends the same
 * ones. Results were valid JSON when they came in. */
#include "common/job/webhook.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/strbuf.h"

bool webhook_reserved(const char *name)
{
	return strncmp(name, RESERVED_PREFIX, strlen(RESERVED_PREFIX)) == 0;
}

/* ---- addresses */

static const char *host_of(const char *url)
{
	static const char *const schemes[] = { "https://", "http://" };

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		if (strncmp(url, schemes[i], strlen(schemes[i])) == 0)
			return url + strlen(schemes[i]);
	}
	return NULL;
}

const char *webhook_url_fault(const char *url, bool http)
{
	const char *host = host_of(url);
	size_t authority = host ? strcspn(host, "/?") : 0;

	if (strlen(url) > WEBHOOK_URL_MAX)
		return "too long; expected at most 2000 bytes";
	for (const char *p = url; *p; p++) {
		if (*p <= 0x20 || *p > 0x7e || strchr("\"<>\\^`{|}", *p))
			return "expected a URL of printable ASCII; encode everything else with %";
	}
	if (!host || (!http && strncmp(url, "https:", 6) != 0))
		return http ? "expected a URL that begins with https:// or http://"
			    : "expected a URL that begins with https://";
	if (authority == 0 || *host == ':')
		return "no host in it";
	if (memchr(host, '@', authority))
		return "a user and a password do not belong in it";
	return strchr(host, '#') ? "a fragment does not belong in it" : NULL;
}

/* ---- the event */

static bool too_deep(const char *json)
{
	int depth = 0;
	bool quoted = false;

	for (const char *p = json; *p; p++) {
		if (quoted && *p == '\\' && p[1])
			p++;
		else if (*p == '"')
			quoted = !quoted;
		else if (!quoted && (*p == '{' || *p == '[') && ++depth > WEBHOOK_DEPTH_MAX)
			return true;
		else if (!quoted && (*p == '}' || *p == ']'))
			depth--;
	}
	return false;
}

static void add_event(struct strbuf *out, const struct webhook_source *source)
{
	char id[UUID_TEXT], time[CLOCK_TEXT];
	size_t result_bytes = source->result ? strlen(source->result) : 0;
	bool left_out =
		result_bytes > WEBHOOK_RESULT_MAX || (result_bytes && too_deep(source->result));

	strbuf_printf(out, "{\"type\":\"job.%s\",\"timestamp\":\"%s\",\"data\":{\"id\":\"%s\"",
		      job_state_name(source->state), clock_format(source->finished_ms, time),
		      uuid_format(&source->id, id));
	strbuf_addstr(out, ",\"type\":");
	strbuf_json(out, source->type);
	strbuf_printf(out,
		      ",\"state\":\"%s\",\"attempt\":%d,\"result\":", job_state_name(source->state),
		      source->attempt);
	if (result_bytes && !left_out)
		strbuf_add(out, source->result, result_bytes);
	else
		strbuf_addstr(out, "null");
	if (left_out)
		strbuf_addstr(out, ",\"result_left_out\":true");
	strbuf_addstr(out, ",\"reason\":");
	strbuf_json(out, source->reason);
	if (*source->tenant) {
		strbuf_addstr(out, ",\"tenant\":");
		strbuf_json(out, source->tenant);
	}
	strbuf_addstr(out, "}}");
}

static char *payload_of(struct arena *arena, const struct webhook_source *source, const char *url,
			const char *of)
{
	struct strbuf out;
	char *payload;

	strbuf_init(&out);
	strbuf_addstr(&out, "{\"url\":");
	strbuf_json(&out, url);
	if (of) {
		strbuf_addstr(&out, ",\"of\":");
		strbuf_json(&out, of);
	}
	strbuf_addstr(&out, ",\"event\":");
	add_event(&out, source);
	strbuf_addch(&out, '}');
	payload = arena_strndup(arena, out.data, out.len);
	strbuf_release(&out);
	return payload;
}

/* ---- the jobs */

static void id_of(const struct webhook_source *source, const char *url, const char *of,
		  struct uuid *id_r)
{
	struct strbuf name;

	strbuf_init(&name);
	strbuf_printf(&name, "webhook/%d/%s/%s", source->attempt, of ? "hook" : "callback", url);
	uuid_named_dated(&source->id, name.data, name.len, id_r);
	strbuf_release(&name);
}

static void make_job(struct arena *arena, const struct webhook_source *source, const char *url,
		     const char *of, struct new_job *job_r)
{
	char id[UUID_TEXT];

	*job_r = (struct new_job){
		.tenant = source->tenant,
		.owner = arena_printf(arena, "job:%s", uuid_format(&source->id, id)),
		.queue = WEBHOOK_QUEUE,
		.type = WEBHOOK_TYPE,
		.payload = payload_of(arena, source, url, of),
		.priority = PRIORITY_NORMAL,
		.traceparent = source->traceparent,
	};
	job_r->payload_bytes = strlen(job_r->payload);
	id_of(source, url, of, &job_r->id);
}

size_t webhook_jobs(struct arena *arena, const struct webhook_source *source,
		    struct new_job **jobs_r)
{
	size_t count = 0;

	CHECK(job_state_terminal(source->state));
	*jobs_r = NULL;
	if ((!source->callback && !source->hooks.count) || webhook_reserved(source->type))
		return 0;
	*jobs_r = ARENA_ARRAY(arena, struct new_job, source->hooks.count + 1);
	if (source->callback)
		make_job(arena, source, source->callback, NULL, &(*jobs_r)[count++]);
	for (size_t i = 0; i < source->hooks.count; i++) {
		const struct webhook_hook *hook = &source->hooks.list[i];

		if (hook->on & 1u << source->state)
			make_job(arena, source, hook->url, source->type, &(*jobs_r)[count++]);
	}
	return count;
}

/* ---- hooks as text: [["url",on],…] */

char *webhook_hooks_text(struct arena *arena, const struct webhook_hooks *hooks)
{
	struct strbuf out;
	char *text;

	if (!hooks->count)
		return NULL;
	strbuf_init(&out);
	for (size_t i = 0; i < hooks->count; i++) {
		strbuf_addstr(&out, i ? ",[" : "[[");
		strbuf_json(&out, hooks->list[i].url);
		strbuf_printf(&out, ",%u]", hooks->list[i].on);
	}
	strbuf_addch(&out, ']');
	text = arena_strndup(arena, out.data, out.len);
	strbuf_release(&out);
	return text;
}

/* What a newer version may have written and this one cannot read is left out. */
struct webhook_hooks webhook_hooks_parse(struct arena *arena, const char *text)
{
	struct webhook_hooks hooks = { 0 };
	struct json_error error;
	json_t *root = text ? json_text_parse(text, strlen(text), &error) : NULL;
	size_t count = json_array_size(root);

	if (count > WEBHOOK_HOOKS_MAX)
		count = WEBHOOK_HOOKS_MAX;
	struct webhook_hook *list = ARENA_ARRAY(arena, struct webhook_hook, WEBHOOK_HOOKS_MAX);

	for (size_t i = 0; i < count; i++) {
		const json_t *item = json_array_get(root, i);
		const char *url = json_string_value(json_array_get(item, 0));

		if (url)
			list[hooks.count++] = (struct webhook_hook){
				.url = arena_strdup(arena, url),
				.on = (unsigned)json_integer_value(json_array_get(item, 1)),
			};
	}
	json_decref(root);
	hooks.list = list;
	return hooks;
}

/* ---- delivery */

int webhook_message_read(struct arena *arena, struct json_slice payload,
			 struct webhook_message *message_r)
{
	struct json_slice url = json_slice_get(payload, "url"), of = json_slice_get(payload, "of");

	*message_r = (struct webhook_message){ .event = json_slice_get(payload, "event") };
	if (!url.bytes || *url.text != '"' || !message_r->event.bytes)
		return -1;
	message_r->url = json_slice_string(arena, url);
	message_r->of = of.bytes && *of.text == '"' ? json_slice_string(arena, of) : NULL;
	return message_r->url ? 0 : -1;
}

int64_t webhook_delay_ms(int failures, uint64_t (*draw)(uint64_t bound))
{
	static const int after_s[WEBHOOK_ATTEMPTS - 1] = { 5,         5 * 60,    30 * 60,
							   2 * 3600,  5 * 3600,  10 * 3600,
							   14 * 3600, 20 * 3600, 24 * 3600 };
	int64_t ms;

	CHECK(failures >= 1);
	if (failures >= WEBHOOK_ATTEMPTS)
		failures = WEBHOOK_ATTEMPTS - 1;
	ms = (int64_t)after_s[failures - 1] * 1000;
	return ms + (int64_t)draw((uint64_t)ms / 10 + 1);
}

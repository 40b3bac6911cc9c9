/* SPDX-License-Identifier: Apache-2.0 */
/* ${env.NAME} in URLs and header values. Called by the engine before remote_start. Messages never
 * contain a value: it may be a secret. */
#include "workers/remote/call_template.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/strbuf.h"

/* Appends what the `${…}` at text stands for; returns the first byte after it, or NULL. */
static const char *expand_one(struct strbuf *out, const char *text, const char *const *allowed,
			      struct error *err_r)
{
	const char *name = text + strlen("${env."), *end = strchr(text, '}');
	const char *value;
	size_t bytes;

	if (!end || strncmp(text, "${env.", strlen("${env.")) != 0) {
		error_set(err_r, ERROR_INVALID, "only ${env.NAME} is replaced here");
		return NULL;
	}
	bytes = (size_t)(end - name);
	while (*allowed && (strlen(*allowed) != bytes || strncmp(*allowed, name, bytes) != 0))
		allowed++;
	if (!*allowed) {
		error_set(err_r, ERROR_INVALID, "%.*s is not in the type's env", (int)bytes, name);
		return NULL;
	}
	value = getenv(*allowed);
	if (!value) {
		error_set(err_r, ERROR_INVALID, "%s is not set in the worker's environment",
			  *allowed);
		return NULL;
	}
	strbuf_addstr(out, value);
	return end + 1;
}

const char *call_template_expand(struct arena *arena, const char *text, const char *const *allowed,
				 struct error *err_r)
{
	struct strbuf out;
	const char *result = NULL;

	if (!strstr(text, "${"))
		return text;
	strbuf_init(&out);
	while (text && *text) {
		if (!strncmp(text, "$${", 3)) {
			strbuf_addstr(&out, "${");
			text += 3;
		} else if (!strncmp(text, "${", 2)) {
			text = expand_one(&out, text, allowed, err_r);
		} else {
			strbuf_addch(&out, *text++);
		}
	}
	if (text)
		result = arena_strndup(arena, out.data, out.len);
	strbuf_release(&out);
	return result;
}

/* Where scheme and authority end, when they are well-formed enough to have an end; else 0. */
static size_t origin_bytes(const char *url)
{
	const char *colon = strchr(url, ':');
	size_t host;

	if (!colon || strncmp(colon, "://", 3) != 0)
		return 0;
	host = strcspn(colon + 3, "/?#");
	return host ? (size_t)(colon + 3 - url) + host : 0;
}

const char *call_template_url(struct arena *arena, const char *text, const char *const *allowed,
			      bool *fixed_r, struct error *err_r)
{
	const char *url = call_template_expand(arena, text, allowed, err_r);
	const char *rest = text, *end;
	size_t scheme = 0, from_env;

	*fixed_r = false;
	if (!url)
		return NULL;
	if (!strncmp(text, "https://", 8) || !strncmp(text, "http://", 7))
		scheme = (size_t)(strstr(text, "//") + 2 - text);
	rest += scheme;
	if (strncmp(rest, "${", 2) != 0)
		return url;
	end = strchr(rest, '}'); /* it was expanded, so it is closed and has a value */
	CHECK(end);
	from_env = scheme + strlen(getenv(arena_strndup(arena, rest + strlen("${env."),
							(size_t)(end - rest) - strlen("${env."))));
	*fixed_r = origin_bytes(url) && origin_bytes(url) <= from_env;
	return url;
}

static const char *expand_header(struct arena *arena, const char *header,
				 const char *const *allowed, struct error *err_r)
{
	const char *colon = strchr(header, ':'), *value;

	if (!colon || colon == header) {
		error_set(err_r, ERROR_INVALID, "a header is \"Name: value\"");
		return NULL;
	}
	value = call_template_expand(arena, colon, allowed, err_r);
	return value ? arena_printf(arena, "%.*s%s", (int)(colon - header), header, value) : NULL;
}

const char *const *call_template_headers(struct arena *arena, const char *const *headers,
					 const char *const *allowed, struct error *err_r)
{
	const char **result;
	size_t count = 0;

	while (headers && headers[count])
		count++;
	result = ARENA_ARRAY(arena, const char *, count + 1);
	for (size_t i = 0; i < count; i++) {
		result[i] = expand_header(arena, headers[i], allowed, err_r);
		if (!result[i])
			return NULL;
	}
	return result;
}

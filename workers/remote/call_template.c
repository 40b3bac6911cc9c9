/* SPDX-License-Identifier: Apache-2.0 */
/* ${env.NAME} in URLs and header values. Called by the engine before remote_start. Messages never
 * contain a value: it may be a secret. */
#include "workers/remote/call_template.h"

#include <stdlib.h>
#include <string.h>

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

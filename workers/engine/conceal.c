/* SPDX-License-Identifier: Apache-2.0 */
/* A database quotes the value that it cannot cast, a handler the token that was refused: both end
 * up in a reason. Called once an attempt that did not go well. */
#include "workers/engine/conceal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/strbuf.h"

#define VALUE_BYTES_MIN 8 /* shorter ones (a port, "true") are words that reasons need */

static const char *replace(const char *text, const char *value, const char *name,
			   struct arena *arena)
{
	const char *found = strstr(text, value);
	struct strbuf out;

	if (!found)
		return text;
	strbuf_init(&out);
	for (; found; found = strstr(text, value)) {
		strbuf_add(&out, text, (size_t)(found - text));
		strbuf_printf(&out, "${env.%s}", name);
		text = found + strlen(value);
	}
	strbuf_addstr(&out, text);
	text = arena_strndup(arena, out.data, out.len);
	strbuf_release(&out);
	return text;
}

const char *conceal_variables(const struct job_type *type, const char *text, struct arena *arena)
{
	for (size_t i = 0; text && type && type->env[i]; i++) {
		const char *value = getenv(type->env[i]);

		if (value && strlen(value) >= VALUE_BYTES_MIN)
			text = replace(text, value, type->env[i], arena);
	}
	return text;
}

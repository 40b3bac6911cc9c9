/* SPDX-License-Identifier: Apache-2.0 */
/* Substitution in a handler's own request: ${env.NAME}, in the URL and in header values only, for
 * names that the type's `env:` lists; $${ stands for ${. Nothing else is replaced, and the body
 * never is. */
#ifndef WORKERS_REMOTE_CALL_TEMPLATE_H
#define WORKERS_REMOTE_CALL_TEMPLATE_H
#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/error.h"

/* allowed: NULL-terminated names. Returns the text with substitutions in the arena, or NULL with
 * ERROR_INVALID: a name that is not allowed or not set, something else in ${…}, or a brace that is
 * not closed. */
const char *call_template_expand(struct arena *arena, const char *text, const char *const *allowed,
				 struct error *err_r);
/* The same for a URL. *fixed_r: scheme, host and port are the environment's alone, as in
 * "${env.URL}/path" or "https://${env.HOST}/path"; nothing before the path is the handler's. */
const char *call_template_url(struct arena *arena, const char *text, const char *const *allowed,
			      bool *fixed_r, struct error *err_r);
/* Expands the values of "Name: value" headers; names must be plain. NULL-terminated in and out. */
const char *const *call_template_headers(struct arena *arena, const char *const *headers,
					 const char *const *allowed, struct error *err_r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The one substitution syntax of the definitions file: `${payload.a.b}`, `${job.id}`, `${env.X}`;
 * `$${` is a plain `${`. What a reference becomes is decided by whoever reads it: a bind parameter
 * in `sql:` (sql_template.h), text with the escapes of its place in `http:` (text_template.h). */
#ifndef COMMON_CONFIG_SUBSTITUTION_H
#define COMMON_CONFIG_SUBSTITUTION_H
#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"

#define SUBSTITUTION_ESCAPE "$${"

struct substitution_problem {
	size_t offset; /* into the text */
	char message[256];
};

/* How references may be used in one text. */
struct substitution_rules {
	/* names that ${env.X} may use, NULL-terminated; NULL: all but Windlass's own */
	const char *const *env;
	bool call_key; /* ${call.key} is the call's idempotency key */
};

/* `text + offset` is at "${". *source_r: what stands inside, in the arena; *end_r: offset behind
 * it. 0, or -1 with *problem_r. */
int substitution_take(const char *text, size_t offset, const struct substitution_rules *rules,
		      struct arena *arena, const char **source_r, size_t *end_r,
		      struct substitution_problem *problem_r) must_check;

#endif

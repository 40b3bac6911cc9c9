/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean ...?": the known names that are near to a wrong one. */
#ifndef PRODUCERS_GRAPHQL_SUGGEST_H
#define PRODUCERS_GRAPHQL_SUGGEST_H
#include "common/base/arena.h"

/* Which of these names are near enough, the nearest first; at most count. */
size_t suggest_near(struct arena *arena, const char *input, const char *const *options,
		    size_t count, const char **near_r);
/* " Did you mean the enum value 'A', 'B', or 'C'?" of the first five; "" of none. sub: words in
 * front of them, or NULL. */
const char *suggest_text(struct arena *arena, const char *sub, const char *const *near,
			 size_t count);
/* Both. */
const char *suggest(struct arena *arena, const char *sub, const char *input,
		    const char *const *options, size_t count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean …?": the known name that a mistyped one is nearest to. For messages to people only.
 */
#ifndef COMMON_CONFIG_SUGGEST_H
#define COMMON_CONFIG_SUGGEST_H
#include <stddef.h>

/* Remembers the best of the names offered so far. Start with { .word = … }. */
struct suggest {
	const char *word;
	const char *best; /* NULL: none is near enough */
	size_t distance;
};

void suggest_offer(struct suggest *suggest, const char *name);

#endif

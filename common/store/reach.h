/* SPDX-License-Identifier: Apache-2.0 */
/* Which jobs somebody may see or touch. What is outside is not found, by any operation: the limits
 * are part of the store's own queries, so that pages, cursors and counts are those of the caller.
 */
#ifndef COMMON_STORE_REACH_H
#define COMMON_STORE_REACH_H
#include <stddef.h>

/* Patterns of whole names: `*` stands for any text, `?` for one character. NULL: every one. */
struct reach_rule {
	const char *type;
	const char *queue;
};

struct reach {
	const char *tenant; /* NULL: all */
	const char *owner;  /* NULL: all */
	/* a job fits when one of them fits it; none: all types and queues */
	const struct reach_rule *rules;
	size_t rule_count;
};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The audit: who changed what while it ran. A control operation is given what to note of it and
 * inserts the row in the transaction that does it, so there is no change without its row and no row
 * without its change. Kept as long as discarded jobs (maintenance_retention). */
#ifndef COMMON_STORE_AUDIT_H
#define COMMON_STORE_AUDIT_H
#include "common/base/arena.h"
#include "common/store/store.h"

#define AUDIT_LIMIT_MAX 1000

/* Where an operation takes one, NULL notes nothing. Strings are lent. */
struct audit {
	const char *who;    /* a key's id, "operator" without keys, "autoscaler", "file" */
	const char *action; /* "queue.pause", "pool.scale" */
	const char *object; /* the name of what was changed; "" when it has none */
	const char *detail; /* JSON object text, or NULL */
};

struct audit_filter {
	const char *who, *action, *object; /* NULL: all */
	int64_t before;                    /* rows below this number; 0: from the newest */
	size_t limit;                      /* 1..AUDIT_LIMIT_MAX */
};

struct audit_view {
	int64_t n; /* ascends with time */
	int64_t at_ms;
	const char *who, *action, *object;
	const char *detail; /* JSON object text, or NULL */
};

/* Newest first; *count_r < limit means the end. */
int audit_list(struct store *store, const struct audit_filter *filter, struct arena *arena,
	       struct audit_view **views_r, size_t *count_r, struct error *err_r) must_check;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A request target in origin form, "/v1/jobs/a%20b?state=x": split first, decoded afterwards, so
 * that an encoded slash never becomes a separator. Strict: what is not a valid encoding of UTF-8
 * text without controls is refused. */
#ifndef COMMON_HTTP_TARGET_H
#define COMMON_HTTP_TARGET_H
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/check.h"

#define TARGET_SEGMENTS_MAX 8
#define TARGET_PARAMS_MAX   32

struct target_param {
	char *name, *value;
};

struct target {
	char *segments[TARGET_SEGMENTS_MAX]; /* "/v1/jobs" gives "v1", "jobs"; "/" gives none */
	size_t segment_count;
	struct target_param params[TARGET_PARAMS_MAX];
	size_t param_count;
};

/* 0; -1: malformed, *why_r is a sentence about it. No name may be given twice. */
int target_parse(struct arena *arena, const char *raw, struct target *target_r,
		 const char **why_r) must_check;
const char *target_param(const struct target *target, const char *name); /* NULL: absent */

#endif

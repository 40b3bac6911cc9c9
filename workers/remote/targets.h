/* SPDX-License-Identifier: Apache-2.0 */
/* The targets that a worker knows: those of the definitions, and one for each other scheme, host
 * and port that was called lately. Finds the one that a URL belongs to, keeps the state of those
 * that new definitions leave as they were. The remote's thread only. */
#ifndef WORKERS_REMOTE_TARGETS_H
#define WORKERS_REMOTE_TARGETS_H
#include <curl/curl.h>

#include "common/config/definitions.h"
#include "workers/remote/target.h"

struct targets;
struct metrics;

struct targets *targets_new(void);
void targets_free(struct targets **targets); /* all of them idle */
/* From now on these; a target that is declared as it was goes on as it is. */
void targets_configure(struct targets *targets, const struct definitions *defs, int64_t now_ns);
void targets_observe(struct targets *targets, struct metrics *metrics);
/* By its name, else by the URL: same scheme, host and port, and the longest prefix of the path.
 * NULL: the call must not be made, *why_r says why (static). One with a fault takes no calls. */
struct target *targets_find(struct targets *targets, const char *name, CURLU *url, int64_t now_ns,
			    const char **why_r);
/* A call of it ended: frees it when it is gone and this was the last. */
void targets_release(struct targets *targets, struct target *target);
/* A JSON array: all declared ones, and of the others those that people would ask about. */
void targets_describe(const struct targets *targets, int64_t now_ns, struct strbuf *out);

#endif

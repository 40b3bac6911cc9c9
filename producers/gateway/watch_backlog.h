/* SPDX-License-Identifier: Apache-2.0 */
/* For watch.c only: the jobs that are to be looked up, each once, in the order in which they were
 * heard of; and the ended ones that were looked up lately, so that they are not again. One thread.
 */
#ifndef PRODUCERS_GATEWAY_WATCH_BACKLOG_H
#define PRODUCERS_GATEWAY_WATCH_BACKLOG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/uuid.h"

#define WATCH_BACKLOG_MAX 100000

struct watch_backlog;

struct watch_backlog *watch_backlog_new(void);
void watch_backlog_free(struct watch_backlog **backlog);
size_t watch_backlog_count(const struct watch_backlog *backlog);
/* moved: it is heard to have moved; else somebody only wants to see how it is. False: it is full.
 */
bool watch_backlog_add(struct watch_backlog *backlog, const struct uuid *id, bool moved,
		       int64_t now_ns);
/* The oldest, at most max; they stay until watch_backlog_drop. *heard_ns_r: when the first of them
 * was added. */
size_t watch_backlog_peek(const struct watch_backlog *backlog, struct uuid *ids_r, bool *moved_r,
			  size_t max, int64_t *heard_ns_r);
void watch_backlog_drop(struct watch_backlog *backlog, size_t count);

/* It has ended and that was told: remembered for 15 to 30 s. */
void watch_backlog_told(struct watch_backlog *backlog, const struct uuid *id, int64_t now_ns);
bool watch_backlog_was_told(const struct watch_backlog *backlog, const struct uuid *id);

#endif

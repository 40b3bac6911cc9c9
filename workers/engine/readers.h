/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers' reads: a few threads with read-only store connections, so that a slow query holds up
 * other queries and nothing else. Bounded: a full queue refuses. */
#ifndef WORKERS_ENGINE_READERS_H
#define WORKERS_ENGINE_READERS_H
#include <stdbool.h>
#include <stddef.h>

#include "common/base/check.h"
#include "common/store/completion.h"

struct readers;

/* A query's end, on a reader's thread: the text is {"columns":…,"rows":…}; error NULL, or why there
 * is none. */
typedef void readers_done_fn(void *ctx, void *tag, const char *text, size_t bytes,
			     const struct error *error);

/* One thread for each of the stores, which are theirs until readers_free. */
struct readers *readers_new(struct store *const *stores, size_t count, size_t answer_bytes_max,
			    readers_done_fn *done, void *ctx);
/* The statement is borrowed until `done` comes for this tag. False: too many are waiting. Never
 * blocks. */
bool must_check readers_ask(struct readers *readers, const struct sql_statement *statement,
			    void *tag);
/* Waits for what is under way; what waits is dropped without `done`. */
void readers_free(struct readers **readers);

#endif

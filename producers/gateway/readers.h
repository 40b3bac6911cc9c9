/* SPDX-License-Identifier: Apache-2.0 */
/* A few threads with a store connection each, for everything that has to ask the store (or takes
 * long) while a request is parked. A full box is refused at once: nobody queues for longer than the
 * store needs. */
#ifndef PRODUCERS_GATEWAY_READERS_H
#define PRODUCERS_GATEWAY_READERS_H
#include "common/store/store.h"

#define READERS_WAITING_MAX 20000 /* tasks in the box: all waiters may come at once */

struct readers;
struct reader_task;

typedef int reader_run_fn(struct store *store, struct reader_task *task);
typedef void reader_done_fn(struct reader_task *task);

struct reader_task {
	reader_run_fn *run;   /* fills task->error and returns -1 when it fails */
	reader_done_fn *done; /* afterwards; the task is given up */
	bool storeless;       /* runs without a connection; store is NULL */
	void *owner;
	int rc; /* of run; -1 also when the store could not be opened */
	struct error error;
};

struct readers *readers_start(const char *database_url, int threads);
bool must_check readers_send(struct readers *readers,
			     struct reader_task *task); /* any thread, never blocks */
void readers_stop(struct readers **readers); /* does what was sent, then ends; NULL-safe */

#endif

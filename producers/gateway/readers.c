/* SPDX-License-Identifier: Apache-2.0 */
/* The pool behind readers.h. A thread takes one task at a time; the box is the only thing they
 * share. */
#include "producers/gateway/readers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/mailbox.h"

#define THREADS_MAX 16

struct readers {
	char *database_url;
	struct mailbox *box;
	_Atomic bool stopping;
	pthread_t threads[THREADS_MAX];
	int thread_count;
};

static int run_task(const struct readers *readers, struct store **store, struct reader_task *task)
{
	if (!task->storeless && !*store &&
	    store_open(readers->database_url, STORE_WRITE, "windlass-gateway", store,
		       &task->error) < 0)
		return -1;
	return task->run(task->storeless ? NULL : *store, task);
}

static void *readers_run(void *readers_)
{
	struct readers *readers = readers_;
	struct store *store = NULL;
	void *item;

	for (;;) {
		if (mailbox_take(readers->box, &item, 1, -1) == 0) {
			if (atomic_load(&readers->stopping))
				break;
			continue;
		}
		struct reader_task *task = item;
		error_clear(&task->error);
		task->rc = run_task(readers, &store, task);
		task->done(task);
	}
	store_close(&store);
	return NULL;
}

struct readers *readers_start(const char *database_url, int threads)
{
	struct readers *readers = xcalloc(1, sizeof(*readers));

	CHECK(threads > 0 && threads <= THREADS_MAX);
	readers->database_url = xstrdup(database_url);
	readers->box = mailbox_new(READERS_WAITING_MAX);
	readers->thread_count = threads;
	for (int i = 0; i < threads; i++)
		CHECK(pthread_create(&readers->threads[i], NULL, readers_run, readers) == 0);
	return readers;
}

bool readers_send(struct readers *readers, struct reader_task *task)
{
	CHECK(task->run && task->done);
	return mailbox_send(readers->box, task);
}

void readers_stop(struct readers **readers_)
{
	struct readers *readers = *readers_;

	*readers_ = NULL;
	if (!readers)
		return;
	atomic_store(&readers->stopping, true);
	mailbox_close(readers->box);
	for (int i = 0; i < readers->thread_count; i++)
		pthread_join(readers->threads[i], NULL);
	mailbox_free(&readers->box);
	free(readers->database_url);
	free(readers);
}

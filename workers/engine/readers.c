/* SPDX-License-Identifier: Apache-2.0 */
/* The reader threads: take a query, run it, give the text back. */
#include "workers/engine/readers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/mailbox.h"
#include "common/base/strbuf.h"

#define READERS_MAX 8
#define WAITING_MAX 1024

struct question {
	const struct sql_statement *statement;
	void *tag;
};

struct reader {
	struct readers *all;
	struct store *store;
	pthread_t thread;
};

struct readers {
	struct mailbox *questions;
	size_t answer_bytes_max;
	readers_done_fn *done;
	void *ctx;
	atomic_bool stop;
	struct reader reader[READERS_MAX];
	size_t count;
};

static void answer(struct reader *reader, struct strbuf *text, const struct question *question)
{
	struct readers *all = reader->all;
	struct error error = { 0 };
	int rc = reader_query(reader->store, question->statement, all->answer_bytes_max, text,
			      &error);

	all->done(all->ctx, question->tag, text->data, text->len, rc < 0 ? &error : NULL);
}

static void *reader_main(void *arg)
{
	struct reader *reader = arg;
	struct strbuf text;
	void *item;

	strbuf_init(&text);
	while (!atomic_load(&reader->all->stop)) {
		if (mailbox_take(reader->all->questions, &item, 1, -1) != 1)
			continue;
		strbuf_clear(&text);
		answer(reader, &text, item);
		free(item);
	}
	strbuf_release(&text);
	return NULL;
}

struct readers *readers_new(struct store *const *stores, size_t count, size_t answer_bytes_max,
			    readers_done_fn *done, void *ctx)
{
	struct readers *readers = xcalloc(1, sizeof(*readers));

	CHECK(count > 0 && count <= READERS_MAX);
	readers->questions = mailbox_new(WAITING_MAX);
	readers->answer_bytes_max = answer_bytes_max;
	readers->done = done;
	readers->ctx = ctx;
	readers->count = count;
	for (size_t i = 0; i < count; i++) {
		readers->reader[i].all = readers;
		readers->reader[i].store = stores[i];
		CHECK(pthread_create(&readers->reader[i].thread, NULL, reader_main,
				     &readers->reader[i]) == 0);
	}
	return readers;
}

bool readers_ask(struct readers *readers, const struct sql_statement *statement, void *tag)
{
	struct question *question = xmalloc(sizeof(*question));

	*question = (struct question){ .statement = statement, .tag = tag };
	if (mailbox_send(readers->questions, question))
		return true;
	free(question);
	return false;
}

void readers_free(struct readers **readers)
{
	void *item;

	if (!*readers)
		return;
	atomic_store(&(*readers)->stop, true);
	mailbox_close((*readers)->questions);
	for (size_t i = 0; i < (*readers)->count; i++)
		CHECK(pthread_join((*readers)->reader[i].thread, NULL) == 0);
	while (mailbox_take((*readers)->questions, &item, 1, 0) == 1)
		free(item);
	mailbox_free(&(*readers)->questions);
	free(*readers);
	*readers = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One entry a partition, the newest offset wins. */
#include "consumers/subscribe/position_book.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"

#define FLUSH_MS 500 /* then positions wait no longer for a transaction */

struct position_book {
	struct position *kept;
	size_t count, room;
	struct arena *texts; /* theirs */
	int64_t flush_ms;    /* when the feed is looked at, 0: not */
};

struct position_book *position_book_new(void)
{
	struct position_book *book = xcalloc(1, sizeof(*book));

	book->texts = arena_new(0);
	return book;
}

void position_book_free(struct position_book **book)
{
	if (!*book)
		return;
	arena_free(&(*book)->texts);
	free((*book)->kept);
	free(*book);
	*book = NULL;
}

void position_book_moves(struct position_book *book, const struct feed *feed, int64_t now_mono_ms)
{
	if (feed->ops->positions && !book->flush_ms)
		book->flush_ms = now_mono_ms + FLUSH_MS;
}

static struct position *find(struct position_book *book, const struct position *position)
{
	for (size_t i = 0; i < book->count; i++) {
		struct position *kept = &book->kept[i];

		if (kept->partition == position->partition &&
		    !strcmp(kept->topic, position->topic) && !strcmp(kept->group, position->group))
			return kept;
	}
	return NULL;
}

static void keep(struct position_book *book, const struct position *moved)
{
	struct position *kept = find(book, moved);

	if (kept) {
		kept->offset = moved->offset;
		return;
	}
	if (book->count == book->room) {
		book->room = 2 * book->room + 16;
		book->kept = xrealloc(book->kept, book->room * sizeof(*book->kept));
	}
	kept = &book->kept[book->count++];
	*kept = *moved;
	kept->group = arena_strdup(book->texts, moved->group);
	kept->topic = arena_strdup(book->texts, moved->topic);
}

static void look(struct position_book *book, struct feed *feed)
{
	const struct position *moved;
	size_t count = feed->ops->positions ? feed->ops->positions(feed, &moved) : 0;

	for (size_t i = 0; i < count; i++)
		keep(book, &moved[i]);
}

void position_book_ride(struct position_book *book, struct feed *feed,
			struct completion_batch *batch)
{
	look(book, feed);
	batch->positions = book->kept;
	batch->position_count = book->count;
}

void position_book_rode(struct position_book *book)
{
	if (!book->count)
		return;
	book->count = 0;
	arena_reset(book->texts);
}

int64_t position_book_due_ms(const struct position_book *book)
{
	return book->flush_ms;
}

int position_book_flush(struct position_book *book, struct feed *feed, struct store *store,
			int64_t now_mono_ms, struct error *err_r)
{
	look(book, feed);
	if (book->count && position_save(store, book->kept, book->count, err_r) < 0)
		return -1;
	/* until nothing has moved: the feed comes to an acknowledgement when it can */
	book->flush_ms = book->count ? now_mono_ms + FLUSH_MS : 0;
	position_book_rode(book);
	return 0;
}

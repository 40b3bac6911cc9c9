/* SPDX-License-Identifier: Apache-2.0 */
/* Positions that a feed has reached and the store does not have yet: they ride with the next
 * transaction, or are stored in an idle moment. What a failed one carried goes with the next. Does
 * nothing for a feed without positions. The thread's that owns the subscriber. */
#ifndef CONSUMERS_SUBSCRIBE_POSITION_BOOK_H
#define CONSUMERS_SUBSCRIBE_POSITION_BOOK_H
#include "common/store/completion.h"
#include "consumers/subscribe/feed.h"

struct position_book;

struct position_book *position_book_new(void);
void position_book_free(struct position_book **book);
/* A message was acknowledged: the feed's positions will move. */
void position_book_moves(struct position_book *book, const struct feed *feed, int64_t now_mono_ms);
/* Adds what there is to a batch; stays good until `rode`. */
void position_book_ride(struct position_book *book, struct feed *feed,
			struct completion_batch *batch);
void position_book_rode(struct position_book *book); /* that batch is committed */
/* When position_book_flush is due; 0: it is not. */
int64_t position_book_due_ms(const struct position_book *book);
/* Stores what there is. -1: weather. */
int position_book_flush(struct position_book *book, struct feed *feed, struct store *store,
			int64_t now_mono_ms, struct error *err_r) must_check;

#endif

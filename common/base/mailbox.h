/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded queue of pointers between threads: many senders, one or more takers. Mutex and
 * condition variable; the taker may instead wait on an eventfd that becomes readable when the box
 * goes from empty to not empty. */
#ifndef COMMON_BASE_MAILBOX_H
#define COMMON_BASE_MAILBOX_H
#include <stdbool.h>
#include <stddef.h>

#include "common/base/check.h"

struct mailbox;

struct mailbox *mailbox_new(size_t capacity); /* capacity > 0 */
/* must be empty or closed; does not free what is inside */
void mailbox_free(struct mailbox **box);
/* False when full or closed: nothing was sent. Never blocks. */
bool must_check mailbox_send(struct mailbox *box, void *item);
/* Takes up to max items, waiting up to timeout_ms for the first (0: do not wait, -1: for ever).
 * Returns how many; 0 after a time-out or, when closed, at once. */
size_t mailbox_take(struct mailbox *box, void **items_r, size_t max, int timeout_ms);
size_t mailbox_count(const struct mailbox *box);
/* Readable while something is in the box; the box keeps it up to date, nobody reads it. */
int mailbox_fd(struct mailbox *box);
/* Wakes every taker without an item (they see 0). */
void mailbox_poke(struct mailbox *box);
void mailbox_close(struct mailbox *box); /* sends fail from now on; takers drain what is left */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What has been published on a channel in confirm mode and is not answered: an ordered ring, since
 * the broker numbers publications from 1 and may answer many at once, in any order, and says that
 * it returns one before it confirms it. Pure; used by amqp_publisher.c. */
#ifndef PRODUCERS_PUBLISH_AMQP_CONFIRMS_H
#define PRODUCERS_PUBLISH_AMQP_CONFIRMS_H
#include "common/broker/publisher.h"

struct amqp_confirms;

struct amqp_confirms *amqp_confirms_new(size_t max); /* numbers that may be open at once */
void amqp_confirms_free(struct amqp_confirms **confirms);
/* A new channel: numbers begin at 1 again, and nothing is open. */
void amqp_confirms_reset(struct amqp_confirms *confirms);

/* The next number is this publication's. There must be room. */
void amqp_confirms_add(struct amqp_confirms *confirms, struct publication *item);
size_t amqp_confirms_room(const struct amqp_confirms *confirms);
size_t amqp_confirms_waiting(const struct amqp_confirms *confirms); /* items without an answer */

/* basic.ack (good) or basic.nack of a number, or of all up to it (0: of all). False: there is no
 * such number, the server and we are out of step. */
bool must_check amqp_confirms_answer(struct amqp_confirms *confirms, uint64_t number, bool multiple,
				     bool good);
/* basic.return of the publication with this id: refused with `why`. */
void amqp_confirms_returned(struct amqp_confirms *confirms, const struct uuid *id, const char *why);
/* Nobody waits for the items any more; their numbers stay open until they are answered. */
void amqp_confirms_abandon(struct amqp_confirms *confirms);

/* Calls back for every item without an answer, oldest first. */
typedef void amqp_confirms_fn(void *ctx, struct publication *item);
void amqp_confirms_each(struct amqp_confirms *confirms, amqp_confirms_fn *fn, void *ctx);

#endif

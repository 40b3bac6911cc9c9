/* SPDX-License-Identifier: Apache-2.0 */
/* A RabbitMQ message's properties as a struct message: identity, time, headers as text, and why the
 * broker gave it up. Pure; used by amqp_tap.c. */
#ifndef CONSUMERS_SUBSCRIBE_AMQP_MESSAGE_H
#define CONSUMERS_SUBSCRIBE_AMQP_MESSAGE_H
#include "common/base/arena.h"
#include "common/broker/amqp_frame.h"
#include "common/broker/message.h"

/* Fills in everything but the body. `redelivered`: the delivery's flag. `dead`: it comes from the
 * dead-letter queue; elsewhere an x-death header only tells of somebody's delay queue. Texts are
 * copied into the arena. */
void amqp_message_read(const amqp_basic_properties_t *properties, bool redelivered, bool dead,
		       struct arena *arena, struct message *message_r);

#endif

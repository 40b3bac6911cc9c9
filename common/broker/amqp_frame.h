/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of AMQP 0-9-1 as bytes, by rabbitmq-c's codec. Of that library only the codec is used: its
 * connections wait for ever in several places (a publish, a message's body), so connections are
 * amqp_link.c's. Pure; one thread. */
#ifndef COMMON_BROKER_AMQP_FRAME_H
#define COMMON_BROKER_AMQP_FRAME_H
#include <sys/types.h>

#include <amqp.h>

#include "common/base/error.h"
#include "common/base/strbuf.h"

#define AMQP_FRAME_BYTES_MAX 131072 /* what we offer and take; RabbitMQ's own default */
#define AMQP_NAME_BYTES_MAX  255    /* of a queue, an exchange, a property */

/* Appends a frame. `method` is rabbitmq-c's struct for that id; its short strings must have at most
 * AMQP_NAME_BYTES_MAX bytes (else it is a bug). */
void amqp_put_method(struct strbuf *out, uint16_t channel, amqp_method_number_t id, void *method);
/* The header and body frames that follow a basic.publish. frame_max > 1000. */
void amqp_put_content(struct strbuf *out, uint16_t channel,
		      const amqp_basic_properties_t *properties, const char *body, size_t bytes,
		      size_t frame_max);
void amqp_put_heartbeat(struct strbuf *out);

/* Decodes the first frame of data: > 0: so many bytes it has; 0: it is not all there; -1: this is
 * not AMQP (ERROR_INVALID), the connection must be dropped. A method's and a header's parts live in
 * the pool, texts and bodies in data. */
ssize_t amqp_get_frame(const char *data, size_t bytes, size_t frame_max, amqp_pool_t *pool,
		       amqp_frame_t *frame_r, struct error *err_r) must_check;

amqp_bytes_t amqp_text(const char *text); /* lends; NULL is empty */
bool amqp_text_is(amqp_bytes_t bytes, const char *text);
/* A table's entry of that name, or NULL. */
const amqp_field_value_t *amqp_table_find(const amqp_table_t *table, const char *name);

#endif

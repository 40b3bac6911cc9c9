/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/2 connection: nghttp2's session over a socket, and the limits that keep one client from
 * holding up the others. Knows streams, not what gRPC makes of them. Everything on the loop's
 * thread. */
#ifndef PRODUCERS_GRPC_GRPC_LINK_H
#define PRODUCERS_GRPC_GRPC_LINK_H
#include <stdbool.h>
#include <stdint.h>

#include "producers/grpc/grpc_loop.h"

#define GRPC_STREAMS_MAX     1000
#define GRPC_HEAD_BYTES_MAX  (16 * 1024) /* names, values and 32 for each field */
#define GRPC_HEAD_FIELDS_MAX 100
#define GRPC_HANDSHAKE_MS    10000  /* until the client's preface, TLS included */
#define GRPC_IDLE_MS         300000 /* without a call: the client is sent away, and comes again */
#define GRPC_SILENCE_MS      60000  /* then it is asked whether it is there */
#define GRPC_PING_ANSWER_MS  20000
#define GRPC_WRITE_STALL_MS  30000 /* somebody who takes nothing of what it is sent */
#define GRPC_STRIKES_MAX     1000  /* frames that cost us work and bring nothing */
#define GRPC_STRIKES_BACK_S  100   /* so many are forgiven in a second */

struct grpc_call;
struct grpc_link;

/* Takes the descriptor. */
void grpc_link_open(struct grpc_loop *loop, int fd);
/* The descriptor is ready. */
void grpc_link_ready(struct grpc_link *link, unsigned events);
/* Sends what there is, and frees a link that is over. At the end of a turn of the loop. */
void grpc_link_settle(struct list *in_dirty);
/* No new calls; a second time: none at all after those that are known. */
void grpc_link_drain(struct grpc_link *link);
void grpc_link_free(struct grpc_link *link);
struct grpc_link *grpc_link_at(struct list *in_links); /* whose place in loop->links this is */

struct grpc_loop *grpc_link_loop(const struct grpc_link *link);
struct list *grpc_link_calls(struct grpc_link *link);

/* ---- for calls. They return nothing: a session that fails is closed at the turn's end. */
struct grpc_trailers {
	const char *code;              /* "5" */
	const char *message, *details; /* or NULL */
};
/* Head of an answer; body bytes are then asked for by grpc_call_read. */
void grpc_link_answer(struct grpc_link *link, int32_t stream);
/* Head and end in one: `http_status` and, when it is 200, the trailers. */
void grpc_link_refuse(struct grpc_link *link, int32_t stream, int http_status,
		      const struct grpc_trailers *trailers);
void grpc_link_end(struct grpc_link *link, int32_t stream, const struct grpc_trailers *trailers);
void grpc_link_resume(struct grpc_link *link,
		      int32_t stream);                        /* there is something to read again */
void grpc_link_reset(struct grpc_link *link, int32_t stream); /* as cancelled */

#endif

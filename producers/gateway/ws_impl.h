/* SPDX-License-Identifier: Apache-2.0 */
/* For the files ws*.c only: the loop's and a socket's insides. */
#ifndef PRODUCERS_GATEWAY_WS_IMPL_H
#define PRODUCERS_GATEWAY_WS_IMPL_H
#include <pthread.h>
#include <stdatomic.h>

#include "common/base/strbuf.h"
#include "common/http/server.h"
#include "producers/gateway/ws.h"
#include "producers/gateway/ws_protocol.h"

#define WS_PING_MS       30000 /* between pings */
#define WS_SILENCE_MS    50000 /* without a frame: it is gone */
#define WS_CLOSE_MS      3000  /* for the other side to close as well */
#define WS_STUCK_MS      20000 /* bytes wait and none is taken */
#define WS_FULL_BYTES    (256 * 1024)
#define WS_QUEUE_MAX     (16 * 1024 * 1024) /* what was asked is answered beyond FULL */
#define WS_TURN_BYTES    (64 * 1024)        /* read of one socket before others have their turn */
#define WS_MESSAGE_EXTRA 8192               /* over a job's body: what a message says beside it */

struct wslay_event_context;

struct ws {
	struct gateway *gateway;
	size_t sockets_max;
	_Atomic size_t count;
	_Atomic bool draining, stopping, look_now;
	int epoll, wakes; /* wakes: an eventfd */
	pthread_t thread;
	pthread_mutex_t lock; /* guards errands, their links and `sent` */
	struct list errands;
	/* the thread's own */
	struct list sockets;
	struct list touched; /* sockets that have their turn though nothing came */
	int64_t looked_ms;
	struct strbuf text, out; /* the message in hand; what is sent at once */
	struct metric_series *gauge, *in, *out_count;
};

struct ws_socket {
	struct list link, touched; /* ws->sockets, ws->touched */
	struct ws *ws;
	const struct ws_protocol *protocol;
	struct ws_errand adopt;
	struct upgraded *upgraded;
	struct wslay_event_context *frames;
	char *authorization, *watch_token; /* or NULL */
	size_t extra_read;                 /* of upgraded->extra */
	size_t turn_bytes;                 /* read in this turn */
	size_t underway;                   /* references beside the loop's own */
	char *rest;                        /* made into frames and not taken yet; or NULL */
	size_t rest_bytes, rest_sent;
	uint32_t events;             /* that epoll looks for */
	int64_t heard_ms, pinged_ms; /* bytes came, a ping was sent */
	int64_t unsent_since_ms;     /* bytes wait and none was taken since; 0: none wait */
	int64_t closing_ms;          /* a side has begun to close; 0: none has */
	int close_code;              /* to be queued behind the messages; 0: none */
	char close_reason[124];
	const char *why; /* it ends; or NULL: see ws_socket_why */
	bool linked;     /* in ws->sockets: the loop has it */
	bool failed;     /* nothing can be read or written */
	bool was_full, shut, half_code;
	_Alignas(16) char user[];
};

/* ws_socket.c: frames. */
struct ws_socket *ws_socket_new(struct ws *ws, const struct ws_protocol *protocol);
void ws_socket_begin(struct ws_socket *socket); /* its descriptor is there */
void ws_socket_free(struct ws_socket *socket);
/* Takes what came and sends what waits. False: it is over. */
bool ws_socket_turn(struct ws_socket *socket, bool readable);
/* Time-outs and pings. False: it is over. */
bool ws_socket_look(struct ws_socket *socket, int64_t now_ms);
const char *ws_socket_why(const struct ws_socket *socket); /* it is over */
bool ws_socket_wants_read(struct ws_socket *socket);
bool ws_socket_wants_write(struct ws_socket *socket);

/* ws.c */
/* The server's word: `socket` is a new ws_socket, which is the loop's from now on. Any thread. */
void ws_adopt(struct upgraded *upgraded, void *socket);
void ws_touch(struct ws_socket *socket); /* it has its turn soon; the loop's thread */

#endif

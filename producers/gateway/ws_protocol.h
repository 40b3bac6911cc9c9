/* SPDX-License-Identifier: Apache-2.0 */
/* What is spoken over a WebSocket, and what a protocol may ask of its socket. A protocol turns text
 * messages into inner requests and watches, and what comes of those into text messages; frames,
 * pings, limits, closing and time-outs are the loop's (ws.h). One thread runs all sockets of a
 * gateway: every function of a protocol is called there and must not block. */
#ifndef PRODUCERS_GATEWAY_WS_PROTOCOL_H
#define PRODUCERS_GATEWAY_WS_PROTOCOL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"
#include "producers/gateway/gateway.h"

struct exchange;
struct ws_socket;

/* The close codes that we send by name; the others are RFC 6455's own affair. */
enum ws_close_code {
	WS_CLOSE_NORMAL = 1000,
	WS_CLOSE_AWAY = 1001, /* the gateway stops: connect to another one */
	WS_CLOSE_UNSUPPORTED = 1003,
	WS_CLOSE_POLICY = 1008,
	WS_CLOSE_LATER = 1013,
};

struct ws_protocol {
	const char *name;  /* as in Sec-WebSocket-Protocol; NULL: for those who ask for none */
	size_t user_bytes; /* zeroed, see ws_socket_user */
	void (*opened)(struct ws_socket *socket);
	/* A text message: valid UTF-8, text[bytes] is 0, not longer than a job's body and a bit. */
	void (*came)(struct ws_socket *socket, const char *text, size_t bytes);
	/* There is room to send again, after ws_socket_full said that there was none. */
	void (*drained)(struct ws_socket *socket);
	void (*second)(struct ws_socket *socket, int64_t now_ms); /* about once a second */
	/* The last call. Ends its watches; what it has asked comes back to it in ws_errands all the
	 * same, and ws_socket_open says no then. */
	void (*closed)(struct ws_socket *socket);
};

/* For the handler of a GET route that takes upgrades: checks the handshake and Origin, and
 * Authorization or ?token= if there is one; upgrades, or refuses (426, 400, 403, 401, 503). Ends
 * the step. The client's first choice among the protocols is spoken; if it names none of them, the
 * one without a name, or it is refused. */
void ws_take(struct exchange *exchange, const struct ws_protocol *const *protocols, size_t count);

/* ---- on the loop's thread */
void *ws_socket_user(struct ws_socket *socket);
struct gateway *ws_socket_gateway(const struct ws_socket *socket);
/* "Bearer …" for inner requests, NULL: none was given. It was good at the handshake, or when it was
 * set; a protocol that takes it in a message sets it. */
const char *ws_socket_authorization(const struct ws_socket *socket);
void ws_socket_authorize(struct ws_socket *socket, const char *authorization);
/* ?token= that is neither a key nor a JWT: it must be a watch token. Or NULL. */
const char *ws_socket_watch_token(const struct ws_socket *socket);
/* May more be said? False from the moment that a side has begun to close. */
bool ws_socket_open(const struct ws_socket *socket);
void ws_socket_send(struct ws_socket *socket, const char *text, size_t bytes); /* copied */
/* Is so much unsent that nothing should be added of one's own accord? */
bool ws_socket_full(struct ws_socket *socket);
/* code is one that may be sent (1000 to 1013, 3000 to 4999); reason is at most 123 bytes; `why`, a
 * word that lives for ever, is how metrics count it. Once; later ones do nothing. */
void ws_socket_close(struct ws_socket *socket, int code, const char *reason, const char *why);
/* A reference for something under way (an inner request): the memory stays, reading pauses when
 * there are many, a drain waits for them. */
#define WS_UNDERWAY_MAX 32
void ws_socket_take(struct ws_socket *socket);
void ws_socket_give(struct ws_socket *socket);
size_t ws_socket_underway(const struct ws_socket *socket);

/* ---- a way back to the loop's thread */
struct ws_errand;
typedef void ws_errand_fn(struct ws_errand *errand);
struct ws_errand { /* lies in the sender's memory; zeroed, `run` filled in */
	ws_errand_fn *run;
	struct list link; /* the loop's, as is this: */
	bool sent;
};
/* Any thread, never blocks: `run` is called on the loop's thread. The socket is open or taken. An
 * errand that is on its way already is not sent twice. */
void ws_errand_send(struct ws_socket *socket, struct ws_errand *errand);
/* On the loop's thread: it is not run any more, unless it is sent again. */
void ws_errand_drop(struct ws_socket *socket, struct ws_errand *errand);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One WebSocket: libwslay for the frames, what is read and written, time-outs. libwslay checks what
 * RFC 6455 asks of a client (masks, reserved bits, lengths, UTF-8, close codes) and answers pings
 * and closes; here are the limits. Everything on the loop's thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wslay/wslay.h>

#include "common/base/clock.h"
#include "common/service/metrics.h"
#include "producers/gateway/ws_impl.h"

#define OUT_BYTES      (64 * 1024) /* sent in one call */
#define QUEUED_MAX     1000        /* messages that wait: pongs of one who does not read, too */
#define REASON_MAX     123
#define DISCARD_ROUNDS 16

/* ---- bytes */

static ssize_t take_extra(struct ws_socket *socket, uint8_t *to, size_t bytes)
{
	size_t left = socket->upgraded->extra_bytes - socket->extra_read;

	if (bytes > left)
		bytes = left;
	memcpy(to, socket->upgraded->extra + socket->extra_read, bytes);
	socket->extra_read += bytes;
	return (ssize_t)bytes;
}

static ssize_t on_recv(wslay_event_context_ptr frames, uint8_t *to, size_t bytes, int flags,
		       void *socket_)
{
	struct ws_socket *socket = socket_;
	ssize_t got;

	(void)flags;
	if (socket->extra_read < socket->upgraded->extra_bytes)
		return take_extra(socket, to, bytes);
	if (socket->turn_bytes >= WS_TURN_BYTES || !ws_socket_wants_read(socket)) {
		wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	got = recv(socket->upgraded->fd, to, bytes, MSG_DONTWAIT);
	if (got > 0) {
		socket->heard_ms = clock_mono_ms();
		socket->turn_bytes += (size_t)got;
		return got;
	}
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
		wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	socket->failed = true;
	wslay_event_set_error(frames, WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

/* A frame whose head is wrong, or half a code, makes libwslay close without one. */
static const uint8_t bare_close[] = { 0x88, 0 };
static const uint8_t protocol_error[] = { 0x88, 2, 0x03, 0xea };

static bool is_bare_close(const struct ws_socket *socket, const uint8_t *data, size_t bytes)
{
	return bytes == sizeof(bare_close) && memcmp(data, bare_close, bytes) == 0 &&
	       (socket->half_code || (!wslay_event_get_read_enabled(socket->frames) &&
				      !wslay_event_get_close_received(socket->frames)));
}

/* Frames are gathered and sent together: libwslay hands out each head alone. */
static ssize_t on_send(wslay_event_context_ptr frames, const uint8_t *data, size_t bytes, int flags,
		       void *socket_)
{
	struct ws_socket *socket = socket_;
	struct strbuf *out = &socket->ws->out;

	(void)flags;
	if (out->len >= OUT_BYTES) {
		wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (is_bare_close(socket, data, bytes))
		strbuf_add(out, protocol_error, sizeof(protocol_error));
	else
		strbuf_add(out, data, bytes);
	return (ssize_t)bytes;
}

/* How many of these bytes were taken, or -1. */
static ssize_t put(struct ws_socket *socket, const char *data, size_t bytes)
{
	ssize_t sent = send(socket->upgraded->fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		sent = 0;
	if (sent > 0)
		socket->unsent_since_ms = 0;
	if (sent >= 0 && (size_t)sent < bytes && socket->unsent_since_ms == 0)
		socket->unsent_since_ms = clock_mono_ms();
	return sent;
}

/* False: the other side is gone. */
static bool put_rest(struct ws_socket *socket)
{
	ssize_t sent = put(socket, socket->rest + socket->rest_sent,
			   socket->rest_bytes - socket->rest_sent);

	if (sent < 0)
		return false;
	socket->rest_sent += (size_t)sent;
	if (socket->rest_sent == socket->rest_bytes) {
		free(socket->rest);
		socket->rest = NULL;
		socket->rest_bytes = socket->rest_sent = 0;
	}
	return true;
}

static bool put_out(struct ws_socket *socket)
{
	struct strbuf *out = &socket->ws->out;
	ssize_t sent = put(socket, out->data, out->len);

	if (sent < 0)
		return false;
	if ((size_t)sent < out->len) {
		socket->rest_bytes = out->len - (size_t)sent;
		socket->rest = xmalloc(socket->rest_bytes);
		memcpy(socket->rest, out->data + sent, socket->rest_bytes);
	}
	return true;
}

static size_t unsent_bytes(const struct ws_socket *socket)
{
	return wslay_event_get_queued_msg_length(socket->frames) + socket->rest_bytes -
	       socket->rest_sent;
}

/* A close frame overtakes what is queued, so it is queued last. */
static void queue_close(struct ws_socket *socket)
{
	if (socket->close_code == 0 || socket->rest ||
	    wslay_event_get_queued_msg_count(socket->frames) > 0)
		return;
	wslay_event_queue_close(socket->frames, (uint16_t)socket->close_code,
				(const uint8_t *)socket->close_reason,
				strlen(socket->close_reason));
	socket->close_code = 0;
}

static bool flush(struct ws_socket *socket)
{
	if (socket->rest && !put_rest(socket))
		return false;
	queue_close(socket);
	while (!socket->rest && wslay_event_want_write(socket->frames)) {
		strbuf_clear(&socket->ws->out);
		if (wslay_event_send(socket->frames) != 0)
			return false;
		if (socket->ws->out.len == 0)
			break;
		if (!put_out(socket))
			return false;
		queue_close(socket);
	}
	return true;
}

/* ---- messages */

static void on_message(wslay_event_context_ptr frames,
		       const struct wslay_event_on_msg_recv_arg *message, void *socket_)
{
	struct ws_socket *socket = socket_;
	struct strbuf *text = &socket->ws->text;

	(void)frames;
	if (message->opcode == WSLAY_CONNECTION_CLOSE) {
		socket->half_code = message->msg_length == 1;
		if (socket->closing_ms == 0)
			socket->closing_ms = clock_mono_ms();
	}
	if (!ws_socket_open(socket))
		return;
	if (message->opcode == WSLAY_BINARY_FRAME)
		ws_socket_close(socket, WS_CLOSE_UNSUPPORTED, "only text is spoken here",
				"protocol");
	if (message->opcode != WSLAY_TEXT_FRAME)
		return;
	metric_add(socket->ws->in, 1);
	strbuf_clear(text);
	if (message->msg_length > 0)
		strbuf_add(text, message->msg, message->msg_length);
	socket->protocol->came(socket, text->data, text->len);
}

void ws_socket_send(struct ws_socket *socket, const char *text, size_t bytes)
{
	struct wslay_event_msg message = { .opcode = WSLAY_TEXT_FRAME,
					   .msg = (const uint8_t *)text,
					   .msg_length = bytes };

	if (!ws_socket_open(socket))
		return;
	if (wslay_event_queue_msg(socket->frames, &message) != 0)
		return; /* it has begun to close by itself */
	metric_add(socket->ws->out_count, 1);
	ws_touch(socket);
}

bool ws_socket_full(struct ws_socket *socket)
{
	if (unsent_bytes(socket) < WS_FULL_BYTES &&
	    wslay_event_get_queued_msg_count(socket->frames) < QUEUED_MAX)
		return false;
	socket->was_full = true;
	return true;
}

bool ws_socket_open(const struct ws_socket *socket)
{
	return socket->linked && !socket->failed && socket->closing_ms == 0 &&
	       !wslay_event_get_close_received(socket->frames) &&
	       wslay_event_get_write_enabled(socket->frames);
}

void ws_socket_close(struct ws_socket *socket, int code, const char *reason, const char *why)
{
	if (!ws_socket_open(socket))
		return;
	CHECK(strlen(reason) <= REASON_MAX);
	socket->close_code = code;
	snprintf(socket->close_reason, sizeof(socket->close_reason), "%s", reason);
	socket->why = why;
	socket->closing_ms = clock_mono_ms();
	ws_touch(socket);
}

/* ---- reading and writing in turn */

/* We have said why not, and what still comes is thrown away: closing over unread bytes would take
 * our last words from the client. */
static bool is_lingering(const struct ws_socket *socket)
{
	return !socket->rest && wslay_event_get_close_sent(socket->frames) &&
	       !wslay_event_get_read_enabled(socket->frames) &&
	       !wslay_event_get_close_received(socket->frames);
}

static bool discard(struct ws_socket *socket)
{
	char bytes[4096];
	ssize_t got = 1;

	if (!socket->shut)
		shutdown(socket->upgraded->fd, SHUT_WR);
	socket->shut = true;
	for (int i = 0; i < DISCARD_ROUNDS && got > 0; i++)
		got = recv(socket->upgraded->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	return got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
}

bool ws_socket_wants_read(struct ws_socket *socket)
{
	if (is_lingering(socket))
		return true;
	if (!wslay_event_want_read(socket->frames))
		return false;
	if (socket->closing_ms)
		return true;
	return socket->underway < WS_UNDERWAY_MAX && !atomic_load(&socket->ws->draining) &&
	       !ws_socket_full(socket);
}

bool ws_socket_wants_write(struct ws_socket *socket)
{
	return socket->rest || wslay_event_want_write(socket->frames);
}

static bool is_over(struct ws_socket *socket)
{
	if (socket->failed)
		return true;
	return !socket->rest && wslay_event_get_close_sent(socket->frames) &&
	       wslay_event_get_close_received(socket->frames);
}

static void close_if_drained(struct ws_socket *socket)
{
	if (atomic_load(&socket->ws->draining) && socket->underway == 0)
		ws_socket_close(socket, WS_CLOSE_AWAY, "this gateway is being stopped", "drain");
}

bool ws_socket_turn(struct ws_socket *socket, bool readable)
{
	socket->turn_bytes = 0;
	close_if_drained(socket);
	if (readable && !is_lingering(socket) && ws_socket_wants_read(socket) &&
	    wslay_event_recv(socket->frames) != 0)
		socket->failed = true;
	if (!flush(socket))
		socket->failed = true;
	/* a fault of the client's: libwslay has queued the close */
	if (!wslay_event_get_read_enabled(socket->frames) && socket->closing_ms == 0)
		socket->closing_ms = clock_mono_ms();
	if (is_over(socket) || (is_lingering(socket) && !discard(socket)))
		return false;
	if (socket->was_full && !ws_socket_full(socket)) {
		socket->was_full = false;
		if (ws_socket_open(socket))
			socket->protocol->drained(socket);
	}
	return true;
}

const char *ws_socket_why(const struct ws_socket *socket)
{
	if (socket->why)
		return socket->why;
	switch (wslay_event_get_status_code_sent(socket->frames)) {
	case WSLAY_CODE_MESSAGE_TOO_BIG:
		return "too-big";
	case WSLAY_CODE_PROTOCOL_ERROR:
	case WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA:
		return "protocol";
	case WSLAY_CODE_NO_STATUS_RCVD:
		return wslay_event_get_close_received(socket->frames) ? "client" : "protocol";
	default:
		return wslay_event_get_close_received(socket->frames) ? "client" : "lost";
	}
}

static bool end(struct ws_socket *socket, const char *why)
{
	if (!socket->why)
		socket->why = why;
	return false;
}

bool ws_socket_look(struct ws_socket *socket, int64_t now_ms)
{
	struct wslay_event_msg ping = { .opcode = WSLAY_PING };

	if (socket->closing_ms && now_ms - socket->closing_ms > WS_CLOSE_MS)
		return end(socket, ws_socket_why(socket));
	if (socket->unsent_since_ms && now_ms - socket->unsent_since_ms > WS_STUCK_MS)
		return end(socket, "slow");
	if (unsent_bytes(socket) > WS_QUEUE_MAX)
		return end(socket, "slow");
	if (now_ms - socket->heard_ms > WS_SILENCE_MS && ws_socket_wants_read(socket))
		return end(socket, "silent");
	if (!ws_socket_open(socket))
		return true;
	close_if_drained(socket);
	if (now_ms - socket->pinged_ms >= WS_PING_MS) {
		socket->pinged_ms = now_ms;
		wslay_event_queue_msg(socket->frames, &ping);
		ws_touch(socket);
	}
	socket->protocol->second(socket, now_ms);
	return true;
}

/* ---- life */

struct ws_socket *ws_socket_new(struct ws *ws, const struct ws_protocol *protocol)
{
	struct ws_socket *socket = xcalloc(1, sizeof(*socket) + protocol->user_bytes);

	socket->ws = ws;
	socket->protocol = protocol;
	list_init(&socket->link);
	list_init(&socket->touched);
	return socket;
}

void ws_socket_begin(struct ws_socket *socket)
{
	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = on_recv,
		.send_callback = on_send,
		.on_msg_recv_callback = on_message,
	};
	size_t body_max = (size_t)socket->ws->gateway->settings->body_bytes_max;

	CHECK(wslay_event_context_server_init(&socket->frames, &callbacks, socket) == 0);
	wslay_event_config_set_max_recv_msg_length(socket->frames, body_max + WS_MESSAGE_EXTRA);
	socket->heard_ms = socket->pinged_ms = clock_mono_ms();
}

void ws_socket_free(struct ws_socket *socket)
{
	CHECK(!socket->linked && socket->underway == 0);
	if (socket->frames)
		wslay_event_context_free(socket->frames);
	free(socket->rest);
	free(socket->authorization);
	free(socket->watch_token);
	free(socket);
}

/* ---- what protocols ask */

void *ws_socket_user(struct ws_socket *socket)
{
	return socket->user;
}

struct gateway *ws_socket_gateway(const struct ws_socket *socket)
{
	return socket->ws->gateway;
}

const char *ws_socket_authorization(const struct ws_socket *socket)
{
	return socket->authorization;
}

void ws_socket_authorize(struct ws_socket *socket, const char *authorization)
{
	free(socket->authorization);
	socket->authorization = xstrdup(authorization);
}

const char *ws_socket_watch_token(const struct ws_socket *socket)
{
	return socket->watch_token;
}

void ws_socket_take(struct ws_socket *socket)
{
	socket->underway++;
}

size_t ws_socket_underway(const struct ws_socket *socket)
{
	return socket->underway;
}

void ws_socket_give(struct ws_socket *socket)
{
	CHECK(socket->underway > 0);
	socket->underway--;
	if (socket->linked)
		ws_touch(socket);
	else if (socket->underway == 0)
		ws_socket_free(socket);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1.1 server: libmicrohttpd behind plain types. A request is a chain of steps that run on
 * the server's threads; a step either answers or parks the request and gives it to another thread,
 * which wakes it for the next step. So the request's memory has one user at a time and nobody on a
 * server thread ever waits.
 *
 * What reaches a step has passed the guard: one well-formed head of at most 16 KiB and 100 fields,
 * lines ended by CRLF, one Host, one unambiguous body length. Everything else was refused with a
 * problem document or by closing. */
#ifndef COMMON_HTTP_SERVER_H
#define COMMON_HTTP_SERVER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/strbuf.h"
#include "common/http/problem.h"
#include "common/http/target.h"
#include "common/http/tls_pair.h"

#define SERVER_HEAD_BYTES_MAX   (16 * 1024)
#define SERVER_TARGET_BYTES_MAX (8 * 1024)
#define SERVER_HEADERS_MAX      100
#define SERVER_HEAD_TIMEOUT_MS  10000 /* from the connection's start to its first complete head */
#define SERVER_BODY_TIMEOUT_MS \
	30000 /* from head to the body's last byte, and for sending the answer */
#define SERVER_IDLE_TIMEOUT_MS 60000 /* between requests of one connection */

struct server;
struct request;

struct upgraded;

typedef void request_step_fn(struct request *request, void *ctx);
/* The connection is no HTTP any more and the socket's owner is whoever is called; NULL: the client
 * has left before. On the connection's thread; must not block. */
typedef void request_upgraded_fn(struct upgraded *socket, void *owner);

struct server_options {
	const char *listen; /* "127.0.0.1:8080", "[::1]:8080"; port 0: any */
	int threads;        /* 1..64 */
	int connections_max;
	struct tls_pair *tls; /* NULL: plain HTTP, else TLS 1.2 or newer and nothing else */
	/* TLS: how long browsers shall remember to come with TLS only; 0: not said to them */
	int64_t hsts_s;
	size_t user_bytes; /* zeroed memory for the caller in each request, see request_user */
	/* head is in, the body is not: sets request_body_limit, or answers (a refusal) */
	request_step_fn *on_head;
	/* NULL, or: the guard refuses it; may add header fields. Method and target may be missing.
	 */
	request_step_fn *on_refused;
	request_step_fn *on_request; /* the body is in */
	request_step_fn
		*on_end; /* answered, or the client is gone: release what request_user holds */
	void *ctx;       /* for all of them */
};

/* Binds, listens and starts the threads. NULL: ERROR_INVALID (address), ERROR_UNAVAILABLE (cannot
 * bind). */
struct server *server_start(const struct server_options *options, struct error *err_r);
int server_port(const struct server *server);
size_t server_connections(const struct server *server); /* any thread */
size_t server_pending(
	const struct server *server); /* requests between head and end of answer; any thread */
/* What handshakes are shown from now on; only of a server that was started with one. Any thread. */
void server_change_pair(struct server *server, struct tls_pair *pair);
/* Takes no new connections; each answer from now on closes its connection. Any thread, does not
 * block. */
void server_drain(struct server *server);
/* Closes everything and ends the threads. Nothing may be parked any more. NULL-safe. */
void server_stop(struct server **server);
/* A listening socket, not blocking, and the port that it got. -1 as server_start. For listeners
 * that are not HTTP/1.1 as well. */
int server_open_listener(const char *listen, int *fd_r, int *port_r,
			 struct error *err_r) must_check;
/* Splits "host:port" or "[v6]:port"; host_r gets no brackets. False when it is neither or the port
 * is no number. */
bool server_split_address(const char *listen, char *host_r, size_t host_bytes, int *port_r);
/* Is the host of this listen address a loopback address (127.0.0.0/8, ::1, localhost)? */
bool server_is_loopback(const char *host);

/* ---- in a step: what the client said; strings live as long as the request */
const char *request_method(const struct request *request);
/* HEAD: answered like GET, the body is left out on the wire */
bool request_is_head(const struct request *request);
const struct target *request_target(const struct request *request);
const char *request_target_raw(const struct request *request);
const char *request_header(const struct request *request,
			   const char *name); /* first of that name, or NULL */
const char *request_body(const struct request *request,
			 size_t *bytes_r); /* NUL-terminated as well */
struct arena *request_arena(struct request *request);
void *request_user(struct request *request);
int64_t
request_started_ns(const struct request *request); /* monotonic, when the head was complete */
int request_status(
	const struct request *request); /* of the answer; for on_end; 0: none was given */

/* ---- in on_head */
/* Bodies above this are 413 before they are buffered. Default 0. */
void request_body_limit(struct request *request, size_t bytes);

/* What comes next of a stream, on the connection's thread, when all before it has gone to the
 * kernel: how many bytes were put into buffer (which has room for 100 at least), or one of these.
 */
enum {
	STREAM_QUIET = 0,   /* nothing now: asked again after request_stream_wake */
	STREAM_END = -1,    /* that was all */
	STREAM_BROKEN = -2, /* the connection ends, and the client sees that something is missing */
};
typedef long request_more_fn(struct request *request, char *buffer, size_t bytes_max);

/* ---- in a step: exactly one of these ends it (on_head may do none) */
/* Answers. Takes the memory of `body`, which is empty afterwards; NULL body: none. content_type
 * must be static. */
void request_answer(struct request *request, int status, const char *content_type,
		    struct strbuf *body);
void request_answer_static(struct request *request, int status, const char *content_type,
			   const char *body, size_t bytes);
/* A request without a connection has nowhere to send a stream to. */
bool request_may_stream(const struct request *request);
/* Answers with a stream whose length nobody knows. It may stay as long as it likes; a client that
 * takes nothing of what is there for SERVER_BODY_TIMEOUT_MS is cut off. */
void request_answer_stream(struct request *request, int status, const char *content_type,
			   request_more_fn *more);
/* Adds a header to the coming answer; name static, value is copied and must not hold CR or LF. */
void request_answer_header(struct request *request, const char *name, const char *value);
/* Answers with a problem document (instance is filled in from the target when NULL). */
void request_refuse(struct request *request, const struct problem *problem);
/* Suspends the request. Call it first, then give the pointer away; the next step runs after
 * request_wake. Not in on_head. */
void request_park(struct request *request, request_step_fn *next);

/* ---- leaving HTTP */
struct upgraded {
	int fd; /* non-blocking; with TLS not the client's own socket */
	size_t extra_bytes;
	void *handle; /* the server's */
	char extra[]; /* what came right behind the head; before all that is read from fd */
};
/* Does the client ask, as one has to, to go on with this protocol? */
bool request_upgrade_asked(const struct request *request, const char *protocol);
/* In a step, instead of an answer: 101 with the header fields that were added. Then `upgraded` is
 * called, once, and on_end. */
void request_upgrade(struct request *request, const char *protocol, request_upgraded_fn *upgraded,
		     void *owner);
/* Any thread. The server is not stopped before all of them are closed. NULL-safe. */
void upgraded_close(struct upgraded **socket);

/* ---- of a parked request, by whoever holds it */
void request_wake(
	struct request *request); /* exactly once a park; any thread; the pointer is given up */
bool request_gone(struct request *request); /* the client has closed its side */

/* ---- of a stream, by any thread, until on_end has returned */
void request_stream_wake(struct request *request); /* `more` is asked, if it was quiet */
/* Cuts the connection off; on_end follows, for a quiet one after request_stream_wake. */
void request_cut(struct request *request);

#endif

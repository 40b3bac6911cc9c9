/* SPDX-License-Identifier: Apache-2.0 */
/* For the files server*.c only: the server's insides, with libmicrohttpd's types. A connection
 * carries one request at a time, so the request lives in its connection and its arena is used again
 * by the next one. */
#ifndef COMMON_HTTP_SERVER_IMPL_H
#define COMMON_HTTP_SERVER_IMPL_H
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/base/list.h"
#include "common/http/server.h"
#include "common/http/server_inner.h"

/* what the warden's clock runs for */
enum connection_phase {
	PHASE_FRESH,  /* connected, no complete head yet */
	PHASE_IDLE,   /* between requests */
	PHASE_BODY,   /* from the head to the body's end */
	PHASE_STEPS,  /* in a step or parked: whoever holds it keeps the time */
	PHASE_ANSWER, /* being sent */
	PHASE_AWAY,   /* upgraded: no HTTP any more */
};

struct answer {
	int status; /* 0: none yet */
	const char *content_type;
	char *body; /* malloc'ed, or static */
	size_t bytes;
	bool body_static;
	struct {
		const char *name;
		const char *value;
	} headers[16];
	size_t header_count;
	request_more_fn *more; /* a stream, else NULL */
};

/* whether a stream's connection is suspended */
enum stream_state { STREAM_AWAKE, STREAM_ASLEEP, STREAM_WOKEN };

struct header {
	const char *name, *value;
	size_t value_bytes;
};

struct request_inner { /* of a request without a connection, see server_inner.h */
	struct server_options options;
	request_woken_fn *woken;
	void *owner;
	const _Atomic bool *gone;
};

struct request {
	struct server *server;
	struct MHD_Connection *connection;
	struct request_inner *inner; /* instead of these two; or NULL */
	struct arena *arena;
	void *user;
	/* head */
	bool open; /* head was seen, on_end is due */
	bool is_head;
	const char *method, *version;
	char *target_raw;         /* copied before libmicrohttpd takes it apart */
	const char *target_place; /* where it lay in the read buffer */
	bool target_too_long;
	struct target target;
	struct header headers[SERVER_HEADERS_MAX];
	size_t header_count;
	int64_t started_ns;
	/* body */
	uint64_t announced_bytes; /* Content-Length, or what has come so far */
	bool chunked;
	bool expects_continue;
	size_t body_limit;
	char *body;
	size_t body_bytes, body_cap;
	uint64_t discarded_bytes;
	/* steps */
	request_step_fn *next;
	bool parked; /* in this step */
	bool queued; /* the answer is libmicrohttpd's */
	bool doomed; /* the connection ends with this answer */
	struct answer answer;
	_Atomic int stream;            /* enum stream_state */
	request_upgraded_fn *upgraded; /* not called yet; NULL: an answer like others */
	void *upgrade_owner;
};

struct connection {
	struct list link; /* server->connections */
	int fd;
	struct tls_pair *pair; /* that its handshake was shown, or NULL */
	_Atomic int phase;
	_Atomic int64_t since_ms; /* when the phase began */
	struct request request;
};

struct server {
	struct server_options options;
	struct MHD_Daemon *daemon;
	int listen_fd, port;
	int silence_fd; /* an event that never comes: what listen_fd becomes in a drain */
	_Atomic bool draining;
	_Atomic size_t connection_count, pending_count;
	char hsts[48];         /* value of the header field, or "" */
	pthread_mutex_t lock;  /* guards connections, pair and warden_stops */
	struct tls_pair *pair; /* NULL: no TLS */
	struct list connections;
	pthread_t warden;
	pthread_cond_t warden_wakes;
	bool warden_stops;
};

/* server_guard.c: collects the head into the request and looks at it. True: fine; false: *problem_r
 * says why not. */
bool server_guard(struct request *request, struct problem *problem_r);

/* server_request.c: what libmicrohttpd calls. */
void *server_target_seen(void *server, const char *target, struct MHD_Connection *connection);
enum MHD_Result server_access(void *server, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *data_bytes, void **request);
void server_completed(void *server, struct MHD_Connection *connection, void **request,
		      enum MHD_RequestTerminationCode why);
void server_refuse_too_large(struct request *request); /* 413 */
/* What is due at a request's end, once. `socket`: it was upgraded; or NULL. */
void server_end_request(struct request *request, struct upgraded *socket);
void server_phase(struct connection *connection, enum connection_phase phase);
static inline struct connection *server_connection_of(struct request *request)
{
	return list_entry(request, struct connection, request);
}

/* server_tls.c: libmicrohttpd's options of the server's TLS, ended by MHD_OPTION_END. */
void server_tls_options(const struct server *server, struct MHD_OptionItem options_r[3]);
/* Beside libmicrohttpd, as much as goes at once; on the connection's thread. */
ssize_t server_tls_send(struct request *request, const char *text, size_t bytes);
bool server_tls_gone(int fd); /* has the client closed its side? */

/* server_stream.c: the answer that asks answer.more; NULL: no memory. */
struct MHD_Response *server_stream_response(struct request *request);
/* server_upgrade.c */
struct MHD_Response *server_upgrade_response(struct request *request);

/* server_warden.c: a thread that ends connections which are too slow. */
void *server_warden(void *server);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One request's way through the server: what libmicrohttpd calls, and what steps may do. All of it
 * runs on the thread of the request's connection (or the carrier's, server_inner.h) except
 * request_wake and request_gone. Never blocks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/http/server_impl.h"

/* So much of an unwanted body is read and thrown away, so that the client sees the refusal instead
 * of a reset. */
#define DISCARD_BYTES_MAX (1024 * 1024)

void server_phase(struct connection *connection, enum connection_phase phase)
{
	atomic_store_explicit(&connection->since_ms, clock_mono_ms(), memory_order_relaxed);
	atomic_store_explicit(&connection->phase, phase, memory_order_relaxed);
}

void *server_target_seen(void *server, const char *target, struct MHD_Connection *mhd)
{
	struct connection *connection =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	struct request *request = &connection->request;
	size_t bytes = target ? strlen(target) : 0;

	(void)server;
	request->connection = mhd;
	request->target_place = target;
	request->target_too_long = bytes > SERVER_TARGET_BYTES_MAX;
	if (target)
		request->target_raw = arena_strndup(request->arena, target, bytes);
	return request;
}

/* ---- the answer */

/* libmicrohttpd 0.9 ends the lines around chunks at a bare LF, too, where another implementation
 * may read on. So nothing that follows such a body is taken for a request. */
static bool ends_connection(const struct request *request)
{
	return request->doomed || request->chunked || atomic_load(&request->server->draining);
}

/* Names of this machine are left alone: what holds for one port of theirs holds for all. */
static bool tells_hsts(const struct request *request)
{
	const char *host = request_header(request, "Host");

	return request->server->hsts[0] && host && strncasecmp(host, "localhost", 9) != 0;
}

static bool add_headers(struct MHD_Response *response, const struct request *request)
{
	const struct answer *answer = &request->answer;
	bool ok = true;

	if (answer->content_type)
		ok &= MHD_add_response_header(response, "Content-Type", answer->content_type) ==
		      MHD_YES;
	for (size_t i = 0; i < answer->header_count; i++)
		ok &= MHD_add_response_header(response, answer->headers[i].name,
					      answer->headers[i].value) == MHD_YES;
	if (tells_hsts(request))
		ok &= MHD_add_response_header(response, "Strict-Transport-Security",
					      request->server->hsts) == MHD_YES;
	if (!request->upgraded && ends_connection(request))
		ok &= MHD_add_response_header(response, "Connection", "close") == MHD_YES;
	return ok;
}

static enum MHD_Result queue_answer(struct request *request)
{
	struct answer *answer = &request->answer;
	enum MHD_ResponseMemoryMode mode =
		answer->body_static ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE;
	struct MHD_Response *response;
	enum MHD_Result queued = MHD_NO;

	CHECK(answer->status && !request->queued);
	response = answer->more ? server_stream_response(request)
		   : request->upgraded
			   ? server_upgrade_response(request)
			   : MHD_create_response_from_buffer(answer->bytes, answer->body, mode);
	if (!response)
		return MHD_NO;
	request->queued = true;
	if (add_headers(response, request)) {
		server_phase(server_connection_of(request), PHASE_ANSWER);
		queued =
			MHD_queue_response(request->connection, (unsigned)answer->status, response);
	}
	MHD_destroy_response(response);
	return queued;
}

void request_answer(struct request *request, int status, const char *content_type,
		    struct strbuf *body)
{
	struct answer *answer = &request->answer;

	CHECK(answer->status == 0 && !request->parked);
	answer->status = status;
	if (body) {
		answer->content_type = content_type;
		answer->bytes = body->len;
		answer->body = strbuf_take(body);
	}
}

void request_answer_static(struct request *request, int status, const char *content_type,
			   const char *body, size_t bytes)
{
	struct answer *answer = &request->answer;

	CHECK(answer->status == 0 && !request->parked);
	answer->status = status;
	answer->content_type = content_type;
	answer->body_static = true;
	answer->bytes = bytes;
	memcpy(&answer->body, &body,
	       sizeof(body)); /* libmicrohttpd wants it without const, and only reads it */
}

void request_answer_header(struct request *request, const char *name, const char *value)
{
	struct answer *answer = &request->answer;

	CHECK(answer->header_count < ARRAY_LEN(answer->headers));
	CHECK(strpbrk(value, "\r\n") == NULL);
	answer->headers[answer->header_count].name = name;
	answer->headers[answer->header_count++].value = arena_strdup(request->arena, value);
}

void request_refuse(struct request *request, const struct problem *problem)
{
	struct problem whole = *problem;
	struct strbuf body;

	/* Without the query: it may hold a token. */
	if (!whole.instance && request->target_raw && !request->target_too_long)
		whole.instance = arena_strndup(request->arena, request->target_raw,
					       strcspn(request->target_raw, "?"));
	strbuf_init(&body);
	problem_write(&whole, &body);
	request_answer(request, whole.status, PROBLEM_CONTENT_TYPE, &body);
	strbuf_release(&body);
}

/* ---- head and body */

void server_refuse_too_large(struct request *request)
{
	struct problem problem = { .status = 413, .slug = "body-too-large" };

	problem.detail = arena_printf(request->arena,
				      "the body is larger than the %zu bytes that are taken here",
				      request->body_limit);
	request_refuse(request, &problem);
}

static void begin_body(struct request *request)
{
	bool body = request->chunked || request->announced_bytes > 0;

	if (!request->answer.status && !request->chunked &&
	    request->announced_bytes > request->body_limit)
		server_refuse_too_large(request);
	if (!request->answer.status && request->announced_bytes > 0) {
		request->body_cap = (size_t)request->announced_bytes + 1;
		request->body = arena_alloc(request->arena, request->body_cap);
	}
	server_phase(server_connection_of(request), body ? PHASE_BODY : PHASE_STEPS);
}

/* True: the refusal goes out at once and the connection ends; else what comes is thrown away first.
 */
static bool answer_at_once(struct request *request)
{
	if (!request->answer.status)
		return false;
	if (request->doomed || request->announced_bytes > DISCARD_BYTES_MAX)
		return true;
	return request->expects_continue && (request->chunked || request->announced_bytes > 0);
}

static enum MHD_Result begin(struct request *request, const char *method, const char *version)
{
	const struct server_options *options = &request->server->options;
	struct problem problem;

	request->open = true;
	request->method = method;
	request->version = version;
	request->is_head = strcmp(method, "HEAD") == 0;
	request->started_ns = clock_mono_ns();
	atomic_fetch_add(&request->server->pending_count, 1);
	if (!server_guard(request, &problem)) {
		request->doomed = true;
		if (options->on_refused)
			options->on_refused(request, options->ctx);
		request_refuse(request, &problem);
	} else {
		options->on_head(request, options->ctx);
		CHECK(!request->parked);
	}
	begin_body(request);
	if (answer_at_once(request)) {
		request->doomed = true;
		return queue_answer(request);
	}
	return MHD_YES;
}

static void grow_body(struct request *request, size_t need)
{
	size_t cap = request->body_cap ? request->body_cap * 2 : 4096;
	char *grown;

	if (need < request->body_cap)
		return;
	while (cap <= need)
		cap *= 2;
	grown = arena_alloc(request->arena, cap);
	if (request->body_bytes)
		memcpy(grown, request->body, request->body_bytes);
	request->body = grown;
	request->body_cap = cap;
}

/* libmicrohttpd takes an answer before the first byte of a body or after its last. A client that
 * goes on sending gets the refusal written beside it, and the connection ends. */
static enum MHD_Result cut_off(struct request *request)
{
	static const char text[] =
		"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

	size_t bytes = sizeof(text) - 1;
	ssize_t sent = request->server->pair ? server_tls_send(request, text, bytes)
					     : send(server_connection_of(request)->fd, text, bytes,
						    MSG_DONTWAIT | MSG_NOSIGNAL);

	(void)sent; /* best effort: it is refused either way */
	return MHD_NO;
}

static enum MHD_Result take_body(struct request *request, const char *data, size_t *data_bytes)
{
	size_t bytes = *data_bytes;

	*data_bytes = 0;
	if (!request->answer.status && request->body_bytes + bytes > request->body_limit)
		server_refuse_too_large(request);
	if (request->answer.status) {
		request->discarded_bytes += bytes;
		return request->discarded_bytes > 2 * DISCARD_BYTES_MAX ? cut_off(request)
									: MHD_YES;
	}
	grow_body(request, request->body_bytes + bytes);
	memcpy(request->body + request->body_bytes, data, bytes);
	request->body_bytes += bytes;
	return MHD_YES;
}

static enum MHD_Result run_step(struct request *request)
{
	const struct server_options *options = &request->server->options;
	request_step_fn *step = request->next ? request->next : options->on_request;

	request->parked = false;
	request->next = NULL;
	if (!request->answer.status) {
		if (step == options->on_request) {
			server_phase(server_connection_of(request), PHASE_STEPS);
			if (request->body)
				request->body[request->body_bytes] = 0;
		}
		step(request, options->ctx);
	}
	if (request->parked)
		return MHD_YES;
	CHECK(request->answer.status);
	return queue_answer(request);
}

enum MHD_Result server_access(void *server, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *data_bytes, void **request_)
{
	struct request *request = *request_;

	(void)server;
	(void)url;
	CHECK(request && request->connection == connection);
	if (!request->open)
		return begin(request, method, version);
	if (request->queued)
		return MHD_YES;
	if (*data_bytes > 0)
		return take_body(request, data, data_bytes);
	return run_step(request);
}

void server_end_request(struct request *request, struct upgraded *socket)
{
	struct server *server = request->server;

	if (!request->open)
		return;
	request->open = false;
	if (request->upgraded)
		request->upgraded(socket, request->upgrade_owner);
	server->options.on_end(request, server->options.ctx);
	atomic_fetch_sub(&server->pending_count, 1);
}

void server_completed(void *server_, struct MHD_Connection *mhd, void **request_,
		      enum MHD_RequestTerminationCode why)
{
	struct server *server = server_;
	struct request *request = *request_;

	(void)mhd;
	(void)why;
	if (!request)
		return;
	server_end_request(request, NULL);
	if (!request->queued && !request->answer.body_static)
		free(request->answer.body);
	struct arena *arena = request->arena;
	void *user = request->user;
	size_t rest = offsetof(struct request, header_count);

	arena_reset(arena);
	memset(user, 0, server->options.user_bytes);
	memset(request, 0, offsetof(struct request, headers));
	request->server = server;
	request->arena = arena;
	request->user = user;
	memset((char *)request + rest, 0, sizeof(*request) - rest);
	server_phase(server_connection_of(request), PHASE_IDLE);
	*request_ = NULL;
}

/* ---- what steps ask */

const char *request_method(const struct request *request)
{
	return request->method;
}

bool request_is_head(const struct request *request)
{
	return request->is_head;
}

const struct target *request_target(const struct request *request)
{
	return &request->target;
}

const char *request_target_raw(const struct request *request)
{
	return request->target_raw;
}

const char *request_header(const struct request *request, const char *name)
{
	for (size_t i = 0; i < request->header_count; i++) {
		const char *have = request->headers[i].name;
		if ((have[0] | 0x20) == (name[0] | 0x20) && strcasecmp(have, name) == 0)
			return request->headers[i].value;
	}
	return NULL;
}

const char *request_body(const struct request *request, size_t *bytes_r)
{
	*bytes_r = request->body_bytes;
	return request->body_bytes ? request->body : "";
}

struct arena *request_arena(struct request *request)
{
	return request->arena;
}

void *request_user(struct request *request)
{
	return request->user;
}

int64_t request_started_ns(const struct request *request)
{
	return request->started_ns;
}

int request_status(const struct request *request)
{
	return request->answer.status;
}

void request_body_limit(struct request *request, size_t bytes)
{
	request->body_limit = bytes;
}

/* ---- parking */

void request_park(struct request *request, request_step_fn *next)
{
	CHECK(next && !request->parked && !request->answer.status);
	request->next = next;
	request->parked = true;
	if (!request->inner)
		MHD_suspend_connection(request->connection);
}

void request_wake(struct request *request)
{
	if (request->inner)
		request->inner->woken(request, request->inner->owner);
	else
		MHD_resume_connection(request->connection);
}

bool request_gone(struct request *request)
{
	char byte;
	ssize_t got;
	int fd;

	if (request->inner)
		return atomic_load(request->inner->gone);
	fd = server_connection_of(request)->fd;
	if (request->server->pair)
		return server_tls_gone(fd);
	got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

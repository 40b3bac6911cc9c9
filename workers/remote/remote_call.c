/* SPDX-License-Identifier: Apache-2.0 */
/* One call. Everything that libcurl would do by itself and that we do not want is switched off
 * here: redirects, proxies from the environment, .netrc, Expect, and sending a request a second
 * time: when a reused connection dies before the first byte of the answer libcurl repeats the
 * request silently, POST included. So whatever has an effect and carries no idempotency key gets a
 * connection of its own that is not used again. */
#include "workers/remote/remote_call.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/utf8.h"
#include "common/http/curl_guard.h"
#include "workers/remote/retry_after.h"

#define CONNECT_TIMEOUT_MS  3000
#define LOW_SPEED_BYTES     1L
#define LOW_SPEED_S         30L
#define HEADER_BYTES_MAX    (64 * 1024)
#define REQUEST_HEADERS_MAX 100
#define HEADER_NAME_MAX     200
#define URL_BYTES_MAX       8192
#define RECEIVE_BYTES       2048L /* at once; each call that is under way has as much */
#define METHOD_BYTES_MAX    16
#define KEY_BYTES_MAX       255

/* ---- checks */

static bool is_token(const char *text, size_t bytes)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < bytes; i++) {
		char c = text[i];
		bool alnum =
			(c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

		if (!alnum && !strchr(others, c))
			return false;
	}
	return bytes > 0;
}

/* No control characters, which would end the line or the request, and none in disguise: what is not
 * UTF-8 (an overlong form of CR) may be one to a lenient reader. */
static bool is_clean(const char *text, bool blanks)
{
	for (const char *at = text; *at; at++) {
		unsigned char c = (unsigned char)*at;

		if (c == 0x7f || (c < ' ' && !(blanks && c == '\t')) || (!blanks && c == ' '))
			return false;
	}
	return utf8_text(text, strlen(text));
}

static bool header_is(const char *header, const char *name)
{
	size_t bytes = strlen(name);

	return !strncasecmp(header, name, bytes) && header[bytes] == ':';
}

static bool has_header(const struct remote_request *request, const char *name)
{
	for (const char *const *header = request->headers; header && *header; header++) {
		if (header_is(*header, name))
			return true;
	}
	return false;
}

static const char *header_fault(const char *header)
{
	const char *colon = strchr(header, ':');

	if (!colon || colon - header > HEADER_NAME_MAX ||
	    !is_token(header, (size_t)(colon - header)))
		return "a header is not \"Name: value\"";
	if (!is_clean(colon, true))
		return "a header has a control character or is not UTF-8";
	if (header_is(header, "Content-Length") || header_is(header, "Transfer-Encoding") ||
	    header_is(header, "Expect"))
		return "Content-Length, Transfer-Encoding and Expect are not a handler's to set";
	return NULL;
}

/* Why the request must not be sent, or NULL. */
static const char *request_fault(const struct remote_request *request)
{
	size_t count = 0;

	if (!request->method || strlen(request->method) > METHOD_BYTES_MAX ||
	    !is_token(request->method, strlen(request->method)))
		return "the method is not one";
	if (!request->url || strlen(request->url) > URL_BYTES_MAX || !is_clean(request->url, false))
		return "the URL is too long, not UTF-8, or has a blank or control character";
	if (request->idempotency_key && (strlen(request->idempotency_key) > KEY_BYTES_MAX ||
					 !is_clean(request->idempotency_key, false)))
		return "the idempotency key is too long, not UTF-8, or has a blank or control character";
	for (const char *const *header = request->headers; header && *header; header++) {
		const char *fault = header_fault(*header);

		if (fault)
			return fault;
		if (++count > REQUEST_HEADERS_MAX)
			return "too many headers";
	}
	return NULL;
}

/* ---- callbacks */

/* The value of the header, when this line is one of that name. */
static const char *value_of(const char *line, size_t bytes, const char *name, char *value_r,
			    size_t value_bytes)
{
	size_t name_bytes = strlen(name);

	if (bytes <= name_bytes || strncasecmp(line, name, name_bytes) || line[name_bytes] != ':' ||
	    bytes - name_bytes > value_bytes)
		return NULL;
	memcpy(value_r, line + name_bytes + 1, bytes - name_bytes - 1);
	value_r[bytes - name_bytes - 1] = '\0';
	return value_r;
}

static void learn_header(struct remote_call *call, const char *line, size_t bytes)
{
	char text[256];
	const char *value;

	if (bytes > 5 && !memcmp(line, "HTTP/", 5)) { /* another one: the last was interim */
		call->retry_after_ms = -1;
		call->encodings = 0;
	} else if ((value = value_of(line, bytes, "Retry-After", text, sizeof(text)))) {
		call->retry_after_ms = retry_after_ms(value, clock_wall_ms());
	} else if ((value = value_of(line, bytes, "Content-Encoding", text, sizeof(text)))) {
		call->encodings += 1 + (strchr(value, ',') != NULL);
	}
}

/* An encoding within another may grow without end before a byte of it is seen here. */
static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
	struct remote_call *call = ctx;
	size_t bytes = size * count;

	if (!call->answering && FAILPOINT("after_http_send"))
		return 0;
	call->answering = true;
	call->header_bytes += bytes;
	learn_header(call, data, bytes);
	return call->header_bytes <= HEADER_BYTES_MAX && call->encodings <= 1 ? bytes : 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct remote_call *call = ctx;
	size_t bytes = size * count;

	if (bytes > call->reply_bytes_max - call->reply.len)
		return 0;
	strbuf_add(&call->reply, data, bytes);
	return bytes;
}

/* The connection stands, the request is written next. */
static int on_connected(void *ctx, char *peer, char *local, int peer_port, int local_port)
{
	struct remote_call *call = ctx;

	(void)local;
	(void)peer_port;
	(void)local_port;
	if (call->guard.guard && !call_guard_check_peer(&call->guard, peer))
		return CURL_PREREQFUNC_ABORT;
	call->connected = true;
	return CURL_PREREQFUNC_OK;
}

/* ---- options */

#define SET(call, option, value) \
	CHECK(curl_easy_setopt((call)->easy, (option), (value)) == CURLE_OK)

static void add_header(struct remote_call *call, const char *header)
{
	struct curl_slist *longer = curl_slist_append(call->headers, header);

	CHECK(longer);
	call->headers = longer;
}

static void set_headers(struct remote_call *call, const struct remote_request *request)
{
	char line[512];

	add_header(call, "Expect:");
	if (request->body && !has_header(request, "Content-Type"))
		add_header(call, "Content-Type: application/json");
	if (request->idempotency_key) {
		snprintf(line, sizeof(line), "Idempotency-Key: %s", request->idempotency_key);
		add_header(call, line);
	}
	for (const char *const *header = request->headers; header && *header; header++) {
		/* libcurl takes "Name:" for "leave it out"; "Name;" is its way to say that the
		 * value is empty. */
		const char *value = strchr(*header, ':') + 1;

		snprintf(line, sizeof(line), "%.*s;", (int)(value - 1 - *header), *header);
		add_header(call, value[strspn(value, " \t")] ? *header : line);
	}
	call->own_authorization = call->stranger || has_header(request, "Authorization");
	if (!has_header(request, "Accept-Encoding")) /* the cap counts what comes out of it */
		SET(call, CURLOPT_ACCEPT_ENCODING, "");
}

static void set_method(struct remote_call *call, const struct remote_request *request)
{
	bool get = !strcmp(request->method, "GET"), head = !strcmp(request->method, "HEAD");
	bool bodyless = get || head || !strcmp(request->method, "DELETE") ||
			!strcmp(request->method, "OPTIONS");

	if (request->body || !bodyless) {
		SET(call, CURLOPT_POSTFIELDSIZE_LARGE,
		    (curl_off_t)(request->body ? request->body_bytes : 0));
		SET(call, CURLOPT_COPYPOSTFIELDS, request->body ? request->body : "");
	}
	if (head)
		SET(call, CURLOPT_NOBODY, 1L);
	if (!head && (!get || request->body))
		SET(call, CURLOPT_CUSTOMREQUEST, request->method);
	call->reusable = get || head || request->idempotency_key;
	if (!call->reusable) {
		SET(call, CURLOPT_FRESH_CONNECT, 1L);
		SET(call, CURLOPT_FORBID_REUSE, 1L);
	}
}

static void set_guards(struct remote_call *call, const char *ca_file)
{
	if (call->guard.guard)
		call_guard_set(&call->guard, call->easy);
	curl_guard_set(call->easy, ca_file);
	SET(call, CURLOPT_LOW_SPEED_LIMIT, LOW_SPEED_BYTES);
	SET(call, CURLOPT_LOW_SPEED_TIME, LOW_SPEED_S);
	SET(call, CURLOPT_BUFFERSIZE, RECEIVE_BYTES);
}

static void set_callbacks(struct remote_call *call)
{
	SET(call, CURLOPT_PRIVATE, call);
	SET(call, CURLOPT_ERRORBUFFER, call->error);
	SET(call, CURLOPT_WRITEFUNCTION, on_body);
	SET(call, CURLOPT_WRITEDATA, call);
	SET(call, CURLOPT_HEADERFUNCTION, on_header);
	SET(call, CURLOPT_HEADERDATA, call);
	SET(call, CURLOPT_PREREQFUNCTION, on_connected);
	SET(call, CURLOPT_PREREQDATA, call);
}

void remote_call_refuse(struct remote_call *call, const char *why)
{
	if (call->easy)
		curl_easy_cleanup(call->easy);
	call->easy = NULL;
	snprintf(call->error, sizeof(call->error), "%s", why);
}

/* Read once, for what is connected to, for its target and for the guard. NULL, or what is wrong. */
static const char *read_url(struct remote_call *call, const struct remote_request *request)
{
	call->url = curl_url();
	CHECK(call->url);
	switch (curl_url_set(call->url, CURLUPART_URL, request->url,
			     request->guarded ? CURLU_DISALLOW_USER : 0)) {
	case CURLUE_OK:
		return NULL;
	case CURLUE_USER_NOT_ALLOWED:
		return "a URL that may come from a payload has no user and no password";
	case CURLUE_UNSUPPORTED_SCHEME:
		return "the URL is not one of http or https";
	default:
		return "the URL is not one";
	}
}

struct remote_call *remote_call_new(const struct remote_request *request, const char *ca_file,
				    const struct guard *guard)
{
	struct remote_call *call = xcalloc(1, sizeof(*call));
	const char *fault = request_fault(request);

	list_init(&call->link);
	strbuf_init(&call->reply);
	list_init(&call->every);
	call->reply_bytes_max = request->response_bytes_max;
	call->retry_after_ms = -1;
	call->timeout_ms = request->timeout_ms;
	call->again = request->again;
	call->target_name = request->target ? xstrdup(request->target) : NULL;
	CHECK(call->timeout_ms > 0);
	if (!fault)
		fault = read_url(call, request);
	if (!fault && request->guarded)
		fault = call_guard_init(&call->guard, guard, call->url, request->plain_http);
	call->refused = fault != NULL;
	call->stranger = request->guarded && !request->target && !request->trusts_targets;
	call->easy = fault ? NULL : curl_easy_init();
	if (!call->easy) {
		remote_call_refuse(call, fault ? fault : "libcurl has no handle");
		return call;
	}
	set_callbacks(call);
	set_guards(call, ca_file);
	set_method(call, request);
	set_headers(call, request);
	SET(call, CURLOPT_CURLU, call->url);
	return call;
}

void remote_call_prepare(struct remote_call *call, const struct remote_call_terms *terms)
{
	int64_t connect_ms = terms->connect_ms ? terms->connect_ms : CONNECT_TIMEOUT_MS;
	bool authorize = terms->authorization && !call->own_authorization;

	CHECK(terms->left_ms > 0);
	SET(call, CURLOPT_TIMEOUT_MS, (long)terms->left_ms);
	SET(call, CURLOPT_CONNECTTIMEOUT_MS,
	    (long)(terms->left_ms < connect_ms ? terms->left_ms : connect_ms));
	SET(call, CURLOPT_SHARE, terms->share);
	call->authorization = (struct curl_slist){
		/* libcurl reads it only */
		.data = (char *)(uintptr_t)terms->authorization,
		.next = call->headers,
	};
	SET(call, CURLOPT_HTTPHEADER, authorize ? &call->authorization : call->headers);
	if (terms->ca)
		SET(call, CURLOPT_CAINFO, terms->ca);
	if (terms->cert && !call->stranger) {
		SET(call, CURLOPT_SSLCERT, terms->cert);
		SET(call, CURLOPT_SSLKEY, terms->key);
	}
	if (terms->http2 && call->reusable) {
		SET(call, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
		/* Waiting for a connection that others make is good where it can be shared, and
		 * waits for a server that hangs where it cannot. */
		SET(call, CURLOPT_PIPEWAIT, terms->multiplexed ? 1L : 0L);
	}
	if (terms->declared && call->guard.guard && !call->stranger) {
		SET(call, CURLOPT_OPENSOCKETFUNCTION, NULL);
		call_guard_release(&call->guard);
	}
}

void remote_call_rewind(struct remote_call *call)
{
	strbuf_clear(&call->reply);
	call->header_bytes = 0;
	call->connected = call->answering = false;
	call->retry_after_ms = -1;
	call->encodings = 0;
	call->error[0] = '\0';
	free(call->bearer);
	call->bearer = NULL;
}

bool remote_call_multiplexed(const struct remote_call *call)
{
	long version = 0;

	CHECK(curl_easy_getinfo(call->easy, CURLINFO_HTTP_VERSION, &version) == CURLE_OK);
	return version == CURL_HTTP_VERSION_2_0;
}

int remote_call_status(const struct remote_call *call)
{
	long status = 0;

	CHECK(curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK);
	return (int)status;
}

bool remote_call_cut_off(const struct remote_call *call, CURLcode result)
{
	/* memory is what libcurl says is lacking when one header has no end */
	return result == CURLE_WRITE_ERROR || (result == CURLE_OUT_OF_MEMORY && call->answering);
}

static const char *error_text(const struct remote_call *call, CURLcode result)
{
	if (result == CURLE_OK && call->easy)
		return "";
	if (remote_call_cut_off(call, result))
		return "the answer is too large";
	return call->error[0] ? call->error : curl_easy_strerror(result);
}

static bool url_fault(const struct remote_call *call, CURLcode result)
{
	return call->easy &&
	       (result == CURLE_URL_MALFORMAT || result == CURLE_UNSUPPORTED_PROTOCOL);
}

void remote_call_finish(struct remote_call **call, CURLcode result)
{
	struct remote_call *c = *call;
	bool guarded = c->easy && call_guard_refused(&c->guard, c->error, sizeof(c->error));
	struct remote_reply reply = { .fate = REMOTE_NOT_SENT,
				      .body = "",
				      .error = error_text(c, result),
				      .retry_after_ms = -1 };

	reply.refused = !c->connected && (c->refused || guarded || url_fault(c, result));
	if (c->hold_ms > 0) {
		reply.held = true;
		reply.error = c->error;
		reply.retry_after_ms = c->hold_ms;
	} else if (c->easy && result == CURLE_OK) {
		reply = (struct remote_reply){
			.fate = REMOTE_ANSWERED,
			.status = remote_call_status(c),
			.body = c->reply.data,
			.body_bytes = c->reply.len,
			.error = "",
			.retry_after_ms = c->retry_after_ms,
		};
	} else if (c->connected) {
		reply.fate = REMOTE_UNKNOWN;
	}
	if (FAILPOINT("after_http_recv"))
		reply = (struct remote_reply){ .fate = REMOTE_UNKNOWN,
					       .body = "",
					       .error = "failpoint",
					       .retry_after_ms = -1 };
	c->done(c->ctx, &reply);
	if (c->easy)
		curl_easy_cleanup(c->easy);
	curl_url_cleanup(c->url);
	curl_slist_free_all(c->headers);
	free(c->target_name);
	if (c->bearer)
		explicit_bzero(c->bearer, strlen(c->bearer));
	free(c->bearer);
	call_guard_release(&c->guard);
	strbuf_release(&c->reply);
	free(c);
	*call = NULL;
}

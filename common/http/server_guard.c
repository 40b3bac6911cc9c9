/* SPDX-License-Identifier: Apache-2.0 */
/* Refuses heads that two HTTP implementations could read differently (request smuggling), and those
 * over the limits. libmicrohttpd 0.9 takes a bare LF, a bare CR, obs-fold, blanks before the colon,
 * several lengths, and a length beside chunks. It ends each line in place, so the guard can lay a
 * ruler along the read buffer: method, target, version and every field must lie exactly where a
 * canonical head has them. Later releases check lines themselves. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/http/server_impl.h"

static bool refuse(struct problem *problem_r, int status, const char *detail)
{
	*problem_r = (struct problem){ .status = status, .detail = detail };
	return false;
}

static enum MHD_Result collect_header(void *request_, enum MHD_ValueKind kind, const char *name,
				      size_t name_bytes, const char *value, size_t value_bytes)
{
	struct request *request = request_;

	(void)kind;
	(void)name_bytes;
	size_t at = request->header_count++;

	/* Too many are refused, but the page that sent them shall be able to read that. */
	if (at >= SERVER_HEADERS_MAX && strcasecmp(name, "Origin") == 0)
		at = SERVER_HEADERS_MAX - 1;
	if (at < SERVER_HEADERS_MAX)
		request->headers[at] = (struct header){ .name = name,
							.value = value ? value : "",
							.value_bytes = value ? value_bytes : 0 };
	return MHD_YES;
}

static bool is_token(const char *text)
{
	static const char marks[] = "!#$%&'*+-.^_`|~";
	size_t i;

	for (i = 0; text[i]; i++) {
		char c = text[i];
		bool letter =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!letter && !strchr(marks, c))
			return false;
	}
	return i > 0;
}

static bool is_field_text(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if ((*p < 0x20 && *p != '\t') || *p == 0x7f)
			return false;
	}
	return true;
}

static size_t head_bytes(struct MHD_Connection *connection)
{
	return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)
		->header_size;
}

/* The ruler; see the top of the file. Each line's CR and LF have become NULs, as has the colon of a
 * field. */
static bool lies_straight(const struct request *request)
{
	const char *at = request->method + strlen(request->method) + 1;

	if (request->target_place != at)
		return false;
	at += strlen(request->target_raw) + 1;
	if (request->version != at)
		return false;
	at += strlen(request->version) + 2;
	for (size_t i = 0; i < request->header_count; i++) {
		const struct header *header = &request->headers[i];
		const char *colon = header->name + strlen(header->name);
		if (header->name != at || header->value <= colon)
			return false;
		if (strspn(colon + 1, " \t") != (size_t)(header->value - colon - 1))
			return false;
		at = header->value + header->value_bytes + 2;
	}
	return at + 2 == request->method + head_bytes(request->connection);
}

static bool check_lines(struct request *request, struct problem *problem_r)
{
	if (request->header_count > SERVER_HEADERS_MAX) {
		request->header_count = SERVER_HEADERS_MAX;
		return refuse(problem_r, 431, "too many header fields");
	}
	if (head_bytes(request->connection) > SERVER_HEAD_BYTES_MAX)
		return refuse(problem_r, 431, "the head of the request is too large");
	if (strcmp(request->version, "HTTP/1.1") != 0 && strcmp(request->version, "HTTP/1.0") != 0)
		return refuse(problem_r, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
	if (!is_token(request->method))
		return refuse(problem_r, 400, "the method is not a token");
	for (size_t i = 0; i < request->header_count; i++) {
		if (!is_token(request->headers[i].name) ||
		    !is_field_text(request->headers[i].value))
			return refuse(problem_r, 400, "a header field is malformed");
	}
	if (MHD_VERSION < 0x00097701 && !lies_straight(request))
		return refuse(problem_r, 400, "the head of the request is malformed");
	return true;
}

static size_t count(const struct request *request, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < request->header_count; i++)
		n += (request->headers[i].name[0] | 0x20) == (name[0] | 0x20) &&
		     strcasecmp(request->headers[i].name, name) == 0;
	return n;
}

/* Fields of which the first is taken here, and perhaps another one by who stands in front. */
static bool check_single(const struct request *request, struct problem *problem_r)
{
	static const char *const single[] = { "Authorization", "Content-Type", "Idempotency-Key",
					      "Origin" };

	for (size_t i = 0; i < ARRAY_LEN(single); i++) {
		if (count(request, single[i]) > 1)
			return refuse(problem_r, 400,
				      "a header field that there may be one of is given twice");
	}
	return true;
}

static bool check_lengths(struct request *request, struct problem *problem_r)
{
	const char *coding = request_header(request, "Transfer-Encoding");
	const char *length = request_header(request, "Content-Length");

	if (count(request, "Content-Length") > 1 || count(request, "Transfer-Encoding") > 1)
		return refuse(problem_r, 400, "the length of the body is given more than once");
	if (coding && length)
		return refuse(problem_r, 400,
			      "Content-Length and Transfer-Encoding exclude each other");
	if (coding && strcmp(request->version, "HTTP/1.0") == 0)
		return refuse(problem_r, 400, "Transfer-Encoding needs HTTP/1.1");
	if (coding && strcasecmp(coding, "chunked") != 0)
		return refuse(problem_r, 501, "the only Transfer-Encoding known here is chunked");
	request->chunked = coding != NULL;
	if (length) {
		size_t digits = strspn(length, "0123456789");
		if (digits == 0 || digits > 18 || length[digits])
			return refuse(problem_r, 400, "Content-Length is not a number");
		request->announced_bytes = strtoull(length, NULL, 10);
	}
	return true;
}

bool server_guard(struct request *request, struct problem *problem_r)
{
	const char *why = NULL;

	MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, collect_header, request);
	if (request->target_too_long)
		return refuse(problem_r, 414, "the request target is too long");
	if (!request->target_raw)
		return refuse(problem_r, 400, "the request line is malformed");
	if (!check_lines(request, problem_r) || !check_lengths(request, problem_r) ||
	    !check_single(request, problem_r))
		return false;
	if (count(request, "Host") > 1 ||
	    (count(request, "Host") == 0 && strcmp(request->version, "HTTP/1.1") == 0))
		return refuse(problem_r, 400, "exactly one Host is needed");
	if (target_parse(request->arena, request->target_raw, &request->target, &why) < 0)
		return refuse(problem_r, 400, why);
	const char *expect = request_header(request, "Expect");
	request->expects_continue = expect && strcasecmp(expect, "100-continue") == 0;
	return true;
}

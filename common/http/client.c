/* SPDX-License-Identifier: Apache-2.0 */
/* One easy handle a call, so there is never a kept connection over which libcurl could send a POST
 * a second time by itself. */
#include "common/http/client.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/http/curl_guard.h"

#define CONNECT_TIMEOUT_MS 5000L

struct intake {
	struct strbuf *body;
	size_t bytes_max;
};

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct intake *intake = ctx;
	size_t bytes = size * count;

	if (bytes > intake->bytes_max - intake->body->len)
		return 0;
	strbuf_add(intake->body, data, bytes);
	return bytes;
}

/* The value of a header line, without blanks around it, if it is this one. */
static bool header_value(const char *line, size_t bytes, const char *name, char *value_r,
			 size_t value_bytes)
{
	size_t name_bytes = strlen(name);

	if (bytes < name_bytes || strncasecmp(line, name, name_bytes) != 0)
		return false;
	line += name_bytes;
	bytes -= name_bytes;
	while (bytes && strchr(" \t", *line)) {
		line++;
		bytes--;
	}
	while (bytes && strchr(" \t\r\n", line[bytes - 1]))
		bytes--;
	if (bytes >= value_bytes)
		return false;
	memcpy(value_r, line, bytes);
	value_r[bytes] = 0;
	return true;
}

static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
	struct client_answer *answer = ctx;
	size_t bytes = size * count;
	char control[256];
	const char *age;

	if (header_value(line, bytes, "ETag:", answer->etag, sizeof(answer->etag)) ||
	    !header_value(line, bytes, "Cache-Control:", control, sizeof(control)))
		return bytes;
	age = strcasestr(control, "max-age=");
	if (strcasestr(control, "no-store") || strcasestr(control, "no-cache"))
		answer->max_age_s = 0;
	else if (age)
		answer->max_age_s = strtoll(age + 8, NULL, 10);
	return bytes;
}

static int call_error(struct error *err_r, CURL *curl, CURLcode code, const char *detail,
		      const char *url)
{
	const char *why = *detail ? detail : curl_easy_strerror(code);
	long sent = 0;

	curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &sent);
	if (sent > 0 && code != CURLE_WRITE_ERROR)
		return error_set(err_r, ERROR_UNKNOWN, "no answer from %s: %s", url, why);
	switch (code) {
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT:
		return error_set(err_r, ERROR_INVALID, "%s: %s", url, why);
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
		return error_set(err_r, ERROR_UNAVAILABLE, "cannot reach %s: %s", url, why);
	case CURLE_WRITE_ERROR:
		return error_set(err_r, ERROR_FULL, "%s: the answer is too large", url);
	default:
		return error_set(err_r, ERROR_UNKNOWN, "no answer from %s: %s", url, why);
	}
}

static struct curl_slist *headers_of(const struct client_request *request)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Expect:");

	CHECK(headers);
	/* Without a body libcurl would speak of a form. */
	headers = curl_slist_append(headers, request->body ? "Content-Type: application/json"
							   : "Content-Type:");
	CHECK(headers);
	headers = curl_slist_append(headers, "Accept: application/json, application/problem+json");
	CHECK(headers);
	if (request->etag && *request->etag) {
		char line[160];

		snprintf(line, sizeof(line), "If-None-Match: %s", request->etag);
		headers = curl_slist_append(headers, line);
		CHECK(headers);
	}
	return headers;
}

static void set_options(CURL *curl, const struct client_request *request,
			struct curl_slist *headers, struct intake *intake, char *detail)
{
	curl_guard_set(curl, NULL);
	curl_easy_setopt(curl, CURLOPT_URL, request->url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, intake);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "windlass/" WINDLASS_VERSION);
	if (request->ca_file && *request->ca_file)
		curl_easy_setopt(curl, CURLOPT_CAINFO, request->ca_file);
	if (request->key && *request->key) {
		curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
		curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, request->key);
	}
	if (request->body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)request->body_bytes);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
	} else if (strcmp(request->method, "POST") == 0) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
	}
}

int client_call(const struct client_request *request, struct client_answer *answer_r,
		struct error *err_r)
{
	struct intake intake = { .body = &answer_r->body, .bytes_max = request->answer_bytes_max };
	struct curl_slist *headers = headers_of(request);
	char detail[CURL_ERROR_SIZE] = "";
	CURL *curl = curl_easy_init();
	long status = 0;
	CURLcode code;

	CHECK(curl && request->timeout_ms > 0);
	*answer_r = (struct client_answer){ .max_age_s = -1 };
	strbuf_init(&answer_r->body);
	set_options(curl, request, headers, &intake, detail);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer_r);
	code = curl_easy_perform(curl);
	if (code == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	else
		(void)call_error(err_r, curl, code, detail, request->url);
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	answer_r->status = (int)status;
	return code == CURLE_OK ? 0 : -1;
}

static void add_places(const json_t *problem, struct strbuf *out)
{
	const json_t *places = json_object_get(problem, "errors");

	for (size_t i = 0; i < json_array_size(places); i++) {
		const char *pointer =
			json_string_value(json_object_get(json_array_get(places, i), "pointer"));
		const char *detail =
			json_string_value(json_object_get(json_array_get(places, i), "detail"));

		strbuf_printf(out, "%s%s: %s", out->len ? "; " : "",
			      pointer && *pointer ? pointer : "the request",
			      detail ? detail : "wrong");
	}
}

void client_problem(const struct client_answer *answer, struct strbuf *out)
{
	json_t *problem = json_loadb(answer->body.data, answer->body.len, 0, NULL);
	const char *title = json_string_value(json_object_get(problem, "title"));
	const char *detail = json_string_value(json_object_get(problem, "detail"));

	add_places(problem, out);
	if (!out->len && detail)
		strbuf_addstr(out, detail);
	if (!out->len && title)
		strbuf_addstr(out, title);
	if (!out->len)
		strbuf_addstr(out, "no explanation");
	strbuf_printf(out, " (HTTP %d)", answer->status);
	json_decref(problem);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A curl_multi and a stock of easy handles. What libcurl would do by itself and must not is
 * switched off: redirects, proxies of the environment, .netrc, other protocols.
 *
 * One thing cannot be switched off: when a kept connection dies before the first byte of an answer,
 * libcurl sends the request again, POST included. For SQS that is harmless: a message that is sent
 * twice to a standard queue is a duplicate that admission drops, FIFO queues know it by its
 * deduplication id, and receiving, deleting and changing visibility twice do no harm. */
#include "common/broker/sqs_http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/list.h"
#include "common/base/strbuf.h"
#include "common/http/curl_guard.h"

#define CONNECT_TIMEOUT_MS 3000
#define CONNECTIONS_KEPT   64L
#define SPARE_MAX          32
#define ANSWER_KEPT_BYTES  (256 * 1024)
#define HEADER_BYTES_MAX   (64 * 1024)

struct exchange {
	struct list link; /* open or spare */
	CURL *easy;
	struct curl_slist *headers;
	struct strbuf answer;
	size_t header_bytes, answer_bytes_max;
	char error[CURL_ERROR_SIZE];
	sqs_http_done_fn *done;
	void *ctx;
};

struct sqs_http {
	CURLM *multi;
	char *ca_file; /* or NULL */
	struct list open, spare;
	size_t open_count, spare_count;
};

#define SET(exchange, option, value) \
	CHECK(curl_easy_setopt((exchange)->easy, (option), (value)) == CURLE_OK)

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
	struct exchange *exchange = ctx;

	(void)data;
	exchange->header_bytes += size * count;
	return exchange->header_bytes <= HEADER_BYTES_MAX ? size * count : 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct exchange *exchange = ctx;
	size_t bytes = size * count;

	if (bytes > exchange->answer_bytes_max - exchange->answer.len)
		return 0;
	strbuf_add(&exchange->answer, data, bytes);
	return bytes;
}

static void set_guards(struct exchange *exchange, const char *ca_file)
{
	curl_guard_set(exchange->easy, ca_file);
	SET(exchange, CURLOPT_TCP_KEEPALIVE, 1L);
	SET(exchange, CURLOPT_USERAGENT, "windlass/" WINDLASS_VERSION);
}

static void set_callbacks(struct exchange *exchange)
{
	SET(exchange, CURLOPT_PRIVATE, exchange);
	SET(exchange, CURLOPT_ERRORBUFFER, exchange->error);
	SET(exchange, CURLOPT_WRITEFUNCTION, on_body);
	SET(exchange, CURLOPT_WRITEDATA, exchange);
	SET(exchange, CURLOPT_HEADERFUNCTION, on_header);
	SET(exchange, CURLOPT_HEADERDATA, exchange);
}

static void set_limits(struct exchange *exchange, const struct sqs_http_request *request)
{
	int connect_ms =
		request->timeout_ms < CONNECT_TIMEOUT_MS ? request->timeout_ms : CONNECT_TIMEOUT_MS;

	CHECK(request->timeout_ms > 0);
	SET(exchange, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	SET(exchange, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
	/* A server that does not know "Expect" must not cost a second for each large body. Taking
	 * the header away with "Expect:" would sign a header that is not sent. */
	SET(exchange, CURLOPT_EXPECT_100_TIMEOUT_MS, 50L);
	exchange->answer_bytes_max = request->answer_bytes_max;
}

static void set_request(struct exchange *exchange, const struct sqs_http_request *request)
{
	char signature[128];

	SET(exchange, CURLOPT_URL, request->url);
	if (request->body) {
		SET(exchange, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_bytes);
		SET(exchange, CURLOPT_POSTFIELDS, request->body);
	}
	SET(exchange, CURLOPT_CUSTOMREQUEST, request->method);
	for (const char *const *header = request->headers; header && *header; header++) {
		struct curl_slist *longer = curl_slist_append(exchange->headers, *header);

		CHECK(longer);
		exchange->headers = longer;
	}
	SET(exchange, CURLOPT_HTTPHEADER, exchange->headers);
	if (request->region) {
		snprintf(signature, sizeof(signature), "aws:amz:%s:sqs", request->region);
		SET(exchange, CURLOPT_AWS_SIGV4, signature);
		SET(exchange, CURLOPT_USERNAME, request->key_id);
		SET(exchange, CURLOPT_PASSWORD, request->secret);
	}
}

static struct exchange *exchange_get(struct sqs_http *http)
{
	struct exchange *exchange;

	if (http->spare_count) {
		exchange = list_first(&http->spare, struct exchange, link);
		list_remove(&exchange->link);
		http->spare_count--;
		return exchange;
	}
	exchange = xcalloc(1, sizeof(*exchange));
	list_init(&exchange->link);
	strbuf_init(&exchange->answer);
	exchange->easy = curl_easy_init();
	CHECK(exchange->easy);
	return exchange;
}

static void exchange_free(struct exchange *exchange)
{
	curl_easy_cleanup(exchange->easy);
	strbuf_release(&exchange->answer);
	free(exchange);
}

static void exchange_put(struct sqs_http *http, struct exchange *exchange)
{
	curl_easy_reset(exchange->easy); /* forgets the secret too */
	curl_slist_free_all(exchange->headers);
	exchange->headers = NULL;
	if (exchange->answer.len)
		explicit_bzero(exchange->answer.data, exchange->answer.len);
	strbuf_clear(&exchange->answer);
	if (exchange->answer.cap > ANSWER_KEPT_BYTES) {
		strbuf_release(&exchange->answer);
		strbuf_init(&exchange->answer);
	}
	exchange->header_bytes = 0;
	exchange->error[0] = '\0';
	if (http->spare_count >= SPARE_MAX) {
		exchange_free(exchange);
		return;
	}
	list_append(&http->spare, &exchange->link);
	http->spare_count++;
}

static void finish(struct sqs_http *http, struct exchange *exchange, CURLcode code)
{
	struct sqs_http_answer answer = { .body = "", .why = "" };
	long status = 0;

	list_remove(&exchange->link);
	http->open_count--;
	curl_multi_remove_handle(http->multi, exchange->easy);
	if (code == CURLE_OK) {
		curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
		answer.status = (int)status;
		answer.body = exchange->answer.data;
		answer.body_bytes = exchange->answer.len;
	} else if (code == CURLE_WRITE_ERROR) {
		answer.why = "the answer is too large";
	} else {
		answer.why = exchange->error[0] ? exchange->error : curl_easy_strerror(code);
	}
	exchange->done(exchange->ctx, &answer);
	exchange_put(http, exchange);
}

void sqs_http_start(struct sqs_http *http, const struct sqs_http_request *request,
		    sqs_http_done_fn *done, void *ctx)
{
	struct exchange *exchange = exchange_get(http);

	exchange->done = done;
	exchange->ctx = ctx;
	set_guards(exchange, http->ca_file);
	set_callbacks(exchange);
	set_limits(exchange, request);
	set_request(exchange, request);
	list_append(&http->open, &exchange->link);
	http->open_count++;
	CHECK(curl_multi_add_handle(http->multi, exchange->easy) == CURLM_OK);
}

/* Returns how many ended. */
static size_t collect(struct sqs_http *http)
{
	CURLMsg *message;
	size_t count = 0;
	int left;

	while ((message = curl_multi_info_read(http->multi, &left))) {
		CURLcode code = message->data.result;
		char *exchange = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		CHECK(curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange) ==
			      CURLE_OK &&
		      exchange);
		finish(http, (struct exchange *)(void *)exchange, code);
		count++;
	}
	return count;
}

void sqs_http_poll(struct sqs_http *http, int timeout_ms)
{
	int running;

	CHECK(curl_multi_perform(http->multi, &running) == CURLM_OK);
	if (collect(http) || timeout_ms <= 0)
		return;
	CHECK(curl_multi_poll(http->multi, NULL, 0, timeout_ms, NULL) == CURLM_OK);
	CHECK(curl_multi_perform(http->multi, &running) == CURLM_OK);
	collect(http);
}

void sqs_http_wake(struct sqs_http *http)
{
	curl_multi_wakeup(http->multi);
}

size_t sqs_http_open(const struct sqs_http *http)
{
	return http->open_count;
}

struct sqs_http *sqs_http_new(const char *ca_file)
{
	struct sqs_http *http = xcalloc(1, sizeof(*http));

	CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
	http->ca_file = ca_file ? xstrdup(ca_file) : NULL;
	list_init(&http->open);
	list_init(&http->spare);
	http->multi = curl_multi_init();
	CHECK(http->multi);
	CHECK(curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT) == CURLM_OK);
	return http;
}

void sqs_http_free(struct sqs_http **http)
{
	struct sqs_http *h = *http;

	if (!h)
		return;
	while (!list_empty(&h->open))
		finish(h, list_first(&h->open, struct exchange, link), CURLE_ABORTED_BY_CALLBACK);
	while (h->spare_count)
		exchange_free(exchange_get(h));
	curl_multi_cleanup(h->multi);
	free(h->ca_file);
	free(h);
	curl_global_cleanup();
	*http = NULL;
}

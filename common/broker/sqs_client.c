/* SPDX-License-Identifier: Apache-2.0 */
/* Calls are kept with their bodies until they end, so that one can be signed again with another
 * key. MD5 sums of the answers are not compared: TLS does that. */
#include "common/broker/sqs_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/broker/sqs_credentials.h"
#include "common/broker/sqs_http.h"
#include "common/json/json_text.h"

/* A receive brings ten messages, and JSON may write a character in six bytes. */
#define ANSWER_BYTES_PER_MESSAGE_BYTE 60
#define ANSWER_BYTES_MORE             (256 * 1024)

struct call {
	struct list link; /* waiting, when it is not under way */
	struct sqs_client *client;
	const char *action;
	char *body;
	size_t body_bytes;
	int timeout_ms;
	bool again; /* with another key */
	struct error error;
	sqs_done_fn *done;
	void *ctx;
};

struct sqs_client {
	struct sqs_http *http;
	struct sqs_credentials *credentials;
	char *url, *region, *account;
	size_t message_bytes;
	struct list waiting; /* to be started, or to be told that there is no key */
	size_t waiting_count;
	bool closing;
	bool asked; /* something was answered, or not */
	bool up, ever_up;
	char trouble[512];
	void (*changed)(void *ctx, bool up, bool again);
	void *ctx;
};

/* ---- what answers mean */

static bool is_one_of(const char *code, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(code, names[i]))
			return true;
	}
	return false;
}

bool sqs_code_is_throttle(const char *code)
{
	static const char *const names[] = {
		"RequestThrottled",   "ThrottlingException",
		"Throttling",         "RequestLimitExceeded",
		"SlowDown",           "KmsThrottled",
		"OverLimit",          "TooManyRequestsException",
		"ServiceUnavailable",
	};

	return is_one_of(code, names, ARRAY_LEN(names));
}

static bool is_missing_queue(const char *code)
{
	static const char *const names[] = { "QueueDoesNotExist",
					     "AWS.SimpleQueueService.NonExistentQueue",
					     "NonExistentQueue" };

	return is_one_of(code, names, ARRAY_LEN(names));
}

/* The key itself is not accepted: another one may be. */
static bool is_about_key(const char *code)
{
	static const char *const names[] = {
		"ExpiredToken",          "ExpiredTokenException",     "RequestExpired",
		"InvalidClientTokenId",  "InvalidAccessKeyId",        "UnrecognizedClientException",
		"SignatureDoesNotMatch", "InvalidSignatureException", "InvalidSecurity",
		"TokenRefreshRequired",
	};

	return is_one_of(code, names, ARRAY_LEN(names));
}

static bool is_denial(const char *code)
{
	static const char *const names[] = { "AccessDenied", "AccessDeniedException",
					     "KmsAccessDenied", "KmsDisabled", "KmsOptInRequired" };

	return is_one_of(code, names, ARRAY_LEN(names));
}

enum sqs_fate sqs_fate_of(int status, const char *code)
{
	if (status == 200)
		return SQS_DONE;
	if (status == 429 || status == 503 || sqs_code_is_throttle(code))
		return SQS_THROTTLED;
	if (is_missing_queue(code))
		return SQS_NOT_FOUND;
	if (is_about_key(code) || !strcmp(code, "QueueDeletedRecently"))
		return SQS_AWAY;
	if (status == 403 || is_denial(code))
		return SQS_DENIED;
	return status >= 400 && status < 500 ? SQS_INVALID : SQS_AWAY;
}

/* "com.amazonaws.sqs#QueueDoesNotExist" -> "QueueDoesNotExist" */
static const char *code_of(const json_t *answer)
{
	const char *type = json_string_value(json_object_get(answer, "__type"));
	const char *hash = type ? strchr(type, '#') : NULL;

	return hash ? hash + 1 : type ? type : "";
}

static const char *message_of(const json_t *answer)
{
	const char *text = json_string_value(json_object_get(answer, "message"));

	if (!text)
		text = json_string_value(json_object_get(answer, "Message"));
	return text ? text : "";
}

/* ---- is it there */

static void note_up(struct sqs_client *client)
{
	client->asked = true;
	client->trouble[0] = '\0';
	if (client->up)
		return;
	client->up = true;
	if (client->changed)
		client->changed(client->ctx, true, client->ever_up);
	client->ever_up = true;
	log_line(LOG_INFO, "sqs-connected", LOG_S("url", client->url),
		 LOG_S("region", client->region));
}

static void note_down(struct sqs_client *client, const char *why)
{
	bool told = client->asked && !client->up;

	client->asked = true;
	snprintf(client->trouble, sizeof(client->trouble), "%s", why);
	if (client->up && client->changed)
		client->changed(client->ctx, false, false);
	client->up = false;
	if (!told && !client->closing)
		log_line(LOG_WARN, "sqs-away", LOG_S("url", client->url), LOG_S("why", why));
}

/* ---- calls */

static void end(struct call *call, const struct sqs_answer *answer)
{
	if (answer->fate == SQS_AWAY)
		note_down(call->client, answer->text);
	else
		note_up(call->client);
	call->done(call->ctx, answer);
	free(call->body);
	free(call);
}

static void end_without(struct call *call, const char *why)
{
	end(call, &(struct sqs_answer){ .fate = SQS_AWAY, .code = "", .text = why });
}

static void wait_for_poll(struct sqs_client *client, struct call *call)
{
	list_append(&client->waiting, &call->link);
	client->waiting_count++;
}

static void end_answered(struct call *call, int status, json_t *json)
{
	struct sqs_answer answer = { .json = json };
	char text[sizeof(call->client->trouble)];

	answer.code = code_of(json);
	answer.fate = sqs_fate_of(status, answer.code);
	if (answer.fate == SQS_AWAY && is_about_key(answer.code) && !call->client->closing) {
		sqs_credentials_forget(call->client->credentials);
		if (!call->again) {
			call->again = true;
			wait_for_poll(call->client, call);
			return;
		}
	}
	/* What SQS says about signatures quotes them. */
	snprintf(text, sizeof(text), "%s: HTTP %d %s %s", call->action, status, answer.code,
		 is_about_key(answer.code) ? "" : message_of(json));
	answer.text = answer.fate == SQS_DONE ? "" : text;
	end(call, &answer);
}

static void on_answer(void *ctx, const struct sqs_http_answer *http)
{
	struct json_error problem;
	struct call *call = ctx;
	char why[sizeof(call->client->trouble)];
	json_t *json;

	if (!http->status) {
		snprintf(why, sizeof(why), "%s: %s", call->action, http->why);
		end_without(call, why);
		return;
	}
	/* Some actions answer with nothing at all. */
	if (http->body_bytes == 0 && http->status == 200)
		json = json_object();
	else
		json = json_text_parse(http->body, http->body_bytes, &problem);
	if (!json_is_object(json) && http->status == 200)
		end_without(call, "SQS answered with something that is no JSON object");
	else
		end_answered(call, http->status, json);
	json_decref(json);
}

static void start(struct sqs_client *client, struct call *call)
{
	char target[96], token[16384 + 32];
	const char *headers[] = { "Content-Type: application/x-amz-json-1.0", target, NULL, NULL };
	struct sqs_http_request request = {
		.method = "POST",
		.url = client->url,
		.headers = headers,
		.body = call->body,
		.body_bytes = call->body_bytes,
		.region = client->region,
		.timeout_ms = call->timeout_ms,
		.answer_bytes_max =
			client->message_bytes * ANSWER_BYTES_PER_MESSAGE_BYTE + ANSWER_BYTES_MORE,
	};
	struct sqs_key key;

	if (sqs_credentials_get(client->credentials, &key, &call->error) < 0) {
		end_without(call, call->error.message);
		return;
	}
	snprintf(target, sizeof(target), "X-Amz-Target: AmazonSQS.%s", call->action);
	request.key_id = key.id;
	request.secret = key.secret;
	if (key.token) {
		snprintf(token, sizeof(token), "X-Amz-Security-Token: %s", key.token);
		headers[2] = token;
	}
	sqs_http_start(client->http, &request, on_answer, call);
	if (key.token)
		explicit_bzero(token, strlen(token));
}

void sqs_client_call(struct sqs_client *client, const char *action, struct strbuf *body,
		     int timeout_ms, sqs_done_fn *done, void *ctx)
{
	struct call *call = xcalloc(1, sizeof(*call));

	CHECK(!client->closing && timeout_ms > 0);
	list_init(&call->link);
	call->client = client;
	call->action = action;
	call->body_bytes = body->len;
	call->body = strbuf_take(body);
	call->timeout_ms = timeout_ms;
	call->done = done;
	call->ctx = ctx;
	wait_for_poll(client, call);
}

static void start_waiting(struct sqs_client *client)
{
	for (size_t left = client->waiting_count; left; left--) {
		struct call *call = list_first(&client->waiting, struct call, link);

		list_remove(&call->link);
		client->waiting_count--;
		start(client, call);
	}
}

void sqs_client_poll(struct sqs_client *client, int timeout_ms)
{
	size_t open = sqs_client_open(client);

	start_waiting(client);
	/* What ended at once is news for the caller, as an answer is. */
	sqs_http_poll(client->http, sqs_client_open(client) < open ? 0 : timeout_ms);
}

void sqs_client_wake(struct sqs_client *client)
{
	sqs_http_wake(client->http);
}

size_t sqs_client_open(const struct sqs_client *client)
{
	return client->waiting_count + sqs_http_open(client->http);
}

struct waited {
	bool over;
	enum sqs_fate fate;
	json_t *json;
	struct error *error;
};

static enum error_code error_of(enum sqs_fate fate)
{
	switch (fate) {
	case SQS_NOT_FOUND:
		return ERROR_NOT_FOUND;
	case SQS_DENIED:
	case SQS_INVALID:
		return ERROR_INVALID;
	default:
		return ERROR_UNAVAILABLE;
	}
}

static void on_waited(void *ctx, const struct sqs_answer *answer)
{
	struct waited *waited = ctx;

	waited->over = true;
	waited->fate = answer->fate;
	if (answer->fate == SQS_DONE)
		waited->json = json_incref((json_t *)(uintptr_t)answer->json);
	else
		error_set(waited->error, error_of(answer->fate), "%s", answer->text);
}

int sqs_client_do(struct sqs_client *client, const char *action, struct strbuf *body,
		  int timeout_ms, json_t **json_r, enum sqs_fate *fate_r, struct error *err_r)
{
	struct waited waited = { .error = err_r };

	sqs_client_call(client, action, body, timeout_ms, on_waited, &waited);
	while (!waited.over)
		sqs_client_poll(client, timeout_ms);
	*json_r = waited.json;
	*fate_r = waited.fate;
	return waited.fate == SQS_DONE ? 0 : -1;
}

const char *sqs_client_trouble(struct sqs_client *client)
{
	struct error error;
	struct sqs_key key;

	if (client->asked)
		return client->trouble[0] ? client->trouble : NULL;
	if (sqs_credentials_get(client->credentials, &key, &error) < 0)
		snprintf(client->trouble, sizeof(client->trouble), "%s", error.message);
	else
		client->trouble[0] = '\0';
	return client->trouble[0] ? client->trouble : NULL;
}

const char *sqs_client_account(const struct sqs_client *client)
{
	return client->account;
}

size_t sqs_client_message_bytes(const struct sqs_client *client)
{
	return client->message_bytes;
}

/* ---- life */

/* The region becomes part of a host name and of the signature. */
static bool is_region(const char *text)
{
	return *text && strlen(text) < 64 &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

static int set_place(struct sqs_client *client, const struct broker_url *url, struct error *err_r)
{
	const char *endpoint = broker_url_option(url, "endpoint");
	const char *region =
		url->path && *url->path ? url->path : sqs_credentials_region(client->credentials);
	const char *limit = broker_url_option(url, "max_message");
	const char *account = broker_url_option(url, "account");
	struct strbuf text;

	if (!is_region(region))
		return error_set(err_r, ERROR_INVALID,
				 "BROKER_URL: SQS needs a region, as in sqs://eu-west-1");
	client->region = xstrdup(region);
	client->account = account ? xstrdup(account) : NULL;
	client->message_bytes = limit ? (size_t)strtoull(limit, NULL, 10) : SQS_MESSAGE_BYTES;
	if (client->message_bytes > SQS_MESSAGE_BYTES)
		client->message_bytes = SQS_MESSAGE_BYTES;
	strbuf_init(&text);
	if (endpoint)
		strbuf_addstr(&text, endpoint);
	else
		strbuf_printf(&text, "https://sqs.%s.amazonaws.com%s", region,
			      strncmp(region, "cn-", 3) ? "" : ".cn");
	if (text.data[text.len - 1] != '/')
		strbuf_addch(&text, '/');
	client->url = strbuf_take(&text);
	return 0;
}

struct sqs_client *sqs_client_new(const struct sqs_client_options *options, struct error *err_r)
{
	struct sqs_client *client = xcalloc(1, sizeof(*client));

	list_init(&client->waiting);
	client->http = sqs_http_new(options->ca_file);
	client->credentials = sqs_credentials_new(options->ca_file);
	client->changed = options->changed;
	client->ctx = options->ctx;
	if (set_place(client, options->url, err_r) < 0)
		sqs_client_free(&client);
	return client;
}

void sqs_client_free(struct sqs_client **client)
{
	struct sqs_client *c = *client;

	if (!c)
		return;
	c->closing = true;
	while (!list_empty(&c->waiting)) {
		struct call *call = list_first(&c->waiting, struct call, link);

		list_remove(&call->link);
		end_without(call, "closing");
	}
	sqs_http_free(&c->http);
	if (c->up && c->changed)
		c->changed(c->ctx, false, false);
	sqs_credentials_free(&c->credentials);
	free(c->url);
	free(c->region);
	free(c->account);
	free(c);
	*client = NULL;
}

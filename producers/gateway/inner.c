/* SPDX-License-Identifier: Apache-2.0 */
/* The carrier of inner requests. Its box takes a request when it is asked and each time it is
 * woken; as one thread does both, a request that is woken before its step has returned waits its
 * turn. */
#include "producers/gateway/inner.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/mailbox.h"
#include "common/http/server_inner.h"
#include "common/service/metrics.h"
#include "producers/gateway/front.h"

#define TAKE_MAX     64
#define SPARES_MAX   256 /* carried requests kept for the next ones */
#define STATUS_COUNT 600
#define CANCELLED    499 /* not sent to anybody: the client is gone */

struct inner {
	struct gateway *gateway;
	struct front *front;
	struct server_options steps;
	struct mailbox *box;
	_Atomic size_t pending;
	_Atomic bool closed;
	pthread_t thread;
	/* the thread's own */
	struct request *spares[SPARES_MAX];
	size_t spare_count;
	struct metric_series *answered[DOOR_COUNT][STATUS_COUNT];
};

static const char *const door_names[DOOR_COUNT] = {
	[DOOR_WS] = "ws",
	[DOOR_GRPC] = "grpc",
	[DOOR_GRAPHQL] = "graphql",
};

/* ---- one request; on the thread */

static void count_answer(struct inner *inner, const struct inner_request *request)
{
	struct metric_series **series = &inner->answered[request->door][request->status];
	char code[8];

	if (!*series) {
		snprintf(code, sizeof(code), "%d", request->status);
		*series = metrics_series(inner->gateway->metrics, METRIC_DOOR_REQUESTS,
					 door_names[request->door], code);
	}
	metric_add(*series, 1);
}

static void finish(struct inner *inner, struct inner_request *request)
{
	CHECK(request->status > 0 && request->status < STATUS_COUNT);
	count_answer(inner, request);
	request->done(request);
	atomic_fetch_sub(&inner->pending, 1);
}

static void take_answer(struct inner *inner, struct inner_request *request)
{
	struct request *carried = request->carried;
	struct inner_answer answer;
	const char *retry = request_inner_header(carried, "Retry-After");

	request->retry_after_s = retry ? atoi(retry) : 0;
	request->replayed = request_inner_header(carried, "Idempotency-Replayed") != NULL;
	request_inner_end(carried, &answer);
	request->carried = NULL;
	if (inner->spare_count < SPARES_MAX)
		inner->spares[inner->spare_count++] = carried;
	else
		request_inner_free(&carried);
	request->status = answer.status;
	request->answer = answer.body;
	request->answer_bytes = answer.bytes;
	request->memory = answer.body_static ? NULL : answer.body;
	finish(inner, request);
}

static void woken(struct request *carried, void *request_)
{
	struct inner_request *request = request_;

	(void)carried;
	/* there is room for every pending one, and each is in the box once at most */
	CHECK(mailbox_send(request->inner->box, request));
}

static void add_field(struct inner_head *head, const char *name, const char *value)
{
	if (value)
		head->fields[head->field_count++] =
			(struct inner_field){ .name = name, .value = value };
}

static bool begin(struct inner *inner, struct inner_request *request)
{
	struct inner_head head = {
		.method = request->method,
		.target = request->target,
		.body = request->body,
		.body_bytes = request->body_bytes,
		.gone = &request->cancelled,
	};

	add_field(&head, "Authorization", request->authorization);
	add_field(&head, "Idempotency-Key", request->idempotency_key);
	add_field(&head, "traceparent", request->traceparent);
	add_field(&head, "Prefer", request->prefer);
	if (request->body)
		add_field(&head, "Content-Type",
			  request->content_type ? request->content_type : "application/json");
	request->carried = inner->spare_count > 0 ? inner->spares[--inner->spare_count]
						  : request_inner_new(&inner->steps, woken);
	return request_inner_begin(request->carried, &head, request);
}

static void run(struct inner *inner, struct inner_request *request)
{
	if (!request->carried && atomic_load(&request->cancelled)) {
		request->status = CANCELLED;
		finish(inner, request);
	} else if (request->carried ? request_inner_step(request->carried)
				    : begin(inner, request)) {
		take_answer(inner, request);
	}
}

static void *inner_run(void *inner_)
{
	struct inner *inner = inner_;
	void *items[TAKE_MAX];
	size_t count;

	while ((count = mailbox_take(inner->box, items, TAKE_MAX, -1)) > 0 ||
	       !atomic_load(&inner->closed)) {
		for (size_t i = 0; i < count; i++)
			run(inner, items[i]);
	}
	return NULL;
}

/* ---- what doors call */

bool inner_ask(struct inner *inner, struct inner_request *request)
{
	CHECK(request->method && request->target && request->done && !request->carried);
	CHECK(request->door < DOOR_COUNT);
	if (atomic_fetch_add(&inner->pending, 1) < INNER_WAITING_MAX) {
		request->inner = inner;
		if (mailbox_send(inner->box, request))
			return true;
	}
	atomic_fetch_sub(&inner->pending, 1);
	return false;
}

void inner_cancel(struct inner_request *request)
{
	atomic_store(&request->cancelled, true);
}

void inner_request_release(struct inner_request *request)
{
	free(request->memory);
	request->memory = NULL;
	request->answer = NULL;
	request->answer_bytes = 0;
}

size_t inner_pending(const struct inner *inner)
{
	return atomic_load(&inner->pending);
}

void inner_escape(struct strbuf *target, const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~";

	for (const char *p = text; *p; p++) {
		if (strchr(plain, *p))
			strbuf_addch(target, *p);
		else
			strbuf_printf(target, "%%%02X", (unsigned char)*p);
	}
}

/* ---- life */

struct inner *inner_start(struct gateway *gateway)
{
	struct inner *inner = xcalloc(1, sizeof(*inner));

	inner->gateway = gateway;
	inner->front = front_new_inner(gateway, &inner->steps);
	inner->box = mailbox_new(INNER_WAITING_MAX);
	CHECK(pthread_create(&inner->thread, NULL, inner_run, inner) == 0);
	return inner;
}

void inner_stop(struct inner **inner_)
{
	struct inner *inner = *inner_;

	*inner_ = NULL;
	if (!inner)
		return;
	atomic_store(&inner->closed, true);
	mailbox_close(inner->box);
	pthread_join(inner->thread, NULL);
	CHECK(inner_pending(inner) == 0);
	while (inner->spare_count > 0)
		request_inner_free(&inner->spares[--inner->spare_count]);
	mailbox_free(&inner->box);
	front_stop(&inner->front);
	free(inner);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A call's way from its head to its trailers. The head and the deadline are read in grpc_head.c. */
#include "producers/grpc/grpc_call.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/http/problem.h"
#include "producers/grpc/grpc_counts.h"
#include "producers/grpc/grpc_methods.h"
#include "producers/grpc/grpc_wire.h"

#define PREFIX_BYTES     5
#define ARENA_BYTES      1024
#define STOPPING_RETRY_S 1
#define UNREAD_STALL_MS  GRPC_WRITE_STALL_MS

struct grpc_chunk { /* of the answer: a message with its prefix */
	struct list in_chunks;
	size_t bytes, read;
	uint8_t data[];
};

static void hold(struct grpc_call *call, size_t bytes)
{
	call->loop->bytes_in_hand += bytes;
}

static void let_go(struct grpc_call *call, size_t bytes)
{
	CHECK(call->loop->bytes_in_hand >= bytes);
	call->loop->bytes_in_hand -= bytes;
}

void grpc_call_keep(struct grpc_call *call, size_t bytes)
{
	call->kept_bytes += bytes;
	hold(call, bytes);
}

static bool too_much_in_hand(const struct grpc_call *call)
{
	return call->loop->bytes_in_hand > GRPC_BYTES_IN_HAND_MAX;
}

static void count_pending(struct grpc_call *call, bool pending)
{
	if (pending == call->pending)
		return;
	call->pending = pending;
	if (pending)
		atomic_fetch_add(&call->loop->pending, 1);
	else
		atomic_fetch_sub(&call->loop->pending, 1);
}

void grpc_call_idle(struct grpc_call *call)
{
	count_pending(call, false);
}

/* ---- the answer */

/* What a stream has given and nobody reads keeps a stopping gateway, too. */
static void add_chunk(struct grpc_call *call, struct grpc_chunk *chunk)
{
	if (list_empty(&call->chunks))
		call->read_ms = clock_mono_ms();
	list_append(&call->chunks, &chunk->in_chunks);
	call->unread_bytes += chunk->bytes;
	hold(call, chunk->bytes);
}

static void drop_chunk(struct grpc_call *call, struct grpc_chunk *chunk)
{
	list_remove(&chunk->in_chunks);
	call->unread_bytes -= chunk->bytes;
	let_go(call, chunk->bytes);
	free(chunk);
}

static void resume(struct grpc_call *call)
{
	if (!call->deferred)
		return;
	call->deferred = false;
	grpc_link_resume(call->link, call->stream);
}

void grpc_call_greet(struct grpc_call *call)
{
	if (!call->link || call->headed)
		return;
	call->headed = true;
	grpc_link_answer(call->link, call->stream);
}

void grpc_call_give(struct grpc_call *call, const ProtobufCMessage *message)
{
	size_t bytes = protobuf_c_message_get_packed_size(message);
	struct grpc_chunk *chunk;

	if (!call->link || call->ended)
		return;
	if (too_much_in_hand(call)) {
		grpc_call_refuse(call, 503, "too-busy", NULL,
				 "too many answers wait for clients that do not read them", 1);
		return;
	}
	chunk = xmalloc(sizeof(*chunk) + PREFIX_BYTES + bytes);
	chunk->bytes = PREFIX_BYTES + bytes;
	chunk->read = 0;
	chunk->data[0] = 0;
	for (int i = 0; i < 4; i++)
		chunk->data[1 + i] = (uint8_t)(bytes >> (24 - 8 * i));
	protobuf_c_message_pack(message, chunk->data + PREFIX_BYTES);
	add_chunk(call, chunk);
	grpc_call_greet(call);
	resume(call);
}

static size_t copy_chunks(struct grpc_call *call, uint8_t *out, size_t bytes)
{
	size_t got = 0;

	while (got < bytes && !list_empty(&call->chunks)) {
		struct grpc_chunk *chunk = list_first(&call->chunks, struct grpc_chunk, in_chunks);
		size_t part = chunk->bytes - chunk->read;
		if (part > bytes - got)
			part = bytes - got;
		memcpy(out + got, chunk->data + chunk->read, part);
		chunk->read += part;
		got += part;
		if (chunk->read == chunk->bytes)
			drop_chunk(call, chunk);
	}
	if (got > 0)
		call->read_ms = clock_mono_ms();
	return got;
}

ssize_t grpc_call_read(struct grpc_call *call, uint8_t *out, size_t bytes, bool *last_r)
{
	size_t got = copy_chunks(call, out, bytes);

	if (list_empty(&call->chunks) && !call->ended && call->method->drained)
		call->method->drained(call);
	if (got == 0)
		got = copy_chunks(call, out, bytes);
	*last_r = call->ended && list_empty(&call->chunks);
	if (got > 0 || *last_r)
		return (ssize_t)got;
	call->deferred = true;
	return -1;
}

const struct grpc_trailers *grpc_call_trailers(const struct grpc_call *call)
{
	return &call->trailers;
}

/* ---- the end */

static void count(struct grpc_call *call)
{
	double seconds = (double)(clock_mono_ns() - call->started_ns) / 1e9;

	grpc_count_call(call->loop->counts, call->method, call->code, seconds);
	log_line(LOG_DEBUG, "grpc-call", LOG_S("method", call->method ? call->method->path : "-"),
		 LOG_S("code", grpc_code_name(call->code)), LOG_D("seconds", seconds));
}

static void end_with(struct grpc_call *call, int http_status, const struct grpc_status *status)
{
	if (call->ended || !call->link)
		return;
	call->ended = true;
	call->code = status->code;
	call->trailers.code = arena_printf(call->arena, "%d", status->code);
	call->trailers.message = status->message;
	call->trailers.details = status->details;
	grpc_timer_drop(&call->deadline);
	grpc_timer_drop(&call->patience);
	if (call->headed) {
		resume(call);
		return;
	}
	call->headed = true;
	grpc_link_refuse(call->link, call->stream, http_status, &call->trailers);
}

void grpc_call_end(struct grpc_call *call, const struct grpc_status *status)
{
	end_with(call, 200, status);
}

void grpc_call_end_ok(struct grpc_call *call)
{
	struct grpc_status status = { .code = GRPC_OK };

	end_with(call, 200, &status);
}

void grpc_call_end_plain(struct grpc_call *call, enum grpc_code code, const char *message)
{
	struct grpc_status status;

	grpc_status_plain(call->arena, code, message, &status);
	end_with(call, 200, &status);
}

void grpc_call_refuse(struct grpc_call *call, int http_status, const char *slug,
		      const char *pointer, const char *detail, int retry_after_s)
{
	struct problem_place place = { .pointer = pointer, .detail = detail };
	struct problem problem = {
		.status = http_status,
		.slug = slug,
		.detail = detail,
		.places = &place,
		.place_count = pointer ? 1 : 0,
	};
	struct grpc_status status;
	struct strbuf text;

	strbuf_init(&text);
	problem_write(&problem, &text);
	grpc_status_of_problem(call->arena, http_status, text.data, text.len, retry_after_s,
			       &status);
	strbuf_release(&text);
	end_with(call, 200, &status);
}

/* ---- the request */

ProtobufCMessage *grpc_call_unpack(struct grpc_call *call, const ProtobufCMessageDescriptor *type,
				   const uint8_t *data, size_t bytes)
{
	const char *why;
	ProtobufCMessage *message =
		grpc_wire_unpack(call->arena, type, data, bytes, &call->fields_left, &why);

	if (!message)
		grpc_call_refuse(call, 400, "malformed-message", NULL, why, 0);
	return message;
}

static size_t bytes_max(const struct grpc_call *call)
{
	const struct settings *settings = call->loop->gateway->settings;

	return (size_t)(call->method->batch ? settings->batch_bytes_max : settings->body_bytes_max);
}

static void message_came(struct grpc_call *call)
{
	call->prefix_bytes = 0;
	call->message_count++;
	if (!call->method->client_streams)
		return;
	call->method->message(call, (const uint8_t *)call->message.data, call->message.len);
	let_go(call, call->message.len);
	strbuf_clear(&call->message);
}

/* The five bytes before a message say what is to come. False: refused. */
static bool prefix_came(struct grpc_call *call)
{
	const uint8_t *prefix = call->prefix;

	call->message_bytes = (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 |
			      (size_t)prefix[3] << 8 | prefix[4];
	call->messages_bytes += call->message_bytes;
	if (prefix[0] > 1)
		grpc_call_end_plain(call, GRPC_INTERNAL, "the message's first byte is not 0 or 1");
	else if (prefix[0] == 1)
		grpc_call_end_plain(
			call, call->encoding ? GRPC_UNIMPLEMENTED : GRPC_INTERNAL,
			"a compressed message; only identity is taken (grpc-accept-encoding)");
	else if (call->message_count > 0 && !call->method->client_streams)
		grpc_call_end_plain(call, GRPC_UNIMPLEMENTED,
				    "more than one message for a call that takes one");
	else if (call->messages_bytes > bytes_max(call))
		grpc_call_refuse(call, 413, "body-too-large", NULL,
				 "the request is larger than this gateway takes", 0);
	return !call->ended;
}

/* How much of `data` belongs to what is being read. */
static size_t take_part(struct grpc_call *call, const uint8_t *data, size_t bytes)
{
	size_t part;

	if (call->prefix_bytes < PREFIX_BYTES) {
		part = PREFIX_BYTES - call->prefix_bytes;
		if (part > bytes)
			part = bytes;
		memcpy(call->prefix + call->prefix_bytes, data, part);
		call->prefix_bytes += part;
		if (call->prefix_bytes == PREFIX_BYTES && !prefix_came(call))
			return bytes;
	} else {
		part = call->message_bytes - call->message.len;
		if (part > bytes)
			part = bytes;
		strbuf_add(&call->message, data, part);
		hold(call, part);
	}
	if (call->prefix_bytes == PREFIX_BYTES && call->message.len == call->message_bytes)
		message_came(call);
	return part;
}

void grpc_call_data(struct grpc_call *call, const uint8_t *data, size_t bytes)
{
	size_t at = 0;

	if (!call->ended && too_much_in_hand(call))
		grpc_call_refuse(call, 503, "too-busy", NULL,
				 "too many requests come in at once; nothing was stored", 1);
	while (at < bytes && !call->ended)
		at += take_part(call, data + at, bytes - at);
	if (call->method && call->method->client_streams && !call->ended)
		grpc_timer_set(&call->loop->wheel, &call->patience,
			       clock_mono_ms() + GRPC_REQUEST_MS);
}

void grpc_call_half_close(struct grpc_call *call)
{
	if (call->ended || call->half_closed)
		return;
	call->half_closed = true;
	grpc_timer_drop(&call->patience);
	if (call->prefix_bytes > 0)
		grpc_call_end_plain(call, GRPC_INTERNAL, "the request ends within a message");
	else if (call->method->client_streams)
		call->method->finished(call);
	else if (call->message_count == 0)
		grpc_call_end_plain(call, GRPC_UNIMPLEMENTED,
				    "no message for a call that takes one");
	else
		call->method->message(call, (const uint8_t *)call->message.data, call->message.len);
}

/* ---- inner requests */

static void free_call(struct grpc_call *call)
{
	CHECK(!call->link && !call->asking);
	count_pending(call, false);
	strbuf_release(&call->ask_target);
	strbuf_release(&call->ask_body);
	strbuf_release(&call->message);
	arena_free(&call->arena);
	free(call);
}

static void ask_ended(struct grpc_note *note)
{
	struct grpc_call *call = list_entry(note, struct grpc_call, note);
	struct inner_request *ask = &call->ask;
	struct grpc_status status;

	call->asking = false;
	if (!call->link) {
		inner_request_release(ask);
		free_call(call);
		return;
	}
	if (!call->ended && ask->status >= 400) {
		grpc_status_of_problem(call->arena, ask->status, ask->answer, ask->answer_bytes,
				       ask->retry_after_s, &status);
		grpc_call_end(call, &status);
	} else if (!call->ended) {
		call->answered(call);
	}
	/* It may have asked again, and has released the answer then. */
	if (!call->asking)
		inner_request_release(ask);
}

/* On the inner thread. */
static void ask_done(struct inner_request *ask)
{
	struct grpc_call *call = ask->owner;

	grpc_loop_send(call->loop, &call->note);
}

void grpc_call_ask(struct grpc_call *call, const char *method, grpc_call_fn *answered)
{
	struct inner_request *ask = &call->ask;
	const char *key = ask->idempotency_key;

	CHECK(!call->asking && !call->ended);
	/* This call was counted before we look; after it the parts below are taken down. */
	if (atomic_load(&call->loop->gateway->closed)) {
		grpc_call_refuse(call, 503, "stopping", NULL, "this gateway is being stopped",
				 STOPPING_RETRY_S);
		return;
	}
	inner_request_release(ask);
	*ask = (struct inner_request){
		.door = DOOR_GRPC,
		.method = method,
		.target = call->ask_target.data,
		.authorization = call->authorization,
		.idempotency_key = key,
		.traceparent = call->traceparent,
		.body = call->ask_body.len ? call->ask_body.data : NULL,
		.body_bytes = call->ask_body.len,
		.done = ask_done,
		.owner = call,
	};
	call->answered = answered;
	call->note.fn = ask_ended;
	call->asking = true;
	if (inner_ask(call->loop->inner, ask))
		return;
	call->asking = false;
	grpc_call_refuse(call, 503, "too-busy", NULL,
			 "too many requests wait for the store; nothing was stored", 1);
}

/* ---- life */

static void deadline_passed(struct grpc_timer *timer)
{
	struct grpc_call *call = list_entry(timer, struct grpc_call, deadline);

	grpc_call_end_plain(call, GRPC_DEADLINE_EXCEEDED, "the call's deadline has passed");
	if (call->asking)
		inner_cancel(&call->ask);
}

static void patience_over(struct grpc_timer *timer)
{
	struct grpc_call *call = list_entry(timer, struct grpc_call, patience);

	grpc_call_end_plain(call, GRPC_CANCELLED, "nothing more of the request came in time");
}

struct grpc_call *grpc_call_open(struct grpc_link *link, int32_t stream)
{
	struct grpc_call *call = xcalloc(1, sizeof(*call));
	struct grpc_loop *loop = grpc_link_loop(link);

	call->link = link;
	call->loop = loop;
	call->stream = stream;
	call->arena = arena_new(ARENA_BYTES);
	call->started_ns = clock_mono_ns();
	list_init(&call->chunks);
	list_append(grpc_link_calls(link), &call->in_link);
	strbuf_init(&call->message);
	strbuf_init(&call->ask_target);
	strbuf_init(&call->ask_body);
	grpc_timer_init(&call->deadline, deadline_passed);
	grpc_timer_init(&call->patience, patience_over);
	grpc_timer_set(&loop->wheel, &call->patience, clock_mono_ms() + GRPC_REQUEST_MS);
	count_pending(call, true);
	metric_move(loop->stream_gauge, 1);
	return call;
}

void grpc_call_close(struct grpc_call *call)
{
	if (!call->ended)
		call->code = GRPC_CANCELLED;
	count(call);
	grpc_timer_drop(&call->deadline);
	grpc_timer_drop(&call->patience);
	if (call->method && call->method->closed)
		call->method->closed(call);
	list_remove(&call->in_link);
	while (!list_empty(&call->chunks))
		drop_chunk(call, list_first(&call->chunks, struct grpc_chunk, in_chunks));
	let_go(call, call->message.len + call->kept_bytes);
	metric_move(call->loop->stream_gauge, -1);
	call->link = NULL;
	if (call->asking) {
		inner_cancel(&call->ask);
		return;
	}
	inner_request_release(&call->ask);
	free_call(call);
}

void grpc_call_look(struct grpc_call *call, int64_t now_ms)
{
	if (list_empty(&call->chunks) || now_ms - call->read_ms < UNREAD_STALL_MS)
		return;
	grpc_link_reset(call->link, call->stream);
}

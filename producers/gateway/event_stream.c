/* SPDX-License-Identifier: Apache-2.0 */
/* A stream's life: parked until the first look (of one job), then asked for bytes by the server
 * whenever the client has taken the last ones. Its buffer holds one batch of blocks, so what waits
 * for a client waits in the watch, where it has an end. */
#include "producers/gateway/event_stream.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"

#define CONTENT_TYPE "text/event-stream"
#define BATCH_BYTES  16384
#define BUFFER_KEPT  4096
#define TICK_MS      1000
#define GONE_LOOK_MS 10000 /* each stream is looked at so often for a client that has left */
#define GOODBYE_MS   2000  /* to take the last words */
#define RETRY_MS     "1000"

struct event_streams {
	pthread_mutex_t lock; /* guards the list, and that what is in it is there */
	pthread_cond_t wake;
	struct list all;
	size_t count;
	bool stopping;
	pthread_t thread;
};

struct event_stream { /* in the request's arena */
	struct list link;
	struct exchange *exchange;
	struct watcher *watcher;
	const struct event_stream_form *form;
	void *ctx;
	struct watch_event *first; /* what the first look found */
	_Atomic bool started;      /* the answer has begun */
	/* the ticker's words to the connection's thread */
	_Atomic bool beat, gone, expired;
	_Atomic int64_t spoke_ms;  /* when bytes were given last */
	int64_t until_ms, look_ms; /* the ticker's */
	int64_t over_ms;           /* when it saw that the watch was ended; 0: not */
	/* the connection's thread's */
	struct strbuf out;
	size_t sent;
	bool over;
};

/* ---- what goes out */

void event_stream_data(struct strbuf *out, const char *text, size_t bytes)
{
	const char *end = text + bytes;

	while (text <= end) {
		size_t line = 0;

		while (text + line < end && text[line] != '\n' && text[line] != '\r')
			line++;
		strbuf_addstr(out, "data: ");
		strbuf_add(out, text, line);
		strbuf_addch(out, '\n');
		text += line + 1;
	}
	strbuf_addch(out, '\n');
}

static void say_goodbye(struct event_stream *stream, enum watch_end why)
{
	if (stream->form->end)
		stream->form->end(&stream->out, why, stream->ctx);
	stream->over = true;
}

static struct watch_event *next_event(struct event_stream *stream, enum watch_end *end_r)
{
	struct watch_event *first = stream->first;

	stream->first = NULL;
	*end_r = WATCH_ON;
	return first ? first : watcher_take(stream->watcher, end_r);
}

static void fill(struct event_stream *stream)
{
	enum watch_end end = WATCH_ON;

	strbuf_clear(&stream->out);
	stream->sent = 0;
	while (!stream->over && stream->out.len < BATCH_BYTES) {
		struct watch_event *event = next_event(stream, &end);

		if (!event && end != WATCH_ON)
			say_goodbye(stream, end);
		if (!event)
			break;
		stream->form->event(&stream->out, event, stream->ctx);
		watch_event_unref(&event);
	}
	stream->over |= atomic_load(&stream->expired);
	if (!stream->out.len && !stream->over && atomic_exchange(&stream->beat, false))
		strbuf_addstr(&stream->out, ":\n\n");
}

static long more(struct request *request, char *buffer, size_t bytes_max)
{
	struct exchange *exchange = request_user(request);
	struct event_stream *stream = exchange->stream;
	size_t left;

	if (atomic_load(&stream->gone))
		return STREAM_BROKEN;
	if (stream->sent == stream->out.len)
		fill(stream);
	left = stream->out.len - stream->sent;
	if (!left) {
		if (stream->out.cap > BUFFER_KEPT) {
			strbuf_release(&stream->out);
			strbuf_init(&stream->out);
			stream->sent = 0;
		}
		return stream->over ? STREAM_END : STREAM_QUIET;
	}
	if (left > bytes_max)
		left = bytes_max;
	memcpy(buffer, stream->out.data + stream->sent, left);
	stream->sent += left;
	atomic_store(&stream->spoke_ms, clock_mono_ms());
	return (long)left;
}

/* ---- beginning */

static void begin(struct event_stream *stream)
{
	struct request *request = stream->exchange->request;

	request_answer_header(request, "Cache-Control", "no-store");
	request_answer_header(request, "X-Accel-Buffering", "no");
	strbuf_addstr(&stream->out, "retry: " RETRY_MS "\n\n");
	request_answer_stream(request, 200, CONTENT_TYPE, more);
}

static void refuse(struct exchange *exchange, enum watch_end why)
{
	struct error error;

	switch (why) {
	case WATCH_OVER:
		request_answer(exchange->request, 204, NULL, NULL);
		break;
	case WATCH_AWAY:
		error_set(&error, ERROR_UNAVAILABLE, "the store is away");
		exchange_refuse_store(exchange, &error);
		break;
	case WATCH_DRAIN:
		exchange_refuse_busy(exchange, 503, "stopping", "this gateway is being stopped", 1);
		break;
	case WATCH_GONE:
		exchange_refuse(exchange, 410, "past-retention",
				"what was then is no longer known: look at the jobs anew");
		break;
	default:
		exchange_refuse(exchange, 404, "unknown-job", "there is no such job");
	}
}

static void refuse_many(struct exchange *exchange)
{
	exchange_refuse_busy(exchange, 429, "too-many-watches",
			     "this caller, or this gateway, has as many watches as it may have",
			     10);
}

/* The first look of one job is made. */
static void looked(struct exchange *exchange)
{
	struct event_stream *stream = exchange->stream;
	enum watch_end end;

	if (!stream->watcher) {
		refuse_many(exchange);
		return;
	}
	atomic_store(&stream->started, true);
	stream->first = watcher_take(stream->watcher, &end);
	if (stream->first || end == WATCH_ON || (end == WATCH_OVER && !stream->form->over_is_204))
		begin(stream);
	else
		refuse(exchange, end);
}

/* There is no first look to wait for. */
static void begin_wide(struct event_stream *stream)
{
	enum watch_end end = stream->watcher ? watcher_end(stream->watcher) : WATCH_ON;

	if (!stream->watcher)
		refuse_many(stream->exchange);
	else if (end == WATCH_GONE || end == WATCH_DRAIN)
		refuse(stream->exchange, end);
	else
		begin(stream);
}

static void rung(void *stream_)
{
	struct event_stream *stream = stream_;

	if (atomic_load(&stream->started))
		request_stream_wake(stream->exchange->request);
	else
		exchange_wake(stream->exchange);
}

/* ---- the streams of a gateway */

static void enlist(struct event_streams *streams, struct event_stream *stream)
{
	int64_t now_ms = clock_mono_ms();

	stream->until_ms = now_ms + EVENT_STREAM_LIFE_MS;
	stream->look_ms = now_ms + GONE_LOOK_MS;
	atomic_store(&stream->spoke_ms, now_ms);
	pthread_mutex_lock(&streams->lock);
	list_append(&streams->all, &stream->link);
	if (streams->count++ == 0)
		pthread_cond_signal(&streams->wake);
	pthread_mutex_unlock(&streams->lock);
}

/* A client that does not even take the last words is cut off. */
static bool has_to_go(struct event_stream *stream, int64_t now_ms)
{
	enum watch_end end = stream->watcher ? watcher_end(stream->watcher) : WATCH_ON;

	if (end != WATCH_OVERRUN && end != WATCH_DRAIN)
		return false;
	if (!stream->over_ms)
		stream->over_ms = now_ms;
	if (now_ms - stream->over_ms > GOODBYE_MS) {
		request_cut(stream->exchange->request);
		request_stream_wake(stream->exchange->request); /* asleep it would not notice */
	}
	return true;
}

static void look_after(struct event_stream *stream, int64_t now_ms)
{
	struct request *request = stream->exchange->request;

	if (!atomic_load(&stream->started) || has_to_go(stream, now_ms))
		return;
	if (now_ms >= stream->look_ms) {
		stream->look_ms = now_ms + GONE_LOOK_MS;
		atomic_store(&stream->expired, now_ms >= stream->until_ms);
		atomic_store(&stream->gone, request_gone(request));
		if (atomic_load(&stream->expired) || atomic_load(&stream->gone))
			request_stream_wake(request);
	}
	if (now_ms - atomic_load(&stream->spoke_ms) >= EVENT_STREAM_BEAT_MS) {
		atomic_store(&stream->spoke_ms, now_ms);
		atomic_store(&stream->beat, true);
		request_stream_wake(request);
	}
}

static void *streams_run(void *streams_)
{
	struct event_streams *streams = streams_;

	pthread_mutex_lock(&streams->lock);
	while (!streams->stopping) {
		struct timespec until;

		if (!streams->count) {
			pthread_cond_wait(&streams->wake, &streams->lock);
			continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += TICK_MS * 1000000L;
		until.tv_sec += until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		pthread_cond_timedwait(&streams->wake, &streams->lock, &until);
		for (struct list *at = streams->all.next; at != &streams->all; at = at->next)
			look_after(list_entry(at, struct event_stream, link), clock_mono_ms());
	}
	pthread_mutex_unlock(&streams->lock);
	return NULL;
}

struct event_streams *event_streams_start(void)
{
	struct event_streams *streams = xcalloc(1, sizeof(*streams));
	pthread_condattr_t monotonic;

	list_init(&streams->all);
	pthread_mutex_init(&streams->lock, NULL);
	CHECK(pthread_condattr_init(&monotonic) == 0);
	CHECK(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&streams->wake, &monotonic) == 0);
	pthread_condattr_destroy(&monotonic);
	CHECK(pthread_create(&streams->thread, NULL, streams_run, streams) == 0);
	return streams;
}

void event_streams_stop(struct event_streams **streams_)
{
	struct event_streams *streams = *streams_;

	*streams_ = NULL;
	if (!streams)
		return;
	pthread_mutex_lock(&streams->lock);
	CHECK(streams->count == 0);
	streams->stopping = true;
	pthread_cond_signal(&streams->wake);
	pthread_mutex_unlock(&streams->lock);
	pthread_join(streams->thread, NULL);
	pthread_cond_destroy(&streams->wake);
	pthread_mutex_destroy(&streams->lock);
	free(streams);
}

/* ---- for handlers, and the front */

const char *event_stream_last_id(const struct exchange *exchange)
{
	static const char *const names[] = { "last_event_id", "lastEventId" };
	const char *id = request_header(exchange->request, "Last-Event-ID");

	for (size_t i = 0; !id && i < ARRAY_LEN(names); i++)
		id = target_param(request_target(exchange->request), names[i]);
	return id && *id ? id : NULL;
}

static void set_account(const struct exchange *exchange, struct watch_filter *filter)
{
	filter->account =
		exchange->caller == caller_watcher() ? filter->id : exchange->caller->account;
}

void event_stream_start(struct exchange *exchange, struct watch_filter *filter,
			const char *last_event_id, const struct event_stream_form *form, void *ctx)
{
	struct event_stream *stream = ARENA_NEW(exchange_arena(exchange), struct event_stream);
	bool one = !uuid_is_nil(&filter->id);

	if (!request_may_stream(exchange->request)) {
		exchange_refuse(exchange, 400, "no-stream",
				"this door has a way of its own to watch");
		return;
	}
	if (request_is_head(exchange->request)) {
		request_answer_static(exchange->request, 200, CONTENT_TYPE, "", 0);
		return;
	}
	stream->exchange = exchange;
	stream->form = form;
	stream->ctx = ctx;
	strbuf_init(&stream->out);
	exchange->stream = stream;
	set_account(exchange, filter);
	atomic_store(&stream->started, !one);
	if (one)
		exchange_park(exchange, looked);
	stream->watcher = watch_start(exchange->gateway->hub, filter, last_event_id, rung, stream);
	enlist(exchange->gateway->streams, stream);
	if (one && !stream->watcher)
		exchange_wake(exchange);
	else if (!one)
		begin_wide(stream);
}

void event_stream_release(struct exchange *exchange)
{
	struct event_stream *stream = exchange->stream;
	struct event_streams *streams;

	if (!stream) /* nor a gateway, when the head was refused */
		return;
	streams = exchange->gateway->streams;
	exchange->stream = NULL;
	pthread_mutex_lock(&streams->lock);
	list_remove(&stream->link);
	streams->count--;
	pthread_mutex_unlock(&streams->lock);
	watcher_stop(&stream->watcher);
	watch_event_unref(&stream->first);
	strbuf_release(&stream->out);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Socket and session of one connection. What a client may cost: so many streams, so large heads, so
 * many frames that bring nothing, so much time. nghttp2 itself ends sessions with more than eight
 * CONTINUATIONs, too many resets, SETTINGS or unread answers to PINGs. */
#include "producers/grpc/grpc_link.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strbuf.h"
#include "producers/grpc/grpc_call.h"
#include "producers/grpc/grpc_counts.h"

#define READ_BYTES    (16 * 1024)
#define READS_MAX     4            /* of one link in a turn */
#define OUT_BYTES_MAX (64 * 1024)  /* serialized and not yet taken by the socket */
#define STREAM_WINDOW (256 * 1024) /* what a client may send before we have read it */
#define LINK_WINDOW   (1024 * 1024)
#define CHECK_MS      1000
#define RESET_BURST   2000
#define RESET_RATE    200
#define OUTBOUND_ACKS 200
#define SETTINGS_MAX  32
#define LINGER_MS     1000 /* for a GOAWAY to be read before we close */

struct grpc_link {
	struct list in_links, in_dirty;
	struct grpc_loop *loop;
	nghttp2_session *session; /* NULL until TLS is through */
	struct grpc_tls_link *tls;
	int fd;
	unsigned interest; /* epoll events asked for */
	struct list calls;
	struct strbuf out;
	struct grpc_timer check;
	int64_t opened_ms, heard_ms, called_ms; /* called_ms: when it last had a call */
	int64_t pinged_ms;                      /* 0: no PING of ours is unanswered */
	int64_t stalled_ms; /* since when nothing of `out` was taken; 0: nothing waits */
	int64_t leaving_ms; /* when our last GOAWAY was sent; 0: not */
	int64_t strikes_ms;
	int strikes;
	bool greeted; /* its preface came */
	bool going;   /* told that we will go */
	bool gone;    /* told what the last call is */
	bool shut;    /* all is said; the client has a moment to read it */
	bool broken;  /* to be freed */
};

struct grpc_loop *grpc_link_loop(const struct grpc_link *link)
{
	return link->loop;
}

struct list *grpc_link_calls(struct grpc_link *link)
{
	return &link->calls;
}

struct grpc_link *grpc_link_at(struct list *in_links)
{
	return list_entry(in_links, struct grpc_link, in_links);
}

static void mark(struct grpc_link *link)
{
	if (list_empty(&link->in_dirty))
		list_append(&link->loop->dirty, &link->in_dirty);
}

/* The client is told why, as far as it listens, and nothing more of it is read. */
static void cut(struct grpc_link *link, uint32_t error, const char *why)
{
	if (link->leaving_ms || link->broken)
		return;
	grpc_count_cut(link->loop->counts, why);
	log_line(LOG_DEBUG, "grpc-connection-cut", LOG_S("why", why));
	link->leaving_ms = clock_mono_ms();
	if (!link->session || nghttp2_session_terminate_session(link->session, error) != 0)
		link->broken = true;
	mark(link);
}

/* ---- what a client costs. False: enough. */

static bool strike(struct grpc_link *link)
{
	int64_t now_ms = clock_mono_ms();
	int64_t forgiven = (now_ms - link->strikes_ms) * GRPC_STRIKES_BACK_S / 1000;

	if (forgiven > 0) {
		link->strikes = link->strikes > forgiven ? link->strikes - (int)forgiven : 0;
		link->strikes_ms = now_ms;
	}
	if (++link->strikes <= GRPC_STRIKES_MAX)
		return true;
	cut(link, NGHTTP2_ENHANCE_YOUR_CALM, "flood");
	return false;
}

/* Frames that are cheap to send and bring no call further. Answers earn them back: who reads a lot
 * may ask often whether we are there. */
static bool is_chatter(const nghttp2_frame *frame)
{
	switch (frame->hd.type) {
	case NGHTTP2_PING:
	case NGHTTP2_SETTINGS:
	case NGHTTP2_PRIORITY:
		return true;
	case NGHTTP2_DATA:
		return frame->hd.length == 0 && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
	default:
		return false;
	}
}

/* ---- nghttp2's callbacks: they record, and pass on to the call */

static struct grpc_call *call_of(nghttp2_session *session, int32_t stream)
{
	return nghttp2_session_get_stream_user_data(session, stream);
}

static int began_headers(nghttp2_session *session, const nghttp2_frame *frame, void *link_)
{
	struct grpc_link *link = link_;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	link->called_ms = clock_mono_ms();
	nghttp2_session_set_stream_user_data(session, frame->hd.stream_id,
					     grpc_call_open(link, frame->hd.stream_id));
	return 0;
}

static int got_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		      size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
		      void *link_)
{
	struct grpc_call *call = call_of(session, frame->hd.stream_id);
	struct grpc_link *link = link_;

	(void)flags;
	if (!call ||
	    grpc_call_field(call, (const char *)name, name_bytes, (const char *)value, value_bytes))
		return 0;
	cut(link, NGHTTP2_ENHANCE_YOUR_CALM, "head");
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int got_frame(nghttp2_session *session, const nghttp2_frame *frame, void *link_)
{
	struct grpc_call *call = call_of(session, frame->hd.stream_id);
	struct grpc_link *link = link_;

	link->heard_ms = clock_mono_ms();
	if (frame->hd.type == NGHTTP2_SETTINGS)
		link->greeted = true;
	if (frame->hd.type == NGHTTP2_PING && frame->hd.flags & NGHTTP2_FLAG_ACK)
		link->pinged_ms = 0;
	else if (is_chatter(frame) && !strike(link))
		return 0;
	if (!call)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		grpc_call_begin(call);
	if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
	    frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		grpc_call_half_close(call);
	return 0;
}

static int got_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
		    size_t bytes, void *link)
{
	struct grpc_call *call = call_of(session, stream);

	(void)flags, (void)link;
	if (call)
		grpc_call_data(call, data, bytes);
	return 0;
}

static int closed_stream(nghttp2_session *session, int32_t stream, uint32_t error, void *link)
{
	struct grpc_call *call = call_of(session, stream);

	(void)error, (void)link;
	if (call)
		grpc_call_close(call);
	return 0;
}

/* A session that nghttp2 ends by itself: too many resets, or what breaks the protocol. */
static void sent_goaway(struct grpc_link *link, uint32_t error)
{
	bool flood = error == NGHTTP2_ENHANCE_YOUR_CALM || error == NGHTTP2_INTERNAL_ERROR;

	if (error == NGHTTP2_NO_ERROR || link->leaving_ms)
		return;
	grpc_count_cut(link->loop->counts, flood ? "flood" : "protocol");
	link->leaving_ms = clock_mono_ms();
}

/* A call that was refused before its request was in: the client need not send the rest. */
static int sent_frame(nghttp2_session *session, const nghttp2_frame *frame, void *link_)
{
	struct grpc_link *link = link_;

	if (frame->hd.type == NGHTTP2_GOAWAY)
		sent_goaway(link, frame->goaway.error_code);
	if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
	    link->strikes > 0)
		link->strikes--;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
					  NGHTTP2_NO_ERROR);
	return 0;
}

static ssize_t read_answer(nghttp2_session *session, int32_t stream, uint8_t *out, size_t bytes,
			   uint32_t *flags, nghttp2_data_source *source, void *link_)
{
	struct grpc_call *call = call_of(session, stream);
	struct grpc_link *link = link_;
	bool last;
	ssize_t got;

	(void)source;
	CHECK(call);
	got = grpc_call_read(call, out, bytes, &last);
	if (got < 0)
		return NGHTTP2_ERR_DEFERRED;
	if (!last)
		return got;
	*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
	grpc_link_end(link, stream, grpc_call_trailers(call));
	return got;
}

/* ---- what calls say */

#define FIELD(name_, value_)                                    \
	((nghttp2_nv){ .name = (uint8_t *)(uintptr_t)(name_),   \
		       .namelen = strlen(name_),                \
		       .value = (uint8_t *)(uintptr_t)(value_), \
		       .valuelen = strlen(value_) })

static size_t add_trailers(nghttp2_nv *fields, size_t count, const struct grpc_trailers *trailers)
{
	fields[count++] = FIELD("grpc-status", trailers->code);
	if (trailers->message)
		fields[count++] = FIELD("grpc-message", trailers->message);
	if (trailers->details)
		fields[count++] = FIELD("grpc-status-details-bin", trailers->details);
	return count;
}

static void expect(struct grpc_link *link, int rc)
{
	if (nghttp2_is_fatal(rc))
		link->broken = true;
	mark(link);
}

void grpc_link_answer(struct grpc_link *link, int32_t stream)
{
	nghttp2_nv fields[] = {
		FIELD(":status", "200"),
		FIELD("content-type", "application/grpc"),
		FIELD("grpc-accept-encoding", "identity"),
	};
	nghttp2_data_provider provider = { .read_callback = read_answer };

	expect(link, nghttp2_submit_response(link->session, stream, fields, ARRAY_LEN(fields),
					     &provider));
}

void grpc_link_refuse(struct grpc_link *link, int32_t stream, int http_status,
		      const struct grpc_trailers *trailers)
{
	nghttp2_nv fields[8];
	char status[16];
	size_t count = 0;

	snprintf(status, sizeof(status), "%d", http_status);
	fields[count++] = FIELD(":status", status);
	if (http_status == 200) {
		fields[count++] = FIELD("content-type", "application/grpc");
		fields[count++] = FIELD("grpc-accept-encoding", "identity");
	}
	count = add_trailers(fields, count, trailers);
	expect(link, nghttp2_submit_response(link->session, stream, fields, count, NULL));
}

void grpc_link_end(struct grpc_link *link, int32_t stream, const struct grpc_trailers *trailers)
{
	nghttp2_nv fields[3];

	expect(link, nghttp2_submit_trailer(link->session, stream, fields,
					    add_trailers(fields, 0, trailers)));
}

void grpc_link_resume(struct grpc_link *link, int32_t stream)
{
	expect(link, nghttp2_session_resume_data(link->session, stream));
}

void grpc_link_reset(struct grpc_link *link, int32_t stream)
{
	expect(link,
	       nghttp2_submit_rst_stream(link->session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL));
}

/* ---- the session */

static nghttp2_session_callbacks *make_callbacks(void)
{
	nghttp2_session_callbacks *callbacks;

	CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, began_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, got_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, got_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, got_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, closed_stream);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, sent_frame);
	return callbacks;
}

static nghttp2_option *make_option(void)
{
	nghttp2_option *option;

	CHECK(nghttp2_option_new(&option) == 0);
	nghttp2_option_set_max_outbound_ack(option, OUTBOUND_ACKS);
	nghttp2_option_set_max_settings(option, SETTINGS_MAX);
	nghttp2_option_set_stream_reset_rate_limit(option, RESET_BURST, RESET_RATE);
	nghttp2_option_set_no_closed_streams(option, 1);
	return option;
}

static void open_session(struct grpc_link *link)
{
	nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, GRPC_STREAMS_MAX },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, GRPC_HEAD_BYTES_MAX },
	};
	nghttp2_session_callbacks *callbacks = make_callbacks();
	nghttp2_option *option = make_option();

	CHECK(nghttp2_session_server_new2(&link->session, callbacks, link, option) == 0);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	CHECK(nghttp2_submit_settings(link->session, NGHTTP2_FLAG_NONE, settings,
				      ARRAY_LEN(settings)) == 0);
	CHECK(nghttp2_session_set_local_window_size(link->session, NGHTTP2_FLAG_NONE, 0,
						    LINK_WINDOW) == 0);
	mark(link);
}

/* ---- the socket */

static void watch_for(struct grpc_link *link, unsigned interest)
{
	struct epoll_event event = { .events = interest, .data.ptr = link };

	if (interest == link->interest)
		return;
	CHECK(epoll_ctl(link->loop->epoll, link->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, link->fd,
			&event) == 0);
	link->interest = interest;
}

static void shake_hands(struct grpc_link *link)
{
	bool wants_write;

	switch (grpc_tls_handshake(link->tls, &wants_write)) {
	case 1:
		open_session(link);
		break;
	case 0:
		watch_for(link, wants_write ? EPOLLIN | EPOLLOUT : EPOLLIN);
		break;
	default:
		grpc_count_cut(link->loop->counts, "handshake");
		link->broken = true;
	}
}

static void take_bytes(struct grpc_link *link, const uint8_t *data, size_t bytes)
{
	ssize_t taken;

	/* On its way out nothing more is listened to. */
	if (link->leaving_ms)
		return;
	taken = nghttp2_session_mem_recv(link->session, data, bytes);
	if (taken == NGHTTP2_ERR_BAD_CLIENT_MAGIC) {
		grpc_count_cut(link->loop->counts, "not-http2");
		link->broken = true;
	} else if (taken < 0) {
		cut(link, NGHTTP2_ENHANCE_YOUR_CALM, "flood");
	}
}

static void read_link(struct grpc_link *link)
{
	uint8_t data[READ_BYTES];

	for (int i = 0; (i < READS_MAX || grpc_tls_has_more(link->tls)) && !link->broken; i++) {
		ssize_t bytes = grpc_tls_read(link->tls, link->fd, data, sizeof(data));
		if (bytes == -2)
			return;
		if (bytes <= 0) {
			link->broken = true;
			return;
		}
		take_bytes(link, data, (size_t)bytes);
		if ((size_t)bytes < sizeof(data) && !grpc_tls_has_more(link->tls))
			return;
	}
}

void grpc_link_ready(struct grpc_link *link, unsigned events)
{
	mark(link);
	if (link->broken)
		return;
	if (!link->session)
		shake_hands(link);
	if (link->session && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_link(link);
}

/* ---- sending */

static void serialize(struct grpc_link *link)
{
	const uint8_t *data;
	ssize_t bytes;

	while (link->out.len < OUT_BYTES_MAX) {
		bytes = nghttp2_session_mem_send(link->session, &data);
		if (bytes < 0)
			link->broken = true;
		if (bytes <= 0)
			return;
		strbuf_add(&link->out, data, (size_t)bytes);
	}
}

/* False: the socket takes no more now. */
static bool write_out(struct grpc_link *link)
{
	size_t at = 0;
	ssize_t bytes = 0;

	while (at < link->out.len) {
		bytes = grpc_tls_write(link->tls, link->fd, link->out.data + at,
				       link->out.len - at);
		if (bytes <= 0)
			break;
		at += (size_t)bytes;
	}
	if (at > 0)
		link->stalled_ms = 0;
	strbuf_consume(&link->out, at);
	if (link->out.len == 0)
		return true;
	if (bytes != -2)
		link->broken = true;
	else if (link->stalled_ms == 0)
		link->stalled_ms = clock_mono_ms();
	return false;
}

/* Closing at once, with something unread in the socket, would make the client lose our last words.
 */
static void shut(struct grpc_link *link)
{
	if (link->shut)
		return;
	link->shut = true;
	if (!link->leaving_ms)
		link->leaving_ms = clock_mono_ms();
	shutdown(link->fd, SHUT_WR);
}

static void send_link(struct grpc_link *link)
{
	bool room = true;

	do {
		serialize(link);
		if (link->broken || link->out.len == 0)
			break;
		room = write_out(link);
	} while (room && !link->broken);
	if (link->broken)
		return;
	/* Who does not read is not read: what we would have to say to it could grow without end. */
	watch_for(link, room ? EPOLLIN : EPOLLOUT);
	if (link->out.len == 0 && !nghttp2_session_want_read(link->session) &&
	    !nghttp2_session_want_write(link->session))
		shut(link);
}

void grpc_link_settle(struct list *in_dirty)
{
	struct grpc_link *link = list_entry(in_dirty, struct grpc_link, in_dirty);

	if (!link->broken && link->session)
		send_link(link);
	list_remove(&link->in_dirty);
	if (link->broken)
		grpc_link_free(link);
}

/* ---- time */

static void say_ping(struct grpc_link *link, int64_t now_ms)
{
	if (nghttp2_submit_ping(link->session, NGHTTP2_FLAG_NONE, NULL) == 0)
		link->pinged_ms = now_ms;
	mark(link);
}

static void look_at_calls(struct grpc_link *link, int64_t now_ms)
{
	for (struct list *at = link->calls.next, *next; at != &link->calls; at = next) {
		next = at->next;
		grpc_call_look(list_entry(at, struct grpc_call, in_link), now_ms);
	}
}

static void look(struct grpc_link *link, int64_t now_ms)
{
	bool idle = list_empty(&link->calls);

	if (!idle)
		link->called_ms = now_ms;
	if (link->leaving_ms && now_ms - link->leaving_ms > LINGER_MS)
		link->broken = true;
	else if (!link->greeted && now_ms - link->opened_ms > GRPC_HANDSHAKE_MS)
		link->broken = true;
	else if (link->stalled_ms && now_ms - link->stalled_ms > GRPC_WRITE_STALL_MS)
		link->broken = true;
	else if (link->pinged_ms && now_ms - link->pinged_ms > GRPC_PING_ANSWER_MS)
		link->broken = true;
	else if (idle && link->greeted && now_ms - link->called_ms > GRPC_IDLE_MS)
		cut(link, NGHTTP2_NO_ERROR, "idle");
	else if (link->greeted && !link->pinged_ms && now_ms - link->heard_ms > GRPC_SILENCE_MS)
		say_ping(link, now_ms);
	if (link->broken)
		mark(link);
}

static void check_link(struct grpc_timer *timer)
{
	struct grpc_link *link = list_entry(timer, struct grpc_link, check);
	int64_t now_ms = clock_mono_ms();

	look_at_calls(link, now_ms);
	look(link, now_ms);
	/* The second part of a drain: what was on its way when we said that we would go is here. */
	if (link->going && !link->leaving_ms)
		grpc_link_drain(link);
	grpc_timer_set(&link->loop->wheel, timer, now_ms + CHECK_MS);
}

void grpc_link_drain(struct grpc_link *link)
{
	if (!link->session || link->leaving_ms)
		return;
	if (!link->going) {
		link->going = true;
		nghttp2_submit_shutdown_notice(link->session);
		grpc_timer_set(&link->loop->wheel, &link->check, clock_mono_ms() + CHECK_MS / 10);
	} else if (!link->gone) {
		link->gone = true;
		nghttp2_submit_goaway(link->session, NGHTTP2_FLAG_NONE,
				      nghttp2_session_get_last_proc_stream_id(link->session),
				      NGHTTP2_NO_ERROR, NULL, 0);
	}
	mark(link);
}

/* ---- life */

void grpc_link_open(struct grpc_loop *loop, int fd)
{
	struct grpc_link *link = xcalloc(1, sizeof(*link));
	int64_t now_ms = clock_mono_ms();

	link->loop = loop;
	link->fd = fd;
	link->opened_ms = link->heard_ms = link->called_ms = link->strikes_ms = now_ms;
	list_init(&link->calls);
	list_init(&link->in_dirty);
	list_append(&loop->links, &link->in_links);
	strbuf_init(&link->out);
	grpc_timer_init(&link->check, check_link);
	grpc_timer_set(&loop->wheel, &link->check, now_ms + CHECK_MS);
	atomic_fetch_add(&loop->connections, 1);
	metric_move(loop->connection_gauge, 1);
	link->tls = grpc_tls_accept(loop->tls, fd);
	watch_for(link, EPOLLIN);
	if (!link->tls)
		open_session(link);
}

void grpc_link_free(struct grpc_link *link)
{
	while (!list_empty(&link->calls))
		grpc_call_close(list_first(&link->calls, struct grpc_call, in_link));
	/* It calls nobody back. */
	nghttp2_session_del(link->session);
	grpc_timer_drop(&link->check);
	list_remove(&link->in_dirty);
	list_remove(&link->in_links);
	grpc_tls_close(&link->tls);
	close(link->fd);
	strbuf_release(&link->out);
	atomic_fetch_sub(&link->loop->connections, 1);
	metric_move(link->loop->connection_gauge, -1);
	free(link);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See amqp_link.h. One state, changed by link_begin, link_fail and the login's steps. A server that
 * says nothing for two heartbeats is dead, whatever TCP thinks; so is one that does not answer a
 * login. Tested with frozen and vanishing servers in tests/integration. */
#include "common/broker/amqp_link.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <amqp.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#include "common/broker/amqp_wire.h"

#define ATTEMPT_MS      10000 /* from look-up to login */
#define PAUSE_FIRST_MS  100
#define PAUSE_MAX_MS    4000
#define LOOKUP_MS       10
#define HEARTBEAT_S     10
#define CHANNEL_MAX     2047
#define READ_BYTES      65536
#define READ_BYTES_TURN (16 * READ_BYTES) /* then others get their turn */

enum link_state {
	LINK_DOWN,    /* until retry_ms */
	LINK_OPENING, /* look-up, TCP, TLS */
	LINK_STARTED, /* waits for connection.start */
	LINK_LOGIN,   /* waits for connection.tune */
	LINK_VHOST,   /* waits for connection.open-ok */
	LINK_UP,
	LINK_CLOSING, /* waits for connection.close-ok */
	LINK_CLOSED,  /* for good */
};

struct amqp_link {
	struct amqp_link_options options;
	char *label; /* without secrets */
	enum link_state state;
	struct amqp_wire *wire;
	struct strbuf in, out;
	struct strbuf waste;  /* what is put while it is not up */
	size_t in_at, out_at; /* taken, sent */
	amqp_pool_t pool;     /* of the frame handed out last */
	bool more;            /* frames may be in `in` */
	bool unread;          /* the socket had more than one turn's share */
	uint64_t epoch;
	size_t frame_max;
	uint16_t channel_max;
	int64_t heartbeat_ms, heard_ms, spoke_ms;
	int64_t attempt_until_ms, retry_ms;
	int failures; /* since the last login */
	bool blocked;
	char why[256];
};

/* ---- coming and going */

struct amqp_link *amqp_link_new(const struct amqp_link_options *options)
{
	struct amqp_link *link = xcalloc(1, sizeof(*link));
	struct arena *arena = arena_new(0);

	link->options = *options;
	link->label = xstrdup(broker_url_label(options->url, arena));
	arena_free(&arena);
	strbuf_init(&link->in);
	strbuf_init(&link->out);
	strbuf_init(&link->waste);
	init_amqp_pool(&link->pool, 16384);
	link->frame_max = AMQP_FRAME_BYTES_MAX;
	snprintf(link->why, sizeof(link->why), "not connected yet");
	return link;
}

/* Bytes of a connection that is gone mean nothing to the next. */
static void link_hang_up(struct amqp_link *link)
{
	if (link->state == LINK_UP || link->state == LINK_CLOSING)
		link->options.changed(link->options.ctx, false);
	amqp_wire_free(&link->wire);
	strbuf_release(&link->in);
	strbuf_release(&link->out);
	strbuf_init(&link->in);
	strbuf_init(&link->out);
	link->in_at = link->out_at = 0;
	link->more = link->unread = link->blocked = false;
	link->frame_max = AMQP_FRAME_BYTES_MAX;
}

void amqp_link_free(struct amqp_link **link)
{
	if (!*link)
		return;
	link_hang_up(*link);
	empty_amqp_pool(&(*link)->pool);
	strbuf_release(&(*link)->in);
	strbuf_release(&(*link)->out);
	strbuf_release(&(*link)->waste);
	free((*link)->label);
	free(*link);
	*link = NULL;
}

/* Full jitter, so that a fleet does not come back in step. */
static int64_t pause_ms(int failures)
{
	int64_t bound = (int64_t)PAUSE_FIRST_MS << (failures < 10 ? failures : 10);

	if (bound > PAUSE_MAX_MS)
		bound = PAUSE_MAX_MS;
	return bound / 4 + (int64_t)random_below((uint64_t)bound * 3 / 4);
}

/* Each reason is told once, not at every attempt. */
static void tell(struct amqp_link *link, const char *why, bool was_up)
{
	bool news = was_up || strcmp(link->why, why) != 0;

	snprintf(link->why, sizeof(link->why), "%s", why);
	if (news)
		log_line(LOG_WARN, was_up ? "broker-lost" : "broker-away",
			 LOG_S("broker", link->label), LOG_S("side", link->options.side),
			 LOG_S("reason", link->why));
}

static void link_drop(struct amqp_link *link, const char *why)
{
	bool was_up = link->state == LINK_UP;

	if (link->state == LINK_CLOSED || link->state == LINK_DOWN)
		return;
	link_hang_up(link);
	if (link->state == LINK_CLOSING) {
		link->state = LINK_CLOSED;
		return;
	}
	link->state = LINK_DOWN;
	link->retry_ms = clock_mono_ms() + pause_ms(link->failures++);
	tell(link, why, was_up);
}

void amqp_link_fail(struct amqp_link *link, const char *fmt, ...)
{
	char why[sizeof(link->why)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	link_drop(link, why);
}

static void link_begin(struct amqp_link *link, int64_t now_ms)
{
	const struct broker_url *url = link->options.url;

	link->wire = amqp_wire_new(url->hosts[0].host, url->hosts[0].port, url->tls,
				   link->options.ca_file);
	link->state = LINK_OPENING;
	link->attempt_until_ms = now_ms + ATTEMPT_MS;
}

/* ---- login */

static amqp_table_entry_t entry_true(const char *name)
{
	return (amqp_table_entry_t){
		.key = amqp_text(name),
		.value = { .kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1 },
	};
}

static amqp_table_entry_t entry_text(const char *name, const char *text)
{
	return (amqp_table_entry_t){
		.key = amqp_text(name),
		.value = { .kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_text(text) },
	};
}

/* What we say of ourselves. A capability that is not named here is one that the server does not
 * use: without them alarms and deleted queues would be silent. */
static void put_start_ok(struct amqp_link *link, const char *plain, size_t plain_bytes)
{
	amqp_table_entry_t can[] = {
		entry_true("connection.blocked"),           entry_true("consumer_cancel_notify"),
		entry_true("publisher_confirms"),           entry_true("basic.nack"),
		entry_true("authentication_failure_close"),
	};
	amqp_table_entry_t who[] = {
		entry_text("product", "Windlass"),
		entry_text("version", WINDLASS_VERSION),
		entry_text("connection_name", link->options.client),
		{ .key = amqp_text("capabilities"),
		  .value = { .kind = AMQP_FIELD_KIND_TABLE,
			     .value.table = { .num_entries = ARRAY_LEN(can), .entries = can } } },
	};
	amqp_connection_start_ok_t ok = {
		.client_properties = { .num_entries = ARRAY_LEN(who), .entries = who },
		.mechanism = amqp_text("PLAIN"),
		.response = { .len = plain_bytes, .bytes = (void *)(uintptr_t)plain },
		.locale = amqp_text("en_US"),
	};

	amqp_put_method(&link->out, 0, AMQP_CONNECTION_START_OK_METHOD, &ok);
}

static void login_start(struct amqp_link *link, const amqp_connection_start_t *start)
{
	const struct broker_url *url = link->options.url;
	struct strbuf plain;

	if (!memmem(start->mechanisms.bytes, start->mechanisms.len, "PLAIN", 5)) {
		amqp_link_fail(link, "the server does not offer PLAIN authentication");
		return;
	}
	strbuf_init(&plain);
	strbuf_reserve(&plain, 1024);
	strbuf_addch(&plain, '\0');
	strbuf_addstr(&plain, url->user ? url->user : "guest");
	strbuf_addch(&plain, '\0');
	strbuf_addstr(&plain, url->password ? url->password : "guest");
	put_start_ok(link, plain.data, plain.len);
	explicit_bzero(plain.data, plain.cap);
	strbuf_release(&plain);
	link->state = LINK_LOGIN;
}

static int64_t heartbeat_wanted_s(const struct amqp_link *link)
{
	const char *text = broker_url_option(link->options.url, "heartbeat");

	return text ? atoll(text) : HEARTBEAT_S;
}

static uint32_t lesser(uint32_t ours, uint32_t theirs) /* 0: the server has no limit */
{
	return theirs && theirs < ours ? theirs : ours;
}

static void login_tune(struct amqp_link *link, const amqp_connection_tune_t *tune)
{
	amqp_connection_tune_ok_t ok = {
		.channel_max = (uint16_t)lesser(CHANNEL_MAX, tune->channel_max),
		.frame_max = lesser(AMQP_FRAME_BYTES_MAX, tune->frame_max),
		.heartbeat = (uint16_t)lesser((uint32_t)heartbeat_wanted_s(link), tune->heartbeat),
	};
	amqp_connection_open_t open = { .virtual_host = amqp_text(link->options.url->path) };

	explicit_bzero(link->out.data, link->out.cap); /* the password was in there */
	if (ok.frame_max < 4096 || open.virtual_host.len > AMQP_NAME_BYTES_MAX) {
		amqp_link_fail(link, "the server's frames or the vhost's name have no usable size");
		return;
	}
	link->channel_max = ok.channel_max;
	link->frame_max = ok.frame_max;
	link->heartbeat_ms = ok.heartbeat * 1000;
	amqp_put_method(&link->out, 0, AMQP_CONNECTION_TUNE_OK_METHOD, &ok);
	amqp_put_method(&link->out, 0, AMQP_CONNECTION_OPEN_METHOD, &open);
	link->state = LINK_VHOST;
}

static void login_done(struct amqp_link *link)
{
	link->state = LINK_UP;
	link->epoch++;
	link->failures = 0;
	link->why[0] = '\0';
	link->options.changed(link->options.ctx, true);
	log_line(LOG_INFO, "broker-connected", LOG_S("broker", link->label),
		 LOG_S("side", link->options.side));
}

/* ---- frames */

static void on_close(struct amqp_link *link, const amqp_connection_close_t *bye)
{
	amqp_connection_close_ok_t ok = { 0 };
	struct error ignored;

	amqp_put_method(&link->out, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
	/* A courtesy: whether it arrives does not matter. */
	(void)!amqp_wire_write(link->wire, link->out.data + link->out_at,
			       link->out.len - link->out_at, &ignored);
	amqp_link_fail(link, "the server closed the connection: %.*s", (int)bye->reply_text.len,
		       (const char *)bye->reply_text.bytes);
}

static void on_blocked(struct amqp_link *link, const amqp_connection_blocked_t *blocked)
{
	link->blocked = true;
	snprintf(link->why, sizeof(link->why), "blocked by the server: %.*s",
		 (int)blocked->reason.len, (const char *)blocked->reason.bytes);
	log_line(LOG_WARN, "broker-blocked", LOG_S("broker", link->label),
		 LOG_S("side", link->options.side), LOG_S("reason", link->why));
}

static void on_unblocked(struct amqp_link *link)
{
	link->blocked = false;
	link->why[0] = '\0';
	log_line(LOG_INFO, "broker-unblocked", LOG_S("broker", link->label),
		 LOG_S("side", link->options.side));
}

/* False: not at this moment. */
static bool on_login(struct amqp_link *link, const amqp_method_t *method)
{
	if (link->state == LINK_STARTED && method->id == AMQP_CONNECTION_START_METHOD)
		login_start(link, method->decoded);
	else if (link->state == LINK_LOGIN && method->id == AMQP_CONNECTION_TUNE_METHOD)
		login_tune(link, method->decoded);
	else if (link->state == LINK_VHOST && method->id == AMQP_CONNECTION_OPEN_OK_METHOD)
		login_done(link);
	else
		return false;
	return true;
}

static void on_connection_method(struct amqp_link *link, const amqp_method_t *method)
{
	switch (method->id) {
	case AMQP_CONNECTION_CLOSE_METHOD:
		on_close(link, method->decoded);
		return;
	case AMQP_CONNECTION_BLOCKED_METHOD:
		on_blocked(link, method->decoded);
		return;
	case AMQP_CONNECTION_UNBLOCKED_METHOD:
		on_unblocked(link);
		return;
	case AMQP_CONNECTION_CLOSE_OK_METHOD:
		link_drop(link, "closed");
		return;
	default:
		if (!on_login(link, method))
			amqp_link_fail(link, "the server said %s at the wrong time",
				       amqp_method_name(method->id) ? amqp_method_name(method->id)
								    : "something unknown");
	}
}

/* What was handed out is dead now; what was read and taken makes room. */
static void release_taken(struct amqp_link *link)
{
	recycle_amqp_pool(&link->pool);
	if (link->in_at == link->in.len) {
		strbuf_clear(&link->in);
		link->in_at = 0;
	} else if (link->in_at >= READ_BYTES_TURN) {
		strbuf_consume(&link->in, link->in_at);
		link->in_at = 0;
	}
}

static bool take_frame(struct amqp_link *link, amqp_frame_t *frame_r)
{
	struct error error;
	ssize_t bytes;

	release_taken(link);
	if (!link->wire || link->state == LINK_OPENING)
		return false;
	bytes = amqp_get_frame(link->in.data + link->in_at, link->in.len - link->in_at,
			       link->frame_max, &link->pool, frame_r, &error);
	if (bytes < 0)
		amqp_link_fail(link, "not understood: %s", error.message);
	if (bytes <= 0)
		return false;
	link->in_at += (size_t)bytes;
	return true;
}

bool amqp_link_frame(struct amqp_link *link, amqp_frame_t *frame_r)
{
	while (take_frame(link, frame_r)) {
		if (frame_r->channel == 0 && frame_r->frame_type == AMQP_FRAME_METHOD)
			on_connection_method(link, &frame_r->payload.method);
		else if (frame_r->channel > 0 && link->state == LINK_UP)
			return link->more = true;
		else if (frame_r->channel > 0 && link->state != LINK_CLOSING)
			amqp_link_fail(link, "a channel's frame before the login");
	}
	return link->more = false;
}

/* ---- bytes */

static void send_some(struct amqp_link *link)
{
	struct error error;

	while (link->out_at < link->out.len) {
		ssize_t n = amqp_wire_write(link->wire, link->out.data + link->out_at,
					    link->out.len - link->out_at, &error);

		if (n < 0)
			amqp_link_fail(link, "%s", error.message);
		if (n <= 0)
			return;
		link->out_at += (size_t)n;
		link->spoke_ms = clock_mono_ms();
	}
	if (link->out.cap > 4 * READ_BYTES_TURN) {
		strbuf_release(&link->out);
		strbuf_init(&link->out);
	}
	strbuf_clear(&link->out);
	link->out_at = 0;
}

static void receive_some(struct amqp_link *link)
{
	struct error error;
	size_t total = 0;

	link->unread = true;
	while (total < READ_BYTES_TURN) {
		ssize_t n;

		strbuf_reserve(&link->in, READ_BYTES);
		n = amqp_wire_read(link->wire, link->in.data + link->in.len, READ_BYTES, &error);
		if (n <= 0)
			link->unread = false;
		if (n < 0 && !total) /* its last words first: they say why */
			amqp_link_fail(link, "%s", error.message);
		if (n <= 0)
			break;
		link->in.len += (size_t)n;
		link->in.data[link->in.len] = '\0';
		total += (size_t)n;
		link->heard_ms = clock_mono_ms();
		link->more = true;
	}
}

static void open_some(struct amqp_link *link, int64_t now_ms)
{
	struct error error;
	int rc = amqp_wire_open(link->wire, &error);

	if (rc < 0)
		amqp_link_fail(link, "%s", error.message);
	if (rc <= 0)
		return;
	link->state = LINK_STARTED;
	link->heard_ms = link->spoke_ms = now_ms;
	strbuf_clear(&link->out);
	strbuf_add(&link->out, "AMQP\0\0\11\1", 8);
}

/* ---- the loop */

static bool is_open(const struct amqp_link *link)
{
	return link->wire && link->state != LINK_OPENING;
}

static void keep_time(struct amqp_link *link, int64_t now_ms)
{
	if (link->state == LINK_DOWN && now_ms >= link->retry_ms)
		link_begin(link, now_ms);
	else if (link->wire && link->state < LINK_UP && now_ms >= link->attempt_until_ms)
		amqp_link_fail(link, "no login within %d s", ATTEMPT_MS / 1000);
	if (link->state == LINK_UP && now_ms - link->spoke_ms >= link->heartbeat_ms / 2 &&
	    !amqp_link_unsent(link)) {
		amqp_put_heartbeat(&link->out);
		link->spoke_ms = now_ms;
	}
}

/* Asked after reading: a thread that was kept away for long finds the heartbeats in its socket. */
static void check_silence(struct amqp_link *link)
{
	if (link->state == LINK_UP && clock_mono_ms() - link->heard_ms >= 2 * link->heartbeat_ms)
		amqp_link_fail(link, "silent for %d s", (int)(2 * link->heartbeat_ms / 1000));
}

static int64_t sooner(int64_t a_ms, int64_t b_ms)
{
	return a_ms < b_ms ? a_ms : b_ms;
}

static int64_t wake_ms(const struct amqp_link *link, int64_t until_ms, int64_t now_ms)
{
	if (link->more || link->unread)
		return now_ms;
	if (link->state == LINK_DOWN)
		return sooner(until_ms, link->retry_ms);
	if (link->state == LINK_OPENING && amqp_wire_fd(link->wire) < 0)
		return sooner(until_ms, now_ms + LOOKUP_MS);
	if (link->state < LINK_UP)
		return sooner(until_ms, link->attempt_until_ms);
	if (link->state == LINK_UP && !amqp_link_unsent(link))
		until_ms = sooner(until_ms, link->spoke_ms + link->heartbeat_ms / 2);
	if (link->state == LINK_UP)
		until_ms = sooner(until_ms, link->heard_ms + 2 * link->heartbeat_ms);
	return until_ms;
}

static void wait_for(struct amqp_link *link, int wake_fd, int64_t wait_ms)
{
	struct pollfd fds[2] = { { .fd = link->wire ? amqp_wire_fd(link->wire) : -1 },
				 { .fd = wake_fd, .events = POLLIN } };

	if (link->wire)
		fds[0].events = amqp_wire_events(link->wire);
	if (is_open(link) && amqp_link_unsent(link))
		fds[0].events |= POLLOUT;
	wait_ms = wait_ms < 0 ? 0 : sooner(wait_ms, 60000);
	(void)!poll(fds, 2, (int)wait_ms);
}

void amqp_link_poll(struct amqp_link *link, int wake_fd, int64_t until_ms)
{
	int64_t now_ms = clock_mono_ms();

	keep_time(link, now_ms);
	if (is_open(link))
		send_some(link);
	wait_for(link, wake_fd, wake_ms(link, until_ms, now_ms) - now_ms);
	if (link->state == LINK_OPENING)
		open_some(link, clock_mono_ms());
	if (is_open(link))
		receive_some(link);
	check_silence(link);
	if (is_open(link))
		send_some(link);
}

void amqp_link_close(struct amqp_link *link, int timeout_ms)
{
	amqp_connection_close_t bye = { .reply_code = 200, .reply_text = amqp_text("goodbye") };
	int64_t until_ms = clock_mono_ms() + timeout_ms;
	amqp_frame_t frame;

	if (link->state == LINK_UP) {
		amqp_put_method(&link->out, 0, AMQP_CONNECTION_CLOSE_METHOD, &bye);
		link->state = LINK_CLOSING;
	}
	while (link->state == LINK_CLOSING && clock_mono_ms() < until_ms) {
		amqp_link_poll(link, -1, until_ms);
		CHECK(!amqp_link_frame(link, &frame));
	}
	link_hang_up(link);
	link->state = LINK_CLOSED;
}

/* ---- asking */

bool amqp_link_up(const struct amqp_link *link)
{
	return link->state == LINK_UP;
}

uint64_t amqp_link_epoch(const struct amqp_link *link)
{
	return link->epoch;
}

bool amqp_link_blocked(const struct amqp_link *link)
{
	return link->blocked;
}

const char *amqp_link_why(const struct amqp_link *link)
{
	return link->why;
}

struct strbuf *amqp_link_out(struct amqp_link *link)
{
	if (link->state == LINK_UP)
		return &link->out;
	strbuf_clear(&link->waste);
	return &link->waste;
}

size_t amqp_link_unsent(const struct amqp_link *link)
{
	return link->out.len - link->out_at;
}

size_t amqp_link_frame_max(const struct amqp_link *link)
{
	return link->frame_max;
}

uint16_t amqp_link_channel_max(const struct amqp_link *link)
{
	return link->channel_max;
}

int64_t amqp_link_retry_ms(const struct amqp_link *link)
{
	return link->state == LINK_DOWN ? link->retry_ms : 0;
}

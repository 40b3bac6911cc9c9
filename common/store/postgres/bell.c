/* SPDX-License-Identifier: Apache-2.0 */
/* The bell on PostgreSQL: LISTEN on one connection, waited on by the listener's own thread; NOTIFY
 * on another, by a thread of the bell that sends what was rung since its last round trip in one
 * transaction. Rings are lost while a connection is away: then the listener is told that it missed
 * some. Nothing here decides anything; all truth is in the tables. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/store/postgres/postgres_impl.h"
#include "common/store/postgres/safe_url.h"

#define RECONNECT_MS 500
/* Between two NOTIFYs: a commit each, so what is rung meanwhile goes together. Whoever is rung for
 * that often is awake anyway: after RING_STREAK NOTIFYs that had to wait the gap is the long one.
 */
#define RING_GAP_MS      1
#define RING_LONG_GAP_MS 4
#define RING_STREAK      4
#define NOTIFY_IDS_MAX   240 /* of 32 digits: a payload is less than 8,000 bytes */
/* more than that while the server is away: listeners look themselves afterwards */
#define PENDING_IDS_MAX 20000
#define ID_HEX          32
#define NOTIFY          "notify" /* the prepared statement */

static const struct {
	unsigned bit;
	const char *channel;
} channels[] = {
	{ BELL_READY, "windlass_ready" },   { BELL_ENDED, "windlass_ended" },
	{ BELL_CANCEL, "windlass_cancel" }, { BELL_PAUSE, "windlass_pause" },
	{ BELL_MOVED, "windlass_moved" },   { BELL_WATCH, "windlass_watch" },
	{ BELL_SCALE, "windlass_scale" },
};

#define CARRIES_IDS (BELL_ENDED | BELL_MOVED)

struct ids {
	struct uuid *ids;
	size_t count, cap;
	bool lost; /* there were more */
};

struct postgres_bell {
	struct bell base;
	char *url;
	/* the listening side, used by the thread in bell_wait only */
	unsigned listen;
	PGconn *conn; /* NULL: to be opened */
	bool connecting;
	PostgresPollingStatusType polling;
	int64_t connect_ms; /* not before */
	int64_t give_up_ms; /* a connection that has not come about by then */
	struct ids ended, moved;
	int wake_fd;
	_Atomic int64_t watched_ms; /* somebody watches until then, monotonic */
	/* the ringing side */
	pthread_t thread;
	bool started;         /* the thread runs; by the first ring */
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t rung;
	unsigned pending;
	struct ids pending_ended, pending_moved;
	bool stop;
	/* the thread's own */
	int64_t rang_ns;
	int streak; /* NOTIFYs one after the other that had to wait for the gap */
};

static struct postgres_bell *bell_of(struct bell *bell)
{
	return (struct postgres_bell *)(void *)bell;
}

/* ---- listening */

static void unplug(struct postgres_bell *bell)
{
	if (bell->conn)
		PQfinish(bell->conn);
	bell->conn = NULL;
	bell->connecting = false;
	bell->connect_ms = clock_mono_ms() + RECONNECT_MS;
}

static bool say(PGconn *conn, const char *sql)
{
	PGresult *result = PQexecParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);

	PQclear(result);
	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static bool subscribe(struct postgres_bell *bell)
{
	char sql[64];

	for (size_t i = 0; i < ARRAY_LEN(channels); i++) {
		snprintf(sql, sizeof(sql), "LISTEN %s", channels[i].channel);
		if ((bell->listen & channels[i].bit) && !say(bell->conn, sql))
			return false;
	}
	return true;
}

static void begin_connect(struct postgres_bell *bell)
{
	struct connect_params params;
	int64_t now_ms = clock_mono_ms();

	if (now_ms < bell->connect_ms)
		return;
	postgres_connect_params(bell->url, "bell", "listen", &params);
	bell->conn = PQconnectStartParams(params.keywords, params.values, 1);
	postgres_mute(bell->conn);
	bell->connecting = true;
	bell->polling = PGRES_POLLING_WRITING;
	bell->give_up_ms = now_ms + 5000;
	if (PQstatus(bell->conn) == CONNECTION_BAD)
		unplug(bell);
}

/* One step of connecting, when its socket is ready. True: connected just now. */
static bool go_on_connecting(struct postgres_bell *bell)
{
	bell->polling = PQconnectPoll(bell->conn);
	if (bell->polling == PGRES_POLLING_OK) {
		bell->connecting = false;
		if (subscribe(bell))
			return true;
		unplug(bell);
	} else if (bell->polling == PGRES_POLLING_FAILED) {
		unplug(bell);
	}
	return false;
}

static void ids_add(struct ids *list, const struct uuid *ids, size_t count)
{
	if (list->count + count > list->cap) {
		list->cap = 2 * (list->count + count);
		list->ids = xrealloc(list->ids, list->cap * sizeof(*ids));
	}
	memcpy(list->ids + list->count, ids, count * sizeof(*ids));
	list->count += count;
}

static void ids_drop(struct ids *list)
{
	free(list->ids);
	*list = (struct ids){ 0 };
}

static void read_ids(struct ids *list, const char *payload)
{
	for (size_t left = strlen(payload); left >= ID_HEX; left -= ID_HEX, payload += ID_HEX) {
		struct uuid id;

		if (!uuid_parse_hex(payload, &id))
			return;
		ids_add(list, &id, 1);
	}
}

static void heard_watch(struct postgres_bell *bell)
{
	atomic_store_explicit(&bell->watched_ms, clock_mono_ms() + BELL_WATCH_MS,
			      memory_order_relaxed);
}

/* An empty note of ids: they were too many while the server was away. */
static void hear(struct postgres_bell *bell, unsigned what, const char *payload,
		 struct bell_event *event)
{
	if (what == BELL_WATCH) {
		heard_watch(bell);
		return;
	}
	event->what |= what;
	if (what == BELL_ENDED)
		read_ids(&bell->ended, payload);
	else if (what == BELL_MOVED)
		read_ids(&bell->moved, payload);
	if ((what & CARRIES_IDS) && !payload[0])
		event->missed = true;
}

/* Reads what has come. False: the connection is gone. */
static bool read_notes(struct postgres_bell *bell, struct bell_event *event)
{
	PGnotify *note;

	if (!PQconsumeInput(bell->conn))
		return false;
	while ((note = PQnotifies(bell->conn))) {
		for (size_t i = 0; i < ARRAY_LEN(channels); i++)
			if (!strcmp(note->relname, channels[i].channel))
				hear(bell, channels[i].bit, note->extra, event);
		PQfreemem(note);
	}
	return true;
}

/* Waits for the wake-up or for the connection. 1: the connection has something; 0: time-out; -1:
 * woken. */
static int wait_once(struct postgres_bell *bell, int64_t deadline_ms)
{
	struct pollfd p[2] = { { .fd = bell->wake_fd, .events = POLLIN }, { .fd = -1 } };
	int64_t until_ms = deadline_ms;
	uint64_t count;

	if (bell->conn) {
		p[1].fd = PQsocket(bell->conn);
		p[1].events = bell->connecting && bell->polling == PGRES_POLLING_WRITING ? POLLOUT
											 : POLLIN;
	}
	if (bell->connecting && bell->give_up_ms < until_ms)
		until_ms = bell->give_up_ms;
	if (bell->listen && !bell->conn && bell->connect_ms < until_ms)
		until_ms = bell->connect_ms;
	int64_t left_ms = until_ms - clock_mono_ms();

	if (poll(p, 2, left_ms < 0 ? 0 : (int)left_ms) < 0)
		return 0;
	if (p[0].revents) {
		while (read(bell->wake_fd, &count, sizeof(count)) < 0 && errno == EINTR)
			;
		return -1;
	}
	return p[1].revents != 0;
}

/* What the connection has to say. True: *event is worth returning. */
static bool attend(struct postgres_bell *bell, struct bell_event *event)
{
	if (bell->connecting) {
		event->missed = go_on_connecting(bell);
		return event->missed;
	}
	if (!read_notes(bell, event)) {
		log_line(LOG_WARN, "bell-lost", LOG_S("why", "connection to PostgreSQL"));
		unplug(bell);
		event->missed = true;
	}
	event->ended = bell->ended.ids;
	event->ended_count = bell->ended.count;
	event->moved = bell->moved.ids;
	event->moved_count = bell->moved.count;
	return event->what || event->missed;
}

static int postgres_bell_wait(struct bell *base, int timeout_ms, struct bell_event *event)
{
	struct postgres_bell *bell = bell_of(base);
	int64_t deadline_ms = clock_mono_ms() + timeout_ms;

	bell->ended.count = bell->moved.count = 0;
	for (;;) {
		if (bell->listen && !bell->conn)
			begin_connect(bell);
		/* PQexec may have read notifications together with its own answer. */
		if (bell->conn && !bell->connecting && attend(bell, event))
			return 1;
		int rc = wait_once(bell, deadline_ms);

		if (rc < 0)
			return 0;
		if (rc > 0 && bell->conn && attend(bell, event))
			return 1;
		if (bell->connecting && clock_mono_ms() >= bell->give_up_ms)
			unplug(bell);
		if (clock_mono_ms() >= deadline_ms)
			return 0;
	}
}

static void postgres_bell_wake(struct bell *base)
{
	struct postgres_bell *bell = bell_of(base);
	uint64_t one = 1;
	int saved = errno;

	if (write(bell->wake_fd, &one, sizeof(one)) < 0)
		errno = saved; /* only when it is awake already */
	errno = saved;
}

/* ---- ringing */

/* Until the deadline, unless it is time to stop. The lock is held. */
static void rest(struct postgres_bell *bell, int64_t until_ns)
{
	struct timespec until = { .tv_sec = until_ns / 1000000000,
				  .tv_nsec = until_ns % 1000000000 };

	while (!bell->stop && pthread_cond_timedwait(&bell->rung, &bell->lock, &until) != ETIMEDOUT)
		;
}

static void keep_gap(struct postgres_bell *bell)
{
	int gap_ms = bell->streak < RING_STREAK ? RING_GAP_MS : RING_LONG_GAP_MS;
	int64_t until_ns = bell->rang_ns + gap_ms * 1000000L;

	if (clock_mono_ns() < until_ns) {
		bell->streak += bell->streak < RING_STREAK;
		rest(bell, until_ns);
	} else {
		bell->streak = 0;
	}
	bell->rang_ns = clock_mono_ns();
}

/* What was rung since the last time: the first at once, then one in each gap. False: stop. The lock
 * is held. */
static bool take_rings(struct postgres_bell *bell, unsigned *what_r, struct ids *ended_r,
		       struct ids *moved_r)
{
	while (!bell->stop && !bell->pending)
		pthread_cond_wait(&bell->rung, &bell->lock);
	keep_gap(bell);
	*what_r = bell->pending;
	*ended_r = bell->pending_ended;
	*moved_r = bell->pending_moved;
	bell->pending = 0;
	bell->pending_ended = bell->pending_moved = (struct ids){ 0 };
	return *what_r != 0;
}

/* Text arrays without quotes: channels are words, notes are digits. */
struct notes {
	struct strbuf channels, texts;
};

static void begin_note(struct notes *notes, const char *channel)
{
	strbuf_addstr(&notes->channels, notes->channels.len ? "," : "{");
	strbuf_addstr(&notes->channels, channel);
	strbuf_addstr(&notes->texts, notes->texts.len ? "," : "{");
}

static void write_ids(struct notes *notes, const char *channel, const struct ids *list)
{
	char hex[ID_HEX + 1];

	for (size_t i = 0; i < list->count; i++) {
		if (i % NOTIFY_IDS_MAX == 0)
			begin_note(notes, channel);
		uuid_hex(&list->ids[i], hex);
		strbuf_add(&notes->texts, hex, ID_HEX);
	}
}

static void write_notes(struct notes *notes, unsigned what, const struct ids *ended,
			const struct ids *moved)
{
	static const struct ids none;

	for (size_t i = 0; i < ARRAY_LEN(channels); i++) {
		unsigned bit = channels[i].bit;
		const struct ids *list = bit == BELL_ENDED   ? ended
					 : bit == BELL_MOVED ? moved
							     : &none;

		if (!(what & bit))
			continue;
		write_ids(notes, channels[i].channel, list);
		if (list->count == 0 || list->lost) {
			begin_note(notes, channels[i].channel);
			strbuf_addstr(&notes->texts, "\"\"");
		}
	}
	strbuf_addch(&notes->channels, '}');
	strbuf_addch(&notes->texts, '}');
}

/* One statement, so one transaction. */
static bool notify(PGconn *conn, unsigned what, const struct ids *ended, const struct ids *moved)
{
	struct notes notes;

	strbuf_init(&notes.channels);
	strbuf_init(&notes.texts);
	write_notes(&notes, what, ended, moved);
	PGresult *result = PQexecPrepared(conn, NOTIFY, 2,
					  (const char *[]){ notes.channels.data, notes.texts.data },
					  NULL, NULL, 0);
	bool ok = PQresultStatus(result) == PGRES_TUPLES_OK;

	PQclear(result);
	strbuf_release(&notes.channels);
	strbuf_release(&notes.texts);
	return ok;
}

static bool prepare_notify(PGconn *conn)
{
	PGresult *result = PQprepare(conn, NOTIFY,
				     "SELECT pg_notify(channel, text) FROM unnest($1::text[],"
				     " $2::text[]) AS n(channel, text)",
				     0, NULL);
	bool ok = PQresultStatus(result) == PGRES_COMMAND_OK;

	PQclear(result);
	return ok;
}

/* A NOTIFY is a commit; it need not be flushed. */
static PGconn *plug_in(struct postgres_bell *bell)
{
	struct error err;
	PGconn *conn = postgres_connect(bell->url, "bell", "ring", &err);

	if (conn && (!say(conn, "SELECT set_config('synchronous_commit', 'off', false),"
				" set_config('statement_timeout', '5000', false)") ||
		     !prepare_notify(conn))) {
		PQfinish(conn);
		conn = NULL;
	}
	return conn;
}

/* Waits a moment before the server is tried again. False: it is time to stop. */
static bool pause_ringing(struct postgres_bell *bell)
{
	pthread_mutex_lock(&bell->lock);
	rest(bell, clock_mono_ns() + RECONNECT_MS * 1000000L);
	bool stop = bell->stop;

	pthread_mutex_unlock(&bell->lock);
	return !stop;
}

static void *ring_thread(void *context)
{
	struct postgres_bell *bell = context;
	PGconn *conn = NULL;
	struct ids ended, moved;
	unsigned what;

	for (;;) {
		pthread_mutex_lock(&bell->lock);
		bool more = take_rings(bell, &what, &ended, &moved);

		pthread_mutex_unlock(&bell->lock);
		if (!more)
			break;
		while (!(conn || (conn = plug_in(bell))) || !notify(conn, what, &ended, &moved)) {
			if (conn)
				PQfinish(conn);
			conn = NULL;
			if (!pause_ringing(bell))
				break;
		}
		ids_drop(&ended);
		ids_drop(&moved);
	}
	if (conn)
		PQfinish(conn);
	return NULL;
}

/* The lock is held. */
static void start_thread(struct postgres_bell *bell)
{
	if (bell->started)
		return;
	CHECK(pthread_create(&bell->thread, NULL, ring_thread, bell) == 0);
	bell->started = true;
}

/* Who finds something pending need not wake the thread again. The lock is held. */
static void add_ring(struct postgres_bell *bell, unsigned what)
{
	start_thread(bell);
	if (!bell->pending)
		pthread_cond_signal(&bell->rung);
	bell->pending |= what;
}

static void postgres_bell_ring(struct bell *base, unsigned what)
{
	struct postgres_bell *bell = bell_of(base);

	pthread_mutex_lock(&bell->lock);
	add_ring(bell, what);
	pthread_mutex_unlock(&bell->lock);
}

static void postgres_bell_ring_ids(struct bell *base, unsigned what, const struct uuid *ids,
				   size_t count)
{
	struct postgres_bell *bell = bell_of(base);
	struct ids *list = what == BELL_ENDED ? &bell->pending_ended : &bell->pending_moved;

	pthread_mutex_lock(&bell->lock);
	add_ring(bell, what);
	if (list->count + count > PENDING_IDS_MAX) {
		ids_drop(list);
		list->lost = true;
	} else {
		ids_add(list, ids, count);
	}
	pthread_mutex_unlock(&bell->lock);
}

static void postgres_bell_watch(struct bell *base)
{
	heard_watch(bell_of(base));
	postgres_bell_ring(base, BELL_WATCH);
}

static bool postgres_bell_watched(const struct bell *base)
{
	const struct postgres_bell *bell = (const struct postgres_bell *)(const void *)base;

	return atomic_load_explicit(&bell->watched_ms, memory_order_relaxed) > clock_mono_ms();
}

/* ---- lifecycle */

static struct bell *postgres_bell_open(const char *url, unsigned listen, struct error *err_r)
{
	char *safe_url = postgres_safe_url(url, err_r);

	if (!safe_url)
		return NULL;
	struct postgres_bell *bell = xcalloc(1, sizeof(*bell));

	bell->base.ops = &postgres_bell_ops;
	bell->url = safe_url;
	bell->listen = listen;
	bell->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	CHECK(bell->wake_fd >= 0);
	CHECK(pthread_mutex_init(&bell->lock, NULL) == 0);
	pthread_condattr_t monotonic;

	CHECK(pthread_condattr_init(&monotonic) == 0 &&
	      pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
	      pthread_cond_init(&bell->rung, &monotonic) == 0);
	pthread_condattr_destroy(&monotonic);
	return &bell->base;
}

static void postgres_bell_close(struct bell *base)
{
	struct postgres_bell *bell = bell_of(base);

	pthread_mutex_lock(&bell->lock);
	bell->stop = true;
	pthread_cond_signal(&bell->rung);
	pthread_mutex_unlock(&bell->lock);
	if (bell->started)
		pthread_join(bell->thread, NULL);
	unplug(bell);
	close(bell->wake_fd);
	pthread_cond_destroy(&bell->rung);
	pthread_mutex_destroy(&bell->lock);
	ids_drop(&bell->pending_ended);
	ids_drop(&bell->pending_moved);
	ids_drop(&bell->ended);
	ids_drop(&bell->moved);
	explicit_bzero(bell->url, strlen(bell->url));
	free(bell->url);
	free(bell);
}

const struct bell_ops postgres_bell_ops = {
	.scheme = "postgresql",
	.open = postgres_bell_open,
	.close = postgres_bell_close,
	.wait = postgres_bell_wait,
	.wake = postgres_bell_wake,
	.ring = postgres_bell_ring,
	.ring_ids = postgres_bell_ring_ids,
	.watch = postgres_bell_watch,
	.watched = postgres_bell_watched,
};

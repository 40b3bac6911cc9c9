/* SPDX-License-Identifier: Apache-2.0 */
/* The bell on PostgreSQL: LISTEN on one connection, waited on by the listener's own thread; NOTIFY
 * on another, by a thread of the bell that sends what was rung since its last round trip in one
 * transaction. Rings are lost while a connection is away: then the listener is told that it missed
 * some. Nothing here decides anything; all truth is in the tables. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
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
	{ BELL_READY, "windlass_ready" },
	{ BELL_ENDED, "windlass_ended" },
	{ BELL_CANCEL, "windlass_cancel" },
	{ BELL_PAUSE, "windlass_pause" },
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
	struct uuid *ended;
	size_t ended_count, ended_cap;
	int wake_fd;
	/* the ringing side */
	pthread_t thread;
	bool started;         /* the thread runs; by the first ring */
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t rung;
	unsigned pending;
	struct uuid *pending_ids;
	size_t pending_count;
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

static void add_ended(struct postgres_bell *bell, const char *payload)
{
	for (size_t left = strlen(payload); left >= ID_HEX; left -= ID_HEX, payload += ID_HEX) {
		struct uuid id;

		if (!uuid_parse_hex(payload, &id))
			return;
		if (bell->ended_count == bell->ended_cap) {
			bell->ended_cap = bell->ended_cap ? 2 * bell->ended_cap : NOTIFY_IDS_MAX;
			bell->ended = xrealloc(bell->ended, bell->ended_cap * sizeof(*bell->ended));
		}
		bell->ended[bell->ended_count++] = id;
	}
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
				event->what |= channels[i].bit;
		if (!strcmp(note->relname, "windlass_ended"))
			add_ended(bell, note->extra);
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
	event->ended = bell->ended;
	event->ended_count = bell->ended_count;
	return event->what || event->missed;
}

static int postgres_bell_wait(struct bell *base, int timeout_ms, struct bell_event *event)
{
	struct postgres_bell *bell = bell_of(base);
	int64_t deadline_ms = clock_mono_ms() + timeout_ms;

	bell->ended_count = 0;
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
static bool take_rings(struct postgres_bell *bell, unsigned *what_r, struct uuid **ids_r,
		       size_t *count_r)
{
	while (!bell->stop && !bell->pending)
		pthread_cond_wait(&bell->rung, &bell->lock);
	keep_gap(bell);
	*what_r = bell->pending;
	*ids_r = bell->pending_ids;
	*count_r = bell->pending_count;
	bell->pending = 0;
	bell->pending_ids = NULL;
	bell->pending_count = 0;
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

static void write_notes(struct notes *notes, unsigned what, const struct uuid *ids, size_t count)
{
	char hex[ID_HEX + 1];

	for (size_t i = 0; i < ARRAY_LEN(channels); i++) {
		if (!(what & channels[i].bit) || (channels[i].bit == BELL_ENDED && count))
			continue;
		begin_note(notes, channels[i].channel);
		strbuf_addstr(&notes->texts, "\"\"");
	}
	for (size_t i = 0; i < count; i++) {
		if (i % NOTIFY_IDS_MAX == 0)
			begin_note(notes, "windlass_ended");
		uuid_hex(&ids[i], hex);
		strbuf_add(&notes->texts, hex, ID_HEX);
	}
	strbuf_addch(&notes->channels, '}');
	strbuf_addch(&notes->texts, '}');
}

/* One statement, so one transaction. */
static bool notify(PGconn *conn, unsigned what, const struct uuid *ids, size_t count)
{
	struct notes notes;

	strbuf_init(&notes.channels);
	strbuf_init(&notes.texts);
	write_notes(&notes, what, ids, count);
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
	struct uuid *ids;
	unsigned what;
	size_t count;

	for (;;) {
		pthread_mutex_lock(&bell->lock);
		bool more = take_rings(bell, &what, &ids, &count);

		pthread_mutex_unlock(&bell->lock);
		if (!more)
			break;
		while (!(conn || (conn = plug_in(bell))) || !notify(conn, what, ids, count)) {
			if (conn)
				PQfinish(conn);
			conn = NULL;
			if (!pause_ringing(bell))
				break;
		}
		free(ids);
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

static void postgres_bell_ring_ended(struct bell *base, const struct uuid *ids, size_t count)
{
	struct postgres_bell *bell = bell_of(base);

	pthread_mutex_lock(&bell->lock);
	add_ring(bell, BELL_ENDED);
	if (bell->pending_count + count > PENDING_IDS_MAX) {
		free(bell->pending_ids);
		bell->pending_ids = NULL;
		bell->pending_count = 0;
	} else {
		bell->pending_ids =
			xrealloc(bell->pending_ids, (bell->pending_count + count) * sizeof(*ids));
		memcpy(bell->pending_ids + bell->pending_count, ids, count * sizeof(*ids));
		bell->pending_count += count;
	}
	pthread_mutex_unlock(&bell->lock);
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
	free(bell->pending_ids);
	free(bell->ended);
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
	.ring_ended = postgres_bell_ring_ended,
};

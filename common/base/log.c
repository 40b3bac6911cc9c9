/* SPDX-License-Identifier: Apache-2.0 */
/* The log sink: the one mutable global besides the signal flag. Lines are built in one buffer under
 * one lock and leave in writes of whole lines that a pipe takes at once or not at all. Before each
 * write the sink is asked whether it has room; what it has no room for is dropped and counted.
 * Never waits, never prints what a caller did not hand over. */
#include "common/base/log.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/strbuf.h"

#define LOG_STRING_BYTES_MAX 1024
#define LOG_LINE_BYTES_MAX   PIPE_BUF /* so that a line reaches a pipe whole */
#define LOG_BUFFER_BYTES     (64 * 1024)

static const char *const level_names[] = { "debug", "info", "warn", "error", "fatal" };
static const char line_cut[] = ",\"cut\":true";

static struct {
	pthread_mutex_t lock; /* guards buffer and torn */
	struct strbuf buffer; /* whole lines that wait to be written */
	bool torn; /* the sink took part of a line; the next write ends that line first */
	_Atomic uint64_t dropped;
	enum log_level lowest; /* this and role are set before threads start */
	char role[32];
} sink = { .lock = PTHREAD_MUTEX_INITIALIZER, .lowest = LOG_INFO, .role = "main" };

void log_init(const char *role, enum log_level lowest)
{
	pthread_mutex_lock(&sink.lock);
	snprintf(sink.role, sizeof(sink.role), "%s", role);
	sink.lowest = lowest;
	pthread_mutex_unlock(&sink.lock);
}

/* A pipe that says so has room for PIPE_BUF bytes; one without a reader says POLLERR and must not
 * be written to. */
static bool sink_ready(void)
{
	struct pollfd fd = { .fd = STDERR_FILENO, .events = POLLOUT };

	return poll(&fd, 1, 0) == 1 && (fd.revents & (POLLOUT | POLLERR | POLLNVAL)) == POLLOUT;
}

static bool sink_write(const char *text, size_t bytes)
{
	size_t done = 0;

	while (done < bytes && sink_ready()) {
		ssize_t n = write(STDERR_FILENO, text + done, bytes - done);

		if (n < 0 && errno != EINTR)
			break;
		if (n > 0)
			done += (size_t)n;
	}
	if (done > 0)
		sink.torn = text[done - 1] != '\n';
	return done == bytes;
}

/* Length of the whole lines at the front that fit into one write. */
static size_t chunk_bytes(const char *text, size_t bytes)
{
	const char *end;

	if (bytes <= LOG_LINE_BYTES_MAX)
		return bytes;
	end = memrchr(text, '\n', LOG_LINE_BYTES_MAX);
	CHECK(end != NULL);
	return (size_t)(end - text) + 1;
}

static void count_dropped(const char *text, size_t bytes)
{
	uint64_t lines = 0;

	for (size_t i = 0; i < bytes; i++)
		lines += text[i] == '\n';
	atomic_fetch_add(&sink.dropped, lines);
}

static void sink_flush(void)
{
	const char *text = sink.buffer.data;
	size_t left = sink.buffer.len;

	if (left > 0 && sink.torn && sink_write("\n", 1))
		sink.torn = false;
	while (left > 0) {
		size_t bytes = chunk_bytes(text, left);

		if (!sink_write(text, bytes))
			count_dropped(text, bytes);
		text += bytes;
		left -= bytes;
	}
	if (sink.buffer.cap > 0)
		strbuf_clear(&sink.buffer);
}

static void add_string(struct strbuf *sb, const char *text)
{
	size_t bytes;

	if (!text) {
		strbuf_json(sb, NULL);
		return;
	}
	bytes = strnlen(text, LOG_STRING_BYTES_MAX + 1);
	if (bytes > LOG_STRING_BYTES_MAX) {
		/* Not within a character. */
		for (bytes = LOG_STRING_BYTES_MAX; bytes > LOG_STRING_BYTES_MAX - 4; bytes--) {
			if (((unsigned char)text[bytes] & 0xc0) != 0x80)
				break;
		}
	}
	strbuf_json_n(sb, text, bytes);
}

static void add_field(struct strbuf *sb, const struct log_field *field)
{
	strbuf_add(sb, ",\"", 2);
	strbuf_addstr(sb, field->key);
	strbuf_add(sb, "\":", 2);
	switch (field->kind) {
	case 's':
		add_string(sb, field->s);
		break;
	case 'i':
		strbuf_addi(sb, field->i);
		break;
	case 'd':
		if (isfinite(field->d))
			strbuf_printf(sb, "%.10g", field->d);
		else
			strbuf_json(sb, NULL);
		break;
	default:
		CHECK(!"a field is a string, an integer or a double");
	}
}

static void add_line(struct strbuf *sb, enum log_level level, const char *event,
		     const struct log_field *fields)
{
	size_t start = sb->len, room = LOG_LINE_BYTES_MAX - sizeof(line_cut) - 2;
	char ts[CLOCK_TEXT];

	strbuf_addstr(sb, "{\"ts\":\"");
	strbuf_add(sb, clock_format(clock_wall_ms(), ts), CLOCK_TEXT - 1);
	strbuf_addstr(sb, "\",\"level\":\"");
	strbuf_addstr(sb, level_names[level]);
	strbuf_addstr(sb, "\",\"role\":\"");
	strbuf_addstr(sb, sink.role);
	strbuf_addstr(sb, "\",\"pid\":");
	strbuf_addi(sb, getpid());
	strbuf_addstr(sb, ",\"event\":\"");
	strbuf_addstr(sb, event);
	strbuf_addch(sb, '"');
	for (; fields->key; fields++) {
		size_t before = sb->len;

		add_field(sb, fields);
		if (sb->len - start > room) {
			sb->len = before;
			strbuf_addstr(sb, line_cut);
			break;
		}
	}
	strbuf_add(sb, "}\n", 2);
}

static void log_add(enum log_level level, const char *event, const struct log_field *fields,
		    size_t flush_bytes)
{
	int saved_errno = errno;

	CHECK(level >= LOG_DEBUG && level <= LOG_FATAL);
	if (level < sink.lowest)
		return;
	pthread_mutex_lock(&sink.lock);
	if (!sink.buffer.data)
		strbuf_init(&sink.buffer);
	add_line(&sink.buffer, level, event, fields);
	if (sink.buffer.len >= flush_bytes)
		sink_flush();
	pthread_mutex_unlock(&sink.lock);
	errno = saved_errno;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
	log_add(level, event, fields, 0);
}

void log_buffered(enum log_level level, const char *event, const struct log_field *fields)
{
	log_add(level, event, fields, LOG_BUFFER_BYTES);
}

void log_flush(void)
{
	pthread_mutex_lock(&sink.lock);
	sink_flush();
	pthread_mutex_unlock(&sink.lock);
}

uint64_t log_dropped(void)
{
	return sink.dropped;
}

int log_level_parse(const char *text, enum log_level *level_r)
{
	for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
		if (strcmp(level_names[i], text) == 0) {
			*level_r = (enum log_level)i;
			return 0;
		}
	}
	return -1;
}

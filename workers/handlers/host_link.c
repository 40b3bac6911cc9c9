/* SPDX-License-Identifier: Apache-2.0 */
/* Lines between a module host and its engine. While a handler runs, further jobs may already lie in
 * the buffer; an answer to its question comes behind them and is picked out, leaving blanks that
 * the loop passes over. */
#include "workers/handlers/host_link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "workers/handlers/host_main.h"

#define READ_BYTES (64 * 1024)

void host_link_init(struct host_link *link, int in_fd, int out_fd)
{
	*link = (struct host_link){ .in_fd = in_fd, .out_fd = out_fd };
	strbuf_init(&link->in);
	strbuf_init(&link->out);
}

void host_link_release(struct host_link *link)
{
	strbuf_release(&link->in);
	strbuf_release(&link->out);
}

static const char *line_end(const struct host_link *link, size_t at)
{
	return at < link->in.len ? memchr(link->in.data + at, '\n', link->in.len - at) : NULL;
}

bool host_link_has_line(const struct host_link *link)
{
	return line_end(link, link->at) != NULL;
}

static void drop_done(struct host_link *link)
{
	if (link->at == 0)
		return;
	strbuf_consume(&link->in, link->at);
	link->scanned = link->scanned > link->at ? link->scanned - link->at : 0;
	link->at = 0;
}

bool host_link_pump(struct host_link *link, bool wait)
{
	struct pollfd ready = { .fd = link->in_fd, .events = POLLIN };
	ssize_t n;

	if (link->ended || (!wait && poll(&ready, 1, 0) <= 0))
		return false;
	/* With jobs that ask, and more of them always ahead, this is the only place that drops. */
	if (link->at >= READ_BYTES)
		drop_done(link);
	strbuf_reserve(&link->in, READ_BYTES);
	n = read(link->in_fd, link->in.data + link->in.len, READ_BYTES);
	if (n < 0 && errno == EINTR)
		return false;
	if (n <= 0) {
		link->ended = true;
		return false;
	}
	link->in.len += (size_t)n;
	link->in.data[link->in.len] = 0;
	return true;
}

static bool is_blank(const char *text, size_t bytes)
{
	return strspn(text, " ") >= bytes;
}

int host_link_line(struct host_link *link, struct json_slice *line_r)
{
	for (;;) {
		const char *start = link->in.data + link->at, *end = line_end(link, link->at);

		if (end) {
			link->at += (size_t)(end - start) + 1;
			if (is_blank(start, (size_t)(end - start)))
				continue;
			*line_r = (struct json_slice){ .text = start,
						       .bytes = (size_t)(end - start) };
			return 1;
		}
		drop_done(link);
		if (!host_link_flush(link) || link->ended || host_term_asked())
			return 0;
		host_link_pump(link, true);
	}
}

void host_link_added(struct host_link *link, int64_t now_ns)
{
	if (link->out_since_ns == 0)
		link->out_since_ns = now_ns;
}

bool host_link_flush(struct host_link *link)
{
	size_t at = 0;

	while (at < link->out.len) {
		ssize_t n = write(link->out_fd, link->out.data + at, link->out.len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			link->ended = true;
			return false;
		}
		at += (size_t)n;
	}
	strbuf_clear(&link->out);
	link->out_since_ns = 0;
	return true;
}

/* {"job":"…","cancel":…} and {"job":"…","answer":n,…}; a job line has its type in second place. */
static bool is_note(struct json_slice line, struct host_note *note_r)
{
	struct json_member first, second;
	const char *cursor = NULL;

	if (json_slice_next(line, &cursor, &first) != 1 ||
	    json_slice_next(line, &cursor, &second) != 1)
		return false;
	if (!json_slice_is(first.key, "job"))
		return false;
	*note_r = (struct host_note){ .job = first.value, .line = line };
	note_r->cancel = json_slice_is(second.key, "cancel");
	if (note_r->cancel)
		return true;
	return json_slice_is(second.key, "answer") &&
	       json_slice_int(second.value, &note_r->number) == 0;
}

int host_link_note(struct host_link *link, struct host_note *note_r)
{
	if (link->scanned < link->at)
		link->scanned = link->at;
	for (;;) {
		char *start = link->in.data + link->scanned;
		const char *end = line_end(link, link->scanned);
		size_t bytes;

		if (!end)
			return 0;
		bytes = (size_t)(end - start);
		link->scanned += bytes + 1;
		if (is_note((struct json_slice){ .text = start, .bytes = bytes }, note_r))
			return 1;
	}
}

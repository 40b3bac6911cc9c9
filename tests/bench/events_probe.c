/* SPDX-License-Identifier: Apache-2.0 */
/* Watchers for the benchmark: `events_probe PORT PATH STREAMS EVENTS SECONDS [MESSAGE]` opens so
 * many streams of Server-Sent Events, or WebSockets that say MESSAGE, says "ready" on a line,
 * counts the events of completed jobs until every stream has got EVENTS of them (0: until its input
 * is closed), and prints figures: events a second from the first to the last, and how long after
 * the job's finished_at they came. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "tests/bench/probe.h"

#define LATE_MAX   1000000
#define KEPT_BYTES 8192 /* what of an event may come later */
#define UPGRADE                                                                      \
	"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

struct stream {
	int fd;
	bool open; /* a WebSocket that was answered */
	size_t events;
	size_t kept; /* bytes */
	char text[KEPT_BYTES];
};

struct probe {
	struct stream *streams;
	size_t stream_count, answered, full, wanted, events;
	int epoll;
	const char *message; /* of WebSockets, or NULL */
	double *late_ms;
	size_t late_count;
	int64_t first_ns, last_ns;
};

static void die(const char *what)
{
	fprintf(stderr, "events_probe: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void open_stream(struct probe *probe, struct stream *stream, int port, const char *path)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = stream };
	char head[1000];
	int bytes = snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n",
			     path, port, probe->message ? UPGRADE : "");

	if (probe->message) /* one frame with a mask of zeros, right behind the head */
		bytes +=
			snprintf(head + bytes, sizeof(head) - (size_t)bytes, "\x81%c%c%c%c%c%s",
				 (char)(0x80 | strlen(probe->message)), 0, 0, 0, 0, probe->message);
	stream->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (stream->fd < 0 ||
	    connect(stream->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    write(stream->fd, head, (size_t)bytes) != bytes)
		die("connect");
	epoll_ctl(probe->epoll, EPOLL_CTL_ADD, stream->fd, &event);
}

/* "2026-01-02T03:04:05.678Z" */
static int64_t wall_ms_of(const char *text)
{
	struct tm tm = { 0 };
	const char *ms = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	return (int64_t)timegm(&tm) * 1000 + (ms && *ms == '.' ? strtol(ms + 1, NULL, 10) : 0);
}

static void note_end(struct probe *probe, struct stream *stream, const char *line)
{
	const char *finished = strstr(line, "\"finished_at\":\"");

	if (!strstr(line, "\"state\":\"completed\""))
		return;
	probe->last_ns = clock_mono_ns();
	if (!probe->events++)
		probe->first_ns = probe->last_ns;
	if (finished && probe->late_count < LATE_MAX)
		probe->late_ms[probe->late_count++] =
			(double)(clock_wall_ms() - wall_ms_of(finished + 15));
	probe->full += ++stream->events == probe->wanted;
}

/* The bytes of the frame (or the answer's head) at the text's start; 0: it is not whole yet. */
static size_t frame_bytes(const struct stream *stream, size_t *head_r)
{
	const unsigned char *at = (const unsigned char *)stream->text;
	const char *end;

	*head_r = 2;
	if (*at == 'H') {
		end = strstr(stream->text, "\r\n\r\n");
		return end ? (size_t)(end + 4 - stream->text) : 0;
	}
	if (stream->kept < 4)
		return 0;
	if (at[1] < 126)
		return 2u + at[1];
	*head_r = 4;
	return 4u + (size_t)(at[2] << 8 | at[3]); /* longer ones would not fit */
}

static void take_frame(struct probe *probe, struct stream *stream, char *text)
{
	static const unsigned char pong[] = { 0x8a, 0x80, 0, 0, 0, 0 };

	if (stream->text[0] == 'H') {
		if (strncmp(stream->text, "HTTP/1.1 101", 12) != 0)
			die(stream->text);
	} else if ((unsigned char)stream->text[0] == 0x89) {
		if (write(stream->fd, pong, sizeof(pong)) != sizeof(pong))
			die("pong");
	} else {
		probe->answered += !stream->open;
		stream->open = true;
		note_end(probe, stream, text);
	}
}

static void read_frames(struct probe *probe, struct stream *stream)
{
	size_t bytes, head;

	while (stream->kept > 0 && (bytes = frame_bytes(stream, &head)) > 0 &&
	       bytes <= stream->kept) {
		char kept = stream->text[bytes];
		stream->text[bytes] = 0;
		take_frame(probe, stream, stream->text + head);
		stream->text[bytes] = kept;
		stream->kept -= bytes;
		memmove(stream->text, stream->text + bytes, stream->kept + 1);
	}
}

/* Data is one line here, and a chunk never ends within it. */
static void read_stream(struct probe *probe, struct stream *stream)
{
	char *at = stream->text, *end;
	ssize_t got = read(stream->fd, stream->text + stream->kept, KEPT_BYTES - 1 - stream->kept);

	if (got <= 0)
		die("a stream has ended");
	stream->text[stream->kept += (size_t)got] = 0;
	if (probe->message) {
		read_frames(probe, stream);
		return;
	}
	for (; (end = strchr(at, '\n')); at = end + 1) {
		*end = 0;
		if (!strncmp(at, "HTTP/1.1 200", 12))
			probe->answered++;
		else if (!strncmp(at, "HTTP/1.1", 8))
			die(at);
		else if (!strncmp(at, "data: ", 6))
			note_end(probe, stream, at);
	}
	stream->kept = strlen(at);
	memmove(stream->text, at, stream->kept);
}

static void wait_events(struct probe *probe)
{
	struct epoll_event events[256];
	int count = epoll_wait(probe->epoll, events, 256, 100);

	for (int i = 0; i < count; i++)
		read_stream(probe, events[i].data.ptr);
}

static bool input_closed(void)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char byte;

	return poll(&input, 1, 0) == 1 && read(STDIN_FILENO, &byte, 1) <= 0;
}

int main(int argc, char **argv)
{
	struct probe probe = { .epoll = epoll_create1(EPOLL_CLOEXEC) };
	struct rlimit files;

	if (argc != 6 && argc != 7)
		return 2;
	probe.message = argv[6];
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	probe.stream_count = strtoul(argv[3], NULL, 10);
	probe.wanted = strtoul(argv[4], NULL, 10);
	probe.streams = xcalloc(probe.stream_count, sizeof(*probe.streams));
	probe.late_ms = xcalloc(LATE_MAX, sizeof(double));
	for (size_t i = 0; i < probe.stream_count; i++) {
		open_stream(&probe, &probe.streams[i], (int)strtol(argv[1], NULL, 10), argv[2]);
		while (i >= probe.answered + 100) /* a few at a time: the backlog is not endless */
			wait_events(&probe);
	}
	while (probe.answered < probe.stream_count)
		wait_events(&probe);
	printf("ready\n");
	fflush(stdout);
	int64_t until_ms = clock_mono_ms() + 1000 * strtol(argv[5], NULL, 10);
	while (clock_mono_ms() < until_ms &&
	       (probe.wanted ? probe.full < probe.stream_count : !input_closed()))
		wait_events(&probe);
	printf("{\"events\": %zu, \"missing\": %zu", probe.events,
	       probe.wanted ? probe.stream_count - probe.full : 0);
	if (probe.events > 1)
		printf(", \"rate\": %.0f",
		       (double)probe.events * 1e9 / (double)(probe.last_ns - probe.first_ns));
	if (probe.late_count)
		printf(", \"p50_ms\": %.1f, \"p99_ms\": %.1f",
		       probe_quantile(probe.late_ms, probe.late_count, 0.5),
		       probe_quantile(probe.late_ms, probe.late_count, 0.99));
	printf("}\n");
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A load generator for `make bench`: keep-alive connections on one epoll thread, one body for all
 * requests. Closed loop (each connection sends its next request when the answer is in) or, with
 * --rate, an open loop whose latencies count from when a request was due. Where the body has the
 * text STAMP, each request carries the time (ns since 1970) at which it was due. One JSON line. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"

#define CONNECTIONS_MAX 4096
#define ANSWER_MAX      65536
#define STAMP           "1000000000000000000"

struct connection {
	int fd;
	bool busy;
	int64_t began_ns;
	size_t have;
	char answer[ANSWER_MAX];
};

struct load {
	struct sockaddr_in to;
	const char *path, *body;
	int connections, epoll;
	double seconds, warm_s, rate;
	char *request;
	size_t request_bytes;
	char *stamp; /* where in the request, or NULL */
	struct connection *all;
	int64_t start_ns, measure_ns, end_ns;
	uint64_t sent, good, bad;
	float *latency_ms;
	size_t latencies, latencies_max;
};

static void die(const char *what)
{
	fprintf(stderr, "http_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void connect_one(struct load *load, struct connection *c)
{
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&load->to, sizeof(load->to)) < 0)
		die("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, c->fd,
		      &(struct epoll_event){ .events = EPOLLIN, .data.ptr = c }) < 0)
		die("epoll_ctl");
}

/* The wall clock's reading at the monotonic time `at_ns`, in as many digits as STAMP has. */
static void stamp_put(struct load *load, int64_t at_ns)
{
	char digits[24];
	struct timespec now;

	if (!load->stamp)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(digits, sizeof(digits), "%lld",
		 (long long)now.tv_sec * 1000000000 + now.tv_nsec - (clock_mono_ns() - at_ns));
	memcpy(load->stamp, digits, sizeof(STAMP) - 1);
}

static void request_send(struct load *load, struct connection *c, int64_t began_ns)
{
	c->busy = true;
	c->began_ns = began_ns;
	c->have = 0;
	load->sent++;
	stamp_put(load, began_ns);
	if (write(c->fd, load->request, load->request_bytes) != (ssize_t)load->request_bytes)
		die("write");
}

/* Bytes of the whole answer, 0 when it is not complete. Answers have a Content-Length. */
static size_t answer_complete(const struct connection *c)
{
	const char *head_end = memmem(c->answer, c->have, "\r\n\r\n", 4);
	const char *at = c->answer;

	if (!head_end)
		return 0;
	while (at < head_end) {
		if (strncasecmp(at, "Content-Length:", 15) == 0) {
			size_t whole =
				(size_t)(head_end - c->answer) + 4 + strtoul(at + 15, NULL, 10);

			return c->have >= whole ? whole : 0;
		}
		at = memchr(at, '\n', (size_t)(head_end - at));
		if (!at)
			break;
		at++;
	}
	return (size_t)(head_end - c->answer) + 4;
}

static void answer_count(struct load *load, struct connection *c)
{
	int64_t now = clock_mono_ns();

	c->busy = false;
	if (now < load->measure_ns)
		return;
	if (c->have > 12 && c->answer[9] == '2')
		load->good++;
	else
		load->bad++;
	if (load->latencies < load->latencies_max)
		load->latency_ms[load->latencies++] = (float)((double)(now - c->began_ns) / 1e6);
}

/* True when an answer has been read whole. */
static bool answer_read(struct connection *c)
{
	ssize_t n = read(c->fd, c->answer + c->have, sizeof(c->answer) - c->have);

	if (n == 0 || (n < 0 && errno != EAGAIN))
		die("the server closed a connection");
	if (n > 0)
		c->have += (size_t)n;
	return answer_complete(c) > 0;
}

/* Open loop: sends what is due on free connections. Returns ns until the next one. */
static int64_t send_due(struct load *load, int64_t now)
{
	int next = 0;

	for (;;) {
		int64_t due = load->start_ns + (int64_t)((double)load->sent / load->rate * 1e9);

		if (due > now)
			return due - now;
		while (next < load->connections && load->all[next].busy)
			next++;
		if (next == load->connections)
			return 1000000;
		request_send(load, &load->all[next], due);
	}
}

static void run(struct load *load)
{
	struct epoll_event events[256];
	int64_t wait_ns = 10000000;

	load->start_ns = clock_mono_ns();
	load->measure_ns = load->start_ns + (int64_t)(load->warm_s * 1e9);
	load->end_ns = load->measure_ns + (int64_t)(load->seconds * 1e9);
	for (int i = 0; load->rate == 0 && i < load->connections; i++)
		request_send(load, &load->all[i], clock_mono_ns());
	while (clock_mono_ns() < load->end_ns) {
		if (load->rate > 0)
			wait_ns = send_due(load, clock_mono_ns());
		struct timespec wait = { .tv_nsec = wait_ns < 10000000 ? wait_ns : 10000000 };
		int n = epoll_pwait2(load->epoll, events, 256, &wait, NULL);

		for (int i = 0; i < n; i++) {
			struct connection *c = events[i].data.ptr;

			if (!answer_read(c))
				continue;
			answer_count(load, c);
			if (load->rate == 0)
				request_send(load, c, clock_mono_ns());
		}
	}
}

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static double quantile(const struct load *load, double q)
{
	return load->latencies ? load->latency_ms[(size_t)(q * (double)(load->latencies - 1))] : 0;
}

static void print(struct load *load)
{
	qsort(load->latency_ms, load->latencies, sizeof(float), compare);
	printf("{\"rate\":%.1f,\"good\":%llu,\"bad\":%llu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n",
	       (double)load->good / load->seconds, (unsigned long long)load->good,
	       (unsigned long long)load->bad, quantile(load, 0.5), quantile(load, 0.99),
	       quantile(load, 1));
}

static void options(struct load *load, int argc, char **argv)
{
	static const struct option known[] = {
		{ "port", 1, 0, 'p' },    { "path", 1, 0, 'P' },
		{ "body", 1, 0, 'b' },    { "connections", 1, 0, 'c' },
		{ "seconds", 1, 0, 's' }, { "warm", 1, 0, 'w' },
		{ "rate", 1, 0, 'r' },    { 0 }
	};
	int o;

	load->to = (struct sockaddr_in){ .sin_family = AF_INET,
					 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	while ((o = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (o) {
		case 'p':
			load->to.sin_port = htons((uint16_t)atoi(optarg));
			break;
		case 'P':
			load->path = optarg;
			break;
		case 'b':
			load->body = optarg;
			break;
		case 'c':
			load->connections = atoi(optarg);
			break;
		case 's':
			load->seconds = atof(optarg);
			break;
		case 'w':
			load->warm_s = atof(optarg);
			break;
		case 'r':
			load->rate = atof(optarg);
			break;
		default:
			exit(64);
		}
	}
	CHECK(load->connections > 0 && load->connections <= CONNECTIONS_MAX && load->seconds > 0);
}

int main(int argc, char **argv)
{
	static struct load load = {
		.path = "/v1/jobs", .body = "{}", .connections = 32, .seconds = 5, .warm_s = 1
	};
	int n;

	options(&load, argc, argv);
	n = asprintf(
		&load.request,
		"POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
		load.path, ntohs(load.to.sin_port), strlen(load.body), load.body);
	CHECK(n > 0);
	load.request_bytes = (size_t)n;
	load.stamp = strstr(load.request, STAMP);
	load.latencies_max = (size_t)(load.seconds * 200000);
	load.latency_ms = xcalloc(load.latencies_max, sizeof(float));
	load.all = xcalloc((size_t)load.connections, sizeof(*load.all));
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < load.connections; i++)
		connect_one(&load, &load.all[i]);
	run(&load);
	print(&load);
	return load.bad ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to a server that takes 50 ms, so many in flight from one process. Usage: calls_probe
 * IN_FLIGHT SECONDS [bare|guarded|plain]. Prints one JSON line. Ours is workers/remote with a
 * declared target, its breaker and its limits; guarded as if its address came from a payload; plain
 * without guard and breaker; bare is libcurl on the same epoll loop with handles that are made
 * once. The server is this program again, in a process of its own; calls_probe serve PORT is that
 * server alone. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/strbuf.h"
#include "common/config/definitions.h"
#include "workers/remote/remote.h"
#include "workers/remote/remote_loop.h"

#define DELAY_NS      INT64_C(50000000)
#define FDS_MAX       20000
#define IN_FLIGHT_MAX 4096
#define BODY          "{\"order\":\"0193588b-6c1a-7d2e-9f33-5a1b2c3d4e5f\",\"total\":4815}"
#define KEY           "0193588b-6c1a-8d2e-9f33-5a1b2c3d4e5f"
#define WARM_CALLS    2 /* of each place in flight */

extern char **environ;

/* ---- the server: what is answered next came first */

struct due {
	int fd;
	int64_t at_ns;
};

static void answer_due(struct due *ring, size_t *first, size_t last)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
				     "Content-Length: 11\r\n\r\n{\"ok\":true}";
	int64_t now_ns = clock_mono_ns();

	for (; *first != last && ring[*first % FDS_MAX].at_ns <= now_ns; (*first)++)
		(void)send(ring[*first % FDS_MAX].fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
}

static void accept_all(int listener, int epoll_fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	int one = 1;

	while ((event.data.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		setsockopt(event.data.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		CHECK(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event) == 0);
	}
}

/* A request is small and comes in one piece. */
static void serve(int listener)
{
	static struct due ring[FDS_MAX];
	size_t first = 0, last = 0;
	struct epoll_event events[256], event = { .events = EPOLLIN, .data.fd = listener };
	int epoll_fd = epoll_create1(0);
	char buffer[4096];

	CHECK(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) == 0);
	for (;;) {
		int64_t wait_ns =
			first == last ? DELAY_NS : ring[first % FDS_MAX].at_ns - clock_mono_ns();
		int count = epoll_wait(epoll_fd, events, 256,
				       wait_ns > 0 ? (int)(wait_ns / 1000000) + 1 : 0);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;
			ssize_t bytes;

			if (fd == listener) {
				accept_all(listener, epoll_fd);
				continue;
			}
			bytes = read(fd, buffer, sizeof(buffer));
			if (bytes > 0)
				ring[last++ % FDS_MAX] =
					(struct due){ fd, clock_mono_ns() + DELAY_NS };
			else if (bytes == 0 || errno != EAGAIN)
				close(fd);
		}
		answer_due(ring, &first, last);
	}
}

/* port 0: any; returns the socket. */
static int listen_on(int port, int *port_r)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	CHECK(bind(fd, (struct sockaddr *)&address, length) == 0 && listen(fd, 4096) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
	*port_r = ntohs(address.sin_port);
	return fd;
}

/* Runs the server with its socket as standard input. */
static pid_t start_server(int *port_r)
{
	char *arguments[] = { (char *)(uintptr_t) "calls_probe", (char *)(uintptr_t) "serve",
			      NULL };
	posix_spawn_file_actions_t actions;
	int fd = listen_on(0, port_r);
	pid_t pid;

	CHECK(posix_spawn_file_actions_init(&actions) == 0);
	CHECK(posix_spawn_file_actions_adddup2(&actions, fd, 0) == 0);
	CHECK(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, arguments, environ) == 0);
	posix_spawn_file_actions_destroy(&actions);
	close(fd);
	return pid;
}

/* ---- figures */

struct course { /* of one run */
	int in_flight;
	double seconds;
	int64_t calls, failures; /* since the beginning */
	int64_t begin_calls, begin_ns, begin_cpu_ns, until_ns;
};

static int64_t cpu_ns(void)
{
	struct rusage usage;

	CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000000) +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * INT64_C(1000);
}

/* One call has ended. False: enough. */
static bool go_on(struct course *course, bool good)
{
	int64_t now_ns = clock_mono_ns();

	course->calls++;
	course->failures += !good;
	if (!course->begin_ns && course->calls >= (int64_t)course->in_flight * WARM_CALLS) {
		course->begin_ns = now_ns;
		course->begin_cpu_ns = cpu_ns();
		course->begin_calls = course->calls;
		course->until_ns = now_ns + (int64_t)(course->seconds * 1e9);
	}
	return !course->begin_ns || now_ns < course->until_ns;
}

/* Not ru_maxrss: that one remembers the program which started this one. */
static double rss_peak_mib(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	long kib = 0;

	CHECK(file);
	while (!kib && fgets(line, sizeof(line), file))
		(void)sscanf(line, "VmHWM: %ld", &kib);
	fclose(file);
	return (double)kib / 1024;
}

static void print_figures(const struct course *course)
{
	int64_t calls = course->calls - course->begin_calls;
	double seconds = (double)(clock_mono_ns() - course->begin_ns) / 1e9;
	double cpu_us = (double)(cpu_ns() - course->begin_cpu_ns) / 1e3;

	printf("{\"rate\": %.0f, \"cpu_us_per_job\": {\"worker\": %.1f}, \"rss_mib\": %.1f, \"failures\": %lld}\n",
	       (double)calls / seconds, cpu_us / (double)calls, rss_peak_mib(),
	       (long long)course->failures);
}

/* ---- ours */

struct ours {
	sem_t ended;
	_Atomic int64_t good;
};

static void on_reply(void *ctx, const struct remote_reply *reply)
{
	struct ours *ours = ctx;

	ours->good += reply->status == 200;
	CHECK(sem_post(&ours->ended) == 0);
}

static void declare(struct remote *remote, const char *origin, int in_flight, bool plain)
{
	struct definitions *defs;
	struct strbuf text;

	strbuf_init(&text);
	strbuf_printf(&text,
		      "jobs: {a: {sql: SELECT 1}}\n"
		      "targets: {t: {url: \"%s\", concurrency: %d, breaker: {off: %s}}}\n",
		      origin, in_flight, plain ? "true" : "false");
	defs = definitions_parse(text.data, text.len, "bench.yaml", stderr);
	CHECK(defs);
	remote_configure(remote, defs);
	definitions_unref(&defs);
	strbuf_release(&text);
}

static void run_ours(struct course *course, const char *origin, const char *url, const char *how)
{
	bool guarded = !strcmp(how, "guarded"), plain = !strcmp(how, "plain");
	struct remote_request request = {
		.method = "POST",
		.url = url,
		.body = BODY,
		.body_bytes = strlen(BODY),
		.idempotency_key = KEY,
		.timeout_ms = 20000,
		.response_bytes_max = 1 << 20,
		.guarded = guarded,
		.plain_http = true,
	};
	struct ours ours = { .good = 0 };
	struct error error;
	struct remote *remote = remote_new(NULL, &error);
	uint64_t handle;

	CHECK(remote && sem_init(&ours.ended, 0, 0) == 0);
	CHECK(remote_allow(remote, "127.0.0.0/8", &error) == 0);
	declare(remote, origin, course->in_flight, plain);
	for (int i = 0; i < course->in_flight; i++)
		remote_start(remote, &request, on_reply, &ours, &handle);
	for (;;) {
		CHECK(sem_wait(&ours.ended) == 0);
		if (!go_on(course, true))
			break;
		remote_start(remote, &request, on_reply, &ours, &handle);
	}
	course->failures = course->calls > ours.good ? course->calls - ours.good : 0;
	print_figures(course);
	remote_free(&remote);
}

/* ---- bare */

struct bare {
	struct course *course;
	struct remote_loop *loop;
	bool over;
};

static void on_transfer(void *ctx, CURL *easy, CURLcode result)
{
	struct bare *bare = ctx;

	remote_loop_remove(bare->loop, easy, 0);
	if (go_on(bare->course, result == CURLE_OK))
		CHECK(remote_loop_add(bare->loop, easy) == 0);
	else
		bare->over = true;
}

static size_t drop(char *data, size_t size, size_t count, void *ctx)
{
	(void)data;
	(void)ctx;
	return size * count;
}

static void run_bare(struct course *course, const char *url)
{
	struct bare bare = { .course = course };
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");

	CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
	bare.loop = remote_loop_new(IN_FLIGHT_MAX, on_transfer, &bare);
	headers = curl_slist_append(headers, "Idempotency-Key: " KEY);
	for (int i = 0; i < course->in_flight; i++) {
		CURL *easy = curl_easy_init();

		curl_easy_setopt(easy, CURLOPT_URL, url);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, BODY);
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 20000L);
		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop);
		CHECK(remote_loop_add(bare.loop, easy) == 0);
	}
	while (!bare.over)
		remote_loop_run(bare.loop, 1000);
	print_figures(course);
}

int main(int argc, char **argv)
{
	struct course course = { .in_flight = argc > 2 ? atoi(argv[1]) : 0 };
	struct rlimit files;
	char origin[64], url[80];
	pid_t server;
	int port;

	CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
	files.rlim_cur = files.rlim_max < FDS_MAX ? files.rlim_max : FDS_MAX;
	CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
	if (argc > 1 && !strcmp(argv[1], "serve"))
		serve(argc > 2 ? listen_on(atoi(argv[2]), &port) : 0);
	CHECK(course.in_flight > 0 && course.in_flight <= IN_FLIGHT_MAX);
	course.seconds = atof(argv[2]);
	server = start_server(&port);
	snprintf(origin, sizeof(origin), "http://127.0.0.1:%d", port);
	snprintf(url, sizeof(url), "%s/charges", origin);
	if (argc > 3 && !strcmp(argv[3], "bare"))
		run_bare(&course, url);
	else
		run_ours(&course, origin, url, argc > 3 ? argv[3] : "");
	kill(server, SIGKILL);
	CHECK(waitpid(server, NULL, 0) == server);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 from outside, and gRPC's framing in it: a connection without threads is fed with frames,
 * and what it says is thrown away. The first byte says whether the rest are frames as they stand,
 * or the body of a call of that method. The doors below are closed, so nothing is asked of the
 * store. Afterwards nothing may be in hand any more. */
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "producers/grpc/grpc_counts.h"
#include "producers/grpc/grpc_link.h"
#include "producers/grpc/grpc_methods.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"

struct bench {
	struct settings settings;
	struct gateway gateway;
	struct grpc_loop loop;
};

static void make(struct bench *bench)
{
	struct grpc_loop *loop = &bench->loop;

	bench->settings.body_bytes_max = 256 * 1024;
	bench->settings.batch_bytes_max = 1024 * 1024;
	bench->gateway.settings = &bench->settings;
	bench->gateway.metrics = metrics_open("fuzz");
	bench->gateway.closed = true;
	loop->gateway = &bench->gateway;
	loop->counts = grpc_counts_new(bench->gateway.metrics);
	loop->connection_gauge =
		metrics_series(bench->gateway.metrics, METRIC_GRPC_CONNECTIONS, NULL, NULL);
	loop->stream_gauge =
		metrics_series(bench->gateway.metrics, METRIC_GRPC_STREAMS, NULL, NULL);
	list_init(&loop->links);
	list_init(&loop->dirty);
	list_init(&loop->notes);
	grpc_wheel_init(&loop->wheel, clock_mono_ms());
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	CHECK(loop->epoll >= 0 && pthread_mutex_init(&loop->notes_lock, NULL) == 0);
}

static void settle(struct bench *bench, int client)
{
	char sink[65536];

	while (!list_empty(&bench->loop.dirty))
		grpc_link_settle(bench->loop.dirty.next);
	while (recv(client, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
}

static void feed(struct bench *bench, int client, const void *data, size_t bytes)
{
	size_t at = 0;

	while (at < bytes && !list_empty(&bench->loop.links)) {
		size_t part = bytes - at > 4096 ? 4096 : bytes - at;
		if (send(client, (const char *)data + at, part, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return;
		at += part;
		grpc_link_ready(grpc_link_at(bench->loop.links.next), EPOLLIN);
		settle(bench, client);
	}
}

/* A frame's head; the length is the fuzzer's affair no more. */
static void feed_frame(struct bench *bench, int client, uint8_t type, uint8_t flags,
		       const uint8_t *data, size_t bytes)
{
	uint8_t head[9] = { 0, (uint8_t)(bytes >> 8), (uint8_t)bytes, type, flags, 0, 0, 0, 1 };

	feed(bench, client, head, sizeof(head));
	feed(bench, client, data, bytes);
}

/* :method POST and :scheme http out of the static table, the others as they are. */
static void feed_call(struct bench *bench, int client, const char *path, const uint8_t *data,
		      size_t bytes)
{
	uint8_t block[256] = { 0x83, 0x86, 0x04 };
	static const uint8_t type[] = "\x0f\x10\x10"
				      "application/grpc";
	size_t at = 3, path_bytes = strlen(path);

	block[at++] = (uint8_t)path_bytes;
	memcpy(block + at, path, path_bytes);
	at += path_bytes;
	memcpy(block + at, type, sizeof(type) - 1);
	at += sizeof(type) - 1;
	feed_frame(bench, client, 1, 4, block, at);
	while (bytes > 16384) {
		feed_frame(bench, client, 0, 0, data, 16384);
		data += 16384;
		bytes -= 16384;
	}
	feed_frame(bench, client, 0, 1, data, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct bench bench;
	int ends[2];

	if (bytes == 0)
		return 0;
	if (!bench.gateway.settings)
		make(&bench);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
	grpc_link_open(&bench.loop, ends[0]);
	settle(&bench, ends[1]);
	feed(&bench, ends[1], PREFACE, sizeof(PREFACE) - 1);
	if (data[0] < grpc_method_count)
		feed_call(&bench, ends[1], grpc_methods[data[0]].path, data + 1, bytes - 1);
	else
		feed(&bench, ends[1], data + 1, bytes - 1);
	grpc_wheel_turn(&bench.loop.wheel, clock_mono_ms());
	if (!list_empty(&bench.loop.links))
		grpc_link_free(grpc_link_at(bench.loop.links.next));
	close(ends[1]);
	CHECK(bench.loop.bytes_in_hand == 0 && bench.loop.pending == 0 &&
	      bench.loop.connections == 0 && list_empty(&bench.loop.dirty));
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* http_load's counterpart over gRPC: --connections with --streams calls of windlass.v1.Jobs/Enqueue
 * in flight on each, closed loop, on one epoll thread. Only grpc-status 0 is good. One JSON line.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <windlass/v1/jobs.pb-c.h>

#include "common/base/arena.h"
#include "common/base/clock.h"

#define STREAMS_MAX    1000
#define PREFIX_BYTES   5
#define LATENCIES_RATE 200000

struct load;

struct connection {
	struct load *load;
	nghttp2_session *session;
	int fd;
};

struct call {
	int64_t began_ns;
	size_t sent;
	bool good;
};

struct load {
	const char *type, *payload;
	struct sockaddr_in to;
	int connections, streams, epoll;
	double seconds, warm_s;
	uint8_t *message;
	size_t message_bytes;
	int64_t measure_ns, end_ns;
	unsigned long long good, bad;
	float *latency_ms;
	size_t latencies, latencies_max;
};

static ssize_t read_message(nghttp2_session *session, int32_t stream, uint8_t *out, size_t bytes,
			    uint32_t *flags, nghttp2_data_source *source, void *connection_)
{
	struct load *load = ((struct connection *)connection_)->load;
	struct call *call = source->ptr;
	size_t part = load->message_bytes - call->sent;

	(void)session, (void)stream;
	if (part > bytes)
		part = bytes;
	memcpy(out, load->message + call->sent, part);
	call->sent += part;
	if (call->sent == load->message_bytes)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)part;
}

#define FIELD(name_, value_)                                                                  \
	{                                                                                     \
		(uint8_t *)(uintptr_t)name_, (uint8_t *)(uintptr_t)value_, sizeof(name_) - 1, \
			sizeof(value_) - 1, NGHTTP2_NV_FLAG_NONE                              \
	}

static void begin_call(struct connection *connection)
{
	static const nghttp2_nv head[] = {
		FIELD(":method", "POST"),
		FIELD(":scheme", "http"),
		FIELD(":path", "/windlass.v1.Jobs/Enqueue"),
		FIELD(":authority", "127.0.0.1"),
		FIELD("content-type", "application/grpc"),
		FIELD("te", "trailers"),
	};
	struct call *call = xcalloc(1, sizeof(*call));
	nghttp2_data_provider provider = { .source.ptr = call, .read_callback = read_message };

	call->began_ns = clock_mono_ns();
	CHECK(nghttp2_submit_request(connection->session, NULL, head, ARRAY_LEN(head), &provider,
				     call) > 0);
}

static int got_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		      size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
		      void *connection)
{
	struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags, (void)connection;
	if (call && name_bytes == 11 && memcmp(name, "grpc-status", 11) == 0)
		call->good = value_bytes == 1 && value[0] == '0';
	return 0;
}

static int call_ended(nghttp2_session *session, int32_t stream, uint32_t error, void *connection_)
{
	struct connection *connection = connection_;
	struct load *load = connection->load;
	struct call *call = nghttp2_session_get_stream_user_data(session, stream);
	int64_t now = clock_mono_ns();

	(void)error;
	if (now >= load->measure_ns && now < load->end_ns) {
		load->good += call->good;
		load->bad += !call->good;
		if (load->latencies < load->latencies_max)
			load->latency_ms[load->latencies++] = (float)(now - call->began_ns) / 1e6f;
	}
	free(call);
	if (now < load->end_ns)
		begin_call(connection);
	return 0;
}

static ssize_t send_bytes(nghttp2_session *session, const uint8_t *data, size_t bytes, int flags,
			  void *connection)
{
	ssize_t sent = send(((struct connection *)connection)->fd, data, bytes, MSG_NOSIGNAL);

	(void)session, (void)flags;
	if (sent < 0)
		return errno == EAGAIN ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_CALLBACK_FAILURE;
	return sent;
}

static void connect_one(struct load *load, struct connection *connection)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = connection };
	nghttp2_session_callbacks *callbacks;
	int on = 1;

	connection->load = load;
	connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(connection->fd, (struct sockaddr *)&load->to, sizeof(load->to)) < 0) {
		perror("connect");
		exit(69);
	}
	setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, got_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, call_ended);
	nghttp2_session_callbacks_set_send_callback(callbacks, send_bytes);
	CHECK(nghttp2_session_client_new(&connection->session, callbacks, connection) == 0);
	nghttp2_session_callbacks_del(callbacks);
	CHECK(nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, NULL, 0) == 0);
	CHECK(epoll_ctl(load->epoll, EPOLL_CTL_ADD, connection->fd, &event) == 0);
	for (int i = 0; i < load->streams; i++)
		begin_call(connection);
	CHECK(nghttp2_session_send(connection->session) == 0);
}

static void run(struct load *load)
{
	struct epoll_event events[64];
	static uint8_t data[65536];

	while (clock_mono_ns() < load->end_ns) {
		int count = epoll_wait(load->epoll, events, ARRAY_LEN(events), 10);
		for (int i = 0; i < count; i++) {
			struct connection *connection = events[i].data.ptr;
			ssize_t bytes = recv(connection->fd, data, sizeof(data), MSG_DONTWAIT);

			if (bytes <= 0 ||
			    nghttp2_session_mem_recv(connection->session, data, (size_t)bytes) <
				    0 ||
			    nghttp2_session_send(connection->session) != 0) {
				fprintf(stderr, "the gateway has closed a connection\n");
				exit(69);
			}
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

static void make_message(struct load *load)
{
	Windlass__V1__EnqueueRequest request = WINDLASS__V1__ENQUEUE_REQUEST__INIT;
	Windlass__V1__JobRequest job = WINDLASS__V1__JOB_REQUEST__INIT;
	size_t bytes;

	job.type = (char *)(uintptr_t)load->type;
	job.payload = (char *)(uintptr_t)load->payload;
	request.job = &job;
	bytes = windlass__v1__enqueue_request__get_packed_size(&request);
	load->message_bytes = PREFIX_BYTES + bytes;
	load->message = xcalloc(1, load->message_bytes);
	for (int i = 0; i < 4; i++)
		load->message[1 + i] = (uint8_t)(bytes >> (24 - 8 * i));
	windlass__v1__enqueue_request__pack(&request, load->message + PREFIX_BYTES);
}

static void options(struct load *load, int argc, char **argv)
{
	static const struct option known[] = {
		{ "port", 1, 0, 'p' },    { "type", 1, 0, 't' },
		{ "payload", 1, 0, 'b' }, { "connections", 1, 0, 'c' },
		{ "streams", 1, 0, 'n' }, { "seconds", 1, 0, 's' },
		{ "warm", 1, 0, 'w' },    { 0 }
	};
	int o;

	while ((o = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (o) {
		case 'p':
			load->to.sin_port = htons((uint16_t)atoi(optarg));
			break;
		case 't':
			load->type = optarg;
			break;
		case 'b':
			load->payload = optarg;
			break;
		case 'c':
			load->connections = atoi(optarg);
			break;
		case 'n':
			load->streams = atoi(optarg);
			break;
		case 's':
			load->seconds = atof(optarg);
			break;
		case 'w':
			load->warm_s = atof(optarg);
			break;
		default:
			exit(64);
		}
	}
	CHECK(load->connections > 0 && load->streams > 0 && load->streams <= STREAMS_MAX);
}

int main(int argc, char **argv)
{
	static struct load load = {
		.type = "bench.noop",
		.payload = "{}",
		.connections = 4,
		.streams = 8,
		.seconds = 5,
		.warm_s = 1,
	};
	struct connection *all;

	load.to = (struct sockaddr_in){ .sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	options(&load, argc, argv);
	make_message(&load);
	load.latencies_max = (size_t)(load.seconds * LATENCIES_RATE);
	load.latency_ms = xcalloc(load.latencies_max, sizeof(float));
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	load.measure_ns = clock_mono_ns() + (int64_t)(load.warm_s * 1e9);
	load.end_ns = load.measure_ns + (int64_t)(load.seconds * 1e9);
	all = xcalloc((size_t)load.connections, sizeof(*all));
	for (int i = 0; i < load.connections; i++)
		connect_one(&load, &all[i]);
	run(&load);
	qsort(load.latency_ms, load.latencies, sizeof(float), compare);
	printf("{\"rate\":%.1f,\"good\":%llu,\"bad\":%llu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n",
	       (double)load.good / load.seconds, load.good, load.bad, quantile(&load, 0.5),
	       quantile(&load, 0.99), quantile(&load, 1));
	return load.bad ? 1 : 0;
}

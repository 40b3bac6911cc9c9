/* SPDX-License-Identifier: Apache-2.0 */
/* WebSockets as the gateway runs them, loop and all, over a pair of sockets. The first byte says
 * what the rest is: what comes on the wire as it stands, or the text of one message. Nothing that
 * is asked gets further than the front, which is closed. Whatever comes, the socket ends when its
 * client does. */
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/strbuf.h"
#include "common/service/metrics.h"
#include "producers/gateway/access.h"
#include "producers/gateway/inner.h"
#include "producers/gateway/ws_impl.h"
#include "producers/gateway/ws_jobs.h"

#define WAIT_MS 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static struct gateway gateway;

static void prepare(void)
{
	static struct settings settings = { .body_bytes_max = 4096 };
	struct error err;

	/* nobody has this key: a subscription would need a store */
	settings.api_keys = xstrdup("id=a hash=00000000000000000000000000000000"
				    "00000000000000000000000000000000 scopes=read");
	settings.jwt_issuer = settings.jwt_audience = settings.jwt_jwks = xstrdup("");
	gateway.settings = &settings;
	gateway.metrics = metrics_open("fuzz");
	gateway.access = access_new(&settings, &err);
	CHECK(gateway.access);
	atomic_store(&gateway.closed, true);
	gateway.inner = inner_start(&gateway);
	gateway.ws = ws_start(&gateway, 10);
}

static void add_message(struct strbuf *wire, const uint8_t *text, size_t bytes)
{
	const uint8_t head[] = { 0x81,           0xff, 0, 0, 0, 0, 0, 0, (uint8_t)(bytes >> 8),
				 (uint8_t)bytes, 0,    0, 0, 0 };
	const uint8_t middle[] = { 0x81, 0xfe, (uint8_t)(bytes >> 8), (uint8_t)bytes, 0, 0, 0, 0 };
	const uint8_t small[] = { 0x81, (uint8_t)(0x80 | bytes), 0, 0, 0, 0 };

	if (bytes > UINT16_MAX)
		bytes = UINT16_MAX;
	if (bytes < 126)
		strbuf_add(wire, small, sizeof(small));
	else if (bytes % 2 == 0)
		strbuf_add(wire, middle, sizeof(middle));
	else
		strbuf_add(wire, head, sizeof(head));
	strbuf_add(wire, text, bytes);
}

/* Writes and reads at once, until the gateway has closed. */
static void talk(int fd, const struct strbuf *wire)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN | POLLOUT };
	char answer[4096];
	size_t sent = 0;

	for (;;) {
		int ready = poll(&poll_fd, 1, WAIT_MS);
		if (ready < 0) /* the fuzzer's clock */
			continue;
		CHECK(ready > 0);
		if (poll_fd.revents & POLLOUT) {
			ssize_t n = send(fd, wire->data + sent, wire->len - sent,
					 MSG_DONTWAIT | MSG_NOSIGNAL);
			sent += n > 0 ? (size_t)n : 0;
			if (sent == wire->len || n < 0) {
				shutdown(fd, SHUT_WR);
				poll_fd.events = POLLIN;
			}
		}
		if ((poll_fd.revents & (POLLIN | POLLHUP | POLLERR)) &&
		    recv(fd, answer, sizeof(answer), MSG_DONTWAIT) == 0)
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct upgraded *upgraded;
	struct strbuf wire;
	size_t extra;
	int pair[2];

	if (!gateway.settings)
		prepare();
	if (bytes < 2)
		return 0;
	strbuf_init(&wire);
	if (data[0] & 1)
		add_message(&wire, data + 1, bytes - 1);
	else
		strbuf_add(&wire, data + 1, bytes - 1);
	extra = data[0] & 2 ? wire.len / 2 : 0;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	upgraded = xcalloc(1, sizeof(*upgraded) + extra + 1);
	upgraded->fd = pair[0];
	upgraded->extra_bytes = extra;
	memcpy(upgraded->extra, wire.data, extra);
	strbuf_consume(&wire, extra);
	atomic_fetch_add(&gateway.ws->count, 1);
	ws_adopt(upgraded, ws_socket_new(gateway.ws, &ws_jobs));
	talk(pair[1], &wire);
	close(pair[1]);
	strbuf_release(&wire);
	return 0;
}

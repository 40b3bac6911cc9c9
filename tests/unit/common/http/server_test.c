/* SPDX-License-Identifier: Apache-2.0 */
/* Listen addresses; a drain among clients. What the server does with bytes is tested through the
 * gateway, in tests/scenario/test_gateway_wire.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/http/server.h"

#define ROUNDS 200

static void splits_addresses(void **state)
{
	static const struct {
		const char *text, *host; /* host NULL: refused */
		int port;
	} cases[] = {
		{ "127.0.0.1:8080", "127.0.0.1", 8080 },
		{ "[::1]:80", "::1", 80 },
		{ "localhost:0", "localhost", 0 },
		{ ":9", "", 9 },
		{ "127.0.0.1", NULL, 0 },
		{ "127.0.0.1:", NULL, 0 },
		{ "127.0.0.1:x", NULL, 0 },
		{ "127.0.0.1:65536", NULL, 0 },
		{ "127.0.0.1:-1", NULL, 0 },
		{ "127.0.0.1:+1", NULL, 0 },
		{ "::1:80", NULL, 0 },
		{ "[::1]", NULL, 0 },
		{ "[::1:80", NULL, 0 },
		{ "127.0.0.1: 80", NULL, 0 },
		{ "", NULL, 0 },
	};
	char host[64];
	int port;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		bool taken = server_split_address(cases[i].text, host, sizeof(host), &port);
		if (taken != (cases[i].host != NULL))
			fail_msg("%s: %s", cases[i].text, taken ? "was taken" : "was refused");
		if (taken && (strcmp(host, cases[i].host) != 0 || port != cases[i].port))
			fail_msg("%s: got %s and %d", cases[i].text, host, port);
	}
}

static void knows_loopback(void **state)
{
	(void)state;
	assert_true(server_is_loopback("127.0.0.1"));
	assert_true(server_is_loopback("127.8.9.10"));
	assert_true(server_is_loopback("::1"));
	assert_true(server_is_loopback("LocalHost"));
	assert_false(server_is_loopback("0.0.0.0"));
	assert_false(server_is_loopback("::"));
	assert_false(server_is_loopback("10.0.0.1"));
	assert_false(server_is_loopback("127.0.0.1.example"));
	assert_false(server_is_loopback("localhost.example"));
	assert_false(server_is_loopback(""));
}

/* ---- draining */

static _Atomic bool drained;

static void answer(struct request *request, void *ctx)
{
	(void)ctx;
	request_answer(request, 204, NULL, NULL);
}

static void nothing(struct request *request, void *ctx)
{
	(void)request;
	(void)ctx;
}

static void *come_and_go(void *port)
{
	static const char head[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t) * (int *)port),
				       .sin_addr = { htonl(INADDR_LOOPBACK) } };
	char byte;

	while (!atomic_load(&drained)) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		    send(fd, head, sizeof(head) - 1, MSG_NOSIGNAL) > 0)
			(void)!read(fd, &byte, 1);
		close(fd);
	}
	return NULL;
}

static int lowest_free(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

/* libmicrohttpd may be at any place of its loop when it is told. */
static void drains_while_clients_come(void **state)
{
	struct server_options options = { .listen = "127.0.0.1:0",
					  .threads = 4,
					  .connections_max = 100,
					  .on_head = nothing,
					  .on_request = answer,
					  .on_end = nothing };
	int before = lowest_free();
	struct error err;

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		struct server *server = server_start(&options, &err);
		pthread_t clients[3];
		int port;
		assert_non_null(server);
		port = server_port(server);
		atomic_store(&drained, false);
		for (size_t c = 0; c < ARRAY_LEN(clients); c++)
			assert_int_equal(pthread_create(&clients[c], NULL, come_and_go, &port), 0);
		usleep(1000);
		server_drain(server);
		atomic_store(&drained, true);
		while (server_pending(server) > 0)
			usleep(100);
		server_stop(&server);
		for (size_t c = 0; c < ARRAY_LEN(clients); c++)
			pthread_join(clients[c], NULL);
	}
	assert_int_equal(lowest_free(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(splits_addresses),
					    cmocka_unit_test(knows_loopback),
					    cmocka_unit_test(drains_while_clients_come) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

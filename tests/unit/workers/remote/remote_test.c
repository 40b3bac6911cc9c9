/* SPDX-License-Identifier: Apache-2.0 */
/* Calls against a server that misbehaves: what is answered, what was certainly not sent, what is
 * unknown; and that no request is ever sent twice behind our back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "tests/unit/workers/remote/asker.h"
#include "tests/unit/workers/remote/stub_server.h"
#include "workers/remote/remote.h"

static struct remote *remote;
static struct stub_server *server;

static const char *url_of(struct stub_server *to, const char *scheme, const char *host,
			  const char *path)
{
	static char url[256];

	snprintf(url, sizeof(url), "%s://%s:%d%s", scheme, host, stub_server_port(to), path);
	return url;
}

static struct remote_request request_to(const char *method, const char *path)
{
	return (struct remote_request){
		.method = method,
		.url = url_of(server, "http", "127.0.0.1", path),
		.body = strcmp(method, "GET") ? "{}" : NULL,
		.body_bytes = strcmp(method, "GET") ? 2 : 0,
		.timeout_ms = 5000,
		.response_bytes_max = 1000,
	};
}

static int setup(void **state)
{
	struct error error;

	(void)state;
	/* Neither may be used. */
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	signal(SIGPIPE, SIG_IGN); /* as every role does */
	server = stub_server_new(false, NULL);
	remote = remote_new(NULL, &error);
	return remote ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	remote_free(&remote);
	assert_null(remote);
	stub_server_free(&server);
	return 0;
}

/* ---- fates */

static const struct {
	const char *method, *path;
	enum remote_fate fate;
	int status;
	const char *body;
} answers[] = {
	{ "GET", "/ok", REMOTE_ANSWERED, 200, "{\"ok\":true}" },
	{ "POST", "/ok", REMOTE_ANSWERED, 200, "{\"ok\":true}" },
	{ "PATCH", "/ok", REMOTE_ANSWERED, 200, "{\"ok\":true}" },
	{ "DELETE", "/ok", REMOTE_ANSWERED, 200, "{\"ok\":true}" },
	{ "HEAD", "/ok", REMOTE_ANSWERED, 200, "" },
	{ "POST", "/refused", REMOTE_ANSWERED, 402, "{\"why\":\"no\"}" },
	{ "POST", "/away", REMOTE_ANSWERED, 302, "" },
	{ "POST", "/die", REMOTE_UNKNOWN, 0, "" },
	{ "POST", "/half", REMOTE_UNKNOWN, 0, "" },
	{ "POST", "/flood", REMOTE_UNKNOWN, 0, "" },
	{ "POST", "/headers", REMOTE_UNKNOWN, 0, "" },
};

static void fates(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		struct remote_request request = request_to(answers[i].method, answers[i].path);
		int before = stub_server_count(server, "/ok");
		struct asked got;

		if (!strcmp(answers[i].method, "HEAD"))
			request.body = NULL;
		got = ask(remote, &request);
		if (got.fate != answers[i].fate || got.status != answers[i].status ||
		    strcmp(got.body, answers[i].body) != 0 ||
		    (got.fate == REMOTE_ANSWERED) != (got.error[0] == 0))
			fail_msg("%s %s: fate %d status %d body %s error %s", answers[i].method,
				 answers[i].path, got.fate, got.status, got.body, got.error);
		if (strcmp(answers[i].path, "/ok") != 0)
			assert_int_equal(stub_server_count(server, "/ok"),
					 before); /* not redirected there */
	}
}

static void times_out(void **state)
{
	struct remote_request request = request_to("POST", "/slow");
	int64_t start_ms = clock_mono_ms();
	struct asked got;

	(void)state;
	request.timeout_ms = 300;
	got = ask(remote, &request);
	assert_int_equal(got.fate, REMOTE_UNKNOWN);
	assert_in_range(clock_mono_ms() - start_ms, 250, 3000);
}

static const struct {
	const char *url;
} unsent[] = {
	{ "http://127.0.0.1:1/refused" },
	{ "http://no-such-host.invalid/" },
	{ "https://127.0.0.1:%d/plain" }, /* TLS to a server that does not speak it */
	{ "file:///etc/passwd" },
	{ "ftp://127.0.0.1/x" },
	{ "gopher://127.0.0.1/x" },
	{ "http://127.0.0.1:%d/a b" },
	{ "http://127.0.0.1:%d/\r\nX-Injected: 1" },
	{ "" },
	{ "http://" },
};

static void not_sent(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(unsent); i++) {
		struct remote_request request = request_to("POST", "/");
		char url[256];
		struct asked got;
		const char *port = strstr(unsent[i].url, "%d");

		snprintf(url, sizeof(url), "%s", unsent[i].url);
		if (port)
			snprintf(url, sizeof(url), "%.*s%d%s", (int)(port - unsent[i].url),
				 unsent[i].url, stub_server_port(server), port + 2);
		request.url = url;
		got = ask(remote, &request);
		if (got.fate != REMOTE_NOT_SENT || !got.error[0])
			fail_msg("%s: fate %d error %s", unsent[i].url, got.fate, got.error);
	}
	assert_int_equal(stub_server_count(server, "/plain"), 0);
}

static const char *const bad_headers[] = {
	"X: a\r\nY: b",
	"X: a\nY: b",
	"X\r\n: a",
	"X a: b",
	": a",
	"X",
	"X: \x01",
	"X: \x7f",
	"Content-Length: 5",
	"transfer-encoding: chunked",
	"Expect: 100-continue",
};

static void injections_are_refused(void **state)
{
	static const char *const methods[] = { "PO ST", "POST\r\nX: y", "",
					       "POST /x HTTP/1.1\r\n\r\n", "AMETHODTHATISTOOLONG" };
	struct asked got;
	int before = stub_server_connections(server);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad_headers); i++) {
		const char *const headers[] = { bad_headers[i], NULL };
		struct remote_request request = request_to("POST", "/ok");

		request.headers = headers;
		got = ask(remote, &request);
		if (got.fate != REMOTE_NOT_SENT || !got.error[0])
			fail_msg("header %zu: fate %d", i, got.fate);
	}
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct remote_request request = request_to(methods[i], "/ok");

		got = ask(remote, &request);
		if (got.fate != REMOTE_NOT_SENT)
			fail_msg("method %zu: fate %d", i, got.fate);
	}
	assert_int_equal(stub_server_connections(server), before);
}

/* ---- what is sent */

static void sends_what_it_was_given(void **state)
{
	static const char *const headers[] = { "X-Tab: a\tb", "X-Empty:", "Accept: text/plain",
					       NULL };
	size_t bytes = 2 << 20; /* libcurl would ask with Expect: from 1 MiB on */
	char *body = xcalloc(1, bytes + 1);
	struct remote_request request = request_to("POST", "/ok");
	const char *head, *got_body;
	size_t got_bytes;

	(void)state;
	memset(body, 'b', bytes);
	body[5] = 0;
	request.body = body;
	request.body_bytes = bytes;
	request.headers = headers;
	request.idempotency_key = "0193-key";
	assert_int_equal(ask(remote, &request).fate, REMOTE_ANSWERED);
	head = stub_server_last(server, &got_body, &got_bytes);
	assert_int_equal(got_bytes, bytes);
	assert_memory_equal(got_body, body, bytes);
	assert_non_null(strstr(head, "\r\nIdempotency-Key: 0193-key\r\n"));
	assert_non_null(strstr(head, "\r\nContent-Type: application/json\r\n"));
	assert_non_null(strstr(head, "\r\nX-Tab: a\tb\r\n"));
	assert_non_null(strstr(head, "\r\nX-Empty:\r\n"));
	assert_non_null(strstr(head, "\r\nAccept: text/plain\r\n"));
	assert_null(strcasestr(head, "\r\nExpect"));
	assert_null(strcasestr(head, "Proxy"));
	free(body);
}

/* ---- the trap */

/* Leaves an idle connection behind, ready to be used again. */
static void warm_up(void)
{
	struct remote_request request = request_to("GET", "/ok");

	assert_int_equal(ask(remote, &request).fate, REMOTE_ANSWERED);
}

/* A server that reads a request on a reused connection and closes it makes libcurl send it again by
 * itself: shown here with a key, where that is harmless, so that the next test is known to be able
 * to fail. */
static void reused_connection_resends_with_a_key(void **state)
{
	struct remote_request request;
	int before = stub_server_count(server, "/die");

	(void)state;
	warm_up();
	request = request_to("POST", "/die");
	request.idempotency_key = "key-1";
	assert_int_equal(ask(remote, &request).fate, REMOTE_UNKNOWN);
	assert_true(stub_server_count(server, "/die") - before > 1);
}

static void without_a_key_nothing_is_sent_twice(void **state)
{
	static const char *const methods[] = { "POST", "PUT", "PATCH", "DELETE" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct remote_request request;
		int before = stub_server_count(server, "/die");

		warm_up();
		request = request_to(methods[i], "/die");
		assert_int_equal(ask(remote, &request).fate, REMOTE_UNKNOWN);
		if (stub_server_count(server, "/die") - before != 1)
			fail_msg("%s: sent %d times", methods[i],
				 stub_server_count(server, "/die") - before);
	}
}

static void without_a_key_connections_are_not_shared(void **state)
{
	struct remote_request request;
	int before;

	(void)state;
	warm_up();
	request = request_to("POST", "/ok");
	before = stub_server_connections(server);
	assert_int_equal(ask(remote, &request).fate, REMOTE_ANSWERED);
	assert_int_equal(ask(remote, &request).fate, REMOTE_ANSWERED);
	assert_int_equal(stub_server_connections(server) - before, 2);
	request.idempotency_key = "key";
	assert_int_equal(ask(remote, &request).fate, REMOTE_ANSWERED);
	assert_int_equal(ask(remote, &request).fate, REMOTE_ANSWERED);
	assert_int_equal(stub_server_connections(server) - before, 2);
}

/* ---- abort, many, end */

static void wait_for_request(const char *path, int count)
{
	int64_t until_ms = clock_mono_ms() + 10000;

	while (stub_server_count(server, path) < count) {
		assert_true(clock_mono_ms() < until_ms);
		usleep(1000);
	}
}

static void aborts(void **state)
{
	struct remote_request request = request_to("POST", "/slow");
	int before = stub_server_count(server, "/slow");
	struct asking asking;
	uint64_t handle;

	(void)state;
	handle = ask_begin(remote, &request, &asking);
	wait_for_request("/slow", before + 1);
	remote_abort(remote, handle);
	assert_int_equal(ask_wait(&asking).fate, REMOTE_UNKNOWN);
	remote_abort(remote, handle); /* too late is harmless */
}

static void many_at_once(void **state)
{
	enum { CALLS = 100 };
	static struct asking all[CALLS];

	(void)state;
	for (int i = 0; i < CALLS; i++) {
		struct remote_request request = request_to("POST", "/ok");

		request.idempotency_key = "k";
		ask_begin(remote, &request, &all[i]);
	}
	for (int i = 0; i < CALLS; i++)
		assert_int_equal(ask_wait(&all[i]).fate, REMOTE_ANSWERED);
}

static void freeing_ends_what_is_under_way(void **state)
{
	struct remote_request request = request_to("POST", "/slow");
	int before = stub_server_count(server, "/slow");
	struct asking asking;
	struct remote *other;
	struct error error;

	(void)state;
	other = remote_new(NULL, &error);
	assert_non_null(other);
	ask_begin(other, &request, &asking);
	wait_for_request("/slow", before + 1);
	remote_free(&other);
	assert_int_equal(asking.ends, 1);
	assert_int_equal(asking.asked.fate, REMOTE_UNKNOWN);
}

/* ---- TLS */

static struct asked ask_tls(struct remote *with, struct stub_server *to, const char *host)
{
	struct remote_request request = request_to("POST", "/ok");

	request.url = url_of(to, "https", host, "/ok");
	return ask(with, &request);
}

static void certificates_are_verified(void **state)
{
	char path[] = "/tmp/remote_test_XXXXXX";
	struct stub_server *tls = stub_server_new(true, path);
	struct error error;
	struct remote *trusting = remote_new(path, &error);

	(void)state;
	assert_non_null(trusting);
	assert_int_equal(ask_tls(trusting, tls, "127.0.0.1").fate, REMOTE_ANSWERED);
	assert_int_equal(ask_tls(trusting, tls, "localhost").fate,
			 REMOTE_NOT_SENT); /* not its name */
	assert_int_equal(ask_tls(remote, tls, "127.0.0.1").fate,
			 REMOTE_NOT_SENT); /* nobody we trust signed it */
	assert_int_equal(stub_server_count(tls, "/ok"), 1);
	remote_free(&trusting);
	stub_server_free(&tls);
	unlink(path);
	assert_null(remote_new("/nonexistent/ca.pem", &error));
	assert_int_equal(error.code, ERROR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fates),
		cmocka_unit_test(times_out),
		cmocka_unit_test(not_sent),
		cmocka_unit_test(injections_are_refused),
		cmocka_unit_test(sends_what_it_was_given),
		cmocka_unit_test(reused_connection_resends_with_a_key),
		cmocka_unit_test(without_a_key_nothing_is_sent_twice),
		cmocka_unit_test(without_a_key_connections_are_not_shared),
		cmocka_unit_test(aborts),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(freeing_ends_what_is_under_way),
		cmocka_unit_test(certificates_are_verified),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Guarded calls against a server that they must not reach, seen from that server: its count of
 * connections, and of requests on connections that unguarded calls left open. Each refusal stands
 * beside a call that does arrive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/config/definitions.h"
#include "tests/unit/workers/remote/asker.h"
#include "tests/unit/workers/remote/stub_server.h"
#include "workers/remote/call_guard.h"

struct fixture {
	struct stub_server *server;
	struct remote *remote;
	char url[128];
};

static int setup(void **state)
{
	static struct fixture fx;
	struct error error;

	signal(SIGPIPE, SIG_IGN);
	fx.server = stub_server_new(false, NULL);
	fx.remote = remote_new(NULL, &error);
	*state = &fx;
	return fx.remote ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	remote_free(&fx->remote);
	stub_server_free(&fx->server);
	return 0;
}

/* host: with "%d" for the server's port */
static struct remote_request request_to(struct fixture *fx, const char *scheme, const char *host,
					const char *path)
{
	snprintf(fx->url, sizeof(fx->url), "%s://%s:%d%s", scheme, host,
		 stub_server_port(fx->server), path);
	return (struct remote_request){
		.method = "GET",
		.url = fx->url,
		.timeout_ms = 5000,
		.guarded = true,
		.plain_http = true,
		.response_bytes_max = 1000,
	};
}

static void allow(struct fixture *fx, const char *networks)
{
	struct error error;

	assert_int_equal(remote_allow(fx->remote, networks, &error), 0);
}

static void assert_refused(const struct asked *asked, const char *why)
{
	assert_int_equal(asked->fate, REMOTE_NOT_SENT);
	if (!strstr(asked->error, why))
		fail_msg("got \"%s\", want \"%s\"", asked->error, why);
	assert_true(asked->refused);
}

static void looks_before_it_connects(void **state)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost", "2130706433", "0x7f.1",
					     "[::ffff:7f00:1]" };
	struct fixture *fx = *state;
	struct remote_request request;
	struct asked asked;

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		request = request_to(fx, "http", hosts[i], "/guarded");
		asked = ask(fx->remote, &request);
		assert_refused(&asked, "is not public");
		assert_null(strstr(asked.error, "loopback"));
	}
	assert_int_equal(stub_server_connections(fx->server), 0);
	request.guarded = false;
	assert_int_equal(ask(fx->remote, &request).fate, REMOTE_ANSWERED);
	assert_int_equal(stub_server_connections(fx->server), 1);
}

static void names_the_host_and_nothing_else(void **state)
{
	struct fixture *fx = *state;
	struct remote_request request = request_to(fx, "https", "localhost", "/secret?token=1");
	struct asked asked = ask(fx->remote, &request);

	assert_string_equal(asked.error, "the address of host localhost is not public");
}

/* An unguarded call leaves its connection open; the guarded one to the same host gets it from the
 * cache, without a socket of its own. */
static void looks_again_on_a_reused_connection(void **state)
{
	struct fixture *fx = *state;
	struct remote_request request = request_to(fx, "http", "127.0.0.1", "/free");
	struct asked asked;

	request.guarded = false;
	for (int i = 0; i < 2; i++)
		assert_int_equal(ask(fx->remote, &request).fate, REMOTE_ANSWERED);
	assert_int_equal(stub_server_connections(fx->server), 1); /* it is reused */
	for (int i = 0; i < 3; i++) {
		request = request_to(fx, "http", "127.0.0.1", "/guarded");
		asked = ask(fx->remote, &request);
		assert_refused(&asked, "the address of host 127.0.0.1 is not public");
		request = request_to(fx, "http", "127.0.0.1", "/free");
		request.guarded = false;
		assert_int_equal(ask(fx->remote, &request).fate, REMOTE_ANSWERED);
	}
	assert_int_equal(stub_server_count(fx->server, "/guarded"), 0);
	assert_int_equal(stub_server_count(fx->server, "/free"), 5);
}

static void lets_allowed_networks_through(void **state)
{
	struct fixture *fx = *state;
	struct remote_request request = request_to(fx, "http", "127.0.0.1", "/allowed");
	struct asked asked;

	allow(fx, "10.0.0.0/8, 127.0.0.0/30");
	request.plain_http = false; /* what is allowed may be http */
	assert_int_equal(ask(fx->remote, &request).fate, REMOTE_ANSWERED);
	assert_int_equal(ask(fx->remote, &request).fate, REMOTE_ANSWERED);
	assert_int_equal(stub_server_connections(fx->server), 1);
	request = request_to(fx, "http", "127.0.0.5", "/other");
	asked = ask(fx->remote, &request);
	assert_refused(&asked, "is not public");
	assert_int_equal(stub_server_count(fx->server, "/allowed"), 2);
}

static const struct {
	const char *url, *why;
} faults[] = {
	{ "http://user@127.0.0.1/", "no user and no password" },
	{ "https://user:password@example.com/", "no user and no password" },
	{ "https://:password@example.com/", "no user and no password" },
	{ "https://93.184.216.34@127.0.0.1/", "no user and no password" },
	{ "127.0.0.1/", "the URL is not one" },
	{ "//127.0.0.1/", "the URL is not one" },
	{ "/etc/passwd", "the URL is not one" },
	{ "https:127.0.0.1/", "" },
	{ "https://", "the URL is not one" },
	{ "https://example.com:99999/", "the URL is not one" },
	{ "https://example.com:22/", "port is not one for HTTP" },
	{ "http://example.com:25/", "port is not one for HTTP" },
	{ "http://example.com:0/", "port" },
	{ "http://example.com:6667/", "port is not one for HTTP" },
	{ "file:///etc/passwd", "not one of http or https" },
	{ "gopher://127.0.0.1:6379/_FLUSHALL", "not one of http or https" },
	{ "dict://127.0.0.1:11211/stat", "not one of http or https" },
	{ "ftp://127.0.0.1/x", "not one of http or https" },
	{ "ldap://127.0.0.1/x", "not one of http or https" },
	{ "jar:http://127.0.0.1!/", "" },
	{ "https://127.0.0.1\\@example.com/", "" },
	{ "https://exam\tple.com/", "control character" },
	{ "https://example.com/\r\nHost: 127.0.0.1", "control character" },
};

static void refuses_odd_urls(void **state)
{
	struct fixture *fx = *state;

	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		struct remote_request request = request_to(fx, "http", "x", "/");
		struct asked asked;

		request.url = faults[i].url;
		asked = ask(fx->remote, &request);
		if (asked.fate != REMOTE_NOT_SENT || !asked.refused ||
		    !strstr(asked.error, faults[i].why))
			fail_msg("%s: fate %d, refused %d, %s", faults[i].url, asked.fate,
				 asked.refused, asked.error);
	}
	assert_int_equal(stub_server_connections(fx->server), 0);
}

static void goes_by_https_alone_without_leave(void **state)
{
	struct fixture *fx = *state;
	struct remote_request request = request_to(fx, "http", "93.184.216.34", "/");
	struct asked asked;

	request.plain_http = false;
	asked = ask(fx->remote, &request);
	assert_refused(&asked, "host 93.184.216.34 may be called by https only");
}

/* The same without a network: what is done with a connection to this peer. */
static const struct {
	const char *url, *peer;
	bool plain_http, want;
} peers[] = {
	{ "https://h/", "93.184.216.34", false, true },
	{ "https://h/", "2606:2800:220:1::1", false, true },
	{ "HTTPS://h/", "93.184.216.34", false, true },
	{ "http://h/", "93.184.216.34", true, true },
	{ "http://h/", "93.184.216.34", false, false },
	{ "HTTP://h/", "93.184.216.34", false, false },
	{ "http://h/", "10.1.0.5", false, true },
	{ "https://h/", "10.1.0.5", false, true },
	{ "https://h/", "::ffff:10.1.0.5", false, true },
	{ "https://h/", "10.2.0.5", true, false },
	{ "https://h/", "::1", true, false },
	{ "https://h/", "fe80::1%eth0", true, false },
	{ "https://h/", "/run/docker.sock", true, false },
	{ "https://h/", "", true, false },
};

static void judges_peers(void **state)
{
	struct error error;
	struct guard *guard = guard_new("10.1.0.0/16", &error);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
		struct call_guard call_guard;
		CURLU *url = curl_url();
		char why[CURL_ERROR_SIZE];

		assert_int_equal(curl_url_set(url, CURLUPART_URL, peers[i].url, 0), CURLUE_OK);
		assert_null(call_guard_init(&call_guard, guard, url, peers[i].plain_http));
		curl_url_cleanup(url);
		if (call_guard_check_peer(&call_guard, peers[i].peer) != peers[i].want ||
		    call_guard_refused(&call_guard, why, sizeof(why)) == peers[i].want)
			fail_msg("%s at %s is not %d", peers[i].url, peers[i].peer, peers[i].want);
		call_guard_release(&call_guard);
	}
	guard_free(&guard);
}

static void follows_no_redirect(void **state)
{
	struct fixture *fx = *state;
	struct remote_request request = request_to(fx, "http", "127.0.0.1", "/away");
	struct asked asked;

	allow(fx, "127.0.0.0/8");
	asked = ask(fx->remote, &request);
	assert_int_equal(asked.fate, REMOTE_ANSWERED);
	assert_int_equal(asked.status, 302);
	assert_int_equal(stub_server_count(fx->server, "/ok"), 0);
}

static void declare(struct fixture *fx)
{
	char text[256];
	struct definitions *defs;
	int bytes = snprintf(text, sizeof(text),
			     "jobs: {a: {sql: SELECT 1}}\n"
			     "targets: {t: {url: \"http://127.0.0.1:%d\", auth: {bearer: "
			     "\"${env.GUARD_TEST_TOKEN}\"}}}\n",
			     stub_server_port(fx->server));

	setenv("GUARD_TEST_TOKEN", "s3cret", 1);
	defs = definitions_parse(text, (size_t)bytes, "jobs.yaml", stderr);
	assert_non_null(defs);
	remote_configure(fx->remote, defs);
	definitions_unref(&defs);
}

/* The text of a handler, or a definition that names the target, may go to a declared one wherever
 * it lives, and with its credentials; what a payload says may not, even if it says the same. */
static void a_payload_is_no_reason_to_trust_a_target(void **state)
{
	struct fixture *fx = *state;
	struct remote_request request = request_to(fx, "http", "127.0.0.1", "/payload");
	struct asked asked;
	const char *body;
	size_t bytes;

	declare(fx);
	asked = ask(fx->remote, &request);
	assert_refused(&asked, "is not public");
	assert_int_equal(stub_server_connections(fx->server), 0);
	request.trusts_targets = true;
	assert_int_equal(ask(fx->remote, &request).fate, REMOTE_ANSWERED);
	assert_non_null(strstr(stub_server_last(fx->server, &body, &bytes), "Bearer s3cret"));
	request.trusts_targets = false;
	request.target = "t";
	assert_int_equal(ask(fx->remote, &request).fate, REMOTE_ANSWERED);
	assert_non_null(strstr(stub_server_last(fx->server, &body, &bytes), "Bearer s3cret"));
	request.target = NULL;
	asked = ask(fx->remote, &request);
	assert_refused(&asked, "is not public");
	assert_int_equal(stub_server_count(fx->server, "/payload"), 2);
}

static void a_payload_gets_no_credentials(void **state)
{
	struct fixture *fx = *state;
	struct remote_request request = request_to(fx, "http", "127.0.0.1", "/payload");
	const char *body;
	size_t bytes;

	declare(fx);
	allow(fx, "127.0.0.0/8");
	assert_int_equal(ask(fx->remote, &request).fate, REMOTE_ANSWERED);
	assert_null(strstr(stub_server_last(fx->server, &body, &bytes), "s3cret"));
}

static void weather_is_no_refusal(void **state)
{
	struct fixture *fx = *state;
	struct remote_request request = request_to(fx, "http", "no-such-host.invalid", "/");
	struct asked asked = ask(fx->remote, &request);

	assert_int_equal(asked.fate, REMOTE_NOT_SENT);
	assert_false(asked.refused);
	allow(fx, "127.0.0.0/8");
	request.url = "http://127.0.0.1:2/";
	asked = ask(fx->remote, &request);
	assert_int_equal(asked.fate, REMOTE_NOT_SENT);
	assert_false(asked.refused);
}

#define GUARD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		GUARD_TEST(looks_before_it_connects),
		GUARD_TEST(names_the_host_and_nothing_else),
		GUARD_TEST(looks_again_on_a_reused_connection),
		GUARD_TEST(lets_allowed_networks_through),
		GUARD_TEST(refuses_odd_urls),
		GUARD_TEST(goes_by_https_alone_without_leave),
		cmocka_unit_test(judges_peers),
		GUARD_TEST(follows_no_redirect),
		GUARD_TEST(a_payload_is_no_reason_to_trust_a_target),
		GUARD_TEST(a_payload_gets_no_credentials),
		GUARD_TEST(weather_is_no_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to declared targets, against a server that misbehaves: limits, breaker, retry budget,
 * credentials, TLS identities, and answers that are meant to hurt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/strbuf.h"
#include "common/config/definitions.h"
#include "tests/unit/workers/remote/asker.h"
#include "tests/unit/workers/remote/stub_server.h"
#include "workers/remote/remote.h"

#define RSS_GROWTH_MAX (64 << 20)

static struct remote *remote;
static struct stub_server *server;

static const char *url_to(struct stub_server *to, const char *scheme, const char *path)
{
	static char urls[8][256];
	static int next;
	char *url = urls[next++ % 8];

	snprintf(url, sizeof(urls[0]), "%s://127.0.0.1:%d%s", scheme, stub_server_port(to), path);
	return url;
}

static struct remote_request request_to(const char *method, const char *path)
{
	return (struct remote_request){
		.method = method,
		.url = url_to(server, "http", path),
		.idempotency_key = "key",
		.timeout_ms = 5000,
		.response_bytes_max = 1 << 20,
	};
}

static struct asked call(const char *method, const char *path)
{
	struct remote_request request = request_to(method, path);

	return ask(remote, &request);
}

/* One target `t` with these members beside its url. */
static void declare(struct remote *with, struct stub_server *to, const char *scheme,
		    const char *members)
{
	struct definitions *defs;
	struct strbuf text;

	strbuf_init(&text);
	strbuf_printf(&text, "jobs: {a: {sql: SELECT 1}}\ntargets: {t: {url: \"%s\", %s}}\n",
		      url_to(to, scheme, ""), members);
	defs = definitions_parse(text.data, text.len, "jobs.yaml", stderr);
	assert_non_null(defs);
	remote_configure(with, defs);
	definitions_unref(&defs);
	strbuf_release(&text);
}

static int setup(void **state)
{
	struct error error;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	server = stub_server_new(false, NULL);
	remote = remote_new(NULL, &error);
	return remote ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	remote_free(&remote);
	stub_server_free(&server);
	return 0;
}

/* ---- limits */

static void a_bulkhead_isolates(void **state)
{
	struct asking stuck[5];
	struct asked got[5];
	struct remote_request request;

	(void)state;
	declare(remote, server, "http", "concurrency: 2, waiting: 2");
	request = request_to("POST", "/slow");
	for (int i = 0; i < 5; i++) {
		request.timeout_ms = i < 2 ? 600 : 300;
		ask_begin(remote, &request, &stuck[i]);
	}
	/* the fifth finds no place to wait, the two before no room in their time */
	got[4] = ask_wait(&stuck[4]);
	assert_true(got[4].held && got[4].retry_after_ms > 0);
	assert_int_equal(got[4].fate, REMOTE_NOT_SENT);
	/* another target answers meanwhile */
	request = request_to("GET", "/ok");
	request.url = "http://localhost:1/";
	assert_false(ask(remote, &request).held);
	for (int i = 0; i < 4; i++)
		got[i] = ask_wait(&stuck[i]);
	assert_int_equal(got[0].fate, REMOTE_UNKNOWN);
	assert_int_equal(got[1].fate, REMOTE_UNKNOWN);
	assert_true(got[2].held && got[3].held);
	assert_int_equal(stub_server_count(server, "/slow"), 2);
}

static void a_rate_is_kept(void **state)
{
	struct asking all[30];
	struct remote_request request;
	int64_t start_ms = clock_mono_ms(), last_ms = 0;

	(void)state;
	declare(remote, server, "http", "rate: 20/s");
	request = request_to("GET", "/ok");
	for (int i = 0; i < 30; i++)
		ask_begin(remote, &request, &all[i]);
	for (int i = 0; i < 30; i++) {
		struct asked got = ask_wait(&all[i]);

		assert_int_equal(got.status, 200);
		last_ms = got.ended_ms > last_ms ? got.ended_ms : last_ms;
	}
	assert_in_range(last_ms - start_ms, 1200, 6000); /* 25 behind the first 5 */
}

static void waiting_calls_can_be_aborted(void **state)
{
	struct asking first, second;
	struct asked got;
	struct remote_request request;
	uint64_t handles[2];

	(void)state;
	declare(remote, server, "http", "concurrency: 1");
	request = request_to("POST", "/slow");
	handles[0] = ask_begin(remote, &request, &first);
	handles[1] = ask_begin(remote, &request, &second);
	usleep(100000);
	remote_abort(remote, handles[1]);
	got = ask_wait(&second);
	assert_int_equal(got.fate, REMOTE_NOT_SENT);
	assert_false(got.held);
	remote_abort(remote, handles[0]);
	got = ask_wait(&first);
	assert_int_equal(got.fate, REMOTE_UNKNOWN);
}

static void a_breaker_opens_and_closes(void **state)
{
	int before;
	struct asked got;

	(void)state;
	declare(remote, server, "http", "breaker: {failures: 4, window: 60s, cooldown: 500ms}");
	for (int i = 0; i < 20; i++) /* neither is the target's failure */
		call("GET", i % 2 ? "/status/429" : "/status/404");
	for (int i = 0; i < 24; i++) /* more than half */
		call("GET", "/status/500");
	before = stub_server_count(server, "/ok");
	got = call("GET", "/ok");
	assert_true(got.held);
	assert_in_range(got.retry_after_ms, 1, 750);
	assert_int_equal(stub_server_count(server, "/ok"), before);
	usleep(550000);
	assert_int_equal(call("GET", "/status/503").status, 503); /* the probe */
	assert_true(call("GET", "/ok").held);
	usleep(550000);
	assert_int_equal(call("GET", "/ok").status, 200);
	assert_int_equal(call("GET", "/ok").status, 200);
}

static void calls_are_made_again_within_a_budget(void **state)
{
	int sent = 0;

	(void)state;
	declare(remote, server, "http", "breaker: {off: true}");
	for (int i = 0; i < 300; i++) {
		struct remote_request request = request_to("POST", "/status/500");
		struct asked got;

		request.again = i % 3 != 0; /* 100 calls, each made again twice */
		got = ask(remote, &request);
		sent += request.again && !got.held;
		assert_true(!got.held || request.again);
	}
	assert_in_range(sent, 15, 24); /* 10 to begin with, and 10 % */
}

static void retry_after_is_told(void **state)
{
	struct asked got = call("POST", "/busy");

	(void)state;
	assert_int_equal(got.status, 503);
	assert_int_equal(got.retry_after_ms, 7000);
	assert_false(got.held);
	assert_int_equal(call("POST", "/ok").retry_after_ms, -1);
}

static void a_named_target_keeps_to_its_place(void **state)
{
	struct remote_request request = request_to("GET", "/ok");
	struct asked got;

	(void)state;
	declare(remote, server, "http", "concurrency: 1");
	request.target = "t";
	got = ask(remote, &request);
	assert_int_equal(got.status, 200);
	request.url = "http://127.0.0.2:1/";
	got = ask(remote, &request);
	assert_int_equal(got.fate, REMOTE_NOT_SENT);
	assert_true(got.refused && !got.held);
	request.target = "nobody";
	got = ask(remote, &request);
	assert_true(got.refused);
}

/* With `..` in disguise the credentials would go where they are not meant for. */
static void a_prefix_is_not_left(void **state)
{
	static const struct {
		const char *path;
		bool sent;
	} rows[] = {
		{ "/v1/a", true },          { "/v1/a..b/..c/...", true },
		{ "/v1/%2e%2e/ok", false }, { "/v1/.%2E/ok", false },
		{ "/v1/..%2fok", false },   { "/v1/x%5c..%5c../ok", false },
		{ "/v1/x/%2e%2e", false },  { "/v1/%2e/a", true },
	};
	struct definitions *defs;
	struct strbuf text;

	(void)state;
	strbuf_init(&text);
	strbuf_printf(&text, "jobs: {a: {sql: SELECT 1}}\ntargets: {t: {url: \"%s\"}}\n",
		      url_to(server, "http", "/v1"));
	defs = definitions_parse(text.data, text.len, "jobs.yaml", stderr);
	assert_non_null(defs);
	remote_configure(remote, defs);
	for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
		struct remote_request request = request_to("GET", rows[i / 2].path);
		struct asked got;

		request.target = i % 2 ? "t" : NULL;
		got = ask(remote, &request);
		if ((got.fate == REMOTE_ANSWERED) != rows[i / 2].sent ||
		    got.refused == rows[i / 2].sent)
			fail_msg("%s: fate %d", rows[i / 2].path, got.fate);
	}
	definitions_unref(&defs);
	strbuf_release(&text);
}

/* What waits at a target that is gone, and fails at once when its turn comes. */
static void a_target_goes_with_its_last_call(void **state)
{
	struct remote_request request = request_to("POST", "/ok");
	struct asking all[2];

	(void)state;
	declare(remote, server, "http",
		"rate: 1/s, auth: {oauth2: {token_url: \"${env.T_BEARER}\", client_id: me, "
		"client_secret: \"${env.T_BEARER}\"}}");
	for (int i = 0; i < 2; i++)
		ask_begin(remote, &request, &all[i]);
	usleep(100000);
	declare(remote, server, "http", "concurrency: 1");
	for (int i = 0; i < 2; i++)
		assert_int_equal(ask_wait(&all[i]).fate, REMOTE_NOT_SENT);
	assert_int_equal(call("GET", "/ok").status, 200);
}

static void many_are_aborted_at_once(void **state)
{
	enum { CALLS = 300 };
	static struct asking all[CALLS];
	struct remote_request request = request_to("POST", "/slow");
	static uint64_t handles[CALLS];
	int64_t start_ms;

	(void)state;
	request.timeout_ms = 20000;
	declare(remote, server, "http", "concurrency: 1, waiting: 1000");
	for (int i = 0; i < CALLS; i++)
		handles[i] = ask_begin(remote, &request, &all[i]);
	usleep(300000);
	start_ms = clock_mono_ms();
	for (int i = 0; i < CALLS; i++)
		remote_abort(remote, handles[i]);
	for (int i = 0; i < CALLS; i++)
		ask_wait(&all[i]);
	assert_in_range(clock_mono_ms() - start_ms, 0, 900);
}

static void is_described(void **state)
{
	struct strbuf text;
	json_t *list, *target;

	(void)state;
	declare(remote, server, "http", "concurrency: 9, auth: {bearer: \"${env.T_BEARER}\"}");
	call("GET", "/ok");
	usleep(1200000);
	call("GET", "/ok"); /* wakes it */
	usleep(100000);
	strbuf_init(&text);
	remote_describe(remote, &text);
	list = json_loads(text.data, 0, NULL);
	target = json_array_get(list, 0);
	assert_string_equal(json_string_value(json_object_get(target, "name")), "t");
	assert_string_equal(json_string_value(json_object_get(target, "breaker")), "closed");
	assert_int_equal(json_integer_value(json_object_get(target, "concurrency")), 9);
	assert_true(json_integer_value(json_object_get(target, "calls")) >= 1);
	assert_null(strstr(text.data, "hunter2"));
	json_decref(list);
	strbuf_release(&text);
}

/* ---- credentials */

static void bearer_and_basic_are_sent(void **state)
{
	static const char *const own[] = { "Authorization: Bearer own", NULL };
	struct remote_request request;
	struct asked got;
	const char *body;
	size_t bytes;

	(void)state;
	declare(remote, server, "http", "auth: {bearer: \"${env.T_BEARER}\"}");
	call("GET", "/ok");
	assert_non_null(strstr(stub_server_last(server, &body, &bytes),
			       "\r\nAuthorization: Bearer hunter2\r\n"));
	request = request_to("GET", "/ok");
	request.headers = own;
	ask(remote, &request);
	assert_null(strstr(stub_server_last(server, &body, &bytes), "hunter2"));
	declare(remote, server, "http", "auth: {basic: {user: me, password: \"${env.T_BEARER}\"}}");
	call("GET", "/ok");
	assert_non_null(strstr(stub_server_last(server, &body, &bytes),
			       "\r\nAuthorization: Basic bWU6aHVudGVyMg==\r\n"));
	declare(remote, server, "http", "auth: {bearer: \"${env.T_MISSING}\"}");
	got = call("GET", "/ok");
	assert_int_equal(got.fate, REMOTE_NOT_SENT);
	assert_non_null(strstr(got.error, "T_MISSING"));
}

static void oauth2_tokens_are_fetched_once(void **state)
{
	char members[256];
	struct asking all[20];
	struct remote_request request;
	const char *head, *body;
	size_t bytes;

	(void)state;
	snprintf(members, sizeof(members),
		 "auth: {oauth2: {token_url: \"%s\", client_id: me, client_secret:"
		 " \"${env.T_BEARER}\", scope: a}}",
		 url_to(server, "http", "/token"));
	declare(remote, server, "http", members);
	request = request_to("POST", "/bearer");
	for (int i = 0; i < 20; i++)
		ask_begin(remote, &request, &all[i]);
	for (int i = 0; i < 20; i++)
		assert_int_equal(ask_wait(&all[i]).status, 200);
	assert_int_equal(stub_server_count(server, "/token"), 1);
	/* revoked: one more, and the calls are made again with it */
	stub_server_want(server, "token-2");
	for (int i = 0; i < 20; i++)
		ask_begin(remote, &request, &all[i]);
	for (int i = 0; i < 20; i++)
		assert_int_equal(ask_wait(&all[i]).status, 200);
	assert_int_equal(stub_server_count(server, "/token"), 2);
	/* not the token's fault: no more of them, and the answer is passed on */
	stub_server_want(server, "nobody");
	for (int i = 0; i < 5; i++)
		assert_int_equal(call("POST", "/bearer").status, 401);
	assert_int_equal(stub_server_count(server, "/token"), 2);
	assert_int_equal(call("POST", "/token").status, 200); /* ours, to see the other */
	head = stub_server_last(server, &body, &bytes);
	assert_non_null(strstr(head, "Authorization: Bearer token-2"));
}

static void without_a_token_nothing_is_sent(void **state)
{
	char members[256];
	int before = stub_server_count(server, "/ok");
	struct asked got;

	(void)state;
	snprintf(members, sizeof(members),
		 "auth: {oauth2: {token_url: \"%s\", client_id: me, client_secret:"
		 " \"${env.T_BEARER}\"}}",
		 url_to(server, "http", "/status/400"));
	declare(remote, server, "http", members);
	got = call("POST", "/ok");
	assert_int_equal(got.fate, REMOTE_NOT_SENT);
	assert_string_equal(got.error, "no token: its server answered 400");
	assert_int_equal(stub_server_count(server, "/ok"), before);
}

/* ---- answers that are meant to hurt */

static size_t rss_bytes(void)
{
	long pages = 0, all;
	FILE *file = fopen("/proc/self/statm", "r");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%ld %ld", &all, &pages), 2);
	fclose(file);
	return (size_t)pages * 4096;
}

static void hostile_answers_are_capped(void **state)
{
	static const char *const paths[] = { "/huge", "/bomb", "/bombs", "/headers", "/flood" };
	size_t before, after;
	struct asked got;
	int ok;

	(void)state;
	call("GET", "/ok");
	before = rss_bytes();
	ok = stub_server_count(server, "/ok");
	for (int i = 0; i < 20; i++) {
		got = call("GET", paths[i % 5]);
		if (got.fate != REMOTE_UNKNOWN || !got.error[0])
			fail_msg("%s: fate %d", paths[i % 5], got.fate);
	}
	assert_int_equal(call("GET", "/away").status, 302);
	assert_int_equal(stub_server_count(server, "/ok"), ok); /* not followed */
	after = rss_bytes();
	if (after > before + RSS_GROWTH_MAX)
		fail_msg("grew by %zu MiB", (after - before) >> 20);
	got = call("GET", "/zip"); /* what is harmless is unpacked */
	assert_int_equal(got.status, 200);
	assert_int_equal(got.body_bytes, strlen("{\"ok\":true}"));
	print_message(
		"# table security {\"area\": \"Unsafe consumption\", \"requirement\": \"a body of "
		"10 GB, gzip bombs, endless headers and redirects are capped\", \"cases\": 6, "
		"\"test\": \"remote_targets\"}\n");
}

/* ---- TLS */

struct party { /* a certificate, made for the test */
	X509 *cert;
	EVP_PKEY *key;
	char cert_path[64], key_path[64];
};

static void write_pem(char *path, X509 *cert, EVP_PKEY *key)
{
	int fd;
	FILE *file;

	memcpy(path, "/tmp/targets_test_XXXXXX", sizeof("/tmp/targets_test_XXXXXX"));
	fd = mkstemp(path);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	assert_non_null(file);
	assert_true(cert ? PEM_write_X509(file, cert)
			 : PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
	assert_int_equal(fclose(file), 0);
}

static void make_party(struct party *party)
{
	X509_NAME *name;

	party->key = EVP_RSA_gen(2048);
	party->cert = X509_new();
	assert_true(party->key && party->cert);
	X509_set_version(party->cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(party->cert), 7);
	X509_gmtime_adj(X509_getm_notBefore(party->cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(party->cert), 3600);
	name = X509_get_subject_name(party->cert);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"worker", -1,
				   -1, 0);
	X509_set_issuer_name(party->cert, name);
	X509_set_pubkey(party->cert, party->key);
	assert_true(X509_sign(party->cert, party->key, EVP_sha256()));
	write_pem(party->cert_path, party->cert, NULL);
	write_pem(party->key_path, NULL, party->key);
}

static void release_party(struct party *party)
{
	unlink(party->cert_path);
	unlink(party->key_path);
	X509_free(party->cert);
	EVP_PKEY_free(party->key);
}

static struct asked call_tls(struct stub_server *to, const char *path)
{
	struct remote_request request = request_to("POST", path);

	request.url = url_to(to, "https", path);
	return ask(remote, &request);
}

static void a_certificate_of_ones_own_is_shown(void **state)
{
	char ca[] = "/tmp/targets_test_XXXXXX", members[256];
	struct stub_server *tls = stub_server_new(true, ca);
	struct party worker, stranger;

	(void)state;
	make_party(&worker);
	make_party(&stranger);
	stub_server_trust(tls, worker.cert_path);
	snprintf(members, sizeof(members), "tls: {ca: %s}", ca);
	declare(remote, tls, "https", members);
	assert_int_not_equal(call_tls(tls, "/ok").fate, REMOTE_ANSWERED);
	snprintf(members, sizeof(members), "tls: {ca: %s, cert: %s, key: %s}", ca,
		 stranger.cert_path, stranger.key_path);
	declare(remote, tls, "https", members);
	assert_int_not_equal(call_tls(tls, "/ok").fate, REMOTE_ANSWERED);
	assert_int_equal(stub_server_count(tls, "/ok"), 0);
	snprintf(members, sizeof(members), "tls: {ca: %s, cert: %s, key: %s}", ca, worker.cert_path,
		 worker.key_path);
	declare(remote, tls, "https", members);
	assert_int_equal(call_tls(tls, "/ok").status, 200);
	/* what that target may use is nobody else's */
	declare(remote, server, "http", "concurrency: 1");
	assert_int_not_equal(call_tls(tls, "/ok").fate, REMOTE_ANSWERED);
	assert_int_equal(stub_server_count(tls, "/ok"), 1);
	release_party(&worker);
	release_party(&stranger);
	stub_server_free(&tls);
	unlink(ca);
}

static void old_tls_is_refused(void **state)
{
	static const int versions[] = { TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char ca[] = "/tmp/targets_test_XXXXXX", members[128];
		struct stub_server *tls = stub_server_new(true, ca);
		struct asked got;

		stub_server_tls_version(tls, versions[i]);
		snprintf(members, sizeof(members), "tls: {ca: %s}", ca);
		declare(remote, tls, "https", members);
		got = call_tls(tls, "/ok");
		assert_int_equal(got.fate, i < 2 ? REMOTE_NOT_SENT : REMOTE_ANSWERED);
		stub_server_free(&tls);
		unlink(ca);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_bulkhead_isolates, setup, teardown),
		cmocka_unit_test_setup_teardown(a_rate_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(waiting_calls_can_be_aborted, setup, teardown),
		cmocka_unit_test_setup_teardown(many_are_aborted_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_prefix_is_not_left, setup, teardown),
		cmocka_unit_test_setup_teardown(a_target_goes_with_its_last_call, setup, teardown),
		cmocka_unit_test_setup_teardown(a_breaker_opens_and_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(calls_are_made_again_within_a_budget, setup,
						teardown),
		cmocka_unit_test_setup_teardown(retry_after_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_named_target_keeps_to_its_place, setup, teardown),
		cmocka_unit_test_setup_teardown(is_described, setup, teardown),
		cmocka_unit_test_setup_teardown(bearer_and_basic_are_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(oauth2_tokens_are_fetched_once, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_token_nothing_is_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_answers_are_capped, setup, teardown),
		cmocka_unit_test_setup_teardown(a_certificate_of_ones_own_is_shown, setup,
						teardown),
		cmocka_unit_test_setup_teardown(old_tls_is_refused, setup, teardown),
	};

	setenv("T_BEARER", "hunter2", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

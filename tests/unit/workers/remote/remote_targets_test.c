/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to declared targets, against a server that misbehaves: limits, breaker, retry budget,
 * credentials, TLS identities, and answers that are meant to hurt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/strbuf.h"
#include "common/config/definitions.h"
#include "tests/unit/workers/remote/stub_server.h"
#include "workers/remote/remote.h"

#define RSS_GROWTH_MAX (64 << 20)

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	int calls;
	struct remote_reply reply; /* without its texts */
	char error[256];
	int64_t ended_ms;
};

static struct remote *remote;
static struct stub_server *server;

static void on_done(void *ctx, const struct remote_reply *reply)
{
	struct waiter *waiter = ctx;

	pthread_mutex_lock(&waiter->lock);
	waiter->calls++;
	waiter->reply = *reply;
	snprintf(waiter->error, sizeof(waiter->error), "%s", reply->error);
	waiter->ended_ms = clock_mono_ms();
	pthread_cond_signal(&waiter->wake);
	pthread_mutex_unlock(&waiter->lock);
}

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

static uint64_t begin(struct remote *with, const struct remote_request *request,
		      struct waiter *waiter)
{
	uint64_t handle;

	memset(waiter, 0, sizeof(*waiter));
	pthread_mutex_init(&waiter->lock, NULL);
	pthread_cond_init(&waiter->wake, NULL);
	remote_start(with, request, on_done, waiter, &handle);
	return handle;
}

static void wait_done(struct waiter *waiter)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 30;
	pthread_mutex_lock(&waiter->lock);
	while (!waiter->calls)
		assert_int_equal(pthread_cond_timedwait(&waiter->wake, &waiter->lock, &until), 0);
	assert_int_equal(waiter->calls, 1);
	pthread_mutex_unlock(&waiter->lock);
}

static struct waiter call(const char *method, const char *path)
{
	struct remote_request request = request_to(method, path);
	struct waiter waiter;

	begin(remote, &request, &waiter);
	wait_done(&waiter);
	return waiter;
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
	struct waiter stuck[5], waiter;
	struct remote_request request;

	(void)state;
	declare(remote, server, "http", "concurrency: 2, waiting: 2");
	request = request_to("POST", "/slow");
	for (int i = 0; i < 5; i++) {
		request.timeout_ms = i < 2 ? 600 : 300;
		begin(remote, &request, &stuck[i]);
	}
	/* the fifth finds no place to wait, the two before no room in their time */
	wait_done(&stuck[4]);
	assert_true(stuck[4].reply.held && stuck[4].reply.retry_after_ms > 0);
	assert_int_equal(stuck[4].reply.fate, REMOTE_NOT_SENT);
	/* another target answers meanwhile */
	request = request_to("GET", "/ok");
	request.url = "http://localhost:1/";
	begin(remote, &request, &waiter);
	wait_done(&waiter);
	assert_false(waiter.reply.held);
	for (int i = 0; i < 4; i++)
		wait_done(&stuck[i]);
	assert_int_equal(stuck[0].reply.fate, REMOTE_UNKNOWN);
	assert_int_equal(stuck[1].reply.fate, REMOTE_UNKNOWN);
	assert_true(stuck[2].reply.held && stuck[3].reply.held);
	assert_int_equal(stub_server_count(server, "/slow"), 2);
}

static void a_rate_is_kept(void **state)
{
	struct waiter waiters[30];
	struct remote_request request;
	int64_t start_ms = clock_mono_ms(), last_ms = 0;

	(void)state;
	declare(remote, server, "http", "rate: 20/s");
	request = request_to("GET", "/ok");
	for (int i = 0; i < 30; i++)
		begin(remote, &request, &waiters[i]);
	for (int i = 0; i < 30; i++) {
		wait_done(&waiters[i]);
		assert_int_equal(waiters[i].reply.status, 200);
		last_ms = waiters[i].ended_ms > last_ms ? waiters[i].ended_ms : last_ms;
	}
	assert_in_range(last_ms - start_ms, 1200, 6000); /* 25 behind the first 5 */
}

static void waiting_calls_can_be_aborted(void **state)
{
	struct waiter first, second;
	struct remote_request request;
	uint64_t handles[2];

	(void)state;
	declare(remote, server, "http", "concurrency: 1");
	request = request_to("POST", "/slow");
	handles[0] = begin(remote, &request, &first);
	handles[1] = begin(remote, &request, &second);
	usleep(100000);
	remote_abort(remote, handles[1]);
	wait_done(&second);
	assert_int_equal(second.reply.fate, REMOTE_NOT_SENT);
	assert_false(second.reply.held);
	remote_abort(remote, handles[0]);
	wait_done(&first);
	assert_int_equal(first.reply.fate, REMOTE_UNKNOWN);
}

static void a_breaker_opens_and_closes(void **state)
{
	int before;
	struct waiter waiter;

	(void)state;
	declare(remote, server, "http", "breaker: {failures: 4, window: 60s, cooldown: 500ms}");
	for (int i = 0; i < 20; i++) /* neither is the target's failure */
		call("GET", i % 2 ? "/status/429" : "/status/404");
	for (int i = 0; i < 24; i++) /* more than half */
		call("GET", "/status/500");
	before = stub_server_count(server, "/ok");
	waiter = call("GET", "/ok");
	assert_true(waiter.reply.held);
	assert_in_range(waiter.reply.retry_after_ms, 1, 500);
	assert_int_equal(stub_server_count(server, "/ok"), before);
	usleep(550000);
	assert_int_equal(call("GET", "/status/503").reply.status, 503); /* the probe */
	assert_true(call("GET", "/ok").reply.held);
	usleep(550000);
	assert_int_equal(call("GET", "/ok").reply.status, 200);
	assert_int_equal(call("GET", "/ok").reply.status, 200);
}

static void calls_are_made_again_within_a_budget(void **state)
{
	int sent = 0;

	(void)state;
	declare(remote, server, "http", "breaker: {off: true}");
	for (int i = 0; i < 300; i++) {
		struct remote_request request = request_to("POST", "/status/500");
		struct waiter waiter;

		request.again = i % 3 != 0; /* 100 calls, each made again twice */
		begin(remote, &request, &waiter);
		wait_done(&waiter);
		sent += request.again && !waiter.reply.held;
		assert_true(!waiter.reply.held || request.again);
	}
	assert_in_range(sent, 15, 24); /* 10 to begin with, and 10 % */
}

static void retry_after_is_told(void **state)
{
	struct waiter waiter = call("POST", "/busy");

	(void)state;
	assert_int_equal(waiter.reply.status, 503);
	assert_int_equal(waiter.reply.retry_after_ms, 7000);
	assert_false(waiter.reply.held);
	assert_int_equal(call("POST", "/ok").reply.retry_after_ms, -1);
}

static void a_named_target_keeps_to_its_place(void **state)
{
	struct remote_request request = request_to("GET", "/ok");
	struct waiter waiter;

	(void)state;
	declare(remote, server, "http", "concurrency: 1");
	request.target = "t";
	begin(remote, &request, &waiter);
	wait_done(&waiter);
	assert_int_equal(waiter.reply.status, 200);
	request.url = "http://127.0.0.2:1/";
	begin(remote, &request, &waiter);
	wait_done(&waiter);
	assert_int_equal(waiter.reply.fate, REMOTE_NOT_SENT);
	assert_true(waiter.reply.refused && !waiter.reply.held);
	request.target = "nobody";
	begin(remote, &request, &waiter);
	wait_done(&waiter);
	assert_true(waiter.reply.refused);
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
		struct waiter waiter;

		request.target = i % 2 ? "t" : NULL;
		begin(remote, &request, &waiter);
		wait_done(&waiter);
		if ((waiter.reply.fate == REMOTE_ANSWERED) != rows[i / 2].sent ||
		    waiter.reply.refused == rows[i / 2].sent)
			fail_msg("%s: fate %d", rows[i / 2].path, waiter.reply.fate);
	}
	definitions_unref(&defs);
	strbuf_release(&text);
}

/* What waits at a target that is gone, and fails at once when its turn comes. */
static void a_target_goes_with_its_last_call(void **state)
{
	struct remote_request request = request_to("POST", "/ok");
	struct waiter waiters[2];

	(void)state;
	declare(remote, server, "http",
		"rate: 1/s, auth: {oauth2: {token_url: \"${env.T_BEARER}\", client_id: me, "
		"client_secret: \"${env.T_BEARER}\"}}");
	for (int i = 0; i < 2; i++)
		begin(remote, &request, &waiters[i]);
	usleep(100000);
	declare(remote, server, "http", "concurrency: 1");
	for (int i = 0; i < 2; i++) {
		wait_done(&waiters[i]);
		assert_int_equal(waiters[i].reply.fate, REMOTE_NOT_SENT);
	}
	assert_int_equal(call("GET", "/ok").reply.status, 200);
}

static void many_are_aborted_at_once(void **state)
{
	enum { CALLS = 300 };
	static struct waiter waiters[CALLS];
	struct remote_request request = request_to("POST", "/slow");
	static uint64_t handles[CALLS];
	int64_t start_ms;

	(void)state;
	request.timeout_ms = 20000;
	declare(remote, server, "http", "concurrency: 1, waiting: 1000");
	for (int i = 0; i < CALLS; i++)
		handles[i] = begin(remote, &request, &waiters[i]);
	usleep(300000);
	start_ms = clock_mono_ms();
	for (int i = 0; i < CALLS; i++)
		remote_abort(remote, handles[i]);
	for (int i = 0; i < CALLS; i++)
		wait_done(&waiters[i]);
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
	struct waiter waiter;
	const char *body;
	size_t bytes;

	(void)state;
	declare(remote, server, "http", "auth: {bearer: \"${env.T_BEARER}\"}");
	call("GET", "/ok");
	assert_non_null(strstr(stub_server_last(server, &body, &bytes),
			       "\r\nAuthorization: Bearer hunter2\r\n"));
	request = request_to("GET", "/ok");
	request.headers = own;
	begin(remote, &request, &waiter);
	wait_done(&waiter);
	assert_null(strstr(stub_server_last(server, &body, &bytes), "hunter2"));
	declare(remote, server, "http", "auth: {basic: {user: me, password: \"${env.T_BEARER}\"}}");
	call("GET", "/ok");
	assert_non_null(strstr(stub_server_last(server, &body, &bytes),
			       "\r\nAuthorization: Basic bWU6aHVudGVyMg==\r\n"));
	declare(remote, server, "http", "auth: {bearer: \"${env.T_MISSING}\"}");
	waiter = call("GET", "/ok");
	assert_int_equal(waiter.reply.fate, REMOTE_NOT_SENT);
	assert_non_null(strstr(waiter.error, "T_MISSING"));
}

static void oauth2_tokens_are_fetched_once(void **state)
{
	char members[256];
	struct waiter waiters[20];
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
		begin(remote, &request, &waiters[i]);
	for (int i = 0; i < 20; i++) {
		wait_done(&waiters[i]);
		assert_int_equal(waiters[i].reply.status, 200);
	}
	assert_int_equal(stub_server_count(server, "/token"), 1);
	/* revoked: one more, and the calls are made again with it */
	stub_server_want(server, "token-2");
	for (int i = 0; i < 20; i++)
		begin(remote, &request, &waiters[i]);
	for (int i = 0; i < 20; i++) {
		wait_done(&waiters[i]);
		assert_int_equal(waiters[i].reply.status, 200);
	}
	assert_int_equal(stub_server_count(server, "/token"), 2);
	/* not the token's fault: no more of them, and the answer is passed on */
	stub_server_want(server, "nobody");
	for (int i = 0; i < 5; i++)
		assert_int_equal(call("POST", "/bearer").reply.status, 401);
	assert_int_equal(stub_server_count(server, "/token"), 2);
	assert_int_equal(call("POST", "/token").reply.status, 200); /* ours, to see the other */
	head = stub_server_last(server, &body, &bytes);
	assert_non_null(strstr(head, "Authorization: Bearer token-2"));
}

static void without_a_token_nothing_is_sent(void **state)
{
	char members[256];
	int before = stub_server_count(server, "/ok");
	struct waiter waiter;

	(void)state;
	snprintf(members, sizeof(members),
		 "auth: {oauth2: {token_url: \"%s\", client_id: me, client_secret:"
		 " \"${env.T_BEARER}\"}}",
		 url_to(server, "http", "/status/400"));
	declare(remote, server, "http", members);
	waiter = call("POST", "/ok");
	assert_int_equal(waiter.reply.fate, REMOTE_NOT_SENT);
	assert_string_equal(waiter.error, "no token: its server answered 400");
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
	struct waiter waiter;
	int ok;

	(void)state;
	call("GET", "/ok");
	before = rss_bytes();
	ok = stub_server_count(server, "/ok");
	for (int i = 0; i < 20; i++) {
		waiter = call("GET", paths[i % 5]);
		if (waiter.reply.fate != REMOTE_UNKNOWN || !waiter.error[0])
			fail_msg("%s: fate %d", paths[i % 5], waiter.reply.fate);
	}
	assert_int_equal(call("GET", "/away").reply.status, 302);
	assert_int_equal(stub_server_count(server, "/ok"), ok); /* not followed */
	after = rss_bytes();
	if (after > before + RSS_GROWTH_MAX)
		fail_msg("grew by %zu MiB", (after - before) >> 20);
	waiter = call("GET", "/zip"); /* what is harmless is unpacked */
	assert_int_equal(waiter.reply.status, 200);
	assert_int_equal(waiter.reply.body_bytes, strlen("{\"ok\":true}"));
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

static struct waiter call_tls(struct stub_server *to, const char *path)
{
	struct remote_request request = request_to("POST", path);
	struct waiter waiter;

	request.url = url_to(to, "https", path);
	begin(remote, &request, &waiter);
	wait_done(&waiter);
	return waiter;
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
	assert_int_not_equal(call_tls(tls, "/ok").reply.fate, REMOTE_ANSWERED);
	snprintf(members, sizeof(members), "tls: {ca: %s, cert: %s, key: %s}", ca,
		 stranger.cert_path, stranger.key_path);
	declare(remote, tls, "https", members);
	assert_int_not_equal(call_tls(tls, "/ok").reply.fate, REMOTE_ANSWERED);
	assert_int_equal(stub_server_count(tls, "/ok"), 0);
	snprintf(members, sizeof(members), "tls: {ca: %s, cert: %s, key: %s}", ca, worker.cert_path,
		 worker.key_path);
	declare(remote, tls, "https", members);
	assert_int_equal(call_tls(tls, "/ok").reply.status, 200);
	/* what that target may use is nobody else's */
	declare(remote, server, "http", "concurrency: 1");
	assert_int_not_equal(call_tls(tls, "/ok").reply.fate, REMOTE_ANSWERED);
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
		struct waiter waiter;

		stub_server_tls_version(tls, versions[i]);
		snprintf(members, sizeof(members), "tls: {ca: %s}", ca);
		declare(remote, tls, "https", members);
		waiter = call_tls(tls, "/ok");
		assert_int_equal(waiter.reply.fate, i < 2 ? REMOTE_NOT_SENT : REMOTE_ANSWERED);
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

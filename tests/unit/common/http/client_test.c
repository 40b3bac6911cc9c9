/* SPDX-License-Identifier: Apache-2.0 */
/* The client against servers that answer, refuse, close, stay silent or send too much; and what
 * problems look like to people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/http/client.h"

struct peer {
	pid_t pid;
	int port;
	int heard[2]; /* what it was sent, from all connections */
};

/* A server that sends `answer` to each connection once the request's end is there; "" closes, NULL
 * stays silent. */
static void peer_start(struct peer *peer, const char *answer)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(pipe(peer->heard), 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &bytes), 0);
	peer->port = ntohs(address.sin_port);
	peer->pid = fork();
	if (peer->pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* whatever becomes of the test */
	for (int fd; peer->pid == 0 && (fd = accept(listener, NULL, NULL)) >= 0; close(fd)) {
		char request[65536];
		ssize_t n = read(fd, request,
				 sizeof(request)); /* small requests come whole on loopback */

		if (n > 0 && write(peer->heard[1], request, (size_t)n) != n)
			_exit(1);
		if (!answer)
			pause();
		else if (*answer && write(fd, answer, strlen(answer)) < 0)
			_exit(1);
		shutdown(fd, SHUT_WR);
	}
	close(listener);
	close(peer->heard[1]);
}

static const char *peer_stop(struct peer *peer)
{
	static char heard[65536];
	ssize_t n;

	kill(peer->pid, SIGKILL);
	waitpid(peer->pid, NULL, 0);
	n = read(peer->heard[0], heard, sizeof(heard) - 1);
	close(peer->heard[0]);
	heard[n > 0 ? n : 0] = 0;
	return heard;
}

static int call(int port, const char *method, const char *body, struct client_answer *answer,
		struct error *error)
{
	char url[64];
	struct client_request request = { .method = method,
					  .url = url,
					  .key = "wl_a_b",
					  .body = body,
					  .body_bytes = body ? strlen(body) : 0,
					  .timeout_ms = 1000,
					  .answer_bytes_max = 100 };

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/v1/jobs", port);
	return client_call(&request, answer, error);
}

static void sends_and_receives(void **state)
{
	struct client_answer answer;
	struct error error;
	struct peer peer;
	const char *heard;

	(void)state;
	peer_start(&peer, "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}");
	assert_int_equal(call(peer.port, "POST", "{\"a\":1}", &answer, &error), 0);
	assert_int_equal(answer.status, 202);
	assert_string_equal(answer.body.data, "{}");
	strbuf_release(&answer.body);
	heard = peer_stop(&peer);
	assert_memory_equal(heard, "POST /v1/jobs HTTP/1.1\r\n", 24);
	assert_non_null(strstr(heard, "Authorization: Bearer wl_a_b\r\n"));
	assert_non_null(strstr(heard, "Content-Type: application/json\r\n"));
	assert_non_null(strstr(heard, "\r\n\r\n{\"a\":1}"));
	peer_start(&peer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(call(peer.port, "POST", NULL, &answer, &error), 0);
	strbuf_release(&answer.body);
	heard = peer_stop(&peer);
	assert_non_null(strstr(heard, "Content-Length: 0\r\n"));
	assert_null(strstr(heard, "Content-Type"));
}

static void follows_no_redirect(void **state)
{
	struct client_answer answer;
	struct error error;
	struct peer peer;

	(void)state;
	peer_start(
		&peer,
		"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(call(peer.port, "GET", NULL, &answer, &error), 0);
	assert_int_equal(answer.status, 307);
	strbuf_release(&answer.body);
	peer_stop(&peer);
}

static void tells_what_is_known_after_a_failure(void **state)
{
	static const struct {
		const char *name, *answer;
		enum error_code want;
	} cases[] = {
		{ "closed", "", ERROR_UNKNOWN },
		{ "silent", NULL, ERROR_UNKNOWN },
		{ "cut", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}", ERROR_UNKNOWN },
		{ "garbage", "220 smtp ready\r\n", ERROR_UNKNOWN },
		{ "too large",
		  "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"
		  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		  ERROR_FULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct client_answer answer;
		struct error error;
		struct peer peer;
		const char *heard;

		peer_start(&peer, cases[i].answer);
		if (call(peer.port, "POST", "{}", &answer, &error) != -1 ||
		    error.code != cases[i].want)
			fail_msg("%s: %s", cases[i].name, error_code_name(error.code));
		strbuf_release(&answer.body);
		heard = peer_stop(&peer);
		if (strstr(heard + 1, "POST /"))
			fail_msg("%s: sent twice", cases[i].name);
	}
}

static void knows_when_nothing_was_sent(void **state)
{
	struct client_answer answer;
	struct error error;
	struct client_request request = { .method = "GET",
					  .url = "ftp://127.0.0.1/",
					  .timeout_ms = 1000,
					  .answer_bytes_max = 100 };

	(void)state;
	assert_int_equal(call(1, "POST", "{}", &answer, &error), -1);
	assert_int_equal(error.code, ERROR_UNAVAILABLE);
	strbuf_release(&answer.body);
	assert_int_equal(client_call(&request, &answer, &error), -1);
	assert_int_equal(error.code, ERROR_INVALID);
	strbuf_release(&answer.body);
}

static void shows_problems(void **state)
{
	static const struct {
		const char *body, *want;
	} cases[] = {
		{ "{\"title\":\"Conflict\",\"detail\":\"the job is completed\"}",
		  "the job is completed (HTTP 422)" },
		{ "{\"title\":\"Conflict\"}", "Conflict (HTTP 422)" },
		{ "{\"detail\":\"d\",\"errors\":[{\"pointer\":\"/a\",\"detail\":\"x\"},{\"pointer\":\"\",\"detail\":\"y\"}]}",
		  "/a: x; the request: y (HTTP 422)" },
		{ "<html>", "no explanation (HTTP 422)" },
		{ "", "no explanation (HTTP 422)" },
		{ "[1]", "no explanation (HTTP 422)" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct client_answer answer = { .status = 422 };
		struct strbuf text;

		strbuf_init(&answer.body);
		strbuf_init(&text);
		strbuf_addstr(&answer.body, cases[i].body);
		client_problem(&answer, &text);
		assert_string_equal(text.data, cases[i].want);
		strbuf_release(&text);
		strbuf_release(&answer.body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sends_and_receives),
		cmocka_unit_test(follows_no_redirect),
		cmocka_unit_test(tells_what_is_known_after_a_failure),
		cmocka_unit_test(knows_when_nothing_was_sent),
		cmocka_unit_test(shows_problems),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

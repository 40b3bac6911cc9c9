/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks of job types, what the key that signs them makes of a file, and callback_url of requests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/config/definitions.h"
#include "common/config/job_request.h"
#include "common/config/settings.h"

static const char plain[] = "jobs:\n  a: {sql: SELECT 1}\n";
static const char hooked[] =
	"jobs:\n"
	"  a:\n"
	"    sql: SELECT 1\n"
	"    hooks:\n"
	"      - {url: '${env.HOOK_URL}/x/${env.B}', on: [discarded, cancelled]}\n"
	"      - {url: 'https://a.example'}\n";

/* The file as a role opens it; *said_r: what was wrong, to be freed. */
static struct definitions *open_file(const char *text, const char *secret, const char *allow,
				     char **said_r)
{
	char path[] = "/tmp/windlass-hooks-XXXXXX", empty[] = "", prefix[] = "windlass.";
	int fd = mkstemp(path);
	size_t bytes;
	FILE *errors = open_memstream(said_r, &bytes);
	struct definitions *defs;

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	const struct settings settings = {
		.jobs_path = path,
		.broker_url = empty,
		.broker_prefix = prefix,
		.webhook_secret = (char *)(uintptr_t)secret,
		.remote_allow = (char *)(uintptr_t)allow,
	};

	defs = definitions_open(&settings, errors);
	fclose(errors);
	unlink(path);
	return defs;
}

static void hooks_are_read(void **state)
{
	struct definitions *defs = definitions_parse(hooked, strlen(hooked), "jobs.yaml", stderr);
	const struct job_type *type = definitions_type(defs, "a");

	(void)state;
	assert_int_equal(type->hooks.count, 2);
	assert_string_equal(type->hooks.list[0].url, "${env.HOOK_URL}/x/${env.B}");
	assert_int_equal(type->hooks.list[0].on, 1u << JOB_DISCARDED | 1u << JOB_CANCELLED);
	assert_string_equal(type->hooks.list[0].env[0], "HOOK_URL");
	assert_string_equal(type->hooks.list[0].env[1], "B");
	assert_null(type->hooks.list[0].env[2]);
	assert_int_equal(type->hooks.list[1].on,
			 1u << JOB_COMPLETED | 1u << JOB_DISCARDED | 1u << JOB_CANCELLED);
	assert_null(type->hooks.list[1].env[0]);
	definitions_unref(&defs);
}

static void a_key_brings_the_type(void **state)
{
	struct definitions *defs;
	const struct job_type *type;
	char *said;
	bool http;

	(void)state;
	defs = open_file(hooked, "whsec_x", "", &said);
	assert_string_equal(said, "");
	assert_true(definitions_webhooks(defs, &http));
	assert_false(http);
	type = definitions_type(defs, WEBHOOK_TYPE);
	assert_int_equal(type->kind, HANDLER_WEBHOOK);
	assert_int_equal(type->retry.max_attempts, WEBHOOK_ATTEMPTS);
	assert_ptr_equal(definitions_type_at(defs, type->index), type);
	assert_non_null(definitions_queue(defs, WEBHOOK_QUEUE));
	assert_int_equal(definitions_type_count(defs), 2);
	assert_int_equal(definitions_queue_count(defs), 2);
	definitions_unref(&defs);
	free(said);
	defs = open_file(plain, "whsec_x", "10.0.0.0/8", &said);
	assert_true(definitions_webhooks(defs, &http));
	assert_true(http);
	definitions_unref(&defs);
	free(said);
}

static void without_a_key_there_are_none(void **state)
{
	struct definitions *defs;
	char *said;
	bool http;

	(void)state;
	assert_null(open_file(hooked, "", "", &said));
	assert_non_null(strstr(said, ":2:3: `a` has hooks, and WINDLASS_WEBHOOK_SECRET"));
	free(said);
	defs = open_file(plain, "", "", &said);
	assert_false(definitions_webhooks(defs, &http));
	assert_null(definitions_type(defs, WEBHOOK_TYPE));
	assert_null(definitions_queue(defs, WEBHOOK_QUEUE));
	definitions_unref(&defs);
	free(said);
}

static const struct {
	const char *request;
	bool http;
	const char *pointer, *part; /* of the refusal; NULL: taken */
} requests[] = {
	{ "{\"type\":\"a\",\"callback_url\":\"https://app.example/x?y=1\"}", false, NULL, NULL },
	{ "{\"type\":\"a\",\"callback_url\":\"http://10.0.0.1/\"}", true, NULL, NULL },
	{ "{\"type\":\"a\",\"callback_url\":\"http://10.0.0.1/\"}", false, "/callback_url",
	  "begins with https://" },
	{ "{\"type\":\"a\",\"callback_url\":\"https://u:p@x\"}", false, "/callback_url", "a user" },
	{ "{\"type\":\"a\",\"callback_url\":7}", false, "/callback_url", "expected a URL" },
	{ "{\"type\":\"a\",\"callback_url\":\"https://a\\r\\nx: y\"}", false, "/callback_url",
	  "printable" },
	{ "{\"type\":\"windlass.webhook\",\"payload\":{}}", false, "/type", "Windlass's own" },
	{ "{\"type\":\"a\",\"queue\":\"windlass.webhooks\"}", false, "/queue", "Windlass's own" },
};

static void callbacks_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		char *said;
		struct definitions *defs =
			open_file(plain, "whsec_x", requests[i].http ? "10.0.0.0/8" : "", &said);
		struct job_request_context ctx = {
			.defs = defs, .tenant = "", .owner = "web", .payload_bytes_max = 1024
		};
		const char *text = requests[i].request;
		struct arena *arena = arena_new(0);
		struct job_request_error error = { 0 };
		struct new_job job;
		int rc = job_request_parse(&ctx, (struct json_slice){ text, strlen(text) }, NULL,
					   arena, &job, &error);

		if ((rc < 0) != (requests[i].pointer != NULL) ||
		    (rc < 0 && (strcmp(error.pointer, requests[i].pointer) != 0 ||
				!strstr(error.message, requests[i].part))))
			fail_msg("%s: %d %s %s", text, rc, error.pointer, error.message);
		if (rc == 0)
			assert_non_null(strstr(text, job.callback));
		arena_free(&arena);
		definitions_unref(&defs);
		free(said);
	}
}

/* A handler may ask to be told of its follow-ups, too, and cannot make webhooks itself. */
static void follow_ups_are_checked(void **state)
{
	static const char options[] = "{\"callback_url\":\"https://a.example\"}";
	char *said;
	struct definitions *defs = open_file(plain, "whsec_x", "", &said);
	struct job_request_context ctx = {
		.defs = defs, .tenant = "", .owner = "job:1", .payload_bytes_max = 1024
	};
	const struct json_slice none = { 0 }, some = { options, sizeof(options) - 1 };
	struct arena *arena = arena_new(0);
	struct job_request_error error;
	struct new_job job;

	(void)state;
	assert_int_equal(job_request_follow_up(&ctx, NULL, "a", none, some, arena, &job, &error),
			 0);
	assert_string_equal(job.callback, "https://a.example");
	assert_int_equal(
		job_request_follow_up(&ctx, NULL, WEBHOOK_TYPE, none, none, arena, &job, &error),
		-1);
	arena_free(&arena);
	definitions_unref(&defs);
	free(said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hooks_are_read),
		cmocka_unit_test(a_key_brings_the_type),
		cmocka_unit_test(without_a_key_there_are_none),
		cmocka_unit_test(callbacks_are_checked),
		cmocka_unit_test(follow_ups_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which ends make which jobs, under which ids, with which text; which addresses are taken; the
 * schedule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/job/webhook.h"

#define JOB "01890a5d-ac96-774b-bcce-b302099a8057"

#define ON(state) (1u << JOB_##state)

static const struct webhook_hook hooks[] = {
	{ .url = "${env.HOOK_URL}", .on = ON(DISCARDED) | ON(CANCELLED) },
	{ .url = "https://other.example/x", .on = ON(COMPLETED) },
};

static struct webhook_source a_source(void)
{
	struct webhook_source source = {
		.tenant = "",
		.type = "order.checkout",
		.attempt = 2,
		.state = JOB_COMPLETED,
		.result = "{ \"n\": 1.50 }",
		.finished_ms = 1700000000123,
	};

	assert_true(uuid_parse(JOB, &source.id));
	return source;
}

static void the_event_is_written_once(void **state)
{
	static const char want[] =
		"{\"url\":\"https://a.example/?q=1\",\"event\":{\"type\":\"job.completed\","
		"\"timestamp\":\"2023-11-14T22:13:20.123Z\",\"data\":{\"id\":\"" JOB "\","
		"\"type\":\"order.checkout\",\"state\":\"completed\",\"attempt\":2,"
		"\"result\":{ \"n\": 1.50 },\"reason\":null}}}";
	struct webhook_source source = a_source();
	struct arena *arena = arena_new(0);
	struct webhook_message message;
	struct new_job *jobs;

	(void)state;
	source.callback = "https://a.example/?q=1";
	assert_int_equal(webhook_jobs(arena, &source, &jobs), 1);
	assert_string_equal(jobs->payload, want);
	assert_int_equal(jobs->payload_bytes, strlen(want));
	assert_string_equal(jobs->type, WEBHOOK_TYPE);
	assert_string_equal(jobs->queue, WEBHOOK_QUEUE);
	assert_string_equal(jobs->owner, "job:" JOB);
	assert_null(jobs->callback);
	assert_int_equal(webhook_message_read(arena, (struct json_slice){ want, sizeof(want) - 1 },
					      &message),
			 0);
	assert_string_equal(message.url, "https://a.example/?q=1");
	assert_null(message.of);
	assert_memory_equal(message.event.text, "{\"type\":\"job.completed\"", 22);
	assert_int_equal(message.event.bytes, strlen(strstr(want, "{\"type\"")) - 1);
	arena_free(&arena);
}

static void who_and_why_are_told(void **state)
{
	struct webhook_source source = a_source();
	struct arena *arena = arena_new(0);
	struct new_job *jobs;

	(void)state;
	source.tenant = "acme";
	source.state = JOB_DISCARDED;
	source.result = NULL;
	source.reason = "card \"refused\"";
	source.hooks = (struct webhook_hooks){ hooks, ARRAY_LEN(hooks) };
	assert_int_equal(webhook_jobs(arena, &source, &jobs), 1);
	assert_string_equal(jobs->tenant, "acme");
	assert_non_null(strstr(jobs->payload, "{\"url\":\"${env.HOOK_URL}\",\"of\":\"order."
					      "checkout\",\"event\":{\"type\":\"job.discarded\""));
	assert_non_null(strstr(jobs->payload, "\"result\":null,\"reason\":\"card "
					      "\\\"refused\\\"\",\"tenant\":\"acme\"}}}"));
	arena_free(&arena);
}

static const struct {
	const char *name, *callback, *type;
	bool hooks;
	enum job_state state;
	size_t want;
} ends[] = {
	{ "nobody asks", NULL, "a", false, JOB_COMPLETED, 0 },
	{ "callback, completed", "https://a.example", "a", false, JOB_COMPLETED, 1 },
	{ "callback, discarded", "https://a.example", "a", false, JOB_DISCARDED, 1 },
	{ "callback, cancelled", "https://a.example", "a", false, JOB_CANCELLED, 1 },
	{ "hook on completed", NULL, "a", true, JOB_COMPLETED, 1 },
	{ "hook on discarded", NULL, "a", true, JOB_DISCARDED, 1 },
	{ "both", "https://a.example", "a", true, JOB_CANCELLED, 2 },
	{ "a webhook's own end", "https://a.example", WEBHOOK_TYPE, true, JOB_DISCARDED, 0 },
};

static void each_end_makes_its_jobs(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		struct webhook_source source = a_source();
		struct arena *arena = arena_new(0);
		struct new_job *jobs;
		size_t got;

		source.callback = ends[i].callback;
		source.type = ends[i].type;
		source.state = ends[i].state;
		if (ends[i].hooks)
			source.hooks = (struct webhook_hooks){ hooks, ARRAY_LEN(hooks) };
		got = webhook_jobs(arena, &source, &jobs);
		if (got != ends[i].want)
			fail_msg("%s: got %zu, want %zu", ends[i].name, got, ends[i].want);
		if (got == 2)
			assert_false(uuid_equal(&jobs[0].id, &jobs[1].id));
		arena_free(&arena);
	}
}

static struct uuid id_of(struct webhook_source source, const char *callback)
{
	struct arena *arena = arena_new(0);
	struct new_job *jobs;
	struct uuid id;

	source.callback = callback;
	assert_int_equal(webhook_jobs(arena, &source, &jobs), 1);
	id = jobs->id;
	arena_free(&arena);
	return id;
}

static void one_id_an_end_and_address(void **state)
{
	struct webhook_source source = a_source(), again = a_source(), other = a_source();
	struct uuid first = id_of(source, "https://a.example"), second;

	(void)state;
	again.finished_ms += 5000; /* as a repeated transaction would say */
	second = id_of(again, "https://a.example");
	assert_true(uuid_equal(&first, &second));
	assert_int_equal(uuid_time_ms(&first), uuid_time_ms(&source.id));
	second = id_of(source, "https://b.example");
	assert_false(uuid_equal(&first, &second));
	other.attempt++; /* redriven, and ended once more */
	second = id_of(other, "https://a.example");
	assert_false(uuid_equal(&first, &second));
}

static bool left_out(const char *result)
{
	struct webhook_source source = a_source();
	struct arena *arena = arena_new(0);
	struct new_job *jobs;
	bool out;

	source.callback = "https://a.example";
	source.result = result;
	assert_int_equal(webhook_jobs(arena, &source, &jobs), 1);
	assert_true(json_text_check(jobs->payload, jobs->payload_bytes));
	out = strstr(jobs->payload, "\"result\":null,\"result_left_out\":true") != NULL;
	arena_free(&arena);
	return out;
}

static void results_are_bounded(void **state)
{
	char *large = arena_zalloc(*(struct arena **)*state, WEBHOOK_RESULT_MAX + 2);
	char deep[2 * JSON_DEPTH_MAX + 1] = "";

	memset(large, 'x', WEBHOOK_RESULT_MAX);
	large[0] = large[WEBHOOK_RESULT_MAX - 1] = '"';
	assert_false(left_out(large));
	large[WEBHOOK_RESULT_MAX - 1] = 'x';
	large[WEBHOOK_RESULT_MAX] = '"';
	assert_true(left_out(large));
	memset(deep, '[', WEBHOOK_DEPTH_MAX);
	memset(deep + WEBHOOK_DEPTH_MAX, ']', WEBHOOK_DEPTH_MAX);
	assert_false(left_out(deep));
	memset(deep, '[', WEBHOOK_DEPTH_MAX + 1);
	memset(deep + WEBHOOK_DEPTH_MAX + 1, ']', WEBHOOK_DEPTH_MAX + 1);
	assert_true(left_out(deep));
	assert_false(left_out("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
			      "[[[[[[[[[[[[[ \\\" [[[[\""));
}

static void hooks_go_there_and_back(void **state)
{
	const struct webhook_hooks none = { 0 }, all = { hooks, ARRAY_LEN(hooks) };
	struct arena *arena = *(struct arena **)*state;
	struct webhook_hooks got;

	assert_null(webhook_hooks_text(arena, &none));
	got = webhook_hooks_parse(arena, webhook_hooks_text(arena, &all));
	assert_int_equal(got.count, ARRAY_LEN(hooks));
	for (size_t i = 0; i < got.count; i++) {
		assert_string_equal(got.list[i].url, hooks[i].url);
		assert_int_equal(got.list[i].on, hooks[i].on);
	}
	assert_int_equal(webhook_hooks_parse(arena, NULL).count, 0);
	assert_int_equal(webhook_hooks_parse(arena, "what").count, 0);
	assert_int_equal(webhook_hooks_parse(arena, "[1,[2],{\"url\":\"x\"}]").count, 0);
}

static const struct {
	const char *payload;
} no_messages[] = {
	{ "{}" },
	{ "[]" },
	{ "{\"url\":\"https://a.example\"}" },
	{ "{\"event\":{}}" },
	{ "{\"url\":5,\"event\":{}}" },
};

static void what_is_no_message(void **state)
{
	struct arena *arena = *(struct arena **)*state;

	for (size_t i = 0; i < ARRAY_LEN(no_messages); i++) {
		const char *text = no_messages[i].payload;
		struct webhook_message message;

		if (webhook_message_read(arena, (struct json_slice){ text, strlen(text) },
					 &message) == 0)
			fail_msg("%s", text);
	}
}

static const struct {
	const char *url;
	bool http, good;
} urls[] = {
	{ "https://a.example", false, true },
	{ "https://a.example:8443/x/y?z=%20&t=a,b;c", false, true },
	{ "https://[2001:db8::1]/x", false, true },
	{ "https://a.example?x", false, true },
	{ "http://a.example", true, true },
	{ "http://a.example", false, false },
	{ "HTTPS://a.example", false, false },
	{ "ftp://a.example", true, false },
	{ "//a.example", true, false },
	{ "https:/a.example", true, false },
	{ "https://", true, false },
	{ "https:///x", true, false },
	{ "https://?x", true, false },
	{ "https://:443/", true, false },
	{ "https://user@a.example/", true, false },
	{ "https://user:pw@a.example/", true, false },
	{ "https://a.example/@x", false, true },
	{ "https://a.example/#x", true, false },
	{ "https://a.example/ x", true, false },
	{ "https://a.example/\r\nx: y", true, false },
	{ "https://a.example\\@b.example", true, false },
	{ "https://a.example/\xc3\xa4", true, false },
	{ "https://a.example/${env.X}", true, false },
	{ "", true, false },
};

static void addresses_are_checked(void **state)
{
	char large[WEBHOOK_URL_MAX + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		const char *fault = webhook_url_fault(urls[i].url, urls[i].http);

		if (!fault != urls[i].good)
			fail_msg("%s: %s", urls[i].url, fault ? fault : "taken");
	}
	memset(large, 'x', sizeof(large));
	memcpy(large, "https://", 8);
	large[WEBHOOK_URL_MAX + 1] = '\0';
	assert_non_null(webhook_url_fault(large, false));
	large[WEBHOOK_URL_MAX] = '\0';
	assert_null(webhook_url_fault(large, false));
}

static uint64_t least(uint64_t bound)
{
	(void)bound;
	return 0;
}

static uint64_t most(uint64_t bound)
{
	return bound - 1;
}

static void the_schedule_is_the_specification_s(void **state)
{
	static const int64_t want_s[] = { 5,     300,   1800,  7200,  18000,
					  36000, 50400, 72000, 86400, 86400 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(want_s); i++) {
		int64_t low = webhook_delay_ms((int)i + 1, least),
			high = webhook_delay_ms((int)i + 1, most);

		if (low != want_s[i] * 1000 || high != want_s[i] * 1100)
			fail_msg("failure %zu: %lld..%lld", i + 1, (long long)low, (long long)high);
	}
	assert_int_equal(WEBHOOK_ATTEMPTS, 10);
}

static void reserved_names(void **state)
{
	(void)state;
	assert_true(webhook_reserved("windlass.webhook"));
	assert_true(webhook_reserved("windlass."));
	assert_false(webhook_reserved("windlass"));
	assert_false(webhook_reserved("windlasses.x"));
	assert_false(webhook_reserved("my.windlass.x"));
}

static int open_arena(void **state)
{
	static struct arena *arena;

	arena = arena_new(0);
	*state = &arena;
	return 0;
}

static int close_arena(void **state)
{
	arena_free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_event_is_written_once),
		cmocka_unit_test(who_and_why_are_told),
		cmocka_unit_test(each_end_makes_its_jobs),
		cmocka_unit_test(one_id_an_end_and_address),
		cmocka_unit_test_setup_teardown(results_are_bounded, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(hooks_go_there_and_back, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(what_is_no_message, open_arena, close_arena),
		cmocka_unit_test(addresses_are_checked),
		cmocka_unit_test(the_schedule_is_the_specification_s),
		cmocka_unit_test(reserved_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

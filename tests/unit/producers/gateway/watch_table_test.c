/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets which event, in what order, and how a watch ends; and the ids of events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "producers/gateway/watch_table.h"

struct bench {
	struct metrics *metrics;
	struct watch_table table;
	int pokes;
};

static void poked(void *bench_)
{
	struct bench *bench = bench_;

	bench->pokes++;
}

static int set_up(void **state)
{
	struct bench *bench = xcalloc(1, sizeof(*bench));

	bench->metrics = metrics_open("test");
	watch_table_init(&bench->table, 4, 2, bench->metrics);
	bench->table.poke = poked;
	bench->table.ctx = bench;
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;

	watch_table_release(&bench->table);
	metrics_close(&bench->metrics);
	free(bench);
	return 0;
}

static void rung(void *count_)
{
	int *count = count_;

	++*count;
}

static struct job_view view_of(const struct uuid *id, enum job_state state)
{
	return (struct job_view){ .id = *id,
				  .state = state,
				  .tenant = "",
				  .owner = "me",
				  .queue = "q",
				  .type = "mail",
				  .tags = "[\"red\",\"blue\"]",
				  .progress = -1 };
}

static void give(struct bench *bench, const struct job_view *view, int64_t at_ms)
{
	struct watch_event *event = watch_event_new(view, NULL, at_ms);

	watch_table_give(&bench->table, event, view, true);
	watch_event_unref(&event);
	watch_table_call(&bench->table);
}

/* The state of the next event, or minus how the watch stands. */
static int next(struct watcher *watcher)
{
	enum watch_end end;
	struct watch_event *event = watcher_take(watcher, &end);
	int got = event ? (int)event->state : -(int)end;

	watch_event_unref(&event);
	return got;
}

static void ids_lead_back(void **state)
{
	struct uuid id = { { 1 } };
	struct job_view view = view_of(&id, JOB_RUNNING);
	struct watch_event *event = watch_event_new(&view, NULL, 0x123456789abc), *same, *copy;
	uint64_t digest;
	int64_t at_ms;

	(void)state;
	assert_true(watch_event_id_parse(event->id, &at_ms, &digest));
	assert_int_equal(at_ms, 0x123456789abc);
	assert_int_equal(digest, event->digest);
	assert_int_equal(strlen(event->json), event->bytes);
	same = watch_event_new(&view, NULL, 5);
	copy = watch_event_copy(event, 5);
	assert_string_equal(same->id, copy->id);
	assert_string_equal(same->json, copy->json);
	view.state = JOB_COMPLETED;
	watch_event_unref(&same);
	same = watch_event_new(&view, NULL, 5);
	assert_true(same->ended && same->digest != event->digest);
	assert_false(watch_event_id_parse("", &at_ms, &digest));
	assert_false(watch_event_id_parse("0123456789abcdef0123456789abc", &at_ms, &digest));
	assert_false(watch_event_id_parse("0123456789abcdef0123456789xx", &at_ms, &digest));
	watch_event_unref(&event);
	watch_event_unref(&same);
	watch_event_unref(&copy);
}

static void one_job_to_its_end(void **state)
{
	struct bench *bench = *state;
	struct uuid id = { { 1 } }, taken[4];
	struct watch_filter filter = { .id = id };
	struct job_view view = view_of(&id, JOB_AVAILABLE);
	int rings = 0;
	struct watcher *watcher = watch_table_add(&bench->table, &filter, NULL, rung, &rings);

	give(bench, &view, 1);
	assert_int_equal(next(watcher), -WATCH_ON); /* the hub does not know it yet */
	assert_int_equal(watch_table_take_fresh(&bench->table, taken, 4), 1);
	assert_int_equal(watch_table_take_fresh(&bench->table, taken, 4), 0);
	give(bench, &view, 2);
	assert_int_equal(rings, 1);
	give(bench, &view, 3); /* nothing has changed */
	view.state = JOB_RUNNING;
	give(bench, &view, 4);
	assert_int_equal(rings, 1); /* until it has been told that there is no more */
	assert_int_equal(next(watcher), JOB_AVAILABLE);
	assert_int_equal(next(watcher), JOB_RUNNING);
	assert_int_equal(next(watcher), -WATCH_ON);
	view.state = JOB_COMPLETED;
	give(bench, &view, 5);
	assert_int_equal(rings, 2);
	assert_int_equal(next(watcher), JOB_COMPLETED);
	assert_int_equal(next(watcher), -WATCH_OVER);
	give(bench, &view, 6);
	assert_int_equal(next(watcher), -WATCH_OVER);
	watcher_stop(&watcher);
	assert_null(watcher);
}

static void what_is_known_is_not_told(void **state)
{
	struct bench *bench = *state;
	struct uuid id = { { 1 } }, taken[4];
	struct watch_filter filter = { .id = id };
	struct job_view view = view_of(&id, JOB_AVAILABLE);
	struct watch_event *event = watch_event_new(&view, NULL, 7);
	int rings = 0;
	struct watcher *watcher = watch_table_add(&bench->table, &filter, event->id, rung, &rings);

	watch_event_unref(&event);
	watch_table_take_fresh(&bench->table, taken, 4);
	give(bench, &view, 8);
	assert_int_equal(rings, 1); /* the first look is made */
	assert_int_equal(next(watcher), -WATCH_ON);
	view.state = JOB_CANCELLED;
	give(bench, &view, 9);
	assert_int_equal(next(watcher), JOB_CANCELLED);
	watcher_stop(&watcher);
}

static void nobody_s_job(void **state)
{
	struct bench *bench = *state;
	struct uuid id = { { 1 } }, taken[4];
	struct watch_filter filter = { .id = id },
			    foreign = { .id = id, .reach = { .owner = "you" } };
	struct job_view view = view_of(&id, JOB_AVAILABLE);
	int rings = 0;
	struct watcher *first = watch_table_add(&bench->table, &filter, NULL, rung, &rings),
		       *second = watch_table_add(&bench->table, &foreign, NULL, rung, &rings),
		       *late;

	watch_table_take_fresh(&bench->table, taken, 4);
	late = watch_table_add(&bench->table, &filter, NULL, rung, &rings);
	give(bench, &view, 1);
	assert_int_equal(next(second), -WATCH_UNKNOWN); /* out of its reach */
	assert_int_equal(next(first), JOB_AVAILABLE);
	watch_table_none(&bench->table, &id, WATCH_GONE);
	assert_int_equal(next(first), -WATCH_GONE);
	assert_int_equal(next(late), -WATCH_ON); /* perhaps it was accepted since that look */
	watcher_stop(&first);
	watcher_stop(&second);
	watcher_stop(&late);
}

static const struct {
	const char *name;
	struct watch_filter filter;
	bool fits;
} filters[] = {
	{ "all", { .type = NULL }, true },
	{ "type", { .type = "mail" }, true },
	{ "other type", { .type = "mai" }, false },
	{ "queue", { .queue = "q" }, true },
	{ "other queue", { .queue = "r" }, false },
	{ "tag", { .tag = "blue" }, true },
	{ "part of a tag", { .tag = "blu" }, false },
	{ "what is between tags", { .tag = "," }, false },
	{ "all three", { .type = "mail", .queue = "q", .tag = "red" }, true },
	{ "two of three", { .type = "mail", .queue = "q", .tag = "green" }, false },
	{ "tenant", { .reach = { .tenant = "" } }, true },
	{ "other tenant", { .reach = { .tenant = "t" } }, false },
	{ "owner", { .reach = { .owner = "me" } }, true },
	{ "rule",
	  { .reach = { .rules = &(struct reach_rule){ "m*l", "?" }, .rule_count = 1 } },
	  true },
	{ "other rule",
	  { .reach = { .rules = &(struct reach_rule){ "m*l", "??" }, .rule_count = 1 } },
	  false },
};

static void by_filter(void **state)
{
	struct bench *bench = *state;
	struct uuid id = { { 1 } };
	struct job_view view = view_of(&id, JOB_AVAILABLE);

	for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
		int rings = 0;
		struct watcher *watcher =
			watch_table_add(&bench->table, &filters[i].filter, NULL, rung, &rings);

		give(bench, &view, 1);
		if ((next(watcher) == JOB_AVAILABLE) != filters[i].fits)
			fail_msg("%s: %s", filters[i].name, filters[i].fits ? "missed" : "got it");
		watcher_stop(&watcher);
	}
}

static void who_does_not_take_is_ended(void **state)
{
	struct bench *bench = *state;
	struct watch_filter all = { .type = NULL };
	struct uuid id = { { 1 } };
	struct job_view view = view_of(&id, JOB_AVAILABLE);
	struct watcher *watcher;
	int rings = 0;

	watcher = watch_table_add(&bench->table, &all, NULL, rung, &rings);
	for (int i = 0; i < WATCH_QUEUE_EVENTS_MAX; i++)
		give(bench, &view, i);
	assert_int_equal(watcher_end(watcher), WATCH_ON);
	give(bench, &view, 1);
	assert_int_equal(watcher_end(watcher), WATCH_OVERRUN);
	assert_int_equal(next(watcher), -WATCH_OVERRUN); /* what was waiting is dropped */
	watcher_stop(&watcher);
	/* The same by bytes. */
	watcher = watch_table_add(&bench->table, &all, NULL, rung, &rings);
	view.payload_bytes = WATCH_QUEUE_BYTES_MAX / 2;
	view.payload = xcalloc(1, view.payload_bytes + 1);
	memset((char *)view.payload, '1', view.payload_bytes);
	give(bench, &view, 1);
	assert_int_equal(watcher_end(watcher), WATCH_ON);
	give(bench, &view, 2);
	assert_int_equal(watcher_end(watcher), WATCH_OVERRUN);
	free((char *)view.payload);
	watcher_stop(&watcher);
}

static void limits(void **state)
{
	struct bench *bench = *state;
	struct watch_filter mine = { .account = { { 1 } } }, theirs = { .account = { { 2 } } },
			    nobody = { .type = NULL };
	struct watcher *all[4];
	int rings = 0;

	for (int i = 0; i < 2; i++)
		assert_non_null(all[i] = watch_table_add(&bench->table, &mine, NULL, rung, &rings));
	assert_null(watch_table_add(&bench->table, &mine, NULL, rung, &rings));
	assert_non_null(all[2] = watch_table_add(&bench->table, &theirs, NULL, rung, &rings));
	assert_non_null(all[3] = watch_table_add(&bench->table, &nobody, NULL, rung, &rings));
	assert_null(watch_table_add(&bench->table, &nobody, NULL, rung, &rings));
	watcher_stop(&all[0]);
	assert_non_null(all[0] = watch_table_add(&bench->table, &mine, NULL, rung, &rings));
	for (int i = 0; i < 4; i++)
		watcher_stop(&all[i]);
}

static char *id_of(int64_t at_ms)
{
	static char text[WATCH_EVENT_ID_TEXT];

	snprintf(text, sizeof(text), "%012llx0000000000000001", (unsigned long long)at_ms);
	return text;
}

/* While it reads what moved before, every id leads back to where that begins. */
static void going_on(void **state)
{
	struct bench *bench = *state;
	struct watch_filter all = { .type = NULL };
	int64_t since_ms = clock_wall_ms() - 1000, at_ms, hungry_ms;
	struct uuid id = { { 1 } };
	struct job_view view = view_of(&id, JOB_AVAILABLE);
	int rings = 0;
	struct watcher *watcher =
			       watch_table_add(&bench->table, &all, id_of(since_ms), rung, &rings),
		       *old;
	struct watch_event *event;
	enum watch_end end;
	uint64_t digest;

	assert_ptr_equal(watch_table_hungry(&bench->table, &hungry_ms), watcher);
	give(bench, &view, since_ms + 500);
	watch_table_fed(watcher, &id);
	assert_ptr_equal(watch_table_hungry(&bench->table, &hungry_ms), watcher);
	assert_true(uuid_equal(&watcher->before, &id));
	watch_table_fed(watcher, NULL);
	assert_null(watch_table_hungry(&bench->table, &hungry_ms));
	give(bench, &view, since_ms + 600);
	event = watcher_take(watcher, &end);
	assert_true(watch_event_id_parse(event->id, &at_ms, &digest));
	assert_int_equal(at_ms, since_ms);
	watch_event_unref(&event);
	event = watcher_take(watcher, &end);
	assert_true(watch_event_id_parse(event->id, &at_ms, &digest));
	assert_int_equal(at_ms, since_ms + 600);
	watch_event_unref(&event);
	old = watch_table_add(&bench->table, &all, id_of(since_ms - WATCH_RESUME_MS), rung, &rings);
	assert_int_equal(watcher_end(old), WATCH_GONE);
	watcher_stop(&watcher);
	watcher_stop(&old);
}

static void drained(void **state)
{
	struct bench *bench = *state;
	struct watch_filter all = { .type = NULL };
	struct uuid id = { { 1 } };
	struct job_view view = view_of(&id, JOB_AVAILABLE);
	int rings = 0;
	struct watcher *watcher = watch_table_add(&bench->table, &all, NULL, rung, &rings), *late;

	give(bench, &view, 1);
	watch_table_drain(&bench->table);
	late = watch_table_add(&bench->table, &all, NULL, rung, &rings);
	watch_table_call(&bench->table);
	assert_int_equal(rings, 2);
	assert_int_equal(next(watcher), JOB_AVAILABLE);
	assert_int_equal(next(watcher), -WATCH_DRAIN);
	assert_int_equal(next(late), -WATCH_DRAIN);
	watcher_stop(&watcher);
	watcher_stop(&late);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_lead_back),
		TEST(one_job_to_its_end),
		TEST(what_is_known_is_not_told),
		TEST(nobody_s_job),
		TEST(by_filter),
		TEST(who_does_not_take_is_ended),
		TEST(limits),
		TEST(going_on),
		TEST(drained),
	};

	return cmocka_run_group_tests_name("watch_table", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The dispatcher and the relay between a real store and a publisher that fails as it is told: what
 * is sent is queued, what is not goes back, and nothing is lost in between. */
#include "tests/integration/store_fixture.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/broker/envelope.h"
#include "producers/dispatch/dispatcher.h"
#include "producers/dispatch/relay.h"
#include "tests/unit/producers/dispatch/fake_publisher.h"

static const char yaml[] = "queues: {q: {}, r: {order: key, broker: {topic: rows}}}\n"
			   "jobs:\n"
			   "  a: {exec: [sh], queue: q, result: {to: out}}\n"
			   "  b: {exec: [sh], queue: r, result: {to: elsewhere}}\n"
			   "sources: {s: {topic: incoming, type: a}}\n";

struct scene {
	struct fake_publisher fake;
	struct metrics *metrics;
	struct definitions *defs;
	struct dispatcher *dispatcher;
	struct relay *relay;
	struct uuid reader; /* a session that takes from the broker */
	int64_t now_ms;     /* runs ahead of the clock, so that pauses cost no time */
};

static void read_broker(struct scene *scene, struct fixture *fx)
{
	struct session_info info = {
		.id = scene->reader, .host = "here", .pid = 1, .lease_ms = 60000, .broker = true
	};
	bool fresh;

	check_store(fx, session_renew(fx->store, &info, &fresh, &fx->error));
}

static struct scene *scene_new(struct fixture *fx)
{
	struct scene *scene = xcalloc(1, sizeof(*scene));

	fake_publisher_init(&scene->fake);
	scene->metrics = metrics_open("test");
	scene->defs = definitions_parse(yaml, sizeof(yaml) - 1, "jobs.yaml", stderr);
	assert_non_null(scene->defs);
	scene->dispatcher = dispatcher_new(&(struct dispatcher_options){
		.store = fx->store,
		.publisher = &scene->fake.base,
		.kind = BROKER_AMQP,
		.prefix = "w.",
		.owner = { .b = "broker" },
		.lease_ms = 60000,
		.defs = scene->defs,
		.metrics = scene->metrics,
	});
	scene->relay = relay_new(&(struct relay_options){ .store = fx->other,
							  .publisher = &scene->fake.base,
							  .defs = scene->defs,
							  .metrics = scene->metrics });
	scene->now_ms = clock_mono_ms();
	uuid_v7(&scene->reader);
	read_broker(scene, fx);
	return scene;
}

static void scene_free(struct scene *scene)
{
	dispatcher_free(&scene->dispatcher);
	relay_free(&scene->relay);
	definitions_unref(&scene->defs);
	metrics_close(&scene->metrics);
	fake_publisher_release(&scene->fake);
	free(scene);
}

/* A minute later: every pause is over, and the store is looked at again. */
static void later(struct scene *scene)
{
	scene->now_ms += 61000;
}

static void turn(struct scene *scene)
{
	(void)dispatcher_turn(scene->dispatcher, scene->now_ms++);
}

static struct uuid accept_one(struct fixture *fx, const char *type, const char *queue,
			      const char *order_key)
{
	struct new_job job = a_job(type);

	job.queue = queue;
	job.order_key = order_key;
	accept_job(fx, job);
	return job.id;
}

static uint64_t counted(struct scene *scene, enum metric metric, const char *label)
{
	return metric_value(metrics_series(scene->metrics, metric, label, NULL));
}

/* ---- jobs */

static void sends_what_is_due(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);
	struct new_job later_job = a_job("a");
	struct uuid ids[3], id, batch;
	const char *why;
	int attempt;

	for (int i = 0; i < 3; i++)
		ids[i] = accept_one(fx, "a", "q", NULL);
	later_job.delay_ms = 60000;
	accept_job(fx, later_job);
	turn(scene);
	assert_int_equal(scene->fake.sent_count, 3);
	for (int i = 0; i < 3; i++) {
		const struct fake_sent *sent = &scene->fake.sent[i];

		assert_uuid(&sent->id, &ids[i]);
		assert_string_equal(sent->topic, "w.q");
		assert_string_equal(sent->key, "");
		assert_int_equal(envelope_read_job(sent->body, strlen(sent->body), &id, &batch,
						   &attempt, &why),
				 0);
		assert_uuid(&id, &ids[i]);
		assert_int_equal(attempt, 1);
		assert_int_equal(state_of(fx, &ids[i]), JOB_QUEUED);
	}
	assert_int_equal(scene->fake.declared_count, 3);
	assert_string_equal(scene->fake.declared[2], "incoming");
	turn(scene);
	assert_int_equal(scene->fake.sent_count, 3);
	assert_int_equal(counted(scene, METRIC_DISPATCHED, "q"), 3);
	scene_free(scene);
}

static void leaves_jobs_alone_while_the_broker_is_away(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);
	struct uuid id = accept_one(fx, "a", "q", NULL);
	struct strbuf why;

	strbuf_init(&why);
	scene->fake.away = true;
	turn(scene);
	later(scene);
	turn(scene);
	assert_int_equal(scene->fake.sends, 0);
	assert_int_equal(state_of(fx, &id), JOB_AVAILABLE);
	assert_false(dispatcher_ready(scene->dispatcher, &why));
	assert_string_equal(why.data, "away");
	scene->fake.away = false;
	scene->fake.blocked = true;
	later(scene);
	turn(scene);
	assert_int_equal(state_of(fx, &id), JOB_AVAILABLE);
	scene->fake.blocked = false;
	later(scene);
	turn(scene);
	assert_int_equal(state_of(fx, &id), JOB_QUEUED);
	assert_true(dispatcher_ready(scene->dispatcher, &why));
	strbuf_release(&why);
	scene_free(scene);
}

static void gives_back_what_is_not_confirmed(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);
	struct uuid ids[6], id, batch, old_batch;
	const char *why;
	int attempt;

	for (int i = 0; i < 6; i++)
		ids[i] = accept_one(fx, "a", "q", NULL);
	scene->fake.unconfirmed_every = 3;
	turn(scene);
	assert_int_equal(scene->fake.sent_count, 6);
	for (int i = 0; i < 6; i++)
		assert_int_equal(state_of(fx, &ids[i]), i % 3 == 2 ? JOB_AVAILABLE : JOB_QUEUED);
	assert_int_equal(counted(scene, METRIC_DISPATCH_RETURNED, "q"), 2);
	scene->fake.unconfirmed_every = 0;
	later(scene);
	turn(scene);
	assert_int_equal(scene->fake.sent_count, 8);
	for (int i = 6; i < 8; i++) {
		const struct fake_sent *sent = &scene->fake.sent[i];
		const struct fake_sent *former = &scene->fake.sent[3 * i - 16];

		assert_uuid(&sent->id, &former->id);
		assert_int_equal(envelope_read_job(sent->body, strlen(sent->body), &id, &batch,
						   &attempt, &why),
				 0);
		assert_int_equal(envelope_read_job(former->body, strlen(former->body), &id,
						   &old_batch, &attempt, &why),
				 0);
		assert_false(uuid_equal(&batch, &old_batch)); /* the old one finds no lease */
		assert_int_equal(state_of(fx, &id), JOB_QUEUED);
	}
	scene_free(scene);
}

static void tries_a_refused_place_with_one(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);

	for (int i = 0; i < 5; i++) {
		accept_one(fx, "a", "q", NULL);
		accept_one(fx, "b", "r", NULL);
	}
	scene->fake.refused_topic = "w.q";
	turn(scene);
	assert_int_equal(counted(scene, METRIC_DISPATCHED, "r"), 5);
	assert_int_equal(counted(scene, METRIC_DISPATCH_RETURNED, "q"), 5);
	turn(scene);
	assert_int_equal(counted(scene, METRIC_DISPATCH_RETURNED, "q"), 5);
	later(scene);
	turn(scene);
	assert_int_equal(counted(scene, METRIC_DISPATCH_RETURNED, "q"), 6);
	scene->fake.refused_topic = NULL;
	later(scene);
	turn(scene);
	turn(scene);
	assert_int_equal(counted(scene, METRIC_DISPATCHED, "q"), 5);
	assert_true(scene->fake.declared_count >= 6); /* it may have been deleted */
	scene_free(scene);
}

/* A place that takes less than the broker says it does: the next try is a pointer. */
static void gets_past_a_place_that_takes_less(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);
	struct new_job job = a_job("a");
	char payload[3000];

	memset(payload, 'x', sizeof(payload));
	payload[0] = payload[sizeof(payload) - 1] = '"';
	job.payload = payload;
	job.payload_bytes = sizeof(payload);
	job.queue = "q";
	accept_job(fx, job);
	accept_one(fx, "a", "q", NULL);
	scene->fake.refused_bytes = 2000;
	turn(scene);
	assert_int_equal(state_of(fx, &job.id), JOB_AVAILABLE);
	later(scene);
	turn(scene);
	assert_int_equal(state_of(fx, &job.id), JOB_QUEUED);
	assert_int_equal(counted(scene, METRIC_DISPATCHED, "q"), 2);
	scene_free(scene);
}

static void sends_past_a_wrong_place(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);
	struct uuid wrong = accept_one(fx, "a", "q", NULL), right = accept_one(fx, "b", "r", NULL);

	scene->fake.wrong_place = "w.q";
	turn(scene);
	assert_int_equal(state_of(fx, &wrong), JOB_QUEUED); /* it exists, if otherwise */
	assert_int_equal(state_of(fx, &right), JOB_QUEUED);
	assert_int_equal(scene->fake.declared_count, 2);
	scene->fake.wrong_place = NULL;
	later(scene);
	turn(scene);
	assert_int_equal(scene->fake.declared_count, 5);
	scene_free(scene);
}

static void waits_for_workers(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);
	struct uuid id = accept_one(fx, "a", "q", NULL);
	int64_t released;

	/* the other two take from the store */
	check_store(fx, session_end(fx->store, &scene->reader, &released, &fx->error));
	turn(scene);
	assert_int_equal(scene->fake.sent_count, 0);
	assert_int_equal(state_of(fx, &id), JOB_AVAILABLE);
	read_broker(scene, fx);
	later(scene);
	turn(scene);
	assert_int_equal(scene->fake.sent_count, 1);
	scene_free(scene);
}

static void leaves_paused_queues(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);

	accept_one(fx, "a", "q", NULL);
	check_store(fx, control_pause(fx->store, "q", true, NULL, &fx->error));
	turn(scene);
	assert_int_equal(scene->fake.sent_count, 0);
	check_store(fx, control_pause(fx->store, "q", false, NULL, &fx->error));
	turn(scene);
	assert_int_equal(scene->fake.sent_count, 1);
	scene_free(scene);
}

static void sends_pointers_to_what_is_large(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);
	struct new_job job = a_job("a");
	char payload[3000];

	memset(payload, 'x', sizeof(payload));
	payload[0] = payload[sizeof(payload) - 1] = '"';
	job.payload = payload;
	job.payload_bytes = sizeof(payload);
	accept_job(fx, job);
	scene->fake.body_bytes_max = 2000;
	turn(scene);
	assert_int_equal(scene->fake.sent_count, 1);
	assert_non_null(strstr(scene->fake.sent[0].body, "\"windlasspayload\":\"stored\""));
	assert_null(strstr(scene->fake.sent[0].body, "xxx"));
	scene_free(scene);
}

static void keeps_to_windows_of_each_queue(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);

	for (int i = 0; i < 150; i++)
		accept_one(fx, "a", "q", NULL);
	for (int i = 0; i < 30; i++)
		accept_one(fx, "b", "r", NULL);
	for (int i = 0; i < 9; i++)
		turn(scene);
	assert_int_equal(counted(scene, METRIC_DISPATCHED, "q"), 100);
	assert_int_equal(counted(scene, METRIC_DISPATCHED, "r"), 30);
	later(scene); /* looks again: they are still out */
	for (int i = 0; i < 9; i++)
		turn(scene);
	assert_int_equal(counted(scene, METRIC_DISPATCHED, "q"), 100);
	scene_free(scene);
}

/* All hands are full for longer than a lease: that looks like readers who are gone, until one of
 * them has something to show. */
static void an_end_ends_the_pause_of_a_stall(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);

	accept_one(fx, "a", "q", NULL);
	turn(scene);
	assert_false(dispatcher_job_ended(scene->dispatcher, scene->now_ms));
	for (int i = 0; i < 2; i++) { /* nothing comes of it */
		later(scene);
		turn(scene);
	}
	accept_one(fx, "a", "q", NULL);
	turn(scene);
	assert_int_equal(counted(scene, METRIC_DISPATCHED, "q"), 1);
	assert_true(dispatcher_job_ended(scene->dispatcher, scene->now_ms));
	turn(scene);
	assert_int_equal(counted(scene, METRIC_DISPATCHED, "q"), 2);
	scene_free(scene);
}

static void sends_one_of_a_key(struct fixture *fx)
{
	static const struct store_queue ordered = { .name = "r", .ordered = true };
	struct scene *scene = scene_new(fx);
	struct uuid first, second, other;

	check_store(fx, store_sync_queues(fx->store, &ordered, 1, &fx->error));
	first = accept_one(fx, "b", "r", "x");
	second = accept_one(fx, "b", "r", "x");
	other = accept_one(fx, "b", "r", "y");
	turn(scene);
	assert_int_equal(scene->fake.sent_count, 2);
	assert_uuid(&scene->fake.sent[0].id, &first);
	assert_string_equal(scene->fake.sent[0].key, "x");
	assert_string_equal(scene->fake.sent[0].topic, "rows");
	assert_uuid(&scene->fake.sent[1].id, &other);
	assert_int_equal(state_of(fx, &second), JOB_AVAILABLE);
	scene_free(scene);
}

/* ---- results */

static void complete(struct fixture *fx, const char *topic, const char *key, const char *result)
{
	struct result_target target = { .topic = topic, .key = key };
	struct completion item;

	accept_one(fx, "a", "q", NULL);
	item = a_finish(claim_one(fx), JOB_COMPLETED);
	item.result = result;
	item.target = &target;
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
}

static void relay_rows(struct scene *scene)
{
	(void)relay_turn(scene->relay, scene->now_ms++);
}

static int64_t depth(struct fixture *fx)
{
	int64_t depth;

	check_store(fx, outbox_depth(fx->store, &depth, &fx->error));
	return depth;
}

static void assert_sent(const struct scene *scene, size_t index, const char *topic, const char *key,
			const char *data)
{
	const struct fake_sent *sent = &scene->fake.sent[index];

	assert_true(index < scene->fake.sent_count);
	assert_string_equal(sent->topic, topic);
	assert_string_equal(sent->key, key);
	if (!strstr(sent->body, data))
		fail_msg("%zu: %s, want %s", index, sent->body, data);
}

static void relays_results(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);

	complete(fx, "out", "k", "{\"n\":1}");
	complete(fx, "out", "k", NULL);
	relay_rows(scene);
	assert_int_equal(scene->fake.sent_count, 2);
	assert_sent(scene, 0, "out", "k", "\"data\":{\"n\":1}}");
	assert_sent(scene, 0, "out", "k", "\"type\":\"a.completed\"");
	assert_sent(scene, 1, "out", "k", "\"data\":null}");
	assert_int_equal(depth(fx), 0);
	relay_rows(scene);
	assert_int_equal(scene->fake.sent_count, 2);
	assert_int_equal(scene->fake.declared_count, 2); /* out, elsewhere */
	assert_int_equal(
		metric_value(metrics_series(scene->metrics, METRIC_RESULTS_PUBLISHED, NULL, NULL)),
		2);
	scene_free(scene);
}

static void ends_with_the_last_of_a_key(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);

	complete(fx, "out", "k", "1");
	complete(fx, "out", "k", "2");
	complete(fx, "out", "x", "3");
	complete(fx, "out", "k", "4");
	scene->fake.unconfirmed_every = 2;
	scene->fake.sent_count = 0;
	relay_rows(scene); /* the second and the fourth are not confirmed */
	assert_int_equal(scene->fake.sent_count, 4);
	assert_int_equal(depth(fx), 2);
	scene->fake.unconfirmed_every = 0;
	later(scene);
	relay_rows(scene);
	assert_sent(scene, 4, "out", "k", "\"data\":2}");
	assert_sent(scene, 5, "out", "k", "\"data\":4}");
	assert_int_equal(depth(fx), 0);
	scene_free(scene);
}

static void overtaken_results_are_sent_again(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);

	complete(fx, "out", "x", "0");
	complete(fx, "out", "k", "1");
	complete(fx, "out", "k", "2");
	scene->fake.unconfirmed_every = 2; /* "1" */
	relay_rows(scene);
	assert_int_equal(depth(fx), 2);
	scene->fake.unconfirmed_every = 0;
	later(scene);
	relay_rows(scene);
	assert_int_equal(scene->fake.sent_count, 5);
	assert_sent(scene, 3, "out", "k", "\"data\":1}");
	assert_sent(scene, 4, "out", "k", "\"data\":2}");
	scene_free(scene);
}

static void a_place_that_refuses_holds_up_no_other(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);

	complete(fx, "elsewhere", "k", "1");
	complete(fx, "out", "k2", "2");
	scene->fake.refused_topic = "elsewhere";
	relay_rows(scene);
	assert_int_equal(depth(fx), 1);
	complete(fx, "out", "k2", "3");
	relay_rows(scene);
	assert_int_equal(depth(fx), 1);
	assert_int_equal(scene->fake.sent_count, 3); /* the refused one rests */
	scene->fake.refused_topic = NULL;
	later(scene);
	relay_rows(scene);
	assert_int_equal(depth(fx), 0);
	assert_sent(scene, 3, "elsewhere", "k", "\"data\":1}");
	scene_free(scene);
}

/* More of them than are read at once. */
static void rows_that_rest_hide_no_others(struct fixture *fx)
{
	static const size_t many = 1100;
	struct result_target target = { .topic = "elsewhere", .key = "k" };
	struct scene *scene = scene_new(fx);
	struct claim claim;
	size_t left = many;

	complete(fx, "elsewhere", "k", "0");
	scene->fake.refused_topic = "elsewhere";
	relay_rows(scene); /* it rests */
	for (size_t i = 0; i < many; i++)
		accept_one(fx, "a", "q", NULL);
	while (left) {
		struct completion items[100];

		claim = claim_some(fx, 100);
		assert_in_range(claim.count, 1, left);
		for (size_t i = 0; i < claim.count; i++) {
			items[i] = a_finish(claim.jobs[i], JOB_COMPLETED);
			items[i].target = &target;
		}
		check_store(fx,
			    commit_items(fx, fx->store, COMPLETION_OPTIMISTIC, items, claim.count));
		left -= claim.count;
	}
	complete(fx, "out", "k2", "2");
	relay_rows(scene);
	assert_int_equal(scene->fake.sent_count, 2);
	assert_sent(scene, 1, "out", "k2", "\"data\":2}");
	scene_free(scene);
}

/* A result that its place finds too large is named instead, and those of its key go on. */
static void names_results_that_are_too_large(struct fixture *fx)
{
	struct scene *scene = scene_new(fx);
	char large[30000];

	memset(large, 'x', sizeof(large));
	large[0] = large[sizeof(large) - 2] = '"';
	large[sizeof(large) - 1] = '\0';
	complete(fx, "out", "k", large);
	complete(fx, "out", "k", "2");
	scene->fake.refused_bytes = 20000;
	relay_rows(scene);
	assert_int_equal(depth(fx), 2);
	relay_rows(scene); /* it rests */
	assert_int_equal(scene->fake.sent_count, 2);
	later(scene);
	relay_rows(scene);
	assert_int_equal(depth(fx), 0);
	assert_sent(scene, 2, "out", "k", "\"windlassresult\":\"stored\"}");
	assert_sent(scene, 3, "out", "k", "\"data\":2}");
	scene->fake.refused_bytes = 0;
	scene->fake.body_bytes_max = 10000;
	complete(fx, "elsewhere", "k", large);
	relay_rows(scene);
	assert_int_equal(depth(fx), 0);
	assert_sent(scene, 4, "elsewhere", "k", "\"windlassresult\":\"stored\"}");
	scene_free(scene);
}

static void one_relay_at_a_time(struct fixture *fx)
{
	struct scene *scene = scene_new(fx), *rival = scene_new(fx);

	complete(fx, "out", "k", "1");
	relay_rows(scene);
	complete(fx, "out", "k", "2");
	relay_rows(rival);
	assert_int_equal(rival->fake.sent_count, 0);
	relay_rows(scene);
	assert_int_equal(scene->fake.sent_count, 2);
	scene_free(scene);
	scene_free(rival);
}

int main(void)
{
	static const struct store_case cases[] = {
		{ "sends_what_is_due", sends_what_is_due },
		{ "leaves_jobs_alone_while_the_broker_is_away",
		  leaves_jobs_alone_while_the_broker_is_away },
		{ "gives_back_what_is_not_confirmed", gives_back_what_is_not_confirmed },
		{ "tries_a_refused_place_with_one", tries_a_refused_place_with_one },
		{ "gets_past_a_place_that_takes_less", gets_past_a_place_that_takes_less },
		{ "sends_past_a_wrong_place", sends_past_a_wrong_place },
		{ "waits_for_workers", waits_for_workers },
		{ "leaves_paused_queues", leaves_paused_queues },
		{ "sends_pointers_to_what_is_large", sends_pointers_to_what_is_large },
		{ "keeps_to_windows_of_each_queue", keeps_to_windows_of_each_queue },
		{ "an_end_ends_the_pause_of_a_stall", an_end_ends_the_pause_of_a_stall },
		{ "sends_one_of_a_key", sends_one_of_a_key },
		{ "relays_results", relays_results },
		{ "ends_with_the_last_of_a_key", ends_with_the_last_of_a_key },
		{ "overtaken_results_are_sent_again", overtaken_results_are_sent_again },
		{ "a_place_that_refuses_holds_up_no_other",
		  a_place_that_refuses_holds_up_no_other },
		{ "rows_that_rest_hide_no_others", rows_that_rest_hide_no_others },
		{ "names_results_that_are_too_large", names_results_that_are_too_large },
		{ "one_relay_at_a_time", one_relay_at_a_time },
	};

	return store_cases_run("dispatch", cases, ARRAY_LEN(cases));
}

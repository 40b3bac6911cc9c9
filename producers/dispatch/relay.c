/* SPDX-License-Identifier: Apache-2.0 */
/* The rounds of the relay. A row that was not confirmed is sent again, and with it the later ones
 * of its key, confirmed or not: the last that a receiver sees of a key is then the last that was
 * written. */
#include "producers/dispatch/relay.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/broker/envelope.h"
#include "common/store/outbox.h"

#include "producers/dispatch/backoff.h"
#include "producers/dispatch/topology.h"
#include "producers/dispatch/turns.h"

#define READ_MAX    1000
#define RESTING_MAX 16
#define HOLD_MS     10000 /* another relay takes over after so long a silence */
#define TURN_MS     500   /* at least so often: the connection wants to be tended, the hold kept */
#define PAUSE_MS    5     /* between rounds that found little: rows come one by one otherwise */
#define SEND_MS     10000
#define LARGE_BYTES (16 * 1024) /* no broker refuses less for its size */

struct resting { /* a place that refuses: its rows are left alone for a while */
	char *topic;
	struct backoff backoff;
	size_t bytes_max; /* it takes messages, but none of more bytes; 0: not known */
};

struct relay {
	struct relay_options o;
	struct definitions *defs;
	struct uuid holder;
	struct topology topology;
	bool eager; /* some type has its results sent: worth a look at every end */
	struct backoff broker, store;
	struct resting resting[RESTING_MAX];
	size_t resting_count;
	struct metric_series *published;
	struct strbuf bodies;
	struct turns turns;
};

struct round {
	struct arena *arena;
	struct outbox_item *items;
	struct publication *publications;
	int64_t *done; /* rows that may go */
	size_t count, done_count;
};

static void take_definitions(struct relay *r)
{
	struct definitions *defs = definitions_slot_take(&r->turns.defs);

	if (!defs)
		return;
	definitions_unref(&r->defs);
	r->defs = defs;
	topology_of_results(&r->topology, defs);
	r->eager = false;
	for (size_t i = 0; i < definitions_type_count(defs); i++)
		r->eager = r->eager || definitions_type_at(defs, i)->result_topic;
}

/* ---- the broker */

static void broker_failed(struct relay *r, const char *why, int64_t now_ms)
{
	topology_doubt(&r->topology, now_ms);
	backoff_failed(&r->broker, NULL, why, now_ms);
}

static bool broker_works(struct relay *r, int64_t now_ms)
{
	struct error error;
	struct strbuf why;
	bool ready;

	if (!backoff_due(&r->broker, now_ms))
		return false;
	if (topology_due(&r->topology, now_ms) &&
	    topology_declare(&r->topology, r->o.publisher, now_ms, &error) < 0) {
		broker_failed(r, error.message, now_ms);
		return false;
	}
	strbuf_init(&why);
	ready = r->o.publisher->ops->ready(r->o.publisher, &why);
	if (!ready)
		broker_failed(r, why.data, now_ms);
	else
		backoff_worked(&r->broker, NULL);
	strbuf_release(&why);
	return ready;
}

/* ---- places that refuse */

static struct resting *find_resting(struct relay *r, const char *topic)
{
	for (size_t i = 0; i < r->resting_count; i++) {
		if (strcmp(r->resting[i].topic, topic) == 0)
			return &r->resting[i];
	}
	return NULL;
}

/* Its rows are tried again after a pause; it may have been deleted, and is made again. More places
 * than there is room for are tried every time. */
static void rest(struct relay *r, const char *topic, const char *why, int64_t now_ms)
{
	struct resting *resting = find_resting(r, topic);

	topology_doubt(&r->topology, now_ms);
	if (!resting && r->resting_count < RESTING_MAX) {
		resting = &r->resting[r->resting_count++];
		*resting = (struct resting){ .topic = xstrdup(topic),
					     .backoff = { .away = "results-refused",
							  .back = "results-accepted",
							  .level = LOG_ERROR,
							  .first_ms = 1000,
							  .max_ms = 60000 } };
	}
	/* All rows of a round say the same. */
	if (resting && backoff_due(&resting->backoff, now_ms))
		backoff_failed(&resting->backoff, topic, why, now_ms);
}

/* What is known of its size is kept. */
static void welcome(struct relay *r, const char *topic)
{
	struct resting *resting = r->resting_count ? find_resting(r, topic) : NULL;

	if (!resting)
		return;
	backoff_worked(&resting->backoff, topic);
	if (resting->bytes_max)
		return;
	free(resting->topic);
	*resting = r->resting[--r->resting_count];
}

/* ---- a round */

/* Topics whose rows may not be tried now. */
static size_t list_resting(const struct relay *r, const char **topics_r, int64_t now_ms)
{
	size_t count = 0;

	for (size_t i = 0; i < r->resting_count; i++) {
		if (!backoff_due(&r->resting[i].backoff, now_ms))
			topics_r[count++] = r->resting[i].topic;
	}
	return count;
}

static size_t bytes_max_of(struct relay *r, const char *topic)
{
	const struct resting *resting = find_resting(r, topic);
	size_t max = r->o.publisher->ops->body_bytes_max(r->o.publisher);

	return resting && resting->bytes_max && resting->bytes_max < max ? resting->bytes_max : max;
}

static void make_publications(struct relay *r, struct round *round)
{
	size_t *offsets = ARENA_ARRAY(round->arena, size_t, round->count + 1);

	round->publications = ARENA_ARRAY(round->arena, struct publication, round->count + 1);
	round->done = ARENA_ARRAY(round->arena, int64_t, round->count + 1);
	strbuf_clear(&r->bodies);
	for (size_t i = 0; i < round->count; i++) {
		const struct outbox_item *item = &round->items[i];

		offsets[i] = r->bodies.len;
		envelope_add_result(&r->bodies,
				    &(struct envelope_result){ .id = item->id,
							       .type = item->type,
							       .result = item->result,
							       .finished_ms = item->finished_ms,
							       .traceparent = item->traceparent },
				    bytes_max_of(r, item->topic));
		round->publications[i] =
			(struct publication){ .id = item->id,
					      .topic = item->topic,
					      .exchange = item->exchange,
					      .key = item->key,
					      .body_bytes = r->bodies.len - offsets[i],
					      .traceparent = item->traceparent };
	}
	for (size_t i = 0; i < round->count; i++)
		round->publications[i].body = r->bodies.data + offsets[i];
}

/* Is there an earlier one of its key that was not confirmed? */
static bool overtook(const struct round *round, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		if (!round->publications[i].confirmed &&
		    strcmp(round->items[i].key, round->items[index].key) == 0)
			return true;
	}
	return false;
}

/* What the rows of a topic have come to. */
struct tally {
	const char *refused;  /* the last one, and why; NULL: none */
	size_t taken_bytes;   /* the largest that was confirmed, 0: none */
	size_t refused_bytes; /* the smallest that was refused */
};

static struct tally count_topic(const struct round *round, const char *topic)
{
	struct tally tally = { .refused_bytes = SIZE_MAX };

	for (size_t i = 0; i < round->count; i++) {
		const struct publication *item = &round->publications[i];

		if (strcmp(item->topic, topic) != 0)
			continue;
		if (item->confirmed && item->body_bytes > tally.taken_bytes)
			tally.taken_bytes = item->body_bytes;
		if (!item->refused)
			continue;
		tally.refused = item->refused;
		if (item->body_bytes < tally.refused_bytes)
			tally.refused_bytes = item->body_bytes;
	}
	return tally;
}

/* A place that takes the small ones and refuses the large ones gets pointers from now on: else a
 * row that is never taken would hold up its key for ever. */
static void settle_topic(struct relay *r, const struct round *round, const char *topic,
			 int64_t now_ms)
{
	struct tally tally = count_topic(round, topic);
	struct resting *resting;

	if (!tally.refused) {
		if (tally.taken_bytes)
			welcome(r, topic);
		return;
	}
	rest(r, topic, tally.refused, now_ms);
	resting = find_resting(r, topic);
	if (resting && tally.taken_bytes && tally.refused_bytes > tally.taken_bytes &&
	    tally.refused_bytes > LARGE_BYTES)
		resting->bytes_max = tally.refused_bytes - 1;
}

static bool is_first_of_topic(const struct round *round, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		if (strcmp(round->items[i].topic, round->items[index].topic) == 0)
			return false;
	}
	return true;
}

static void settle_round(struct relay *r, struct round *round, int64_t now_ms)
{
	size_t failed = 0;

	for (size_t i = 0; i < round->count; i++) {
		const struct publication *item = &round->publications[i];

		failed += !item->confirmed;
		if (item->confirmed && (!failed || !overtook(round, i)))
			round->done[round->done_count++] = round->items[i].n;
	}
	for (size_t i = 0; (failed || r->resting_count) && i < round->count; i++) {
		if (is_first_of_topic(round, i))
			settle_topic(r, round, round->items[i].topic, now_ms);
	}
}

/* Rows whose deletion fails are sent once more. */
static void send_round(struct relay *r, struct round *round)
{
	struct error error = { 0 };
	int rc;

	make_publications(r, round);
	rc = r->o.publisher->ops->send(r->o.publisher, round->publications, round->count, SEND_MS,
				       &error);
	settle_round(r, round, clock_mono_ms());
	if (rc < 0)
		broker_failed(r, error.message, clock_mono_ms());
	metric_add(r->published, round->done_count);
	if (round->done_count && FAILPOINT("confirmed_before_outbox_delete"))
		return;
	if (round->done_count &&
	    outbox_delete(r->o.store, round->done, round->done_count, &error) < 0)
		backoff_failed(&r->store, NULL, error.message, clock_mono_ms());
}

/* Reads and sends. Returns how long to wait. */
static int work(struct relay *r, struct round *round, int64_t now_ms)
{
	const char *resting[RESTING_MAX];
	struct outbox_request request = { .holder = r->holder,
					  .hold_ms = HOLD_MS,
					  .max = READ_MAX,
					  .without = resting,
					  .without_count = list_resting(r, resting, now_ms) };
	struct error error;
	bool held = false;

	if (outbox_read(r->o.store, &request, round->arena, &round->items, &round->count, &held,
			&error) < 0) {
		backoff_failed(&r->store, NULL, error.message, now_ms);
		return TURN_MS;
	}
	backoff_worked(&r->store, NULL);
	if (!held || !round->count)
		return TURN_MS;
	send_round(r, round);
	return round->done_count == READ_MAX ? 0 : PAUSE_MS;
}

int relay_turn(struct relay *r, int64_t now_ms)
{
	struct round round = { 0 };
	int wait;

	take_definitions(r);
	r->o.publisher->ops->tend(r->o.publisher);
	if (!broker_works(r, now_ms) || !backoff_due(&r->store, now_ms))
		return TURN_MS / 5;
	round.arena = arena_new(0);
	wait = work(r, &round, now_ms);
	arena_free(&round.arena);
	return wait;
}

/* ---- the thread */

/* Until something ended that may have left a row, or for so long. */
static void wait_for_rows(struct relay *r, int wait_ms)
{
	int64_t until_ms = clock_mono_ms() + wait_ms;
	struct bell_event event;

	while (turns_go_on(&r->turns) && wait_ms > 0) {
		if (bell_wait(r->o.bell, wait_ms, &event) && r->eager)
			return;
		wait_ms = (int)(until_ms - clock_mono_ms());
	}
}

static void run(void *ctx)
{
	struct relay *r = ctx;

	while (turns_go_on(&r->turns))
		wait_for_rows(r, relay_turn(r, clock_mono_ms()));
}

struct relay *relay_new(const struct relay_options *options)
{
	struct relay *r = xcalloc(1, sizeof(*r));

	r->o = *options;
	turns_init(&r->turns, options->bell, options->defs);
	uuid_v7(&r->holder);
	r->published = metrics_series(options->metrics, METRIC_RESULTS_PUBLISHED, NULL, NULL);
	r->broker = (struct backoff){ .away = "results-held",
				      .back = "results-go-on",
				      .level = LOG_WARN,
				      .first_ms = 100,
				      .max_ms = 3000 };
	r->store = (struct backoff){ .away = "store-away",
				     .back = "store-back",
				     .level = LOG_ERROR,
				     .first_ms = 100,
				     .max_ms = 3000 };
	strbuf_init(&r->bodies);
	return r;
}

void relay_start(struct relay *relay)
{
	turns_start(&relay->turns, run, relay);
}

void relay_serve(struct relay *relay, struct definitions *defs)
{
	turns_serve(&relay->turns, defs);
}

void relay_close(struct relay *relay)
{
	turns_close(&relay->turns);
}

bool relay_ended(const struct relay *relay)
{
	return turns_ended(&relay->turns);
}

void relay_free(struct relay **relay)
{
	struct relay *r = *relay;

	if (!r)
		return;
	turns_release(&r->turns);
	while (r->resting_count)
		free(r->resting[--r->resting_count].topic);
	topology_release(&r->topology);
	strbuf_release(&r->bodies);
	definitions_unref(&r->defs);
	free(r);
	*relay = NULL;
}

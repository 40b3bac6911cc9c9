/* SPDX-License-Identifier: Apache-2.0 */
/* The rounds of the dispatcher. Before a job is taken the broker has been seen to work, so that an
 * outage does not churn the store; after a failure of either side there is a pause. */
#include "producers/dispatch/dispatcher.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/store/dispatch.h"
#include "common/store/query.h"
#include "common/store/session.h"

#include "producers/dispatch/backoff.h"
#include "producers/dispatch/parcel.h"
#include "producers/dispatch/topology.h"
#include "producers/dispatch/turns.h"
#include "producers/dispatch/window.h"

#define TURN_MS      500 /* at least so often: the connection wants to be tended */
#define SEND_MS      10000
#define LOOK_MIN_MS  100
#define LOOK_IDLE_MS 1000 /* nothing is out */
#define LOOK_COST    20   /* a look may take a twentieth of the time */
#define TAKE_FIRST   64   /* of a queue whose payloads' size is not known yet */
#define TAKE_MAX     500

struct place { /* a queue */
	const char *queue, *topic;
	bool ordered;
	struct window window;
	struct backoff refused;
	size_t bytes_each; /* of a message, lately; 0: not known */
	struct metric_series *dispatched, *returned;
};

struct dispatcher {
	struct dispatcher_options o;
	struct definitions *defs;
	struct place *places;
	size_t place_count, first; /* who is asked first changes from round to round */
	struct topology topology;
	struct arena *names; /* of the places */
	struct claim_cursor *cursor;
	struct parcel parcel;
	struct parcel_result result;
	bool workers; /* somebody takes what is sent */
	struct backoff broker, store;
	int64_t look_ms;       /* when the store is looked at again */
	int64_t look_every_ms; /* by what a look costs */
	bool more;             /* a queue gave as many as it was asked for */
	int64_t retry_ms;      /* limits held something up that may go after so long; 0: not */
	struct turns turns;
	pthread_mutex_t lock;                               /* guards what follows */
	char trouble[sizeof(((struct error *)0)->message)]; /* "": none */
};

/* ---- places */

static struct place *find_place(struct dispatcher *d, const char *queue)
{
	for (size_t i = 0; i < d->place_count; i++) {
		if (strcmp(d->places[i].queue, queue) == 0)
			return &d->places[i];
	}
	return NULL;
}

static void fill_place(struct dispatcher *d, struct place *place, struct arena *names,
		       const struct queue_definition *queue, int64_t now_ms)
{
	const struct place *old = find_place(d, queue->name);

	if (old) {
		*place = *old;
	} else {
		window_init(&place->window, now_ms);
		place->refused = (struct backoff){ .away = "dispatch-refused",
						   .back = "dispatch-accepted",
						   .level = LOG_ERROR,
						   .first_ms = 1000,
						   .max_ms = 60000 };
	}
	place->queue = arena_strdup(names, queue->name);
	place->topic = broker_topic(d->o.kind, d->o.prefix, queue->name, queue->topic, names);
	place->ordered = queue->ordered;
	place->dispatched = metrics_series(d->o.metrics, METRIC_DISPATCHED, place->queue, NULL);
	place->returned =
		metrics_series(d->o.metrics, METRIC_DISPATCH_RETURNED, place->queue, NULL);
}

static void take_definitions(struct dispatcher *d, int64_t now_ms)
{
	struct definitions *defs = definitions_slot_take(&d->turns.defs);
	struct place *places;
	struct arena *names;
	size_t count;

	if (!defs)
		return;
	count = definitions_queue_count(defs);
	places = xcalloc(count + 1, sizeof(*places));
	names = arena_new(0);
	for (size_t i = 0; i < count; i++)
		fill_place(d, &places[i], names, definitions_queue_at(defs, i), now_ms);
	free(d->places);
	arena_free(&d->names);
	definitions_unref(&d->defs);
	d->places = places;
	d->place_count = count;
	d->names = names;
	d->defs = defs;
	topology_of_jobs(&d->topology, defs, d->o.kind, d->o.prefix);
}

static void set_trouble(struct dispatcher *d, const char *why)
{
	pthread_mutex_lock(&d->lock);
	snprintf(d->trouble, sizeof(d->trouble), "%s", why);
	pthread_mutex_unlock(&d->lock);
}

/* ---- the broker */

static void broker_failed(struct dispatcher *d, const char *why, int64_t now_ms)
{
	topology_doubt(&d->topology, now_ms);
	set_trouble(d, why);
	backoff_failed(&d->broker, NULL, why, now_ms);
}

static bool declare(struct dispatcher *d, int64_t now_ms)
{
	bool anew = !d->topology.declared;
	struct error error;

	if (topology_declare(&d->topology, d->o.publisher, now_ms, &error) < 0) {
		broker_failed(d, error.message, now_ms);
		return false;
	}
	for (size_t i = 0; anew && i < d->place_count; i++)
		window_forgive(&d->places[i].window, now_ms);
	return true;
}

static bool broker_works(struct dispatcher *d, int64_t now_ms)
{
	struct strbuf why;
	bool ready;

	if (!backoff_due(&d->broker, now_ms))
		return false;
	if (topology_due(&d->topology, now_ms) && !declare(d, now_ms))
		return false;
	strbuf_init(&why);
	ready = d->o.publisher->ops->ready(d->o.publisher, &why);
	if (!ready)
		broker_failed(d, why.data, now_ms);
	strbuf_release(&why);
	if (ready && d->broker.pause_ms) {
		backoff_worked(&d->broker, NULL);
		set_trouble(d, "");
	}
	return ready;
}

/* ---- the store */

static void store_failed(struct dispatcher *d, const struct error *error, int64_t now_ms)
{
	metric_add(metrics_series(d->o.metrics, METRIC_STORE_ERRORS, error_code_name(error->code),
				  NULL),
		   1);
	backoff_failed(&d->store, NULL, error->message, now_ms);
}

static void apply_views(struct dispatcher *d, const struct dispatch_view *views, size_t count,
			int64_t now_ms)
{
	for (size_t i = 0; i < d->place_count; i++) {
		struct place *place = &d->places[i];
		const struct dispatch_view *view = NULL;

		for (size_t k = 0; k < count && !view; k++) {
			if (strcmp(views[k].queue, place->queue) == 0)
				view = &views[k];
		}
		if (window_look(&place->window, view ? view->out : 0, view ? view->oldest_ms : -1,
				d->o.lease_ms, now_ms))
			log_line(LOG_ERROR, "dispatch-stalled", LOG_S("queue", place->queue),
				 LOG_S("why", "nothing of what is on the broker comes to an end"),
				 LOG_I("pause_ms", place->window.pause_ms));
	}
}

/* Nobody is there to take what is sent: it waits in the store. */
static void apply_sessions(struct dispatcher *d, int64_t sessions, int64_t now_ms)
{
	bool workers = sessions > 0;

	if (workers == d->workers)
		return;
	d->workers = workers;
	log_line(LOG_INFO, workers ? "dispatch-begins" : "dispatch-waits",
		 LOG_I("workers", sessions));
	for (size_t i = 0; i < d->place_count; i++)
		window_forgive(&d->places[i].window, now_ms);
}

static bool look(struct dispatcher *d, int64_t now_ms)
{
	struct arena *arena = arena_new(0);
	struct dispatch_view *views = NULL;
	struct error error;
	size_t count = 0;
	int64_t sessions = 0, started_ms = clock_mono_ms(), cost_ms;
	int rc = query_sessions(d->o.store, true, &sessions, &error);

	if (rc == 0)
		rc = dispatch_survey(d->o.store, &d->o.owner, arena, &views, &count, &error);
	if (rc == 0) {
		apply_sessions(d, sessions, now_ms);
		apply_views(d, views, count, now_ms);
		backoff_worked(&d->store, NULL);
	} else {
		store_failed(d, &error, now_ms);
	}
	arena_free(&arena);
	cost_ms = LOOK_COST * (clock_mono_ms() - started_ms);
	d->look_every_ms = cost_ms > LOOK_MIN_MS ? cost_ms : LOOK_MIN_MS;
	d->look_ms = now_ms + d->look_every_ms;
	return rc == 0;
}

/* Nothing may be known of a lease whose COMMIT was not answered, or whose jobs could not be read.
 */
static void release_lease(struct dispatcher *d, const struct uuid *batch)
{
	struct error error;

	if (session_release_batch(d->o.store, batch, &error) < 0)
		log_line(LOG_WARN, "lease-left", LOG_S("why", error.message));
}

/* 0, also when there is nothing; -1: the store is in trouble. */
static int take(struct dispatcher *d, size_t index, size_t max, int64_t now_ms)
{
	struct place *place = &d->places[index];
	struct dispatch_request request = { .owner = d->o.owner,
					    .queue = place->queue,
					    .max = max,
					    .lease_ms = d->o.lease_ms,
					    .cursor = d->cursor };
	struct arena *arena = arena_new(0);
	struct claim claim = { 0 };
	struct error error;
	int rc;

	uuid_v7(&request.batch);
	rc = dispatch_take(d->o.store, &request, arena, &claim, &error);
	if (rc == 0 && claim.count && FAILPOINT("dispatch_taken"))
		rc = error_set(&error, ERROR_UNKNOWN, "failpoint");
	if (rc < 0) {
		store_failed(d, &error, now_ms);
		if (error.code == ERROR_UNKNOWN)
			release_lease(d, &request.batch);
	} else if (claim.count) {
		size_t before = d->parcel.bodies.len;
		/* What is refused for its size alone must not hold up its queue for ever. */
		size_t bytes_max = place->refused.pause_ms
					   ? 0
					   : d->o.publisher->ops->body_bytes_max(d->o.publisher);

		parcel_add(&d->parcel, index, &request.batch, &claim, place->topic, place->ordered,
			   bytes_max);
		if (claim.jobs[0]->limited)
			window_shorten(&place->window);
		place->bytes_each = (d->parcel.bodies.len - before) / claim.count + 1;
		d->more = d->more || claim.count == max;
	} else if (claim.unread) {
		release_lease(d, &request.batch);
	}
	if (claim.retry_ms && (!d->retry_ms || claim.retry_ms < d->retry_ms))
		d->retry_ms = claim.retry_ms;
	arena_free(&arena);
	return rc;
}

/* ---- a round */

static size_t room_of(struct dispatcher *d, struct place *place, int64_t now_ms)
{
	int64_t room =
		backoff_due(&place->refused, now_ms) ? window_room(&place->window, now_ms) : 0;
	size_t max = place->bytes_each ? TAKE_MAX : TAKE_FIRST;
	size_t fitting = parcel_room(&d->parcel, place->bytes_each);

	if (place->refused.pause_ms)
		max = 1; /* one is enough to see whether it is still refused */
	if ((size_t)room < max)
		max = (size_t)room;
	return fitting < max ? fitting : max;
}

static void fill_parcel(struct dispatcher *d, int64_t now_ms)
{
	for (size_t i = 0; i < d->place_count; i++) {
		size_t index = (d->first + i) % d->place_count;
		size_t max = room_of(d, &d->places[index], now_ms);

		if (max && take(d, index, max, now_ms) < 0)
			break;
	}
	d->first++;
}

/* A store that is away at this moment keeps them leased until that runs out. */
static void settle_take(struct dispatcher *d, const struct parcel_take *taken, int64_t now_ms)
{
	struct place *place = &d->places[taken->place];
	struct parcel_result *result = &d->result;
	struct error error;

	parcel_result(&d->parcel, taken, result);
	metric_add(place->dispatched, result->confirmed);
	metric_add(place->returned, result->back_count);
	window_sent(&place->window, (int64_t)result->confirmed);
	if (result->back_count && dispatch_return(d->o.store, &taken->batch, result->back,
						  result->back_count, &error) < 0)
		store_failed(d, &error, now_ms);
	if (result->refused) {
		/* It may have been deleted: it is made again. */
		topology_doubt(&d->topology, now_ms);
		backoff_failed(&place->refused, place->queue, result->refused, now_ms);
	} else if (result->confirmed) {
		backoff_worked(&place->refused, place->queue);
	}
}

static void send_parcel(struct dispatcher *d)
{
	struct error error = { 0 };
	size_t confirmed = 0, refused = 0;
	int rc;

	parcel_close(&d->parcel);
	rc = d->o.publisher->ops->send(d->o.publisher, d->parcel.items, d->parcel.count, SEND_MS,
				       &error);
	(void)FAILPOINT("published_unconfirmed");
	for (size_t i = 0; i < d->parcel.count; i++) {
		confirmed += d->parcel.items[i].confirmed;
		refused += d->parcel.items[i].refused != NULL;
	}
	for (size_t i = 0; i < d->parcel.take_count; i++)
		settle_take(d, &d->parcel.takes[i], clock_mono_ms());
	if (rc < 0 || confirmed + refused < d->parcel.count)
		broker_failed(d, rc < 0 ? error.message : "not all messages were confirmed",
			      clock_mono_ms());
}

/* Until something may be different. */
static int wait_ms(const struct dispatcher *d, int64_t now_ms)
{
	int64_t wait = TURN_MS;

	for (size_t i = 0; i < d->place_count; i++) {
		const struct window *window = &d->places[i].window;

		if (window->limited)
			wait = window_wait_ms(window, wait, now_ms);
	}
	if (d->look_ms - now_ms < wait)
		wait = d->look_ms - now_ms;
	if (d->retry_ms && d->retry_ms < wait)
		wait = d->retry_ms;
	return wait > 0 ? (int)wait : 0;
}

static bool anything_out(const struct dispatcher *d)
{
	for (size_t i = 0; i < d->place_count; i++) {
		if (d->places[i].window.out + d->places[i].window.sent)
			return true;
	}
	return false;
}

int dispatcher_turn(struct dispatcher *d, int64_t now_ms)
{
	take_definitions(d, now_ms);
	d->o.publisher->ops->tend(d->o.publisher);
	if (!broker_works(d, now_ms) || !backoff_due(&d->store, now_ms))
		return LOOK_MIN_MS;
	if (now_ms >= d->look_ms && !look(d, now_ms))
		return LOOK_MIN_MS;
	if (!d->workers)
		return wait_ms(d, now_ms);
	d->more = false;
	d->retry_ms = 0;
	fill_parcel(d, now_ms);
	if (d->parcel.count > 0) {
		send_parcel(d);
		if (d->look_ms > now_ms + d->look_every_ms)
			d->look_ms = now_ms + d->look_every_ms;
	} else if (!anything_out(d) && d->look_ms < now_ms + LOOK_IDLE_MS) {
		d->look_ms = now_ms + LOOK_IDLE_MS;
	}
	parcel_clear(&d->parcel);
	return d->more && !d->broker.pause_ms ? 0 : wait_ms(d, now_ms);
}

bool dispatcher_job_ended(struct dispatcher *d, int64_t now_ms)
{
	bool paused = false;

	for (size_t i = 0; i < d->place_count; i++) {
		if (now_ms >= d->places[i].window.paused_until_ms)
			continue;
		window_forgive(&d->places[i].window, now_ms);
		paused = true;
	}
	return paused;
}

/* ---- the thread */

/* Ends of jobs are news only for queues that are paused. */
static void wait_for_news(struct dispatcher *d, int wait_ms)
{
	int64_t until_ms = clock_mono_ms() + wait_ms;
	struct bell_event event;

	for (; wait_ms > 0 && turns_go_on(&d->turns); wait_ms = (int)(until_ms - clock_mono_ms())) {
		if (!bell_wait(d->o.bell, wait_ms, &event))
			return;
		if (event.missed || event.what != BELL_ENDED ||
		    dispatcher_job_ended(d, clock_mono_ms()))
			return;
	}
}

static void run(void *ctx)
{
	struct dispatcher *d = ctx;

	while (turns_go_on(&d->turns))
		wait_for_news(d, dispatcher_turn(d, clock_mono_ms()));
}

struct dispatcher *dispatcher_new(const struct dispatcher_options *options)
{
	struct dispatcher *d = xcalloc(1, sizeof(*d));

	d->o = *options;
	turns_init(&d->turns, options->bell, options->defs);
	d->names = arena_new(0);
	d->cursor = claim_cursor_new();
	d->broker = (struct backoff){ .away = "dispatch-held",
				      .back = "dispatch-goes-on",
				      .level = LOG_WARN,
				      .first_ms = 100,
				      .max_ms = 3000 };
	d->store = (struct backoff){ .away = "store-away",
				     .back = "store-back",
				     .level = LOG_ERROR,
				     .first_ms = 100,
				     .max_ms = 3000 };
	parcel_init(&d->parcel);
	CHECK(pthread_mutex_init(&d->lock, NULL) == 0);
	return d;
}

void dispatcher_start(struct dispatcher *dispatcher)
{
	turns_start(&dispatcher->turns, run, dispatcher);
}

void dispatcher_serve(struct dispatcher *dispatcher, struct definitions *defs)
{
	turns_serve(&dispatcher->turns, defs);
}

bool dispatcher_ready(struct dispatcher *dispatcher, struct strbuf *why_r)
{
	bool ready;

	pthread_mutex_lock(&dispatcher->lock);
	ready = !*dispatcher->trouble;
	if (!ready)
		strbuf_addstr(why_r, dispatcher->trouble);
	pthread_mutex_unlock(&dispatcher->lock);
	return ready;
}

void dispatcher_close(struct dispatcher *dispatcher)
{
	turns_close(&dispatcher->turns);
}

bool dispatcher_ended(const struct dispatcher *dispatcher)
{
	return turns_ended(&dispatcher->turns);
}

void dispatcher_free(struct dispatcher **dispatcher)
{
	struct dispatcher *d = *dispatcher;

	if (!d)
		return;
	turns_release(&d->turns);
	parcel_release(&d->parcel);
	claim_cursor_free(&d->cursor);
	free(d->places);
	topology_release(&d->topology);
	arena_free(&d->names);
	definitions_unref(&d->defs);
	pthread_mutex_destroy(&d->lock);
	free(d);
	*dispatcher = NULL;
}

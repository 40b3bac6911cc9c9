/* SPDX-License-Identifier: Apache-2.0 */
/* From messages to jobs and back. A message that was taken from the feed is an `item` until it is
 * acknowledged or given back. It waits among `fresh` for the store's word (admission), in the lane
 * of its key, or as a twin of an item with the same id; then its job is in hand.
 *
 * A message that comes again while the first one is under way may be the only one whose
 * acknowledgement still reaches the broker, and it must not run beside it: it waits as a twin. When
 * the first is settled, what the store has is its answer too: a foreign twin is acknowledged, one
 * of ours is asked about, for it may name a newer lease. */
#include "consumers/subscribe/broker_subscriber.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/idmap.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/broker/envelope.h"
#include "common/config/definitions_slot.h"
#include "common/store/admission.h"
#include "consumers/subscribe/broker_places.h"
#include "consumers/subscribe/foreign_job.h"
#include "consumers/subscribe/key_lanes.h"
#include "consumers/subscribe/lease_book.h"
#include "consumers/subscribe/position_book.h"

#define TAKE_MAX      1000  /* messages asked about at once */
#define WAITING_MAX   2000  /* taken and not in hand; then nothing more is taken */
#define PASSES_MAX    8     /* of one take, in which all that came was known */
#define STALE_MS      30000 /* without room for so long, others shall have what the feed holds */
#define STALE_AT_ONCE 256
#define STALE_AGAIN   20 /* times so long, for those that have come back before */
#define RETRY_MS      1000
#define LAST_ACKS_MS  2000 /* at the end, for acknowledgements to get out */

struct item {
	struct list link;  /* of where it waits; in hand: of nothing */
	struct list twins; /* items of the same id that came later */
	struct delivery *delivery;
	const struct broker_place *place;
	struct uuid id;
	struct uuid batch; /* nil: foreign */
	int attempt;
	/* foreign: its own while it waits. In hand: the engine's, and only compared. Else NULL */
	struct claimed_job *job;
	bool in_hand;
	bool ordered, leads; /* takes turns in `lane`; it is its turn */
	struct uuid lane;
};

struct broker_subscriber {
	struct subscriber base;
	struct broker_subscriber_options o;
	struct feed *feed;
	struct broker_places *places;
	struct lease_book *leases; /* of adopted jobs */
	struct key_lanes *lanes;
	struct idmap *items; /* id -> the item that is not a twin */
	struct list fresh;   /* to be asked about, in this order */
	size_t waiting;      /* items that are not in hand */
	int64_t room_ms;     /* when there was room for more, last */
	int stale;           /* times that messages were given back since then */
	bool full;           /* so many were waiting that no more were taken */
	bool stopped;        /* the feed brings nothing more */

	struct position_book *positions;
	struct definitions *defs;
	struct definitions_slot new_defs;
	atomic_bool drain;
	pthread_mutex_t lock; /* guards what follows */
	void (*ring)(void *ctx);
	void *ring_ctx;
};

static struct broker_subscriber *of(struct subscriber *subscriber)
{
	return (struct broker_subscriber *)subscriber;
}

/* The feed's thread calls this as well. */
static void ring(void *ctx)
{
	struct broker_subscriber *self = ctx;

	pthread_mutex_lock(&self->lock);
	if (self->ring)
		self->ring(self->ring_ctx);
	pthread_mutex_unlock(&self->lock);
}

static void count(const struct item *item, enum delivery_fate fate)
{
	metric_add(item->place->counts[fate], 1);
}

/* ---- an item's end */

static void tell_feed(struct broker_subscriber *self, struct item *item, bool back)
{
	if (back) {
		count(item, DELIVERY_RETURNED);
		self->feed->ops->give_back(self->feed, item->delivery, 0);
	} else {
		(void)FAILPOINT("before_ack");
		self->feed->ops->ack(self->feed, item->delivery);
		position_book_moves(self->positions, self->feed, clock_mono_ms());
	}
	item->delivery = NULL;
}

/* The item is in no list. A job that nobody has got goes with it. */
static void item_free(struct broker_subscriber *self, struct item *item)
{
	CHECK(list_empty(&item->link) && list_empty(&item->twins));
	if (!item->in_hand) {
		self->waiting--;
		if (item->job)
			arena_free(&(struct arena *){ item->job->arena });
	}
	free(item);
}

static void item_enter(struct broker_subscriber *self, struct item *item)
{
	struct item *first = idmap_get(self->items, &item->id);

	if (first) {
		list_append(&first->twins, &item->link);
		return;
	}
	idmap_put(self->items, &item->id, item);
	item->leads = item->ordered && key_lanes_enter(self->lanes, &item->lane, &item->link);
	if (!item->ordered || item->leads)
		list_append(&self->fresh, &item->link);
}

/* The next of its key takes its place. */
static void leave_lane(struct broker_subscriber *self, struct item *item)
{
	struct list *next = item->leads ? key_lanes_leave(self->lanes, &item->lane) : NULL;

	if (!next)
		return;
	list_entry(next, struct item, link)->leads = true;
	list_prepend(&self->fresh, next);
}

/* The first of an id is over, or goes back. */
static void item_close(struct broker_subscriber *self, struct item *item, bool back)
{
	struct list twins;

	list_init(&twins);
	while (!list_empty(&item->twins)) {
		struct list *twin = item->twins.next;

		list_remove(twin);
		list_append(&twins, twin);
	}
	tell_feed(self, item, back);
	idmap_take(self->items, &item->id);
	leave_lane(self, item);
	item_free(self, item);
	while (!list_empty(&twins)) {
		struct item *twin = list_first(&twins, struct item, link);

		list_remove(&twin->link);
		if (!back && !uuid_is_nil(&twin->batch)) {
			item_enter(self, twin);
			continue;
		}
		if (!back)
			count(twin, DELIVERY_KNOWN);
		tell_feed(self, twin, back);
		item_free(self, twin);
	}
}

/* ---- what is to be done before anything else: definitions, the end */

static void give_waiting_back(struct broker_subscriber *self, bool leading)
{
	size_t room = idmap_count(self->items), found = 0, cursor = 0;
	struct item **items = xcalloc(room + 1, sizeof(struct item *));
	struct uuid id;
	void *item;

	while (idmap_next(self->items, &cursor, &id, &item))
		items[found++] = item;
	for (size_t i = 0; i < found; i++) {
		bool waits =
			!items[i]->in_hand && (items[i]->leads || !items[i]->ordered) == leading;

		if (!waits)
			continue;
		list_remove(&items[i]->link);
		item_close(self, items[i], true);
	}
	free(items);
}

static void give_twins_back(struct broker_subscriber *self)
{
	size_t cursor = 0;
	struct uuid id;
	void *value;

	while (idmap_next(self->items, &cursor, &id, &value)) {
		struct item *item = value;

		while (!list_empty(&item->twins)) {
			struct item *twin = list_first(&item->twins, struct item, link);

			list_remove(&twin->link);
			tell_feed(self, twin, true);
			item_free(self, twin);
		}
	}
}

static void stop(struct broker_subscriber *self)
{
	self->stopped = true;
	self->feed->ops->stop(self->feed);
	give_waiting_back(self, false); /* or they would take their turns */
	give_waiting_back(self, true);
	give_twins_back(self);
	CHECK(self->waiting == 0 && list_empty(&self->fresh));
}

static void catch_up(struct broker_subscriber *self)
{
	struct definitions *defs = definitions_slot_take(&self->new_defs);
	const struct feed_place *places;
	size_t place_count;

	if (defs) {
		definitions_unref(&self->defs);
		self->defs = defs;
		places = broker_places_serve(self->places, defs, self->o.pool ? self->o.pool : "",
					     &place_count);
		if (!self->stopped)
			self->feed->ops->serve(self->feed, places, place_count);
	}
	if (atomic_load(&self->drain) && !self->stopped)
		stop(self);
}

/* ---- messages come in */

static const char *dead_reason(const struct item *item)
{
	const char *reason = item->delivery->message.dead_reason;

	return reason || item->place->kind != PLACE_DEAD ? reason : "dead-lettered by the broker";
}

static void make_foreign(struct broker_subscriber *self, struct item *item,
			 const struct source_definition *source, const char *refusal)
{
	const struct foreign_rules rules = {
		.defs = self->defs,
		.source = source,
		.name = source ? source->name : item->place->name,
		.payload_bytes_max = self->o.payload_bytes_max,
		.now_ms = clock_wall_ms(),
	};

	item->job = foreign_job(&item->delivery->message, &rules, refusal);
	item->id = item->job->id;
	item->ordered = foreign_job_ordered(item->job, &rules, &item->lane);
}

/* False: its source is not served any more. */
static bool decode(struct broker_subscriber *self, struct item *item)
{
	const struct message *message = &item->delivery->message;
	const struct source_definition *source;
	const char *why = NULL;

	if (item->place->kind == PLACE_SOURCE) {
		source = definitions_source(self->defs, item->place->name);
		if (source)
			make_foreign(self, item, source, dead_reason(item));
		return source != NULL;
	}
	if (envelope_read_job(message->body, message->body_bytes, &item->id, &item->batch,
			      &item->attempt, &why) == 0)
		return true;
	item->batch = (struct uuid){ 0 };
	if (dead_reason(item))
		why = dead_reason(item);
	source = item->place->kind == PLACE_DEAD ? foreign_job_buried(self->defs, message) : NULL;
	make_foreign(self, item, source, why);
	return true;
}

static void receive(struct broker_subscriber *self, struct delivery *delivery)
{
	const struct broker_place *place = broker_places_at(self->places, delivery->place);
	struct item *item = xcalloc(1, sizeof(*item));

	CHECK(place);
	list_init(&item->link);
	list_init(&item->twins);
	item->delivery = delivery;
	item->place = place;
	self->waiting++;
	if (decode(self, item)) {
		item_enter(self, item);
		return;
	}
	tell_feed(self, item, true);
	item_free(self, item);
}

/* Returns how many came. */
static size_t receive_some(struct broker_subscriber *self, size_t max)
{
	struct delivery *deliveries[TAKE_MAX];
	size_t got;

	self->full = self->waiting >= WAITING_MAX;
	if (self->full)
		return 0;
	got = self->feed->ops->take(self->feed, deliveries, max < TAKE_MAX ? max : TAKE_MAX);
	for (size_t i = 0; i < got; i++)
		receive(self, deliveries[i]);
	return got;
}

/* ---- the store's word */

static struct admission question(const struct item *item)
{
	return (struct admission){
		.id = item->id,
		.batch = item->batch,
		.attempt = item->attempt,
		.queue = item->ordered ? item->job->queue : NULL,
		.order_key = item->ordered ? item->job->order_key : NULL,
	};
}

static const char *refusal_of(const struct item *item, enum admission_verdict verdict)
{
	const char *reason = dead_reason(item);

	if (item->job->refusal)
		return item->job->refusal;
	if (verdict == ADMISSION_TOO_OLD)
		return "too-old: it may have run before, longer ago than the store remembers";
	return reason ? foreign_job_refusal(item->job->arena, reason) : NULL;
}

/* Its job goes to the engine. */
static struct claimed_job *hand_out(struct broker_subscriber *self, struct item *item,
				    const struct admission *answer, const struct uuid *batch)
{
	list_remove(&item->link);
	self->waiting--;
	item->in_hand = true;
	if (answer->job) {
		item->job = answer->job;
		item->job->delivered = true;
	} else {
		item->job->batch = *batch;
	}
	item->job->refusal = refusal_of(item, answer->verdict);
	item->job->behind = answer->verdict == ADMISSION_BEHIND;
	count(item, item->job->refusal ? DELIVERY_REFUSED : DELIVERY_RUN);
	return item->job;
}

/* Asks about up to max of the fresh and hands out those that may run. -1: weather, all stay. */
static int admit(struct broker_subscriber *self, size_t max, struct arena *arena,
		 struct claim *claim_r, struct error *err_r)
{
	struct admission *answers = ARENA_ARRAY(arena, struct admission, max);
	struct item **items = ARENA_ARRAY(arena, struct item *, max);
	struct uuid batch;
	size_t asked = 0;

	for (struct list *at = self->fresh.next; at != &self->fresh && asked < max; at = at->next) {
		items[asked] = list_entry(at, struct item, link);
		answers[asked] = question(items[asked]);
		asked++;
	}
	if (admission_check(self->o.store, answers, asked, self->o.keep_ms, err_r) < 0)
		return -1;
	uuid_v7(&batch);
	for (size_t i = 0; i < asked; i++) {
		if (answers[i].verdict != ADMISSION_KNOWN) {
			claim_r->jobs[claim_r->count++] =
				hand_out(self, items[i], &answers[i], &batch);
			continue;
		}
		count(items[i], DELIVERY_KNOWN);
		list_remove(&items[i]->link);
		item_close(self, items[i], false);
	}
	return 0;
}

static int broker_subscriber_take(struct subscriber *subscriber, size_t max, struct arena *arena,
				  struct claim *claim_r, struct error *err_r)
{
	struct broker_subscriber *self = of(subscriber);
	size_t came = 1;

	*claim_r = (struct claim){ 0 };
	catch_up(self);
	self->room_ms = clock_mono_ms();
	self->stale = 0;
	if (self->stopped || !self->defs || !max)
		return 0;
	max = max < TAKE_MAX ? max : TAKE_MAX;
	claim_r->jobs = ARENA_ARRAY(arena, struct claimed_job *, max);
	for (int pass = 0; pass < PASSES_MAX && came && !claim_r->count; pass++) {
		if (list_empty(&self->fresh))
			came = receive_some(self, max);
		if (!list_empty(&self->fresh) && admit(self, max, arena, claim_r, err_r) < 0)
			return -1;
	}
	if (!claim_r->count && came)
		ring(self); /* so many were known; there may be more */
	return 0;
}

/* ---- commits */

static void broker_subscriber_ride(struct subscriber *subscriber, struct completion_batch *batch,
				   size_t max)
{
	struct broker_subscriber *self = of(subscriber);

	(void)max; /* jobs come by themselves */
	catch_up(self);
	position_book_ride(self->positions, self->feed, batch);
	lease_book_ride(self->leases, batch);
	batch->claim = NULL;
	batch->session = self->o.session;
}

static void broker_subscriber_rode(struct subscriber *subscriber,
				   const struct completion_batch *batch, const struct claim *claim,
				   const struct error *error)
{
	struct broker_subscriber *self = of(subscriber);

	(void)claim;
	lease_book_rode(self->leases, batch, error);
	if (error)
		return;
	position_book_rode(self->positions);
	for (size_t i = 0; i < batch->count; i++) {
		const struct completion *done = batch->items[i];

		if (done->kind == COMPLETION_ADOPT && done->fate == COMPLETION_COMMITTED)
			lease_book_add(self->leases, &done->adopted, 1);
	}
}

/* A job whose message is settled already was adopted, and has a lease; or it was lost. */
static void broker_subscriber_settle(struct subscriber *subscriber, const struct claimed_job *job,
				     enum settle_verb verb)
{
	struct broker_subscriber *self = of(subscriber);
	struct item *item = idmap_get(self->items, &job->id);

	if (!item || item->job != job) {
		lease_book_settle(self->leases, &job->batch);
		return;
	}
	item_close(self, item, verb == SETTLE_RETURN);
	if (self->full || !list_empty(&self->fresh))
		ring(self);
}

/* ---- idle moments */

static void give_delivery_back(struct broker_subscriber *self, struct delivery *delivery)
{
	const struct broker_place *place = broker_places_at(self->places, delivery->place);

	metric_add(place->counts[DELIVERY_RETURNED], 1);
	self->feed->ops->give_back(self->feed, delivery, 0);
}

/* Others may have room for what the feed has buffered. A log's partitions are nobody else's. A
 * broker counts returns and gives a message up after so many of them, so one that comes back to
 * where there is no room is kept for longer. */
static void give_stale_back(struct broker_subscriber *self, int64_t now_ms)
{
	struct delivery *deliveries[STALE_AT_ONCE];
	size_t got, kept = 0;
	bool all;

	if (self->stopped || self->feed->ops->positions || now_ms - self->room_ms < STALE_MS)
		return;
	self->room_ms = now_ms;
	all = ++self->stale % STALE_AGAIN == 0;
	if (all) {
		give_waiting_back(self, false);
		give_waiting_back(self, true);
	}
	got = self->feed->ops->take(self->feed, deliveries, STALE_AT_ONCE);
	for (size_t i = 0; i < got; i++) {
		bool keep =
			!all && deliveries[i]->message.redelivered && self->waiting < WAITING_MAX;

		if (keep)
			receive(self, deliveries[i]);
		else
			give_delivery_back(self, deliveries[i]);
		kept += keep;
	}
	if (got > kept)
		log_line(LOG_INFO, "deliveries-returned", LOG_I("messages", got - kept));
}

static int flush(struct broker_subscriber *self, int64_t now_ms, struct error *err_r)
{
	int64_t due_ms = position_book_due_ms(self->positions);

	if (lease_book_due(self->leases, now_ms) &&
	    lease_book_flush(self->leases, &self->base, err_r) < 0)
		return -1;
	if (due_ms && now_ms >= due_ms)
		return position_book_flush(self->positions, self->feed, self->o.store, now_ms,
					   err_r);
	return 0;
}

static int broker_subscriber_tend(struct subscriber *subscriber, int64_t now_mono_ms,
				  int64_t *next_ms_r, struct error *err_r)
{
	struct broker_subscriber *self = of(subscriber);
	int64_t next_ms, due_ms;

	*next_ms_r = RETRY_MS;
	catch_up(self);
	give_stale_back(self, now_mono_ms);
	if (flush(self, now_mono_ms, err_r) < 0 ||
	    lease_book_tend(self->leases, now_mono_ms, &next_ms, err_r) < 0)
		return -1;
	*next_ms_r = STALE_MS;
	due_ms = position_book_due_ms(self->positions);
	if (due_ms)
		*next_ms_r = due_ms > now_mono_ms ? due_ms - now_mono_ms : 0;
	if (next_ms >= 0 && next_ms < *next_ms_r)
		*next_ms_r = next_ms;
	return 0;
}

/* ---- any thread */

static void broker_subscriber_serve(struct subscriber *subscriber, struct definitions *defs)
{
	definitions_slot_put(&of(subscriber)->new_defs, defs);
}

static void broker_subscriber_on_ready(struct subscriber *subscriber, void (*ring_fn)(void *ctx),
				       void *ctx)
{
	struct broker_subscriber *self = of(subscriber);

	pthread_mutex_lock(&self->lock);
	self->ring = ring_fn;
	self->ring_ctx = ctx;
	pthread_mutex_unlock(&self->lock);
}

static void broker_subscriber_drain(struct subscriber *subscriber)
{
	atomic_store(&of(subscriber)->drain, true);
}

static bool broker_subscriber_ready(struct subscriber *subscriber, struct strbuf *why_r)
{
	struct broker_subscriber *self = of(subscriber);

	return self->feed->ops->ready(self->feed, why_r);
}

/* ---- making and unmaking */

/* What was acknowledged gets out, and so do the positions that follow from it. */
static void say_the_last(struct broker_subscriber *self)
{
	struct error error = { 0 };

	broker_subscriber_drain(&self->base);
	catch_up(self);
	self->feed->ops->flush(self->feed, LAST_ACKS_MS);
	if (position_book_flush(self->positions, self->feed, self->o.store, 0, &error) < 0)
		log_line(LOG_WARN, "positions-not-stored", LOG_S("error", error.message));
}

static void items_free(struct broker_subscriber *self)
{
	size_t cursor = 0;
	struct uuid id;
	void *item;

	while (idmap_next(self->items, &cursor, &id, &item))
		free(item); /* in hand: the job is the engine's */
	idmap_free(&self->items);
}

static void broker_subscriber_free(struct subscriber *subscriber)
{
	struct broker_subscriber *self = of(subscriber);

	if (self->feed) {
		say_the_last(self);
		self->feed->ops->free(&self->feed);
	}
	items_free(self);
	key_lanes_free(&self->lanes);
	lease_book_free(&self->leases);
	broker_places_free(&self->places);
	position_book_free(&self->positions);
	definitions_unref(&self->defs);
	definitions_slot_release(&self->new_defs);
	pthread_mutex_destroy(&self->lock);
	free(self);
}

static const struct subscriber_ops broker_subscriber_ops = {
	.name = "broker",
	.take = broker_subscriber_take,
	.ride = broker_subscriber_ride,
	.rode = broker_subscriber_rode,
	.settle = broker_subscriber_settle,
	.tend = broker_subscriber_tend,
	.serve = broker_subscriber_serve,
	.on_ready = broker_subscriber_on_ready,
	.drain = broker_subscriber_drain,
	.ready = broker_subscriber_ready,
	.free = broker_subscriber_free,
};

struct subscriber *broker_subscriber_new(const struct broker_subscriber_options *options,
					 struct error *err_r)
{
	struct broker_subscriber *self = xcalloc(1, sizeof(*self));

	self->base.ops = &broker_subscriber_ops;
	self->o = *options;
	self->o.feed.ring = ring;
	self->o.feed.ctx = self;
	self->places = broker_places_new(options->kind, options->prefix, options->feed.metrics);
	self->leases = lease_book_new(options->store, &options->session);
	self->lanes = key_lanes_new();
	self->items = idmap_new();
	self->positions = position_book_new();
	self->room_ms = clock_mono_ms();
	list_init(&self->fresh);
	CHECK(pthread_mutex_init(&self->lock, NULL) == 0);
	self->feed = options->feed_new(&self->o.feed, err_r);
	if (!self->feed) {
		broker_subscriber_free(&self->base);
		return NULL;
	}
	return &self->base;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The results outbox: a result that its job type sends somewhere is a row, written with the job's
 * completion (completion.h), that lives until a broker has confirmed it. One process at a time
 * relays them, so that results of one key keep their order; another one takes over when it is not
 * heard of. */
#ifndef COMMON_STORE_OUTBOX_H
#define COMMON_STORE_OUTBOX_H
#include "common/base/arena.h"
#include "common/base/uuid.h"
#include "common/job/job.h"
#include "common/store/store.h"

/* Where a type's results go; part of a completion. */
struct result_target {
	const char *topic;    /* topic, queue or routing key */
	const char *exchange; /* AMQP; NULL: the default one */
	const char *key;      /* per-key order: the job's order_key, else its id; never NULL */
};

struct outbox_item {
	int64_t n;      /* the row */
	struct uuid id; /* the job's, and the message's: the same however often it is sent */
	const char *type, *topic, *exchange, *key;
	const char *result;      /* JSON text or NULL */
	const char *traceparent; /* or NULL */
	int64_t finished_ms;
};
struct outbox_request {
	struct uuid holder;
	int64_t hold_ms;
	size_t max;
	/* topics whose rows are passed over; or NULL */
	const char *const *without;
	size_t without_count;
};
/* The oldest rows, if `holder` is or can become the one who relays (its hold is renewed to hold_ms
 * by every call). *held_r false: another one is, count 0. Texts live in the arena. */
int outbox_read(struct store *store, const struct outbox_request *request, struct arena *arena,
		struct outbox_item **items_r, size_t *count_r, bool *held_r,
		struct error *err_r) must_check;
/* The broker has these. Repeating is harmless. */
int outbox_delete(struct store *store, const int64_t *rows, size_t count,
		  struct error *err_r) must_check;
/* Rows that wait (bounded: at most 100,000 are counted). */
int outbox_depth(struct store *store, int64_t *depth_r, struct error *err_r) must_check;

#endif

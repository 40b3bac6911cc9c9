/* SPDX-License-Identifier: Apache-2.0 */
/* For implementers of a store only: which of the waiting jobs a claim may take under limits
 * (limits.h), and in which order the keys of a fair queue take turns. Pure: rows and times come in,
 * decisions come out. A store asks in this order, inside one transaction that no other such claim
 * overlaps:
 *
 *   ration_begin; ration_rule of every limit in force; ration_lease of every lease with slots;
 *   ration_paid of rates; ration_queue of every queue, ration_key of its keys
 *   ration_tight? then ration_recount and ration_job of every job that is really in hand
 *   ration_plan: the lanes to look at; of each ration_row of what waits there, in its order
 *   ration_choose: what to take; ration_slots, ration_rates: what to write
 *   ration_took of the transaction that was committed
 *
 * What is remembered from claim to claim is only whose turn it is. */
#ifndef COMMON_STORE_RATION_H
#define COMMON_STORE_RATION_H
#include "common/base/strbuf.h"
#include "common/job/job.h"
#include "common/store/limits.h"

#define RATION_KEYS_MAX 256  /* of a queue and a priority that are looked at in one claim */
#define RATION_LOOK     1024 /* rows of a lane when not all of them may be taken */

struct ration;

struct ration *ration_new(void);
void ration_free(struct ration **ration); /* NULL-safe */

/* Starts a claim of up to max jobs at this time of the store's clock. */
void ration_begin(struct ration *ration, size_t max, int64_t now_us);
/* A limit in force. Weights are read again only when their text differs. */
void ration_rule(struct ration *ration, enum limits_kind kind, const char *name,
		 const struct limits *limits);
/* What ration_slots gave when this lease was made. */
void ration_lease(struct ration *ration, const char *slots);
/* What has been handed out of a rate (key: of a queue's, by its keys; NULL: of the whole) is paid
 * for by the time up to then. */
void ration_paid(struct ration *ration, enum limits_kind kind, const char *name, const char *key,
		 int64_t paid_us);
/* A queue to be claimed from; the first one is asked first. keyed: its keys are lanes of their own.
 * ordered: not all that waits may be taken. */
void ration_queue(struct ration *ration, const char *queue, bool keyed, bool ordered);
/* Behind which key the walk over this queue's keys begins in the next claim; "" at first. */
const char *ration_keys_after(const struct ration *ration, const char *queue);
/* A key with waiting jobs, of a queue that was named; at most RATION_KEYS_MAX a priority, in the
 * order of keys. */
void ration_key(struct ration *ration, const char *queue, enum job_priority priority,
		const char *key);

/* Could it be that there is no room, as far as leases tell? Some of their jobs may have ended. */
bool ration_tight(const struct ration *ration);
void ration_recount(struct ration *ration);
void ration_job(struct ration *ration, const char *queue, const char *type, const char *key,
		int64_t count);

enum lane_rows { LANE_ALL, LANE_KEY, LANE_KEYLESS };
struct ration_lane {
	const char *queue;
	enum job_priority priority;
	enum lane_rows rows; /* KEYLESS: all rows are given, those with a key are passed over */
	const char *key;     /* KEY */
	int64_t after;       /* rows behind this seq */
	size_t max;
	bool ordered;
};
/* The lanes to look at, and whether rows have to come with their types. */
const struct ration_lane *ration_plan(struct ration *ration, size_t *count_r, bool *typed_r);
/* A row of lane n. may: nothing else stands in its way (its order key, a cancel). type: only when
 * it was asked for. */
void ration_row(struct ration *ration, size_t lane, const struct uuid *id, int64_t seq,
		const char *type, const char *key, bool may);
/* The rows to take: indexes in the order of ration_row. */
const size_t *ration_choose(struct ration *ration, size_t *count_r);
/* What the lease's row says of them: "" when it need not say anything. */
const char *ration_slots(struct ration *ration);
/* The same for one job that goes into a lease of its own: of all limits that there may be. */
const char *ration_slots_of(struct arena *arena, const char *queue, const char *type,
			    const char *key);

struct ration_rate {
	enum limits_kind kind;
	const char *name, *key; /* key NULL: the whole */
	int64_t paid_us;
};
/* What is paid now of the rates that were drawn on. */
const struct ration_rate *ration_rates(struct ration *ration, size_t *count_r);
/* It is committed: the next claim goes on behind it. */
void ration_took(struct ration *ration);
/* When more may be taken of what waits although it was not: ms from now; 0: nothing waits that this
 * claim has seen, or an event will tell. */
int64_t ration_retry_ms(const struct ration *ration);

#endif

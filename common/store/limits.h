/* SPDX-License-Identifier: Apache-2.0 */
/* Limits: how many jobs of a queue, of a type, or of one key of either (its fair_key) may be in
 * hand at once, and how many may be handed out in a second, in the whole cluster; and whether the
 * keys of a queue take turns. The definitions file says what they are, an operator may say
 * otherwise while everything runs. They are kept by whoever hands out: claims, and dispatch to a
 * broker; messages that come from other services by a broker are not handed out by the store, and
 * not held up by any of this. A type's limits hold in the queue of its definition, and in every
 * queue that has limits of its own. */
#ifndef COMMON_STORE_LIMITS_H
#define COMMON_STORE_LIMITS_H
#include "common/base/arena.h"
#include "common/store/store.h"

#define LIMIT_UNSET (-1) /* nothing is said here: what stands behind it counts */
#define LIMIT_NONE  0    /* there is no limit */

#define LIMIT_CONCURRENCY_MAX 1000000
#define LIMIT_RATE_MAX        1000000 /* a second */
#define LIMIT_WEIGHTS_MAX     1000
#define LIMIT_WEIGHT_MAX      1000

enum limits_kind { LIMITS_QUEUE = 0, LIMITS_TYPE = 1 };

struct limit {
	int64_t concurrency; /* jobs in hand at once */
	double rate_per_s;   /* hand-outs; a fifth of a second's may come at once, one at least */
};

struct limits {
	struct limit all, key; /* key: of each fair_key by itself */
	/* The keys of a queue take turns. LIMIT_UNSET, 0 or 1. Not of a type. */
	int fair;
	/* JSON object text {"acme": 3}: turns a round; "*" for those not named, 1 else. NULL: unset
	 */
	const char *weights;
};
#define LIMITS_UNSET                                                                          \
	{                                                                                     \
		{ LIMIT_UNSET, LIMIT_UNSET }, { LIMIT_UNSET, LIMIT_UNSET }, LIMIT_UNSET, NULL \
	}

struct limits_row {
	enum limits_kind kind;
	const char *name;
	struct limits limits;
};

/* What the definitions file says of these queues and types, those without limits too (all unset).
 * Others stay. */
int limits_sync(struct store *store, const struct limits_row *rows, size_t count,
		struct error *err_r) must_check;
/* What the operator says in its stead; whatever is unset is the file's again. */
struct audit;
int limits_set(struct store *store, const struct limits_row *row, const struct audit *audit,
	       struct error *err_r) must_check;

struct limits_view {
	enum limits_kind kind;
	const char *name;
	struct limits file, set; /* in force is what `set` says, else what `file` says, else none */
	/* of those in force: jobs in hand now, and until when the rate is spent (ms from now; 0: a
	 * job may be handed out) */
	int64_t in_hand;
	int64_t spent_ms;
};
/* Every queue and type for which anything was ever said; sorted by kind and name. */
int limits_list(struct store *store, struct arena *arena, struct limits_view **views_r,
		size_t *count_r, struct error *err_r) must_check;
/* What is in force. */
struct limits limits_in_force(const struct limits *file, const struct limits *set);
bool limits_any(const struct limits *limits); /* is there a limit, or fairness, at all? */
/* For implementers of a store: spent_ms, by what is paid (ration.h) and the store's clock. */
int64_t limits_spent_ms(const struct limits_view *view, int64_t paid_us, int64_t now_us);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A broker subscriber between the made-up feed and a made-up store: takes, commits and settles as
 * workers/effects does, and keeps what was handed out. Serves the queue `ours` and the sources
 * `plain` and `turns` (ordered). */
#ifndef TESTS_UNIT_CONSUMERS_SUBSCRIBE_SUBSCRIBER_RIG_H
#define TESTS_UNIT_CONSUMERS_SUBSCRIBE_SUBSCRIBER_RIG_H
#include "common/base/idmap.h"
#include "common/store/admission.h"
#include "common/store/store_impl.h"
#include "consumers/subscribe/broker_subscriber.h"
#include "tests/unit/consumers/subscribe/fake_feed.h"

extern struct subscriber_rig {
	/* the store */
	struct store store;
	struct idmap *known;            /* ids that it has: ADMISSION_KNOWN */
	enum admission_verdict verdict; /* of all others */
	bool keyed;                     /* the last question named a key */
	enum error_code weather;        /* of the next questions and positions */
	int saves;
	int64_t position; /* stored last */
	size_t leases;    /* deleted */
	/* the subscriber */
	struct subscriber *subscriber;
	struct metrics *metrics;
	struct arena *arena;
	struct uuid session;
	struct claimed_job *jobs[4096]; /* handed out, in this order */
	size_t job_count;
	int rings;
} rig;

/* For cmocka. */
int rig_setup(void **state);     /* a feed that acknowledges one by one */
int rig_setup_log(void **state); /* a feed with positions */
int rig_teardown(void **state);

void rig_serve(const char *yaml);
/* Takes what there is: so many jobs. */
void rig_take_max(size_t max, size_t want);
void rig_take(size_t want);
void rig_tend_at(int64_t mono_ms);
/* The store has this of job n: commits, and settles. */
void rig_commit(size_t n, enum completion_kind kind, enum completion_fate fate,
		enum settle_verb verb);
void rig_finish(size_t n);
enum fake_fate rig_fate(size_t message);
/* Puts what a dispatcher sends. Returns the message's number. */
size_t rig_put_ours(const char *topic, const struct uuid *id, const struct uuid *batch);
void rig_mark(struct idmap *map, const struct claimed_job *job);

#endif

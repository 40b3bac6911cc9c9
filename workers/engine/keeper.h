/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper thread: everything that an engine does with the store besides jobs: its session,
 * promotion of due jobs, leases of the dead, folding, retention, progress, cancel requests,
 * endpoints that are disabled, jobs that wait for others. Has a store connection of its own. What
 * does not say "any thread" is called on the engine's loop thread. */
#ifndef WORKERS_ENGINE_KEEPER_H
#define WORKERS_ENGINE_KEEPER_H
#include <stdbool.h>
#include <stdint.h>

#include "common/base/strbuf.h"
#include "common/base/uuid.h"
#include "common/config/definitions.h"
#include "common/store/bell.h"
#include "common/store/session.h"
#include "common/store/store.h"

struct endpoints;
struct keeper;

struct keeper_options {
	struct store *store;         /* the thread's own until keeper_stop */
	struct endpoints *endpoints; /* is told which are disabled */
	struct bell *bell;           /* is rung when jobs became available */
	struct uuid session;
	int64_t lease_ms, keep_ms, keep_dead_ms;
	bool broker;             /* jobs come from one */
	const char *pool, *node; /* whose it is, and where; borrowed */
	/* On the keeper's thread: jobs became available; these of the ids that were asked about are
	 * to be cancelled. */
	void (*ready)(void *ctx);
	void (*cancels)(void *ctx, const struct uuid *ids, size_t count);
	/* what the session says of its targets, as a JSON array */
	void (*targets)(void *ctx, struct strbuf *out);
	/* how it goes, */
	void (*figures)(void *ctx, struct session_figures *figures_r);
	/* and how many hosts the store wants it to have: POOL_AS_FILE says nothing */
	void (*hosts)(void *ctx, int wanted);
	void *ctx;
};

struct keeper *
keeper_new(const struct keeper_options *options); /* starts the thread; the session must exist */
/* A scheduled job may have come in: looks for due jobs soon (at most every 100 ms). Any thread. */
void keeper_kick(struct keeper *keeper);
/* Other counts may be wanted (bell). Any thread. */
void keeper_look_at_hosts(struct keeper *keeper);
/* A job of ours is due after this. */
void keeper_due(struct keeper *keeper, int64_t delay_ms);
/* This one has ended: somebody may wait for it. Costs nothing while nobody waits for any. */
void keeper_ended(struct keeper *keeper, const struct uuid *id);
/* Which of these are to be cancelled? Copied; a new question replaces one that has not been asked
 * yet. */
void keeper_ask_cancels(struct keeper *keeper, const struct uuid *ids, size_t count);
/* The newest of a job wins; saved about once a second. */
void keeper_progress(struct keeper *keeper, const struct uuid *id, int attempt, double part,
		     const char *note);
/* Registers the types of new definitions. */
void keeper_sync_types(struct keeper *keeper, struct definitions *defs);
/* Could the last chore not reach the store? Any thread. */
bool keeper_away(const struct keeper *keeper);
void keeper_stop(struct keeper *keeper);  /* saves progress, waits for the thread */
void keeper_free(struct keeper **keeper); /* stopped */

#endif

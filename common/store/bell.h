/* SPDX-License-Identifier: Apache-2.0 */
/* The bell: how processes learn without polling that work is ready, a job moved or ended, or a
 * cancel was asked. PostgreSQL: LISTEN/NOTIFY on connections of its own; SQLite: <file>-bell, a
 * shared mapping with futex words, rings of ids, and the mutex that serialises writers. A ring may
 * be lost (a broken connection, an overrun): `missed` tells, and whoever listens polls as repair.
 */
#ifndef COMMON_STORE_BELL_H
#define COMMON_STORE_BELL_H
#include "common/base/uuid.h"
#include "common/store/store.h"

struct bell;

enum {
	BELL_READY = 1,
	BELL_ENDED = 2,
	BELL_CANCEL = 4,
	BELL_PAUSE = 8,
	BELL_MOVED = 16, /* of jobs that have not ended; rung only while somebody watches */
	BELL_WATCH = 32, /* listened for by those who ring MOVED; never reported */
	BELL_SCALE = 64, /* other counts of workers or hosts are wanted (pool.h) */
};

#define BELL_WATCH_MS 10000 /* so long somebody watches after bell_watch */

struct bell_event {
	unsigned what; /* BELL_ bits */
	/* ids that reached a terminal state; valid until the next bell_wait */
	const struct uuid *ended;
	size_t ended_count;
	const struct uuid *moved; /* the same, of jobs that moved and have not ended */
	size_t moved_count;
	bool missed; /* rings may have been lost: look yourself */
};

/* listen: BELL_ bits this process waits for (0: it only rings). A bell has two sides: bell_wait is
 * called by one thread; bell_ring* by any thread. Opening never fails for weather: a connection
 * that is away is made later (missed is set then). */
/* NULL: ERROR_INVALID */
struct bell *bell_open(const char *url, unsigned listen, struct error *err_r) must_check;
void bell_close(struct bell **bell); /* no thread may be inside */
/* Waits up to timeout_ms for something. 1: *event_r is filled in; 0: time-out or bell_wake. */
int bell_wait(struct bell *bell, int timeout_ms, struct bell_event *event_r);
void bell_wake(struct bell *bell); /* makes bell_wait return 0 now; any thread; async-signal-safe */
/* Rings after a commit. Never blocks on the network: PostgreSQL rings are coalesced and sent by the
 * bell's own thread. */
void bell_ring(struct bell *bell, unsigned what);
void bell_ring_ended(struct bell *bell, const struct uuid *ids, size_t count);
/* These moved, and have not ended. Nothing happens while nobody watches. */
void bell_ring_moved(struct bell *bell, const struct uuid *ids, size_t count);
/* Somebody watches, for BELL_WATCH_MS from now: whoever says so repeats it. */
void bell_watch(struct bell *bell);
/* Does somebody watch? As far as this bell has heard: on PostgreSQL it has to listen for
 * BELL_WATCH. Any thread; costs nothing. */
bool bell_watched(const struct bell *bell);

#endif

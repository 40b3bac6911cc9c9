/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of <file>-bell, for bell_file.c (the mutex) and bell.c (events). Every process maps
 * it; nothing in it outlives the last of them, so a changed layout needs no conversion: it takes a
 * new number, and old and new refuse to share one file at once. */
#ifndef COMMON_STORE_SQLITE_BELL_FILE_H
#define COMMON_STORE_SQLITE_BELL_FILE_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define BELL_FILE_LAYOUT 0x574c4203u /* "WLB" and a number */
#define BELL_FILE_RING   4096        /* ids that are remembered of a kind; a power of two */
#define BELL_FILE_BITS   7           /* of enum BELL_ that are counted */

struct bell_slot {
	_Atomic uint64_t number;  /* place in the row of all ids, from 1; 0: never written */
	_Atomic uint64_t half[2]; /* the id */
};

struct bell_ring {
	_Atomic uint64_t head; /* ids ever put into it */
	struct bell_slot slots[BELL_FILE_RING];
};

enum { BELL_RING_ENDED, BELL_RING_MOVED, BELL_RINGS };

struct bell_shared {
	_Atomic uint32_t layout;
	uint32_t bytes;
	pthread_mutex_t writer; /* robust; held around write transactions */
	/* Fairness: how often the mutex was taken, and how many wait for it (a guess: who is killed
	 * while waiting stays counted until somebody waits for him in vain). */
	_Atomic uint32_t turn;
	_Atomic int32_t waiting;
	_Alignas(64) _Atomic uint32_t sequence;  /* futex word: grows with every event */
	_Atomic uint64_t counts[BELL_FILE_BITS]; /* events by the bit of enum BELL_ */
	_Atomic int64_t watched_ms;              /* somebody watches until then, monotonic */
	struct bell_ring rings[BELL_RINGS];
};

struct bell_file {
	int fd; /* holds a shared flock while mapped */
	uint32_t last_turn;
	struct bell_shared *shared;
};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The bell on SQLite: counters, rings of ids and one futex word in <file>-bell. Ringing is a
 * few atomic stores and one system call, whoever listens. Who reads too slowly, or finds that a
 * ringer died half-way, is told that rings were missed. */
#include "common/store/bell.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/store/sqlite/bell_file.h"
#include "common/store/sqlite/sqlite_impl.h"

enum { WAKE = 1u << 8 }; /* a futex bit of its own, next to those of the events */

static const unsigned ring_bits[BELL_RINGS] = {
	[BELL_RING_ENDED] = BELL_ENDED, [BELL_RING_MOVED] = BELL_MOVED
};

struct sqlite_bell {
	struct bell base;
	char path[SQLITE_PATH_BYTES];
	unsigned listen;
	pthread_mutex_t opening; /* guards file while it is being opened */
	struct bell_file *file;
	_Atomic(struct bell_shared *) shared; /* NULL: not open yet */
	_Atomic int64_t next_try_ms;
	_Atomic uint32_t woken; /* futex word while nothing is shared */
	bool listening, missed;
	uint64_t seen[BELL_FILE_BITS];
	struct {
		uint64_t read; /* ids taken out of the ring */
		struct uuid ids[BELL_FILE_RING];
		size_t count;
	} rings[BELL_RINGS];
};

static long futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *until,
		  uint32_t bits)
{
	return syscall(SYS_futex, word, op, value, until, NULL, bits);
}

static struct timespec deadline_of(int64_t at_ns)
{
	return (struct timespec){ .tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000 };
}

/* The mapping, or NULL while the file cannot be opened; tried again four times a second. */
static struct bell_shared *shared_of(struct sqlite_bell *bell)
{
	struct bell_shared *shared = atomic_load(&bell->shared);
	struct error ignored;

	if (shared || clock_mono_ms() < atomic_load(&bell->next_try_ms))
		return shared;
	pthread_mutex_lock(&bell->opening);
	shared = atomic_load(&bell->shared);
	if (!shared) {
		bell->file = bell_file_open(bell->path, &ignored);
		shared = bell->file ? bell->file->shared : NULL;
		atomic_store(&bell->next_try_ms, clock_mono_ms() + 250);
		atomic_store(&bell->shared, shared);
	}
	pthread_mutex_unlock(&bell->opening);
	return shared;
}

static void start_listening(struct sqlite_bell *bell, struct bell_shared *shared)
{
	for (int i = 0; i < BELL_FILE_BITS; i++)
		bell->seen[i] = atomic_load(&shared->counts[i]);
	for (int i = 0; i < BELL_RINGS; i++)
		bell->rings[i].read = atomic_load(&shared->rings[i].head);
	bell->listening = true;
}

static struct bell *bell_open_file(const char *url, unsigned listen, struct error *err_r)
{
	struct sqlite_bell *bell = xcalloc(1, sizeof(*bell));
	struct bell_shared *shared;

	bell->base.ops = &sqlite_bell_ops;
	bell->listen = listen;
	if (sqlite_path(url, bell->path, err_r)) {
		free(bell);
		return NULL;
	}
	pthread_mutex_init(&bell->opening, NULL);
	shared = shared_of(bell);
	bell->missed = !shared;
	if (shared)
		start_listening(bell, shared);
	return &bell->base;
}

static void bell_close_file(struct bell *base)
{
	struct sqlite_bell *bell = (struct sqlite_bell *)base;

	if (bell->file)
		bell_file_close(&bell->file);
	pthread_mutex_destroy(&bell->opening);
	free(bell);
}

/* ---- waiting */

/* 1: the id; 0: it was overwritten, or its ringer died before it wrote it. */
static int read_slot(struct bell_ring *ring, uint64_t number, struct uuid *id_r)
{
	struct bell_slot *slot = &ring->slots[(number - 1) % BELL_FILE_RING];
	int64_t until = clock_mono_ms() + 20;
	uint64_t half[2];

	while (atomic_load_explicit(&slot->number, memory_order_acquire) < number) {
		if (clock_mono_ms() > until)
			return 0;
		sched_yield();
	}
	for (int i = 0; i < 2; i++)
		half[i] = atomic_load_explicit(&slot->half[i], memory_order_acquire);
	if (atomic_load_explicit(&slot->number, memory_order_acquire) != number)
		return 0;
	memcpy(id_r, half, sizeof(*id_r));
	return 1;
}

static void take_ids(struct sqlite_bell *bell, struct bell_shared *shared, int which)
{
	struct bell_ring *ring = &shared->rings[which];
	uint64_t head = atomic_load(&ring->head), *read = &bell->rings[which].read;
	size_t count = 0;

	if (head - *read > BELL_FILE_RING) {
		*read = head;
		bell->missed = true;
	}
	for (; *read < head; ++*read) {
		if (read_slot(ring, *read + 1, &bell->rings[which].ids[count]))
			count++;
		else
			bell->missed = true;
	}
	bell->rings[which].count = count;
}

static bool collect(struct sqlite_bell *bell, struct bell_shared *shared, struct bell_event *event)
{
	*event = (struct bell_event){ 0 };
	for (int i = 0; i < BELL_FILE_BITS; i++) {
		uint64_t count = atomic_load(&shared->counts[i]);

		if ((bell->listen & 1u << i) && count != bell->seen[i])
			event->what |= 1u << i;
		bell->seen[i] = count;
	}
	for (int i = 0; i < BELL_RINGS; i++) {
		bell->rings[i].count = 0;
		if (event->what & ring_bits[i])
			take_ids(bell, shared, i);
	}
	event->ended = bell->rings[BELL_RING_ENDED].ids;
	event->ended_count = bell->rings[BELL_RING_ENDED].count;
	event->moved = bell->rings[BELL_RING_MOVED].ids;
	event->moved_count = bell->rings[BELL_RING_MOVED].count;
	event->missed = bell->missed;
	bell->missed = false;
	return event->what || event->missed;
}

/* Nothing is shared yet: waits for bell_wake, or for the next time that opening may be tried. */
static void wait_closed(struct sqlite_bell *bell, int64_t until_ns)
{
	int64_t soon = clock_mono_ns() + 250 * (int64_t)1000000;
	struct timespec until = deadline_of(until_ns < soon ? until_ns : soon);

	futex(&bell->woken, FUTEX_WAIT_BITSET, 0, &until, FUTEX_BITSET_MATCH_ANY);
}

static int bell_wait_file(struct bell *base, int timeout_ms, struct bell_event *event_r)
{
	struct sqlite_bell *bell = (struct sqlite_bell *)base;
	int64_t until_ns = clock_mono_ns() + timeout_ms * (int64_t)1000000;

	for (;;) {
		struct bell_shared *shared = shared_of(bell);
		uint32_t sequence = shared ? atomic_load(&shared->sequence) : 0;
		struct timespec until = deadline_of(until_ns);

		if (shared && !bell->listening)
			start_listening(bell, shared);
		if (shared && collect(bell, shared, event_r))
			return 1;
		if (atomic_exchange(&bell->woken, 0) || clock_mono_ns() >= until_ns)
			return 0;
		if (shared)
			futex(&shared->sequence, FUTEX_WAIT_BITSET, sequence, &until,
			      bell->listen | WAKE);
		else
			wait_closed(bell, until_ns);
	}
}

/* Nothing but atomics and a system call: it may be called in a signal handler. */
static void bell_wake_file(struct bell *base)
{
	struct sqlite_bell *bell = (struct sqlite_bell *)base;
	struct bell_shared *shared = atomic_load(&bell->shared);
	int saved = errno;

	atomic_store(&bell->woken, 1);
	futex(&bell->woken, FUTEX_WAKE_BITSET, INT_MAX, NULL, FUTEX_BITSET_MATCH_ANY);
	if (shared) {
		atomic_fetch_add(&shared->sequence, 1);
		futex(&shared->sequence, FUTEX_WAKE_BITSET, INT_MAX, NULL, WAKE);
	}
	errno = saved;
}

/* ---- ringing */

static void bell_ring_file(struct bell *base, unsigned what)
{
	struct bell_shared *shared = shared_of((struct sqlite_bell *)base);

	if (!shared || !what)
		return;
	for (int i = 0; i < BELL_FILE_BITS; i++)
		if (what & 1u << i)
			atomic_fetch_add(&shared->counts[i], 1);
	atomic_fetch_add(&shared->sequence, 1);
	futex(&shared->sequence, FUTEX_WAKE_BITSET, INT_MAX, NULL, what);
}

static void bell_ring_ids(struct bell *base, unsigned what, const struct uuid *ids, size_t count)
{
	struct bell_shared *shared = shared_of((struct sqlite_bell *)base);
	struct bell_ring *ring;
	uint64_t first;

	if (!shared)
		return;
	ring = &shared->rings[what == BELL_ENDED ? BELL_RING_ENDED : BELL_RING_MOVED];
	first = atomic_fetch_add(&ring->head, count) + 1;
	for (size_t i = 0; i < count; i++) {
		struct bell_slot *slot = &ring->slots[(first + i - 1) % BELL_FILE_RING];
		uint64_t half[2];

		memcpy(half, &ids[i], sizeof(half));
		/* Unreadable while it changes; the number makes it readable. */
		atomic_store_explicit(&slot->number, 0, memory_order_release);
		for (int n = 0; n < 2; n++)
			atomic_store_explicit(&slot->half[n], half[n], memory_order_release);
		atomic_store_explicit(&slot->number, first + i, memory_order_release);
	}
	bell_ring_file(base, what);
}

static void bell_watch_file(struct bell *base)
{
	struct bell_shared *shared = shared_of((struct sqlite_bell *)base);

	if (shared)
		atomic_store(&shared->watched_ms, clock_mono_ms() + BELL_WATCH_MS);
}

static bool bell_watched_file(const struct bell *base)
{
	struct bell_shared *shared = atomic_load(&((struct sqlite_bell *)base)->shared);

	return shared &&
	       atomic_load_explicit(&shared->watched_ms, memory_order_relaxed) > clock_mono_ms();
}

const struct bell_ops sqlite_bell_ops = {
	.scheme = "sqlite",
	.open = bell_open_file,
	.close = bell_close_file,
	.wait = bell_wait_file,
	.wake = bell_wake_file,
	.ring = bell_ring_file,
	.ring_ids = bell_ring_ids,
	.watch = bell_watch_file,
	.watched = bell_watched_file,
};

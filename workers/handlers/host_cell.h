/* SPDX-License-Identifier: Apache-2.0 */
/* The cell: memory that one module host shares with its engine, so that the guilty of a dead host
 * is known to the job and a job can be pulled back from behind a slow one. Job line n of a host (a
 * batch is one line) belongs to slot n mod HOST_CELL_SLOTS.
 *
 *   engine: FREE -> QUEUED before the line is sent; QUEUED -> REVOKED to pull it back; any -> FREE
 * when the answer is in host:   QUEUED -> STARTED before the handler is called; STARTED -> FINISHED
 * after it; REVOKED -> FREE when the line is passed over
 *
 * Neither side believes the other's numbers: a host that scribbles here harms its own jobs only. */
#ifndef WORKERS_HANDLERS_HOST_CELL_H
#define WORKERS_HANDLERS_HOST_CELL_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HOST_CELL_SLOTS 512
#define HOST_CELL_FD    3 /* its number in the host */

enum host_slot_state { SLOT_FREE = 0, SLOT_QUEUED, SLOT_STARTED, SLOT_FINISHED, SLOT_REVOKED };

struct host_slot {
	_Atomic uint32_t state;
	_Atomic int64_t started_ns; /* CLOCK_MONOTONIC, the same in both processes */
	_Atomic int64_t finished_ns;
};

struct host_cell {
	struct host_slot slots[HOST_CELL_SLOTS];
	_Atomic int forbidden; /* by the host: the system call that kills it, plus 1; 0: none */
};

static inline struct host_slot *host_cell_slot(struct host_cell *cell, uint64_t line)
{
	return &cell->slots[line % HOST_CELL_SLOTS];
}

/* Moves the slot from one state to the other; false when the other side was faster. */
static inline bool host_slot_move(struct host_slot *slot, enum host_slot_state from,
				  enum host_slot_state to)
{
	uint32_t want = from;

	return atomic_compare_exchange_strong(&slot->state, &want, to);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* New definitions on their way from the thread that reads them to one that serves by them: what was
 * put and not taken yet gives way to what is put next. All zero is an empty slot. */
#ifndef COMMON_CONFIG_DEFINITIONS_SLOT_H
#define COMMON_CONFIG_DEFINITIONS_SLOT_H
#include <stdatomic.h>

#include "common/config/definitions.h"

struct definitions_slot {
	_Atomic(struct definitions *) newest;
};

/* What was put last, with its reference; NULL: nothing since the last take. Any thread. */
static inline struct definitions *definitions_slot_take(struct definitions_slot *slot)
{
	return atomic_exchange(&slot->newest, NULL);
}

/* Takes a reference. Any thread. */
static inline void definitions_slot_put(struct definitions_slot *slot, struct definitions *defs)
{
	struct definitions *unused = atomic_exchange(&slot->newest, definitions_ref(defs));

	definitions_unref(&unused);
}

/* Nobody takes any more. */
static inline void definitions_slot_release(struct definitions_slot *slot)
{
	struct definitions *unused = definitions_slot_take(slot);

	definitions_unref(&unused);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes: of what has one key, one is under way at a time and the others wait in the order in which
 * they came. Used for messages of ordered sources; one thread. Who waits is a list node of its
 * owner's, which may be removed from its lane like from any list. */
#ifndef CONSUMERS_SUBSCRIBE_KEY_LANES_H
#define CONSUMERS_SUBSCRIBE_KEY_LANES_H
#include <stdbool.h>

#include "common/base/list.h"
#include "common/base/uuid.h"

struct key_lanes;

struct key_lanes *key_lanes_new(void);
void key_lanes_free(struct key_lanes **lanes); /* does not look at who waits */
/* True: the lane was free and is taken now. False: `waiter`, a node that is in no list, waits. */
bool must_check key_lanes_enter(struct key_lanes *lanes, const struct uuid *key,
				struct list *waiter);
/* Whoever had the lane is through. Returns who has it now, not waiting any more; NULL: nobody. */
struct list *key_lanes_leave(struct key_lanes *lanes, const struct uuid *key);

#endif

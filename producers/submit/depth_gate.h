/* SPDX-License-Identifier: Apache-2.0 */
/* How many jobs wait in each queue, near enough to stop at a maximum: the store's figure, at most a
 * second old, plus what was let through since. Several gateways may overshoot by what each lets
 * through in that second. */
#ifndef PRODUCERS_SUBMIT_DEPTH_GATE_H
#define PRODUCERS_SUBMIT_DEPTH_GATE_H
#include "common/config/definitions.h"
#include "common/store/acceptance.h"

struct depth_gate;

struct depth_gate *
depth_gate_new(int64_t queue_max); /* for queues whose definition sets no limit */
void depth_gate_free(struct depth_gate **gate);
/* True: there is room for all jobs of the request, and they are counted. False: *queue_r is full;
 * nothing is counted. When the store cannot be asked the gate is open: the commit will tell. May
 * block for one small query. */
bool depth_gate_admit(struct depth_gate *gate, struct store *store, const struct definitions *defs,
		      const struct acceptance *request, const char **queue_r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What has to be there on the broker: queues of ours, sources that nobody has made, topics of
 * results. Made when it is missing, never changed. For dispatcher.c and relay.c. */
#ifndef PRODUCERS_DISPATCH_TOPOLOGY_H
#define PRODUCERS_DISPATCH_TOPOLOGY_H
#include "common/base/arena.h"
#include "common/broker/publisher.h"
#include "common/config/definitions.h"

#include "producers/dispatch/backoff.h"

struct topology_place {
	struct publisher_place place;
	struct backoff wrong; /* it is there in another form, or must not be made */
};

struct topology {
	struct topology_place *places;
	size_t count;
	struct arena *names; /* made with it */
	bool declared;
	int64_t due_ms; /* when all of it is declared, or declared once more */
};

void topology_release(struct topology *topology);
/* Queues and sources of these definitions, or the topics of results; to be declared. */
void topology_of_jobs(struct topology *topology, const struct definitions *defs,
		      enum broker_kind kind, const char *prefix);
void topology_of_results(struct topology *topology, const struct definitions *defs);
/* Something was refused, or the broker was away: it may not be as it was. What was there is looked
 * for after a pause: RabbitMQ moves the consumers of a quorum queue that was deleted to one that is
 * made in the next moment, and never delivers to them. */
void topology_doubt(struct topology *topology, int64_t now_ms);
bool topology_due(const struct topology *topology, int64_t now_ms);
/* Declares all of it. 0, also when some of it is wrong, which is logged: it may take messages all
 * the same, and what else there is does not wait for it. -1: weather. */
int topology_declare(struct topology *topology, struct publisher *publisher, int64_t now_ms,
		     struct error *err_r) must_check;

#endif

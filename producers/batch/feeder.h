/* SPDX-License-Identifier: Apache-2.0 */
/* The feeder: one thread of every gateway that reads the sources of batch runs, makes their rows
 * jobs, chunk by chunk, and ends batches whose jobs have ended. Several may run: a batch is read by
 * one at a time, and each chunk is stored once, whatever dies. */
#ifndef PRODUCERS_BATCH_FEEDER_H
#define PRODUCERS_BATCH_FEEDER_H
#include "common/config/definitions.h"
#include "common/service/metrics.h"
#include "common/store/bell.h"

struct feeder_options {
	const char *database_url;
	const char *folder; /* WINDLASS_BATCH_DIR, or "" */
	int64_t queue_max;
	size_t payload_bytes_max;
	struct bell *bell; /* rung for jobs; borrowed */
	struct metrics *metrics;
	struct definitions *(*definitions)(void *ctx); /* a reference */
	void *ctx;
};

struct feeder;

struct feeder *feeder_start(const struct feeder_options *options);
void feeder_kick(struct feeder *feeder);  /* a batch has begun, or was changed; any thread */
void feeder_stop(struct feeder **feeder); /* gives back what it reads; NULL-safe */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Positions in logs (Kafka): up to where the jobs of a partition are in the store. They are
 * appended in the transaction that stores those jobs' ends (completion.h), so a database that is
 * restored from an older state rewinds its consumers. */
#ifndef COMMON_STORE_POSITION_H
#define COMMON_STORE_POSITION_H
#include <stdint.h>

#include "common/base/error.h"
#include "common/store/store.h"

struct position {
	const char *group, *topic;
	int32_t partition;
	int64_t offset; /* of the next message to be read; -1 in answers: none is stored */
};

/* Fills in `offset` of each from the newest stored one. */
int position_load(struct store *store, struct position *positions, size_t count,
		  struct error *err_r) must_check;
/* Stores positions by themselves (`windlass source seek`, and what an idle moment flushes). */
int position_save(struct store *store, const struct position *positions, size_t count,
		  struct error *err_r) must_check;

#endif

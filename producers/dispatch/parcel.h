/* SPDX-License-Identifier: Apache-2.0 */
/* A parcel: the messages of one send, made of the jobs of several takes, and what became of each.
 * For dispatcher.c. */
#ifndef PRODUCERS_DISPATCH_PARCEL_H
#define PRODUCERS_DISPATCH_PARCEL_H
#include "common/base/strbuf.h"
#include "common/broker/publisher.h"
#include "common/store/claim.h"

#define PARCEL_TAKES_MAX 64
#define PARCEL_JOBS_MAX  1000
#define PARCEL_BYTES_MAX (8 << 20)

struct parcel_take { /* the jobs of one lease */
	struct uuid batch;
	size_t place; /* whose they are, by the caller's count */
	size_t first, count;
};

struct parcel {
	struct parcel_take takes[PARCEL_TAKES_MAX];
	size_t take_count;
	struct publication items[PARCEL_JOBS_MAX];
	struct claimed_job *jobs[PARCEL_JOBS_MAX]; /* owned */
	size_t offsets[PARCEL_JOBS_MAX];           /* of their bodies */
	size_t count;
	struct strbuf bodies;
};

void parcel_init(struct parcel *parcel);
void parcel_release(struct parcel *parcel);
/* Frees the jobs; ready for the next round. */
void parcel_clear(struct parcel *parcel);
/* How many more jobs there is room for, if each takes so many bytes. */
size_t parcel_room(const struct parcel *parcel, size_t bytes_each);
/* Adds what a take brought: the jobs are the parcel's from now on. They go to `topic`, which must
 * live as long; with their order key when that is to be kept. A body has at most bytes_max. */
void parcel_add(struct parcel *parcel, size_t place, const struct uuid *batch,
		const struct claim *claim, const char *topic, bool ordered, size_t bytes_max);
/* Points the items to their bodies; nothing is added afterwards. */
void parcel_close(struct parcel *parcel);

struct parcel_result {
	size_t confirmed;
	const char *refused;               /* why one of them was, or NULL */
	struct uuid back[PARCEL_JOBS_MAX]; /* those that were not confirmed */
	size_t back_count;
};
void parcel_result(const struct parcel *parcel, const struct parcel_take *take,
		   struct parcel_result *result_r);

#endif

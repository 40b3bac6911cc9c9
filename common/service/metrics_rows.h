/* SPDX-License-Identifier: Apache-2.0 */
/* The table of metrics and the layout of a slot in shared memory, for metrics.c and
 * metrics_render.c. Every process of one tree runs the same binary, so the layout needs no upgrade
 * recipe: a mapping of another shape is not used. */
#ifndef COMMON_SERVICE_METRICS_ROWS_H
#define COMMON_SERVICE_METRICS_ROWS_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/service/metrics.h"

#define METRICS_SLOTS       72 /* processes; more workers than WINDLASS_WORKERS allows */
#define METRICS_SERIES_MAX  2048
#define METRICS_BUCKETS_MAX 20 /* the last one used is +Inf */
#define METRICS_LABEL1      132
#define METRICS_LABEL2      28

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_TIMES, METRIC_SIZES };

struct metric_row {
	const char *name;
	enum metric_kind kind;
	const char *label1, *label2; /* or NULL */
	const char *help;
};
extern const struct metric_row metric_rows[METRIC_COUNT];

/* Upper bounds of a histogram's buckets; *count_r without +Inf. */
const double *metric_bounds(enum metric_kind kind, size_t *count_r);

struct metric_series {
	uint32_t hash;
	uint32_t metric; /* enum metric */
	char label1[METRICS_LABEL1], label2[METRICS_LABEL2];
	_Atomic uint64_t
		value; /* counter; gauge: bits of a double; histogram: sum, see metric_unit */
	_Atomic uint64_t buckets[METRICS_BUCKETS_MAX]; /* not cumulative */
};

/* Sums are whole numbers, so that adding is one instruction: nanoseconds, or jobs. */
static inline double metric_unit(enum metric_kind kind)
{
	return kind == METRIC_TIMES ? 1e9 : 1;
}

/* Only the process that holds the slot's lock writes to it. Series up to series_count are complete
 * and stay for ever; those behind METRICS_SERIES_MAX, one for each metric, take what finds no room.
 */
struct metrics_slot {
	_Atomic uint32_t series_count;
	char role[28];
	struct metric_series series[METRICS_SERIES_MAX + METRIC_COUNT];
};

struct metrics_memory {
	uint64_t shape; /* sizeof of all of it: another binary's is not ours */
	struct metrics_slot slots[METRICS_SLOTS];
};

struct metrics {
	struct metrics_memory *memory;
	struct metrics_slot *own;
	int fd;               /* locked at byte `own`: the kernel lets go when the process ends */
	pthread_mutex_t lock; /* guards making series in `own` */
	_Atomic uint64_t log_dropped; /* counted so far */
};

/* Does a living process (this one included) hold the slot? */
bool metrics_slot_live(const struct metrics *metrics, size_t slot);

#endif

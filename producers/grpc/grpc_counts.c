/* SPDX-License-Identifier: Apache-2.0 */
/* Finds each series once. */
#include "producers/grpc/grpc_counts.h"

#include <stdlib.h>

#include "common/base/arena.h"
#include "producers/grpc/grpc_methods.h"

struct grpc_counts {
	struct metrics *metrics;
	struct { /* one for each method, and one for all that are none */
		struct metric_series *seconds;
		struct metric_series *by_code[GRPC_CODE_COUNT];
	} methods[];
};

static const char *label_of(size_t row)
{
	return row < grpc_method_count ? grpc_methods[row].path + 1 : "-";
}

struct grpc_counts *grpc_counts_new(struct metrics *metrics)
{
	struct grpc_counts *counts =
		xcalloc(1, sizeof(*counts) + (grpc_method_count + 1) * sizeof(counts->methods[0]));

	counts->metrics = metrics;
	for (size_t i = 0; i <= grpc_method_count; i++)
		counts->methods[i].seconds =
			metrics_series(metrics, METRIC_GRPC_SECONDS, label_of(i), NULL);
	return counts;
}

void grpc_counts_free(struct grpc_counts **counts)
{
	free(*counts);
	*counts = NULL;
}

void grpc_count_call(struct grpc_counts *counts, const struct grpc_method *method,
		     enum grpc_code code, double seconds)
{
	size_t row = method ? (size_t)(method - grpc_methods) : grpc_method_count;
	struct metric_series **series = &counts->methods[row].by_code[code];

	if (!*series)
		*series = metrics_series(counts->metrics, METRIC_GRPC_CALLS, label_of(row),
					 grpc_code_name(code));
	metric_add(*series, 1);
	metric_observe(counts->methods[row].seconds, seconds);
}

void grpc_count_cut(struct grpc_counts *counts, const char *why)
{
	metric_add(metrics_series(counts->metrics, METRIC_GRPC_CUT, why, NULL), 1);
}

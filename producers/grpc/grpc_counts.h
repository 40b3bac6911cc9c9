/* SPDX-License-Identifier: Apache-2.0 */
/* The door's figures. Made once, counted on the loop's thread. */
#ifndef PRODUCERS_GRPC_GRPC_COUNTS_H
#define PRODUCERS_GRPC_GRPC_COUNTS_H
#include "common/service/metrics.h"
#include "producers/grpc/grpc_status.h"

struct grpc_counts;
struct grpc_method;

struct grpc_counts *grpc_counts_new(struct metrics *metrics);
void grpc_counts_free(struct grpc_counts **counts); /* NULL-safe */
/* method NULL: one that we do not have. */
void grpc_count_call(struct grpc_counts *counts, const struct grpc_method *method,
		     enum grpc_code code, double seconds);
/* A connection that we have ended, and why, in a word. */
void grpc_count_cut(struct grpc_counts *counts, const char *why);

#endif

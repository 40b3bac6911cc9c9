/* SPDX-License-Identifier: Apache-2.0 */
/* For ration.c: whose turn it is among the keys of one queue. Each key has a clock that goes on by
 * one part of its weight with every job that it gets; the one that is furthest behind is next.
 * Lives from claim to claim; only keys that are ahead of the others are remembered. */
#ifndef COMMON_STORE_RATION_TURNS_H
#define COMMON_STORE_RATION_TURNS_H
#include <stddef.h>

#include <jansson.h>

struct key_clock {
	char *key; /* "": the jobs without one */
	double at;
};

struct turns {
	char *queue;
	double now; /* clock of the key that was served last */
	struct key_clock *clocks;
	size_t clock_count;
	char *weights_text;
	json_t *weights;  /* NULL: all are 1 */
	char *keys_after; /* ration_keys_after; NULL: from the first one */
};

struct turns *turns_new(const char *queue);
void turns_free(struct turns **turns);
/* A JSON object, or NULL; read again only when it differs. */
void turns_weigh(struct turns *turns, const char *weights);
double turns_weight(const struct turns *turns, const char *key);
/* A key that comes back after a pause starts where the others are. */
double turns_clock(const struct turns *turns, const char *key);
/* These keys were served; of one that is named twice the greater clock counts. */
void turns_keep(struct turns *turns, const struct key_clock *served, size_t count);

#endif

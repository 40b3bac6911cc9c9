/* SPDX-License-Identifier: Apache-2.0 */
/* Between the supervisor and its scaler: a pair of sockets that keep messages apart. The scaler
 * says how many workers each pool is to have; the supervisor passes on what signals ask for. Both
 * ends are the same binary. Nothing here blocks. */
#ifndef WORKERS_SUPERVISOR_SCALE_LINK_H
#define WORKERS_SUPERVISOR_SCALE_LINK_H
#include <stdbool.h>
#include <stddef.h>

#include "common/base/check.h"
#include "common/config/definitions.h"

struct scale_order {
	char pool[JOB_TYPE_MAX + 1];
	int workers;
};
struct scale_orders { /* for all pools: one that is not among them is gone */
	size_t count;
	struct scale_order list[POOLS_MAX];
};

/* 0: both are close-on-exec and non-blocking; -1: errno. */
int scale_link_open(int *supervisor_fd_r, int *scaler_fd_r) must_check;
/* False: it found no room, or nobody is there; it is said again later. */
bool scale_link_order(int fd, const struct scale_orders *orders) must_check;
bool scale_link_orders(int fd, struct scale_orders *orders_r) must_check; /* false: none */
void scale_link_ask(int fd, int change); /* +1: one worker more here, -1: one less */
int scale_link_asked(int fd);            /* the sum of what was asked for */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A circuit breaker: opens when too many of the last calls failed, and lets one call through after
 * each cooldown to see whether it may close. Pure: time is an input, monotonic. */
#ifndef WORKERS_REMOTE_BREAKER_H
#define WORKERS_REMOTE_BREAKER_H
#include <stdbool.h>
#include <stdint.h>

#define BREAKER_SLICES 8 /* of the window */

enum breaker_state { BREAKER_CLOSED = 1, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct breaker_limits {
	bool off;
	int failures, percent; /* both must be reached within the window */
	int64_t window_ns, cooldown_ns;
};

struct breaker {
	struct breaker_limits limits;
	enum breaker_state state; /* HALF_OPEN: a probe is under way */
	int64_t since_ns;         /* OPEN: opened, HALF_OPEN: the probe began */
	int64_t slice;            /* number of the newest one */
	uint32_t calls[BREAKER_SLICES], failures[BREAKER_SLICES];
	uint64_t opened_count;
};

void breaker_init(struct breaker *breaker, const struct breaker_limits *limits);
/* 0: a call may go now. Else ns until one may be tried. */
int64_t breaker_wait_ns(const struct breaker *breaker, int64_t now_ns);
/* A call goes; only after breaker_wait_ns said 0. True: it is the probe. */
bool breaker_begin(struct breaker *breaker, int64_t now_ns);
/* It ended well or not. A call that began before it opened closes nothing. */
void breaker_end(struct breaker *breaker, bool probe, bool failed, int64_t now_ns);
/* It ended without saying anything about the other side (aborted). */
void breaker_forget(struct breaker *breaker, bool probe);
const char *breaker_state_name(enum breaker_state state);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* When a failed job runs again: exponential backoff with full jitter, delay = random(0, min(cap,
 * base * 2^(n-1))). */
#ifndef COMMON_JOB_RETRY_POLICY_H
#define COMMON_JOB_RETRY_POLICY_H
#include <stdint.h>

struct retry_policy {
	int max_attempts; /* >= 1 */
	int64_t base_ms;
	int64_t cap_ms;
};

#define RETRY_POLICY_DEFAULT                                           \
	{                                                              \
		.max_attempts = 20, .base_ms = 2000, .cap_ms = 3600000 \
	}

/* Delay before the next attempt after `failures` failed ones (>= 1); `draw` returns a uniform
 * number below its argument. */
int64_t retry_policy_delay_ms(const struct retry_policy *policy, int failures,
			      uint64_t (*draw)(uint64_t bound));

#endif

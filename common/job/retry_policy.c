/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that knows how long a failed job waits. Called by whatever settles an attempt;
 * never asks for random numbers by itself, so that a test can choose them. */
#include "common/job/retry_policy.h"

#include "common/base/check.h"

/* min(cap, base * 2^(failures - 1)), without overflow. */
static int64_t delay_most_ms(const struct retry_policy *policy, int failures)
{
	int64_t most_ms = policy->base_ms;

	for (int i = 1; i < failures && most_ms < policy->cap_ms; i++) {
		if (most_ms > policy->cap_ms / 2)
			return policy->cap_ms;
		most_ms *= 2;
		if (most_ms == 0)
			break;
	}
	return most_ms < policy->cap_ms ? most_ms : policy->cap_ms;
}

int64_t retry_policy_delay_ms(const struct retry_policy *policy, int failures,
			      uint64_t (*draw)(uint64_t bound))
{
	CHECK(failures >= 1);
	CHECK(policy->base_ms >= 0 && policy->cap_ms >= 0 && policy->cap_ms < INT64_MAX);
	return (int64_t)draw((uint64_t)delay_most_ms(policy, failures) + 1);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Patience with somebody who fails again and again: the store, the broker, a queue that refuses.
 * The first failure of a row is logged, and the success that ends it; in between the pauses double,
 * with jitter, so that many processes do not come back at once. */
#ifndef PRODUCERS_DISPATCH_BACKOFF_H
#define PRODUCERS_DISPATCH_BACKOFF_H
#include <stdbool.h>
#include <stdint.h>

#include "common/base/log.h"

struct backoff {
	const char *away, *back; /* events in the log: "broker-away", "broker-back" */
	enum log_level level;    /* of `away` */
	int64_t first_ms, max_ms;
	int64_t pause_ms, until_ms; /* 0: it works */
};

/* May it be tried? */
bool backoff_due(const struct backoff *backoff, int64_t now_ms);
/* It failed. `subject` says which (NULL: there is one only). */
void backoff_failed(struct backoff *backoff, const char *subject, const char *why, int64_t now_ms);
void backoff_worked(struct backoff *backoff, const char *subject);

#endif

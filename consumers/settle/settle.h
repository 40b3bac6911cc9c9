/* SPDX-License-Identifier: Apache-2.0 */
/* Settlement: the only place that knows what an attempt's outcome means for its job: completed,
 * discarded, cancelled, or waiting again and for how long; and what the queue it came from is told.
 * Pure functions; see common/broker/delivery.h. */
#ifndef CONSUMERS_SETTLE_SETTLE_H
#define CONSUMERS_SETTLE_SETTLE_H
#include "common/broker/delivery.h"

/* Fills in the completion of an ended attempt. False: row expectation unmet, runs again at once;
 * nothing to store. */
bool settle_attempt(const struct attempt_end *end, const struct settle_rules *rules,
		    struct completion *completion_r);
/* What a completion that the store refused makes of its attempt; settle_attempt is asked again
 * afterwards. */
void settle_refused(const struct completion *completion, struct attempt_end *end);
enum settle_verb settle_verb(const struct completion *completion);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Doubling pauses with full jitter in their upper half. */
#include "producers/dispatch/backoff.h"

#include "common/base/clock.h"

bool backoff_due(const struct backoff *backoff, int64_t now_ms)
{
	return now_ms >= backoff->until_ms;
}

void backoff_failed(struct backoff *backoff, const char *subject, const char *why, int64_t now_ms)
{
	if (!backoff->pause_ms)
		log_line(backoff->level, backoff->away, LOG_S("subject", subject),
			 LOG_S("why", why));
	backoff->pause_ms = backoff->pause_ms ? 2 * backoff->pause_ms : backoff->first_ms;
	if (backoff->pause_ms > backoff->max_ms)
		backoff->pause_ms = backoff->max_ms;
	backoff->until_ms = now_ms + backoff->pause_ms / 2 +
			    (int64_t)random_below((uint64_t)backoff->pause_ms / 2 + 1);
}

void backoff_worked(struct backoff *backoff, const char *subject)
{
	if (backoff->pause_ms)
		log_line(LOG_INFO, backoff->back, LOG_S("subject", subject));
	backoff->pause_ms = backoff->until_ms = 0;
}

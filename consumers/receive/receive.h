/* SPDX-License-Identifier: Apache-2.0 */
/* Receive: the rules for a job that has just come in. Its type may be unknown here (a rolling
 * upgrade: back to the store, not an attempt, with an alarm when that lasts), its payload may never
 * have been checked (SQL, a broker), its cancel may have been asked meanwhile, its message may be
 * no job at all (a dead letter), or one that has to wait behind others of its key in the store. One
 * engine thread; see common/broker/delivery.h. */
#ifndef CONSUMERS_RECEIVE_RECEIVE_H
#define CONSUMERS_RECEIVE_RECEIVE_H
#include "common/broker/delivery.h"

#define RECEIVE_UNKNOWN_DELAY_MS 5000
#define RECEIVE_UNKNOWN_ALARM_MS (5 * 60 * 1000)

struct receive *receive_new(void);
void receive_free(struct receive **receive);
void receive_arrive(struct receive *receive, const struct definitions *defs,
		    const struct claimed_job *job, int64_t now_mono_ms,
		    struct receive_verdict *verdict_r);
/* How many types are unknown here for so long that the alarm was raised. */
size_t receive_alarms(const struct receive *receive);

#endif

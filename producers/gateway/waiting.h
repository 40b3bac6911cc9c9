/* SPDX-License-Identifier: Apache-2.0 */
/* An exchange that waits for its job to end: the waiters' table joined with the steps of a request.
 */
#ifndef PRODUCERS_GATEWAY_WAITING_H
#define PRODUCERS_GATEWAY_WAITING_H
#include "producers/gateway/exchange.h"

/* Notices the end of this job from now on, for exchange->wait_ms from the request's start. */
void waiting_hold(struct exchange *exchange, const struct uuid *id);
void waiting_drop(struct exchange *exchange); /* if something is held */
/* Parks until it has ended (exchange->why is WAITER_ENDED and exchange->view has what
 * query_finished gives) or it is late. */
void waiting_park(struct exchange *exchange, exchange_step_fn *next);
/* Looks at exchange->id, waits if it has not ended and exchange->wait_ms is set, looks again, then
 * `done` with exchange->task.rc and exchange->view, complete. */
void waiting_look(struct exchange *exchange, exchange_step_fn *done);

#endif

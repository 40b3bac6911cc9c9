/* SPDX-License-Identifier: Apache-2.0 */
/* See waiting.h. told() runs on the waiters' thread while the request is parked, so the exchange is
 * its own to write. */
#include "producers/gateway/waiting.h"

static bool client_gone(struct waiter *waiter)
{
	struct exchange *exchange = waiter->owner;

	return request_gone(exchange->request);
}

static void copy_view(struct exchange *exchange, const struct job_view *view)
{
	struct arena *arena = exchange_arena(exchange);
	struct job_view *mine = &exchange->view;

	*mine = (struct job_view){
		.id = view->id,
		.state = view->state,
		.attempt = view->attempt,
		.created_ms = view->created_ms,
		.finished_ms = view->finished_ms,
		.progress = -1,
	};
	mine->tenant = arena_strdup(arena, view->tenant);
	mine->owner = arena_strdup(arena, view->owner);
	mine->queue = arena_strdup(arena, view->queue);
	mine->type = arena_strdup(arena, view->type);
	mine->result = arena_strdup(arena, view->result);
	mine->reason = arena_strdup(arena, view->reason);
}

static void told(struct waiter *waiter, enum waiter_why why, const struct job_view *view)
{
	struct exchange *exchange = waiter->owner;

	exchange->why = why;
	if (view)
		copy_view(exchange, view);
	exchange_wake(exchange);
}

void waiting_hold(struct exchange *exchange, const struct uuid *id)
{
	CHECK(!exchange->holding);
	exchange->waiter = (struct waiter){
		.id = *id,
		.until_ms = request_started_ns(exchange->request) / 1000000 + exchange->wait_ms,
		.told = told,
		.gone = client_gone,
		.owner = exchange,
	};
	waiters_hold(exchange->gateway->waiters, &exchange->waiter);
	exchange->holding = true;
}

void waiting_drop(struct exchange *exchange)
{
	if (exchange->holding)
		waiters_forget(exchange->gateway->waiters, &exchange->waiter);
	exchange->holding = false;
}

void waiting_park(struct exchange *exchange, exchange_step_fn *next)
{
	CHECK(exchange->holding);
	exchange->holding = false;
	exchange_park(exchange, next);
	waiters_release(exchange->gateway->waiters, &exchange->waiter);
}

static void look_again(struct exchange *exchange)
{
	exchange_ask_job(exchange, exchange->after_wait);
}

static void looked(struct exchange *exchange)
{
	exchange_step_fn *done = exchange->after_wait;

	if (exchange->task.rc == 0 && !job_state_terminal(exchange->view.state)) {
		waiting_park(exchange, look_again);
		return;
	}
	waiting_drop(exchange);
	done(exchange);
}

void waiting_look(struct exchange *exchange, exchange_step_fn *done)
{
	if (exchange->wait_ms == 0) {
		exchange_ask_job(exchange, done);
		return;
	}
	waiting_hold(exchange, &exchange->id);
	exchange->after_wait = done;
	exchange_ask_job(exchange, looked);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The scaler's loop: what the store wants of this node goes to the supervisor; what signals ask for
 * goes into the store; and of pools that are autoscaled one scaler decides at a time. A store that
 * is away changes nothing: the workers stay as they are. */
#include "workers/supervisor/scaler.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/service/pool_state.h"
#include "common/service/store_wait.h"
#include "common/store/bell.h"
#include "workers/supervisor/autoscale.h"
#include "workers/supervisor/scale_link.h"

#define WAIT_MS 200
#define LOOK_MS 2000 /* when the bell says nothing */
#define TURN_MS 2000

struct scaler {
	struct service *service;
	struct store *store;
	struct bell *bell;
	int link_fd;
	char node[SERVICE_NODE_BYTES];
	int64_t look_ms, decide_ms; /* the next ones; monotonic */
	int change;                 /* asked for, and not in the store yet */
	bool away;                  /* said */
};

static int open_store(void *ctx, struct error *err_r)
{
	struct scaler *scaler = ctx;
	int applied;

	if (!scaler->store && store_open(scaler->service->settings->database_url, STORE_WRITE,
					 "windlass scaler", &scaler->store, err_r) < 0)
		return -1;
	return store_migrate(scaler->store, &applied, err_r);
}

static int open_bell(void *ctx, struct error *err_r)
{
	struct scaler *scaler = ctx;

	scaler->bell = bell_open(scaler->service->settings->database_url, BELL_SCALE, err_r);
	return scaler->bell ? 0 : -1;
}

/* ---- what is wanted here */

static int give_orders(struct scaler *scaler, struct arena *arena, struct error *err_r)
{
	const struct definitions *defs = scaler->service->defs;
	struct scale_orders orders = { 0 };
	struct pool_row *rows;
	size_t count;

	if (pool_list(scaler->store, arena, &rows, &count, err_r) < 0)
		return -1;
	for (size_t i = 0; i < definitions_pool_count(defs); i++) {
		const struct pool_definition *pool = definitions_pool_at(defs, i);
		struct scale_order *order = &orders.list[orders.count++];

		snprintf(order->pool, sizeof(order->pool), "%s", pool->name);
		order->workers =
			pool_wanted_on(rows, count, pool, scaler->service->settings, scaler->node)
				.workers;
	}
	if (!scale_link_order(scaler->link_fd, &orders))
		log_line(LOG_WARN, "orders-not-taken");
	return 0;
}

/* ---- what signals ask for: of the first pool of the file */

static int keep_change(struct scaler *scaler, struct arena *arena, struct error *err_r)
{
	const struct pool_definition *pool = definitions_pool_at(scaler->service->defs, 0);
	struct audit audit = { .who = "signal", .action = "pool.scale", .object = pool->name };
	struct pool_scale scale = { .pool = pool->name, .node = scaler->node, .hosts = POOL_KEEP };
	struct pool_row *rows;
	struct strbuf detail;
	size_t count;
	int rc;

	if (pool_list(scaler->store, arena, &rows, &count, err_r) < 0)
		return -1;
	scale.workers =
		scaler->change +
		pool_wanted_on(rows, count, pool, scaler->service->settings, scaler->node).workers;
	scale.workers = scale.workers < 0                    ? 0
			: scale.workers > POOL_WORKERS_LIMIT ? POOL_WORKERS_LIMIT
							     : scale.workers;
	strbuf_init(&detail);
	strbuf_printf(&detail, "{\"workers\":%d,\"node\":", scale.workers);
	strbuf_json(&detail, scaler->node);
	strbuf_addch(&detail, '}');
	audit.detail = detail.data;
	rc = pool_scale(scaler->store, &scale, &audit, err_r);
	strbuf_release(&detail);
	if (rc == 0)
		scaler->change = 0;
	return rc;
}

/* ---- autoscaling */

static int decide(struct scaler *scaler, const struct pool_definition *pool, struct arena *arena,
		  struct error *err_r)
{
	struct audit audit = { .who = "autoscaler", .action = "pool.scale", .object = pool->name };
	struct autoscale_verdict verdict;
	struct pool_facts facts;
	struct pool_state state;
	struct pool_turn turn;

	if (pool_turn(scaler->store, pool->name, TURN_MS, &turn, err_r) < 0)
		return -1;
	if (!turn.mine)
		return 0;
	if (pool_facts_read(scaler->store, arena, &facts, err_r) < 0)
		return -1;
	pool_state_make(&facts, scaler->service->defs, pool, scaler->service->settings, &state);
	verdict = autoscale_decide(&state, turn.calm_ms);
	audit.detail = arena_printf(
		arena, "{\"workers\":%d,\"from\":%d,\"oldest_ms\":%lld,\"busy\":%d,\"hosts\":%d}",
		verdict.workers, state.all.workers, (long long)state.oldest_ms, state.common.busy,
		state.common.hosts);
	if (pool_decide(scaler->store, pool->name, verdict.calm, verdict.workers, &audit, err_r) <
	    0)
		return -1;
	if (verdict.workers != POOL_KEEP) {
		log_line(LOG_INFO, "pool-autoscaled", LOG_S("pool", pool->name),
			 LOG_I("from", state.all.workers), LOG_I("to", verdict.workers));
		bell_ring(scaler->bell, BELL_SCALE);
		scaler->look_ms = 0;
	}
	return 0;
}

static int decide_all(struct scaler *scaler, struct arena *arena, struct error *err_r)
{
	const struct definitions *defs = scaler->service->defs;

	for (size_t i = 0; i < definitions_pool_count(defs); i++) {
		const struct pool_definition *pool = definitions_pool_at(defs, i);

		if (pool->autoscale.max && decide(scaler, pool, arena, err_r) < 0)
			return -1;
	}
	return 0;
}

/* ---- the loop */

static int work_once(struct scaler *scaler, struct arena *arena, struct error *err_r)
{
	int64_t now_ms = clock_mono_ms();

	if (scaler->change) {
		if (keep_change(scaler, arena, err_r) < 0)
			return -1;
		scaler->look_ms = 0;
	}
	if (now_ms >= scaler->decide_ms) {
		scaler->decide_ms = now_ms + TURN_MS / 2;
		if (decide_all(scaler, arena, err_r) < 0)
			return -1;
	}
	if (now_ms >= scaler->look_ms) {
		scaler->look_ms = now_ms + LOOK_MS;
		return give_orders(scaler, arena, err_r);
	}
	return 0;
}

static void work(struct scaler *scaler)
{
	struct arena *arena = arena_new(0);
	struct error error;
	int rc = work_once(scaler, arena, &error);

	if (rc < 0 && !scaler->away)
		log_line(LOG_WARN, "scaler-store-away", LOG_S("code", error_code_name(error.code)),
			 LOG_S("error", error.message));
	scaler->away = rc < 0;
	if (rc < 0)
		scaler->look_ms = 0; /* what was rung for meanwhile */
	arena_free(&arena);
}

/* False: it is time to go. */
static bool hear_signals(struct scaler *scaler)
{
	enum service_signal signal;

	while ((signal = service_signal(scaler->service)) != SERVICE_NONE) {
		if (signal == SERVICE_DRAIN || signal == SERVICE_NOW || signal == SERVICE_RETIRE)
			return false;
		if (signal == SERVICE_RELOAD && service_reload(scaler->service))
			scaler->look_ms = 0;
	}
	return true;
}

static void run(struct scaler *scaler)
{
	struct bell_event event;

	while (hear_signals(scaler)) {
		scaler->change += scale_link_asked(scaler->link_fd);
		work(scaler);
		if (bell_wait(scaler->bell, WAIT_MS, &event) == 1 &&
		    (event.missed || event.what & BELL_SCALE))
			scaler->look_ms = 0;
	}
}

int scale_main(struct service *service, int link_fd)
{
	struct scaler scaler = { .service = service, .link_fd = link_fd };
	struct error error = { 0 };

	service_node(service->settings, scaler.node);
	if (store_wait(service, open_store, &scaler, &error) == 0 &&
	    store_wait(service, open_bell, &scaler, &error) == 0)
		run(&scaler);
	if (scaler.bell)
		bell_close(&scaler.bell);
	store_close(&scaler.store);
	if (!error.code)
		return 0;
	log_line(LOG_FATAL, "scaler-failed", LOG_S("code", error_code_name(error.code)),
		 LOG_S("error", error.message));
	return error.code == ERROR_INVALID ? EX_CONFIG : EX_SOFTWARE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's loop: one page. What callbacks report is only put in lists; the page works them off,
 * hands over to the effects thread once, and waits again. Other threads reach it through
 * descriptors: effects, answers, cancels, the bell, signals. */
#include "workers/engine/engine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/store/pool.h"
#include "workers/engine/endpoints.h"
#include "workers/engine/engine_impl.h"
#include "workers/engine/http_job.h"

#define TICK_MS        1000
#define ABORT_GRACE_MS 2000 /* for the ends of killed hosts to be committed */
#define URGE_PART      4    /* the last quarter of the grace time */

struct cancel_found {
	size_t count;
	struct uuid ids[];
};

/* ---- what the pool reports */

static void pool_ended(void *ctx, struct task *task)
{
	endings_add(ctx, task);
}

static void pool_asks(void *ctx, struct task_ask *ask)
{
	asks_open(ctx, ask);
}

static void pool_progress(void *ctx, struct task *task, double part, const char *note)
{
	struct engine *engine = ctx;

	keeper_progress(engine->keeper, &task->job->id, task->job->attempt, part, note);
}

static const struct pool_ops pool_ops = { .ended = pool_ended,
					  .ask = pool_asks,
					  .progress = pool_progress };

/* ---- what other threads report, on their threads */

static void deliveries_ready(void *ctx)
{
	struct engine *engine = ctx;

	effects_ring(engine->effects);
}

static void keeper_ready(void *ctx)
{
	struct engine *engine = ctx;

	effects_ring(engine->effects);
}

static void keeper_cancels(void *ctx, const struct uuid *ids, size_t count)
{
	struct engine *engine = ctx;
	struct cancel_found *found = xmalloc(sizeof(*found) + count * sizeof(*ids));

	found->count = count;
	memcpy(found->ids, ids, count * sizeof(*ids));
	if (!mailbox_send(engine->cancels, found))
		free(found); /* they are found again by the next poll */
}

static void keeper_targets(void *ctx, struct strbuf *out)
{
	struct engine *engine = ctx;

	remote_describe(engine->o.remote, out);
}

static void keeper_figures(void *ctx, struct session_figures *figures_r)
{
	struct engine *engine = ctx;

	figures_read(&engine->figures, figures_r);
}

/* The next tick acts on it. */
static void keeper_hosts(void *ctx, int wanted)
{
	struct engine *engine = ctx;

	engine->figures.wanted = wanted;
}

static void bell_heard(void *ctx, unsigned what)
{
	struct engine *engine = ctx;
	uint64_t one = 1;

	if (what & (BELL_READY | BELL_PAUSE))
		effects_ring(engine->effects);
	if (what & BELL_READY)
		keeper_kick(engine->keeper);
	if (what & BELL_SCALE)
		keeper_look_at_hosts(engine->keeper);
	if (what & BELL_CANCEL)
		CHECK(write(engine->cancel_fd, &one, sizeof(one)) == sizeof(one));
}

/* ---- cancels */

static void look_for_cancels(struct engine *engine)
{
	size_t count = inflight_count(engine->inflight);
	struct uuid *ids;

	if (!count)
		return;
	ids = xmalloc(count * sizeof(*ids));
	keeper_ask_cancels(engine->keeper, ids, inflight_ids(engine->inflight, ids, count));
	free(ids);
}

static void cancel_one(struct engine *engine, const struct uuid *id)
{
	struct hand *hand = inflight_get(engine->inflight, id);

	if (!hand || hand->cancel_asked)
		return;
	hand->cancel_asked = true;
	asks_cancel(engine, hand);
}

static void cancels_found(void *ctx, uint32_t events)
{
	struct engine *engine = ctx;
	void *item;

	(void)events;
	while (mailbox_take(engine->cancels, &item, 1, 0) == 1) {
		struct cancel_found *found = item;

		for (size_t i = 0; i < found->count; i++)
			cancel_one(engine, &found->ids[i]);
		free(found);
	}
}

static void cancel_rung(void *ctx, uint32_t events)
{
	struct engine *engine = ctx;
	uint64_t ignored;

	(void)events;
	if (read(engine->cancel_fd, &ignored, sizeof(ignored)) > 0)
		look_for_cancels(engine);
}

/* ---- effects and answers */

static void effects_back(void *ctx, uint32_t events)
{
	struct engine *engine = ctx;
	struct claimed_job **jobs;
	size_t count;
	struct list back;

	(void)events;
	list_init(&back);
	effects_collect(engine->effects, &back, &jobs, &count);
	while (!list_empty(&back)) {
		struct effect *effect = list_first(&back, struct effect, link);

		list_remove(&effect->link);
		if (effect->completion->kind == COMPLETION_STEP)
			asks_step_back(engine, effect);
		else if (effect->completion->kind == COMPLETION_ADOPT)
			detach_back(engine, effect);
		else
			endings_back(engine, effect);
	}
	arrivals_take(engine, jobs, count);
}

static void answers_in(void *ctx, uint32_t events)
{
	(void)events;
	asks_page(ctx);
}

/* ---- signals and phases */

static void reload(struct engine *engine)
{
	if (!service_reload(engine->o.service))
		return;
	definitions_unref(&engine->defs);
	engine->defs = definitions_ref(engine->o.service->defs);
	pool_reload(engine->pool, engine->defs);
	remote_configure(engine->o.remote, engine->defs);
	keeper_sync_types(engine->keeper, engine->defs);
	detach_learn(engine);
	engine->o.subscriber->ops->serve(engine->o.subscriber, engine->defs);
	effects_ring(engine->effects);
	effects_tend(engine->effects);
	log_line(LOG_INFO, "definitions-reloaded",
		 LOG_I("types", definitions_type_count(engine->defs)));
}

static void abort_running(struct engine *engine)
{
	engine->phase = ENGINE_ABORTING;
	engine->deadline_ns = clock_mono_ns() + (int64_t)ABORT_GRACE_MS * 1000000;
	pool_abort(engine->pool);
	http_job_cancel_all(engine);
}

/* Takes no more, and lets what runs finish. */
static void retire(struct engine *engine)
{
	log_line(LOG_INFO, "worker-draining", LOG_I("in_hand", inflight_count(engine->inflight)));
	engine->phase = ENGINE_DRAINING;
	engine->figures.leaving = true;
	if (engine->o.subscriber->ops->drain)
		engine->o.subscriber->ops->drain(engine->o.subscriber);
	effects_tend(engine->effects);
	pool_drain(engine->pool);
}

static void drain(struct engine *engine)
{
	int64_t grace_ms = engine->o.service->settings->grace_ms;

	if (engine->phase == ENGINE_RUNNING)
		retire(engine);
	engine->deadline_ns = clock_mono_ns() + grace_ms * 1000000;
	engine->urge_ns = engine->deadline_ns - grace_ms / URGE_PART * 1000000;
}

static void signalled(void *ctx, uint32_t events)
{
	struct engine *engine = ctx;
	enum service_signal signal;

	(void)events;
	while ((signal = service_signal(engine->o.service)) != SERVICE_NONE) {
		if (signal == SERVICE_RELOAD)
			reload(engine);
		else if (signal == SERVICE_RETIRE && engine->phase == ENGINE_RUNNING)
			retire(engine);
		else if (signal == SERVICE_DRAIN && engine->phase != ENGINE_ABORTING)
			drain(engine);
		else if (signal == SERVICE_NOW && engine->phase != ENGINE_ABORTING)
			abort_running(engine);
	}
}

static void look_at_phase(struct engine *engine)
{
	bool late = engine->deadline_ns && clock_mono_ns() >= engine->deadline_ns;

	if (engine->phase == ENGINE_RUNNING)
		return;
	if (engine->urge_ns && clock_mono_ns() >= engine->urge_ns) {
		engine->urge_ns = 0;
		pool_urge(engine->pool);
	}
	if (inflight_count(engine->inflight) == 0) {
		engine->done = true;
	} else if (late && engine->phase == ENGINE_DRAINING) {
		log_line(LOG_WARN, "grace-over",
			 LOG_I("in_hand", inflight_count(engine->inflight)));
		abort_running(engine);
	} else if (late) {
		log_line(LOG_WARN, "left-behind",
			 LOG_I("in_hand", inflight_count(engine->inflight)));
		engine->done = true;
	}
}

/* ---- the page */

static void hand_over(struct engine *engine)
{
	effects_submit(engine->effects, &engine->submits, engine->submit_count,
		       engine->received + arrivals_room(engine));
	engine->submit_count = 0;
}

/* As the store says, else as the file does now. */
static int hosts_wanted(const struct engine *engine)
{
	const struct settings *settings = engine->o.service->settings;
	const struct pool_definition *pool = definitions_pool(engine->defs, settings->pool);
	int wanted = engine->figures.wanted;

	if (wanted > 0)
		return wanted;
	return pool ? pool_definition_hosts(pool, settings) : settings->concurrency;
}

static void follow_hosts(struct engine *engine)
{
	int wanted = hosts_wanted(engine);

	if (engine->phase != ENGINE_RUNNING || wanted == engine->figures.hosts)
		return;
	log_line(LOG_INFO, "hosts-scaled", LOG_I("from", engine->figures.hosts),
		 LOG_I("to", wanted));
	engine->figures.hosts = wanted;
	pool_resize(engine->pool, wanted);
	hand_over(engine); /* says how many jobs may be claimed now */
}

static void tick(void *ctx)
{
	struct engine *engine = ctx;
	size_t in_hand = inflight_count(engine->inflight);

	metric_set(engine->in_flight, (double)in_hand);
	figures_tick(&engine->figures, engine->received - in_hand, clock_mono_ms());
	follow_hosts(engine);
	metrics_count_log(engine->o.service->metrics);
	look_for_cancels(engine);
	loop_timer_set(engine->tick, clock_mono_ns() + (int64_t)TICK_MS * 1000000);
}

static int wait_ms(struct engine *engine)
{
	int flush_ms = outcome_log_flush(engine->log, clock_mono_ms());

	if (!list_empty(&engine->endings))
		return 0;
	if (engine->phase != ENGINE_RUNNING && (flush_ms < 0 || flush_ms > 50))
		return 50;
	return flush_ms;
}

static void page(struct engine *engine)
{
	loop_once(engine->loop, wait_ms(engine));
	endings_page(engine);
	hand_over(engine);
	engine->figures.in_hand = inflight_count(engine->inflight);
	look_at_phase(engine);
}

size_t engine_in_hand(struct engine *engine)
{
	return engine->figures.in_hand;
}

bool engine_ready(struct engine *engine, struct strbuf *why_r)
{
	struct subscriber *subscriber = engine->o.subscriber;

	if (engine->phase != ENGINE_RUNNING)
		strbuf_addstr(why_r, "draining");
	else if (keeper_away(engine->keeper))
		strbuf_addstr(why_r, "the store cannot be reached");
	else
		return !subscriber->ops->ready || subscriber->ops->ready(subscriber, why_r);
	return false;
}

void engine_run(struct engine *engine)
{
	hand_over(engine); /* says how many jobs may be claimed */
	while (!engine->done)
		page(engine);
	log_line(LOG_INFO, "worker-drained", LOG_I("in_hand", inflight_count(engine->inflight)));
}

/* ---- making and unmaking */

static void watch(struct engine *engine)
{
	struct loop *loop = engine->loop;

	engine->watches[0] =
		loop_add(loop, effects_fd(engine->effects), EPOLLIN, effects_back, engine);
	engine->watches[1] =
		loop_add(loop, mailbox_fd(engine->answers), EPOLLIN, answers_in, engine);
	engine->watches[2] =
		loop_add(loop, mailbox_fd(engine->cancels), EPOLLIN, cancels_found, engine);
	engine->watches[3] = loop_add(loop, engine->cancel_fd, EPOLLIN, cancel_rung, engine);
	engine->watches[4] =
		loop_add(loop, engine->o.service->signal_fd, EPOLLIN, signalled, engine);
	engine->detach = loop_timer_new(loop, detach_due, engine);
	engine->tick = loop_timer_new(loop, tick, engine);
	tick(engine);
}

static void make_pool(struct engine *engine)
{
	const struct settings *settings = engine->o.service->settings;
	struct pool_options options = {
		.loop = engine->loop,
		.hosts_max = engine->figures.hosts,
		.program = engine->o.program,
		.payload_bytes_max = settings->body_bytes_max,
		.result_bytes_max = settings->result_bytes_max,
		.hidden = engine->o.hidden,
		.metrics = engine->o.service->metrics,
		.ops = &pool_ops,
		.ctx = engine,
	};

	engine->pool = pool_new(&options);
}

static void start_threads(struct engine *engine)
{
	const struct engine_options *o = &engine->o;
	const struct settings *settings = o->service->settings;
	struct effects_options effects = {
		.store = o->effects_store,
		.subscriber = o->subscriber,
		.bell = o->bell,
		.consumers = o->consumers,
		.metrics = o->service->metrics,
	};
	struct keeper_options keeper = {
		.store = o->keeper_store,
		.endpoints = engine->endpoints,
		.bell = o->bell,
		.session = o->session,
		.lease_ms = settings->lease_ms,
		.broker = *settings->broker_url != '\0',
		.pool = settings->pool,
		.node = engine->node,
		.keep_ms = settings->keep_ms,
		.keep_dead_ms = settings->keep_dead_ms,
		.ready = keeper_ready,
		.cancels = keeper_cancels,
		.targets = keeper_targets,
		.figures = keeper_figures,
		.hosts = keeper_hosts,
		.ctx = engine,
	};

	engine->effects = effects_new(&effects);
	if (o->subscriber->ops->on_ready) /* it takes nothing before the engine runs */
		o->subscriber->ops->on_ready(o->subscriber, deliveries_ready, engine);
	engine->keeper = keeper_new(&keeper);
	engine->readers = readers_new(o->reader_stores, ENGINE_READERS, ANSWER_BYTES_MAX,
				      asks_query_done, engine);
	engine->listener = listener_new(o->bell, bell_heard, engine);
}

struct engine *engine_new(const struct engine_options *options)
{
	struct engine *engine = xcalloc(1, sizeof(*engine));
	const struct settings *settings = options->service->settings;

	engine->o = *options;
	service_node(settings, engine->node);
	engine->phase = ENGINE_RUNNING;
	engine->defs = definitions_ref(options->service->defs);
	list_init(&engine->submits);
	list_init(&engine->endings);
	list_init(&engine->lent);
	list_init(&engine->https);
	engine->endpoints = endpoints_new();
	engine->inflight = inflight_new(HAND_MAX);
	engine->answers = mailbox_new(ANSWERS_MAX);
	engine->cancels = mailbox_new(64);
	engine->cancel_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	CHECK(engine->cancel_fd >= 0);
	engine->log = outcome_log_new(options->service->metrics, settings->log_jobs,
				      settings->log_jobs_sample);
	engine->in_flight =
		metrics_series(options->service->metrics, METRIC_JOBS_IN_FLIGHT, NULL, NULL);
	engine->loop = loop_new();
	engine->figures.wanted = POOL_AS_FILE;
	engine->figures.hosts = hosts_wanted(engine);
	make_pool(engine);
	detach_learn(engine);
	engine->o.subscriber->ops->serve(engine->o.subscriber, engine->defs);
	start_threads(engine);
	watch(engine);
	return engine;
}

/* Nothing calls back any more when this returns. */
static void stop_threads(struct engine *engine)
{
	effects_stop(engine->effects, inflight_count(engine->inflight) > 0);
	if (engine->o.subscriber->ops->on_ready)
		engine->o.subscriber->ops->on_ready(engine->o.subscriber, NULL, NULL);
	listener_free(&engine->listener);
	keeper_stop(engine->keeper);
	readers_free(&engine->readers);
	remote_free(&engine->o.remote);
}

static void drop_what_is_left(struct engine *engine)
{
	void *item;

	while (mailbox_take(engine->cancels, &item, 1, 0) == 1)
		free(item);
	engine->phase = ENGINE_ABORTING; /* what was claimed last is not started */
	effects_back(engine, 0);
	while (mailbox_count(engine->answers) > 0)
		asks_page(engine);
	endings_drop(engine);
}

void engine_free(struct engine **engine)
{
	struct engine *e = *engine;

	if (!e)
		return;
	pool_free(&e->pool);
	stop_threads(e);
	drop_what_is_left(e);
	for (size_t i = 0; i < ARRAY_LEN(e->watches); i++)
		loop_remove(e->loop, &e->watches[i]);
	loop_timer_free(&e->detach);
	loop_timer_free(&e->tick);
	loop_free(&e->loop);
	effects_free(&e->effects);
	keeper_free(&e->keeper);
	endpoints_free(&e->endpoints);
	outcome_log_free(&e->log);
	mailbox_free(&e->answers);
	mailbox_free(&e->cancels);
	inflight_free(&e->inflight);
	close(e->cancel_fd);
	definitions_unref(&e->defs);
	free(e);
	*engine = NULL;
}

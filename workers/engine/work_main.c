/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass work`: builds one engine, joins it to the consumers' side (the store as the queue, or a
 * broker's feed), runs it until it is drained. Waits for a store that is away; takes everything
 * down in reverse. */
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/config/broker_url.h"
#include "common/service/admin.h"
#include "common/service/service.h"
#include "common/service/store_wait.h"
#include "common/store/registry.h"
#include "common/store/session.h"
#include "consumers/receive/receive.h"
#include "consumers/settle/settle.h"
#include "consumers/subscribe/broker_subscriber.h"
#include "consumers/subscribe/store_subscriber.h"
#include "workers/engine/engine.h"
#include "workers/engine/hidden_files.h"
#include "workers/engine/keeper.h"
#include "workers/handlers/sandbox.h"

#define FEED_MESSAGES  2000        /* delivered and not taken yet */
#define ENVELOPE_BYTES (64 * 1024) /* of a message, around its payload */

static const struct consumer_ops consumers = {
	.arrive = receive_arrive,
	.settle = settle_attempt,
	.refused = settle_refused,
	.verb = settle_verb,
};

struct worker {
	struct service *service;
	struct uuid session, predecessors[SERVICE_PREDECESSORS_MAX];
	size_t predecessor_count; /* not ended yet */
	bool supervised;          /* started by `windlass run` */
	struct store *effects_store, *keeper_store, *reader_stores[ENGINE_READERS];
	struct store *feed_store; /* a log's feed asks it where to begin; or NULL */
	struct bell *bell;
	struct subscriber *subscriber;
	struct receive *receive;
	struct arena *arena; /* of what follows */
	struct broker_url broker;
};

static feed_new_fn *const feeds[] = {
	[BROKER_AMQP] = amqp_feed_new,
	[BROKER_KAFKA] = kafka_feed_new,
	[BROKER_SQS] = sqs_feed_new,
};

static int open_one(struct worker *worker, enum store_use use, const char *role,
		    struct store **store, struct error *err_r)
{
	return *store ? 0
		      : store_open(worker->service->settings->database_url, use, role, store,
				   err_r);
}

static int open_writers(void *ctx, struct error *err_r)
{
	struct worker *worker = ctx;
	if (open_one(worker, STORE_WRITE, "windlass work", &worker->effects_store, err_r) < 0)
		return -1;
	return open_one(worker, STORE_WRITE, "windlass keeper", &worker->keeper_store, err_r);
}

static int open_readers(void *ctx, struct error *err_r)
{
	struct worker *worker = ctx;
	for (int i = 0; i < ENGINE_READERS; i++) {
		if (open_one(worker, STORE_READ, "windlass reader", &worker->reader_stores[i],
			     err_r) < 0)
			return -1;
	}
	return 0;
}

static int migrate(void *ctx, struct error *err_r)
{
	struct worker *worker = ctx;
	int applied;

	if (store_migrate(worker->keeper_store, &applied, err_r) < 0)
		return -1;
	if (applied)
		log_line(LOG_INFO, "store-migrated", LOG_I("applied", applied));
	return registry_sync(worker->keeper_store, worker->service->defs, err_r);
}

static int open_feed_store(void *ctx, struct error *err_r)
{
	struct worker *worker = ctx;

	if (worker->broker.kind != BROKER_KAFKA)
		return 0;
	return open_one(worker, STORE_WRITE, "windlass feed", &worker->feed_store, err_r);
}

/* What the dead one had in hand is released before anything is taken. */
static int begin_session(void *ctx, struct error *err_r)
{
	struct worker *worker = ctx;
	char host[64] = "", node[SERVICE_NODE_BYTES];
	struct session_info info = {
		.id = worker->session,
		.host = host,
		.pid = (int)getpid(),
		.lease_ms = worker->service->settings->lease_ms,
		.broker = worker->broker.kind != BROKER_NONE,
		.pool = worker->service->settings->pool,
		.node = service_node(worker->service->settings, node),
	};
	int64_t released;
	bool fresh;

	for (; worker->predecessor_count; worker->predecessor_count--) {
		if (session_end(worker->keeper_store,
				&worker->predecessors[worker->predecessor_count - 1], &released,
				err_r) < 0)
			return -1;
		log_line(LOG_INFO, "predecessor-ended", LOG_I("released", released));
	}
	gethostname(host, sizeof(host) - 1);
	return session_renew(worker->keeper_store, &info, &fresh, err_r);
}

static int open_bell(void *ctx, struct error *err_r)
{
	struct worker *worker = ctx;
	worker->bell =
		bell_open(worker->service->settings->database_url,
			  BELL_READY | BELL_CANCEL | BELL_PAUSE | BELL_WATCH | BELL_SCALE, err_r);
	return worker->bell ? 0 : -1;
}

static struct subscriber *subscribe_to_broker(struct worker *worker, struct error *err_r)
{
	const struct settings *settings = worker->service->settings;
	struct broker_subscriber_options options = {
		.store = worker->effects_store,
		.session = worker->session,
		.kind = worker->broker.kind,
		.prefix = settings->broker_prefix,
		.pool = settings->pool,
		.keep_ms = settings->keep_ms,
		.payload_bytes_max = (size_t)settings->body_bytes_max,
		.feed_new = feeds[worker->broker.kind],
	};

	options.feed = (struct feed_options){
		.broker_url = settings->broker_url,
		.client = "windlass work",
		.group = settings->broker_group,
		.ca_file = *settings->broker_ca_file ? settings->broker_ca_file : NULL,
		.buffer_max = FEED_MESSAGES,
		.message_bytes_max = (size_t)settings->body_bytes_max + ENVELOPE_BYTES,
		.metrics = worker->service->metrics,
		.store = worker->feed_store,
	};
	return broker_subscriber_new(&options, err_r);
}

static int subscribe(struct worker *worker, struct error *err_r)
{
	worker->subscriber = worker->broker.kind == BROKER_NONE
				     ? store_subscriber_new(worker->effects_store, &worker->session,
							    worker->service->settings->pool)
				     : subscribe_to_broker(worker, err_r);
	return worker->subscriber ? 0 : -1;
}

static int prepare(struct worker *worker, struct error *err_r)
{
	static store_wait_fn *const steps[] = { open_writers,  migrate,         open_readers,
						begin_session, open_feed_store, open_bell };

	if (broker_url_parse(worker->service->settings->broker_url, worker->arena, &worker->broker,
			     err_r) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		if (store_wait(worker->service, steps[i], worker, err_r) < 0)
			return -1;
	}
	worker->receive = receive_new();
	return subscribe(worker, err_r);
}

static bool ready(void *ctx, struct strbuf *why_r)
{
	return engine_ready(ctx, why_r);
}

static size_t in_hand(void *ctx)
{
	return engine_in_hand(ctx);
}

static int run(struct worker *worker, struct error *err_r)
{
	const char *ca_file = worker->service->settings->remote_ca_file;
	struct engine_options options = {
		.service = worker->service,
		.effects_store = worker->effects_store,
		.keeper_store = worker->keeper_store,
		.bell = worker->bell,
		.subscriber = worker->subscriber,
		.receive = worker->receive,
		.consumers = &consumers,
		.session = worker->session,
		/* also when an upgrade has put another one in its place */
		.program = "/proc/self/exe",
		.hidden = hidden_files(worker->service->settings, worker->service->defs,
				       worker->arena),
	};
	struct engine *engine;
	struct admin *admin = NULL;
	char session[UUID_TEXT];
	int result;

	for (int i = 0; i < ENGINE_READERS; i++)
		options.reader_stores[i] = worker->reader_stores[i];
	options.remote = remote_new(*ca_file ? ca_file : NULL, err_r);
	if (!options.remote ||
	    remote_allow(options.remote, worker->service->settings->remote_allow, err_r) < 0)
		return -1;
	remote_observe(options.remote, worker->service->metrics);
	remote_configure(options.remote, worker->service->defs);
	engine = engine_new(&options);
	log_line(LOG_INFO, "worker-started",
		 LOG_S("session", uuid_format(&worker->session, session)),
		 LOG_S("store", store_label(worker->effects_store)),
		 LOG_S("broker", worker->broker.kind == BROKER_NONE
					 ? NULL
					 : broker_url_label(&worker->broker, worker->arena)),
		 LOG_S("pool", worker->service->settings->pool),
		 LOG_I("landlock", sandbox_landlock()), LOG_I("seccomp", sandbox_seccomp()));
	/* A worker under `run` has no listener: the gateway shows its figures. */
	result = worker->supervised ? 0
				    : admin_start_alone(worker->service, "worker", ready, in_hand,
							engine, &admin, err_r);
	if (result == 0)
		engine_run(engine);
	admin_stop(&admin);
	engine_free(&engine);
	return result;
}

/* Gives back at once what is left; when the store is away the lease's end does it. */
static void end_session(struct worker *worker)
{
	int64_t released = 0;
	struct error error;

	if (!worker->keeper_store)
		return;
	if (session_end(worker->keeper_store, &worker->session, &released, &error) < 0)
		log_line(LOG_WARN, "session-not-ended", LOG_S("error", error.message));
	else if (released > 0 && worker->bell)
		bell_ring(worker->bell, BELL_READY);
}

static void release(struct worker *worker)
{
	if (worker->subscriber)
		worker->subscriber->ops->free(worker->subscriber);
	receive_free(&worker->receive);
	if (worker->bell)
		bell_close(&worker->bell);
	for (int i = 0; i < ENGINE_READERS; i++)
		store_close(&worker->reader_stores[i]);
	store_close(&worker->feed_store);
	store_close(&worker->keeper_store);
	store_close(&worker->effects_store);
	arena_free(&worker->arena);
}

static bool read_sessions(struct worker *worker, const char *session_text,
			  const char *const *predecessors, size_t count)
{
	uuid_v7(&worker->session);
	if (count > SERVICE_PREDECESSORS_MAX ||
	    (session_text && !uuid_parse(session_text, &worker->session)))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!uuid_parse(predecessors[i], &worker->predecessors[i]))
			return false;
	}
	worker->predecessor_count = count;
	return true;
}

/* Under `run` the file may have changed and not been read by it yet. */
static bool pool_known(const struct service *service)
{
	const char *pool = service->settings->pool;

	if (!*pool || definitions_pool(service->defs, pool))
		return true;
	log_line(LOG_FATAL, "pool-unknown", LOG_S("pool", pool),
		 LOG_S("file", definitions_file(service->defs)));
	return false;
}

int work_main(struct service *service, const char *session_text, const char *const *predecessors,
	      size_t predecessor_count)
{
	struct worker worker = { .service = service,
				 .supervised = session_text != NULL,
				 .arena = arena_new(0) };
	struct error error = { 0 };

	if (!read_sessions(&worker, session_text, predecessors, predecessor_count)) {
		log_line(LOG_FATAL, "bad-session");
		arena_free(&worker.arena);
		return EX_USAGE;
	}
	if (!pool_known(service)) {
		arena_free(&worker.arena);
		return session_text ? EX_TEMPFAIL : EX_CONFIG;
	}
	if (prepare(&worker, &error) == 0 && run(&worker, &error) == 0)
		error_clear(&error);
	end_session(&worker);
	release(&worker);
	log_flush();
	if (!error.code)
		return 0;
	log_line(LOG_FATAL, "worker-failed", LOG_S("code", error_code_name(error.code)),
		 LOG_S("error", error.message));
	return error.code == ERROR_INVALID ? EX_CONFIG : EX_SOFTWARE;
}

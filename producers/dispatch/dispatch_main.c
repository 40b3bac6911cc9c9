/* SPDX-License-Identifier: Apache-2.0 */
/* The role `dispatch`: one thread sends jobs, another results, each with a connection to the store
 * and one to the broker. On SIGTERM both finish the send that is under way and give back what was
 * not confirmed; on SIGHUP the definitions are read again. Any number of it may run. */
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/service/admin.h"
#include "common/service/service.h"
#include "common/service/store_wait.h"
#include "common/store/registry.h"
#include "producers/dispatch/dispatcher.h"
#include "producers/dispatch/relay.h"

#define TICK_MS       1000
#define DRAIN_TICK_MS 20

struct side { /* what one thread has */
	struct store *store;
	struct bell *bell;
	struct publisher *publisher;
};

struct role {
	struct service *service;
	struct arena *arena; /* of url */
	struct broker_url url;
	struct side jobs, results;
	struct dispatcher *dispatcher;
	struct relay *relay;
	struct admin *admin;
};

/* ---- start */

static int prepare_store(void *ctx, struct error *err_r)
{
	struct role *role = ctx;
	const char *url = role->service->settings->database_url;
	int applied;

	if (!role->jobs.store &&
	    store_open(url, STORE_WRITE, "windlass dispatch", &role->jobs.store, err_r) < 0)
		return -1;
	if (!role->results.store &&
	    store_open(url, STORE_WRITE, "windlass results", &role->results.store, err_r) < 0)
		return -1;
	if (store_migrate(role->jobs.store, &applied, err_r) < 0)
		return -1;
	return registry_sync(role->jobs.store, role->service->defs, err_r);
}

static int open_side(struct role *role, struct side *side, unsigned listen, const char *client,
		     struct error *err_r)
{
	static struct publisher *(*const makers[])(const struct publisher_options *,
						   struct error *) = {
		[BROKER_AMQP] = amqp_publisher_new,
		[BROKER_KAFKA] = kafka_publisher_new,
		[BROKER_SQS] = sqs_publisher_new,
	};
	const struct settings *settings = role->service->settings;
	struct publisher_options options = {
		.broker_url = settings->broker_url,
		.client = client,
		.ca_file = *settings->broker_ca_file ? settings->broker_ca_file : NULL,
		.metrics = role->service->metrics,
	};

	side->bell = bell_open(settings->database_url, listen, err_r);
	if (!side->bell)
		return -1;
	side->publisher = makers[role->url.kind](&options, err_r);
	return side->publisher ? 0 : -1;
}

/* Stands for the broker in all dispatchers, so that each sees what the others have sent. */
static struct uuid broker_owner(const struct role *role)
{
	static const struct uuid space = { .b = "windlass broker" };
	const char *label = broker_url_label(&role->url, role->arena);
	struct uuid owner;

	uuid_named(&space, label, strlen(label), &owner);
	return owner;
}

static bool ready(void *ctx, struct strbuf *why_r)
{
	return dispatcher_ready(ctx, why_r);
}

static int start_threads(struct role *role, struct error *err_r)
{
	const struct settings *settings = role->service->settings;

	if (open_side(role, &role->jobs, BELL_READY | BELL_PAUSE | BELL_ENDED, "windlass-dispatch",
		      err_r) < 0 ||
	    open_side(role, &role->results, BELL_ENDED, "windlass-results", err_r) < 0)
		return -1;
	role->dispatcher = dispatcher_new(&(struct dispatcher_options){
		.store = role->jobs.store,
		.bell = role->jobs.bell,
		.publisher = role->jobs.publisher,
		.kind = role->url.kind,
		.prefix = settings->broker_prefix,
		.owner = broker_owner(role),
		.lease_ms = settings->dispatch_lease_ms,
		.defs = role->service->defs,
		.metrics = role->service->metrics,
	});
	role->relay = relay_new(&(struct relay_options){
		.store = role->results.store,
		.bell = role->results.bell,
		.publisher = role->results.publisher,
		.defs = role->service->defs,
		.metrics = role->service->metrics,
	});
	dispatcher_start(role->dispatcher);
	relay_start(role->relay);
	return 0;
}

static int start(struct role *role, bool supervised, struct error *err_r)
{
	const struct settings *settings = role->service->settings;

	if (broker_url_parse(settings->broker_url, role->arena, &role->url, err_r) < 0)
		return -1;
	if (role->url.kind == BROKER_NONE)
		return error_set(err_r, ERROR_INVALID,
				 "BROKER_URL is not set: there is nowhere to dispatch to");
	if (store_wait(role->service, prepare_store, role, err_r) < 0 ||
	    start_threads(role, err_r) < 0)
		return -1;
	log_line(LOG_INFO, "dispatch-started",
		 LOG_S("broker", broker_url_label(&role->url, role->arena)),
		 LOG_S("store", store_label(role->jobs.store)));
	return supervised ? 0
			  : admin_start_alone(role->service, "dispatch", ready, NULL,
					      role->dispatcher, &role->admin, err_r);
}

/* ---- stop */

static void close_side(struct side *side)
{
	if (side->publisher)
		side->publisher->ops->free(&side->publisher);
	if (side->bell)
		bell_close(&side->bell);
	store_close(&side->store);
}

static void stop(struct role *role)
{
	admin_stop(&role->admin);
	dispatcher_free(&role->dispatcher);
	relay_free(&role->relay);
	close_side(&role->jobs);
	close_side(&role->results);
	if (role->url.password)
		explicit_bzero((char *)role->url.password, strlen(role->url.password));
	arena_free(&role->arena);
}

/* ---- run */

/* False: the time is over, or a second signal came. */
static bool drain(struct role *role)
{
	int64_t until_ms = clock_mono_ms() + role->service->settings->grace_ms;

	log_line(LOG_INFO, "dispatch-draining");
	dispatcher_close(role->dispatcher);
	relay_close(role->relay);
	while (!dispatcher_ended(role->dispatcher) || !relay_ended(role->relay)) {
		if (service_wait(role->service, DRAIN_TICK_MS) == SERVICE_NOW ||
		    clock_mono_ms() > until_ms)
			return false;
	}
	return true;
}

static void reload(struct role *role)
{
	if (!service_reload(role->service))
		return;
	dispatcher_serve(role->dispatcher, role->service->defs);
	relay_serve(role->relay, role->service->defs);
}

/* False: leave at once. */
static bool serve(struct role *role)
{
	for (;;) {
		switch (service_wait(role->service, TICK_MS)) {
		case SERVICE_DRAIN:
		case SERVICE_RETIRE:
			return drain(role);
		case SERVICE_NOW:
			return false;
		case SERVICE_RELOAD:
			reload(role);
			break;
		case SERVICE_NONE:
		case SERVICE_CHILD:
		case SERVICE_MORE:
		case SERVICE_LESS:
			break;
		}
		metrics_count_log(role->service->metrics);
	}
}

int dispatch_main(struct service *service, bool supervised)
{
	struct role role = { .service = service, .arena = arena_new(0) };
	struct error error = { 0 };

	if (start(&role, supervised, &error) == 0 && !serve(&role)) {
		/* What was sent and not confirmed is leased until its time, and then comes again.
		 */
		log_line(LOG_WARN, "dispatch-left-early");
		log_flush();
		_exit(0);
	}
	stop(&role);
	if (!error.code) {
		log_line(LOG_INFO, "dispatch-stopped");
		return EX_OK;
	}
	log_line(LOG_FATAL, "dispatch-failed", LOG_S("code", error_code_name(error.code)),
		 LOG_S("error", error.message));
	return error.code == ERROR_INVALID ? EX_CONFIG : EX_UNAVAILABLE;
}

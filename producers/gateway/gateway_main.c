/* SPDX-License-Identifier: Apache-2.0 */
/* The role `gateway`: builds its parts, listens, drains. On SIGTERM /readyz turns red, nobody new
 * is let in, waiters get their 202, what is in hand is answered, exit 0. On SIGHUP the job
 * definitions, the API keys if they are in a file, the issuer's keys and the certificate are read
 * again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/http/server.h"
#include "common/service/service.h"
#include "common/service/store_wait.h"
#include "common/store/registry.h"
#include "producers/batch/feeder.h"
#include "producers/gateway/access.h"
#include "producers/gateway/certificate.h"
#include "producers/gateway/event_stream.h"
#include "producers/gateway/front.h"
#include "producers/gateway/gateway.h"
#include "producers/gateway/graphql.h"
#include "producers/gateway/inner.h"
#include "producers/gateway/limiter.h"
#include "producers/gateway/monitor.h"
#include "producers/gateway/origin.h"
#include "producers/gateway/pages.h"
#include "producers/gateway/readers.h"
#include "producers/gateway/waiters.h"
#include "producers/gateway/watch.h"
#include "producers/gateway/ws.h"
#include "producers/grpc/grpc.h"
#include "producers/schedule/scheduler.h"
#include "producers/submit/submitter.h"

#define READER_THREADS        3
#define CONNECTIONS_MAX       20000
#define GRPC_SHARE            8   /* of the connections, one part, where there is gRPC */
#define SPARE_FDS             200 /* of the limit, for everything that is no client */
#define ADMIN_CONNECTIONS_MAX 200
#define TICK_MS               1000
#define LINGER_MS             100 /* quiet time after the last answer of a drain */

struct role {
	struct service *service;
	struct gateway gateway;
	struct front *front, *admin; /* admin NULL: the same listener */
	struct grpc *grpc;           /* NULL: not listened for */
	struct metric_series *connections, *certificate_ends;
};

struct definitions *gateway_definitions(struct gateway *gateway)
{
	pthread_mutex_lock(&gateway->defs_lock);
	struct definitions *defs = definitions_ref(gateway->defs);
	pthread_mutex_unlock(&gateway->defs_lock);
	return defs;
}

static size_t pending(const struct role *role)
{
	return (role->front ? front_pending(role->front) : 0) +
	       (role->admin ? front_pending(role->admin) : 0) +
	       (role->gateway.inner ? inner_pending(role->gateway.inner) : 0) +
	       (role->grpc ? grpc_pending(role->grpc) : 0) +
	       (role->gateway.ws ? ws_count(role->gateway.ws) : 0);
}

/* A request is counted before it looks at `closed`, so after this nobody uses the parts any more.
 */
static bool close_doors(struct role *role, int64_t until_ms)
{
	atomic_store(&role->gateway.closed, true);
	while (pending(role) > 0) {
		if (service_wait(role->service, 10) == SERVICE_NOW || clock_mono_ms() > until_ms)
			return false;
	}
	return true;
}

/* ---- start */

static int config_error(const char *message)
{
	log_line(LOG_FATAL, "gateway-refused", LOG_S("error", message));
	return EX_CONFIG;
}

static bool runs_schedules(const struct gateway *gateway)
{
	return strcmp(gateway->settings->scheduler, "on") == 0;
}

static int read_access(struct role *role)
{
	struct gateway *gateway = &role->gateway;
	const char *listen_text = gateway->settings->http_listen;
	struct error err;
	char host[256];
	int port;

	gateway->access = access_new(gateway->settings, &err);
	if (!gateway->access ||
	    watch_keys_parse(gateway->settings->watch_secret, &gateway->watch, &err) < 0)
		return config_error(err.message);
	gateway->limiter = limiter_new();
	gateway->pages = pages_open(gateway->settings->pages, &err);
	if (!gateway->pages)
		return config_error(err.message);
	gateway->origins = origin_list_parse(gateway->settings->cors_origins, &err);
	if (!gateway->origins)
		return config_error(err.message);
	gateway->graphql = graphql_open(gateway->settings, access_open(gateway->access), &err);
	if (!gateway->graphql)
		return config_error(err.message);
	if (!runs_schedules(gateway) && strcmp(gateway->settings->scheduler, "off") != 0)
		return config_error("WINDLASS_SCHEDULER is neither on nor off");
	if (!server_split_address(listen_text, host, sizeof(host), &port))
		return config_error("WINDLASS_HTTP_LISTEN is not host:port");
	if (access_open(gateway->access) && !server_is_loopback(host))
		return config_error(
			"WINDLASS_HTTP_LISTEN is not a loopback address and WINDLASS_API_KEYS is empty: "
			"everybody could do everything");
	if (access_open(gateway->access) && *gateway->settings->grpc_listen &&
	    !settings_listen_loopback(gateway->settings->grpc_listen))
		return config_error(
			"WINDLASS_GRPC_LISTEN is not a loopback address and WINDLASS_API_KEYS is empty: "
			"everybody could do everything");
	return 0;
}

/* Says until when it is good, as a warning when that is soon. */
static void tell_certificate(struct role *role, const struct tls_pair *pair, const char *event)
{
	int64_t ends_s = tls_pair_ends_s(pair);
	enum certificate_state state =
		certificate_state(tls_pair_starts_s(pair), ends_s, clock_wall_ms() / 1000);
	char text[120];

	certificate_say(state, pair, text, sizeof(text));
	log_line(LOG_INFO, event, LOG_S("about", text));
	if (state != CERTIFICATE_GOOD)
		log_line(LOG_WARN, "certificate-ends", LOG_S("about", text));
	metric_set(role->certificate_ends, (double)ends_s);
}

static int read_certificate(struct role *role)
{
	struct gateway *gateway = &role->gateway;
	struct error err;

	role->certificate_ends =
		metrics_series(gateway->metrics, METRIC_CERTIFICATE_ENDS, NULL, NULL);
	if (certificate_load(gateway->settings, &gateway->tls, &err) < 0)
		return config_error(err.message);
	if (gateway->tls)
		tell_certificate(role, gateway->tls, "certificate-loaded");
	return 0;
}

/* Gateways behind one address have to know each other's tokens: what nobody has set, the store
 * keeps. */
static int share_watch_key(struct gateway *gateway, struct store *store, struct error *err_r)
{
	struct watch_keys *watch = &gateway->watch;

	if (watch->count > 0)
		return 0;
	random_bytes(watch->keys[0], sizeof(watch->keys[0]));
	if (store_share_secret(store, "watch", watch->keys[0], err_r) < 0)
		return -1;
	watch->count = 1;
	return 0;
}

static int sync_definitions(struct gateway *gateway, struct store *store, struct error *err_r)
{
	if (registry_sync(store, gateway->defs, err_r) < 0)
		return -1;
	return runs_schedules(gateway) ? registry_sync_schedules(store, gateway->defs, err_r) : 0;
}

static int prepare_once(void *ctx, struct error *err_r)
{
	struct role *role = ctx;
	struct store *store = NULL;
	int applied, rc;

	if (store_open(role->gateway.settings->database_url, STORE_WRITE, "windlass-prepare",
		       &store, err_r) < 0)
		return -1;
	rc = store_migrate(store, &applied, err_r);
	if (rc == 0)
		rc = sync_definitions(&role->gateway, store, err_r);
	if (rc == 0)
		rc = share_watch_key(&role->gateway, store, err_r);
	if (rc == 0)
		log_line(LOG_INFO, "store-prepared", LOG_S("store", store_label(store)),
			 LOG_I("migrations", applied));
	store_close(&store);
	return rc;
}

/* *stopped_r: told to stop meanwhile. */
static int prepare_store(struct role *role, bool *stopped_r)
{
	struct error err;

	if (store_wait(role->service, prepare_once, role, &err) == 0)
		return 0;
	*stopped_r = err.code == ERROR_NONE;
	if (*stopped_r)
		return 0;
	log_line(LOG_FATAL, "store-unusable", LOG_S("error", err.message));
	return EX_CONFIG;
}

static int connections_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 512;
	limit.rlim_cur = limit.rlim_max < CONNECTIONS_MAX + SPARE_FDS ? limit.rlim_max
								      : CONNECTIONS_MAX + SPARE_FDS;
	setrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur > 2 * SPARE_FDS ? (int)limit.rlim_cur - SPARE_FDS
					      : (int)limit.rlim_cur / 2;
}

static int server_threads(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return cores < 2 ? 1 : cores > 8 ? 8 : (int)cores;
}

static struct definitions *definitions_now(void *gateway)
{
	return gateway_definitions(gateway);
}

static struct watch *open_hub(struct gateway *gateway)
{
	const struct settings *settings = gateway->settings;
	struct watch_options options = {
		.database_url = settings->database_url,
		.bell = gateway->bell,
		.metrics = gateway->metrics,
		.definitions = definitions_now,
		.ctx = gateway,
		.keep_ms = settings->keep_ms,
		.watchers_max = (size_t)settings->watchers_max,
		.per_account_max = (size_t)settings->watchers_per_caller,
	};

	return watch_open(&options);
}

static struct feeder *start_feeder(struct gateway *gateway)
{
	const struct settings *settings = gateway->settings;
	struct feeder_options options = {
		.database_url = settings->database_url,
		.folder = settings->batch_dir,
		.queue_max = settings->queue_max,
		.payload_bytes_max = (size_t)settings->body_bytes_max,
		.bell = gateway->bell,
		.metrics = gateway->metrics,
		.definitions = definitions_now,
		.ctx = gateway,
	};

	return feeder_start(&options);
}

static void start_scheduler(struct gateway *gateway)
{
	const struct scheduler_options options = {
		.database_url = gateway->settings->database_url,
		.payload_bytes_max = (size_t)gateway->settings->body_bytes_max,
		.bell = gateway->bell,
		.metrics = gateway->metrics,
		.definitions = definitions_now,
		.ctx = gateway,
	};

	if (runs_schedules(gateway))
		gateway->scheduler = scheduler_start(&options);
}

static int start_parts(struct role *role, struct error *err_r)
{
	struct gateway *gateway = &role->gateway;
	const char *url = gateway->settings->database_url;
	struct submitter_options submitter = {
		.database_url = url,
		.queue_max = gateway->settings->queue_max,
		.metrics = gateway->metrics,
	};

	gateway->bell = bell_open(url, BELL_ENDED | BELL_WATCH, err_r);
	if (!gateway->bell)
		return -1;
	submitter.bell = gateway->bell;
	gateway->submitter = submitter_start(&submitter);
	start_scheduler(gateway);
	gateway->readers = readers_start(url, READER_THREADS);
	gateway->feeder = start_feeder(gateway);
	gateway->waiters = waiters_start(url, gateway->bell, gateway->limiter, gateway->metrics);
	gateway->monitor = monitor_start(gateway);
	gateway->inner = inner_start(gateway);
	gateway->hub = open_hub(gateway);
	gateway->streams = event_streams_start();
	gateway->ws = ws_start(gateway, (size_t)connections_max());
	return 0;
}

static int start_grpc(struct role *role, size_t connections, struct error *err_r)
{
	const struct settings *settings = role->gateway.settings;
	struct grpc_options options = {
		.listen = settings->grpc_listen,
		.cert_file = settings->tls_cert,
		.key_file = settings->tls_key,
		.connections_max = connections,
		.inner = role->gateway.inner,
		.watch = role->gateway.hub,
	};

	if (!*settings->grpc_listen)
		return 0;
	role->grpc = grpc_start(&role->gateway, &options, err_r);
	if (!role->grpc)
		return -1;
	log_line(LOG_INFO, "grpc-listening", LOG_S("listen", settings->grpc_listen),
		 LOG_I("port", grpc_port(role->grpc)),
		 LOG_S("tls", *settings->tls_cert ? "yes" : "no"));
	return 0;
}

static int start_fronts(struct role *role, struct error *err_r)
{
	const struct settings *settings = role->gateway.settings;
	const char *admin_listen = settings_admin_listen(settings);
	int connections = connections_max();
	int grpc_connections = *settings->grpc_listen ? connections / GRPC_SHARE : 0;
	struct front_options front = {
		.listen = settings->http_listen,
		.threads = server_threads(),
		.connections_max = connections - grpc_connections,
		.tls = role->gateway.tls,
	};
	struct front_options admin = {
		.listen = admin_listen,
		.threads = 1,
		.connections_max = ADMIN_CONNECTIONS_MAX,
		.admin = true,
		.tls = settings_listen_loopback(admin_listen) ? NULL : role->gateway.tls,
	};

	role->front = front_start(&role->gateway, &front, err_r);
	if (!role->front)
		return -1;
	if (strcmp(admin_listen, settings->http_listen) != 0) {
		role->admin = front_start(&role->gateway, &admin, err_r);
		if (!role->admin)
			return -1;
	}
	if (start_grpc(role, (size_t)grpc_connections, err_r) < 0)
		return -1;
	atomic_store(&role->gateway.listening, true);
	role->connections =
		metrics_series(role->gateway.metrics, METRIC_HTTP_CONNECTIONS, NULL, NULL);
	log_line(LOG_INFO, "gateway-listening", LOG_S("listen", settings->http_listen),
		 LOG_I("port", front_port(role->front)),
		 LOG_S("admin", role->admin ? admin_listen : NULL),
		 LOG_S("keys", access_open(role->gateway.access) ? "no" : "yes"),
		 LOG_S("tls", role->gateway.tls ? "yes" : "no"));
	return 0;
}

static int start_role(struct role *role)
{
	struct error err;

	if (start_parts(role, &err) == 0 && start_fronts(role, &err) == 0)
		return 0;
	close_doors(role, INT64_MAX);
	log_line(LOG_FATAL, "gateway-not-started", LOG_S("error", err.message));
	return err.code == ERROR_INVALID ? EX_CONFIG : EX_UNAVAILABLE;
}

/* ---- stop */

/* Until everything in hand is answered and no connection has asked again for a moment. False: the
 * time is over, or a second signal came. */
static bool drain(struct role *role)
{
	int64_t until_ms = clock_mono_ms() + role->gateway.settings->grace_ms;
	int64_t quiet_since_ms = clock_mono_ms();

	atomic_store(&role->gateway.draining, true);
	log_line(LOG_INFO, "gateway-draining", LOG_I("pending", pending(role)));
	front_drain(role->front);
	if (role->admin)
		front_drain(role->admin);
	if (role->grpc)
		grpc_drain(role->grpc);
	waiters_drain(role->gateway.waiters);
	watch_drain(role->gateway.hub);
	ws_drain(role->gateway.ws);
	while (clock_mono_ms() - quiet_since_ms < LINGER_MS) {
		if (service_wait(role->service, 10) == SERVICE_NOW || clock_mono_ms() > until_ms)
			return false;
		if (pending(role) > 0)
			quiet_since_ms = clock_mono_ms();
	}
	return close_doors(role, until_ms);
}

static void stop_role(struct role *role)
{
	struct gateway *gateway = &role->gateway;

	/* It asks nothing any more: the doors are closed. */
	grpc_stop(&role->grpc);
	/* Whoever holds a parked request answers it before the servers are stopped. */
	scheduler_stop(&gateway->scheduler);
	submitter_stop(&gateway->submitter);
	feeder_stop(&gateway->feeder);
	waiters_stop(&gateway->waiters);
	readers_stop(&gateway->readers);
	monitor_stop(&gateway->monitor);
	inner_stop(&gateway->inner);
	ws_stop(&gateway->ws);
	front_stop(&role->admin);
	front_stop(&role->front);
	event_streams_stop(&gateway->streams);
	watch_close(&gateway->hub);
	if (gateway->bell)
		bell_close(&gateway->bell);
	access_free(&gateway->access);
	limiter_free(&gateway->limiter);
	origin_list_free(&gateway->origins);
	pages_free(&gateway->pages);
	graphql_close(&gateway->graphql);
	tls_pair_unref(&gateway->tls);
	if (gateway->defs)
		definitions_unref(&gateway->defs);
	pthread_mutex_destroy(&gateway->defs_lock);
}

/* ---- run */

/* What is wrong with new keys is logged, and the old ones stay. */
static void reload_access(struct role *role)
{
	char *problem = NULL, *text;
	size_t bytes = 0;
	FILE *errors = open_memstream(&problem, &bytes);
	struct error err = { 0 };

	CHECK(errors);
	text = settings_read_again("WINDLASS_API_KEYS", errors);
	CHECK(fclose(errors) == 0);
	if (bytes > 0)
		log_line(LOG_ERROR, "keys-refused", LOG_S("error", problem));
	else if (text && access_reload(role->gateway.access, text, &err) < 0)
		log_line(LOG_ERROR, "keys-refused", LOG_S("error", err.message));
	else if (text)
		log_line(LOG_INFO, "keys-reloaded");
	settings_wipe(&text);
	free(problem);
	access_look(role->gateway.access);
}

/* Connections that stand go on with the one that they were shown. */
static void reload_certificate(struct role *role)
{
	struct tls_pair *pair;
	struct error err;

	if (!role->gateway.tls)
		return;
	if (certificate_load(role->gateway.settings, &pair, &err) < 0) {
		log_line(LOG_ERROR, "certificate-refused", LOG_S("error", err.message));
		return;
	}
	front_change_pair(role->front, pair);
	if (role->admin)
		front_change_pair(role->admin, pair);
	tell_certificate(role, pair, "certificate-reloaded");
	tls_pair_unref(&pair);
}

static void reload_grpc(struct role *role)
{
	struct error err;

	if (role->grpc && grpc_reload(role->grpc, &err) < 0)
		log_line(LOG_ERROR, "certificate-refused", LOG_S("door", "grpc"),
			 LOG_S("error", err.message));
}

static void reload(struct role *role)
{
	struct gateway *gateway = &role->gateway;
	struct store *store = NULL;
	struct error err;

	if (!service_reload(role->service))
		return;
	pthread_mutex_lock(&gateway->defs_lock);
	struct definitions *old = gateway->defs;
	gateway->defs = definitions_ref(role->service->defs);
	pthread_mutex_unlock(&gateway->defs_lock);
	definitions_unref(&old);
	if (store_open(gateway->settings->database_url, STORE_WRITE, "windlass-prepare", &store,
		       &err) < 0 ||
	    sync_definitions(gateway, store, &err) < 0)
		log_line(LOG_WARN, "types-not-registered", LOG_S("error", err.message));
	store_close(&store);
	log_line(LOG_INFO, "definitions-reloaded",
		 LOG_I("types", definitions_type_count(gateway->defs)));
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
			reload_access(role);
			reload_certificate(role);
			reload_grpc(role);
			reload(role);
			break;
		case SERVICE_NONE:
		case SERVICE_CHILD:
		case SERVICE_MORE:
		case SERVICE_LESS:
			break;
		}
		metric_set(role->connections, (double)front_connections(role->front));
	}
}

int gateway_main(struct service *service)
{
	struct role role = { .service = service };
	bool stopped = false;
	int code;

	role.gateway.settings = service->settings;
	role.gateway.metrics = service->metrics;
	role.gateway.defs = definitions_ref(service->defs);
	pthread_mutex_init(&role.gateway.defs_lock, NULL);
	code = read_access(&role);
	if (code == 0)
		code = read_certificate(&role);
	if (code == 0)
		code = prepare_store(&role, &stopped);
	if (code == 0 && !stopped)
		code = start_role(&role);
	if (code == 0 && !stopped && !serve(&role)) {
		/* Nothing that was answered is lost: it is in the store. What was not answered, the
		 * client asks again. */
		log_line(LOG_WARN, "gateway-left-early", LOG_I("pending", pending(&role)));
		log_flush();
		_exit(0);
	}
	stop_role(&role);
	log_line(LOG_INFO, "gateway-stopped");
	return code;
}

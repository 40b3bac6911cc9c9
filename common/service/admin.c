/* SPDX-License-Identifier: Apache-2.0 */
/* Three routes on common/http/server. On a loopback address it answers only to loopback names and
 * never to a web page, as the gateway does. */
#include "common/service/admin.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/log.h"
#include "common/http/server.h"

#define HOST_BYTES     256
#define DEFAULT_LISTEN "127.0.0.1:8081"

struct admin {
	struct server *server;
	pthread_mutex_t lock; /* guards port: it is known only when requests may already come */
	int port;
	struct metrics *metrics;
	admin_ready_fn *ready;
	admin_in_hand_fn *in_hand; /* or NULL */
	void *ctx;
	bool loopback;
};

static void answer_ready(struct admin *admin, struct request *request)
{
	struct strbuf why, body;

	strbuf_init(&why);
	strbuf_init(&body);
	bool ready = admin->ready(admin->ctx, &why);

	strbuf_addstr(&body, ready ? "{\"ready\":true" : "{\"ready\":false,\"reasons\":[");
	if (!ready) {
		strbuf_json(&body, why.data);
		strbuf_addch(&body, ']');
	}
	strbuf_addch(&body, '}');
	request_answer(request, ready ? 200 : 503, "application/json", &body);
	strbuf_release(&why);
}

/* Advice for who chooses between workers: a job may be taken a moment later, and SIGTERM lets it
 * finish. */
static void answer_stoppable(struct admin *admin, struct request *request)
{
	size_t in_hand = admin->in_hand(admin->ctx);
	struct strbuf body;

	strbuf_init(&body);
	strbuf_printf(&body, "{\"stoppable\":%s,\"in_hand\":%zu}", in_hand ? "false" : "true",
		      in_hand);
	request_answer(request, in_hand ? 503 : 200, "application/json", &body);
}

static void answer_metrics(struct admin *admin, struct request *request)
{
	struct strbuf body;

	strbuf_init(&body);
	metrics_render(admin->metrics, &body);
	request_answer(request, 200, "text/plain; version=0.0.4", &body);
}

/* The server's thread may be here before server_start has returned to admin_start. */
static int own_port(struct admin *admin)
{
	int port;

	pthread_mutex_lock(&admin->lock);
	port = admin->port;
	pthread_mutex_unlock(&admin->lock);
	return port;
}

/* A web page can make a browser send requests here; it cannot take away the Origin, nor forge the
 * Host of another name. */
static bool from_a_page(struct admin *admin, const struct request *request)
{
	const char *host = request_header(request, "Host");
	char name[HOST_BYTES];
	int port;

	if (!admin->loopback)
		return false;
	if (request_header(request, "Origin") || !host ||
	    !server_split_address(host, name, sizeof(name), &port))
		return true;
	return !server_is_loopback(name) || port != own_port(admin);
}

static void on_request(struct request *request, void *ctx)
{
	struct admin *admin = ctx;
	const char *path = request_target_raw(request);

	if (from_a_page(admin, request))
		request_refuse(request,
			       &(struct problem){ .status = 421,
						  .detail = "not a name of this listener" });
	else if (strcmp(request_method(request), "GET") != 0 && !request_is_head(request))
		request_refuse(request, &(struct problem){ .status = 405 });
	else if (strcmp(path, "/healthz") == 0)
		request_answer_static(request, 200, "application/json", "{\"ok\":true}", 11);
	else if (strcmp(path, "/readyz") == 0)
		answer_ready(admin, request);
	else if (strcmp(path, "/stoppable") == 0 && admin->in_hand)
		answer_stoppable(admin, request);
	else if (strcmp(path, "/metrics") == 0)
		answer_metrics(admin, request);
	else
		request_refuse(request, &(struct problem){ .status = 404 });
}

static void nothing_to_do(struct request *request, void *ctx)
{
	(void)request, (void)ctx;
}

/* NULL: ERROR_INVALID (address) or ERROR_UNAVAILABLE (cannot bind). */
static struct admin *admin_start(const char *listen, struct metrics *metrics, admin_ready_fn *ready,
				 admin_in_hand_fn *in_hand, void *ctx, struct error *err_r)
{
	struct admin *admin = xcalloc(1, sizeof(*admin));
	char host[HOST_BYTES];
	int port;

	*admin = (struct admin){
		.metrics = metrics, .ready = ready, .in_hand = in_hand, .ctx = ctx
	};
	admin->loopback =
		server_split_address(listen, host, sizeof(host), &port) && server_is_loopback(host);
	CHECK(pthread_mutex_init(&admin->lock, NULL) == 0);
	pthread_mutex_lock(&admin->lock);
	admin->server = server_start(&(struct server_options){ .listen = listen,
							       .threads = 1,
							       .connections_max = 64,
							       .on_head = nothing_to_do,
							       .on_request = on_request,
							       .on_end = nothing_to_do,
							       .ctx = admin },
				     err_r);
	admin->port = admin->server ? server_port(admin->server) : 0;
	pthread_mutex_unlock(&admin->lock);
	if (!admin->server)
		admin_stop(&admin);
	return admin;
}

int admin_start_alone(const struct service *service, const char *what, admin_ready_fn *ready,
		      admin_in_hand_fn *in_hand, void *ctx, struct admin **admin_r,
		      struct error *err_r)
{
	const char *asked = service->settings->admin_listen;
	const char *listen = *asked ? asked : DEFAULT_LISTEN;
	char event[64];

	*admin_r = admin_start(listen, service->metrics, ready, in_hand, ctx, err_r);
	snprintf(event, sizeof(event), "%s-%s", what, *admin_r ? "listening" : "not-listening");
	if (*admin_r)
		log_line(LOG_INFO, event, LOG_S("listen", listen));
	else if (*asked)
		return -1;
	else
		log_line(LOG_INFO, event, LOG_S("why", err_r->message));
	error_clear(err_r);
	return 0;
}

void admin_stop(struct admin **admin)
{
	if (!*admin)
		return;
	server_stop(&(*admin)->server);
	pthread_mutex_destroy(&(*admin)->lock);
	free(*admin);
	*admin = NULL;
}

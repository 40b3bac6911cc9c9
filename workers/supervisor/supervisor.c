/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of `windlass run`: wait for a signal, an order or the next date, reap, start, enforce.
 * Stopping goes downstream: the gateway first, so that nothing new arrives, then the dispatcher,
 * then the workers. */
#include "workers/supervisor/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "workers/supervisor/crew.h"
#include "workers/supervisor/scale_link.h"

extern char **environ;

#define ROLES_MAX 3

enum phase { PHASE_RUN, PHASE_GATEWAY_STOPS, PHASE_DISPATCH_STOPS, PHASE_WORKERS_STOP };

struct supervisor {
	struct service *service;
	struct child_context ctx;
	/* the gateway, the scaler, the dispatcher if there is a broker */
	struct child roles[ROLES_MAX];
	size_t role_count;
	struct crew crew; /* the workers */
	int link_fd;      /* to the scaler */
	enum phase phase;
	int64_t next_phase_at_ms; /* no longer waiting for who stops now */
	int exit_code;
	struct arena *arena; /* of the children's environment */
};

/* Settings go by the handed-over descriptor, not by the environment; but where the keys are is
 * known to the gateway, which reads them again. */
static bool is_handed_over(const char *entry)
{
	static const char *const names[] = { "DATABASE_URL",  "DATABASE_URL_FILE",
					     "BROKER_URL",    "BROKER_URL_FILE",
					     "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY" };
	size_t bytes = strcspn(entry, "=");

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strncmp(entry, names[i], bytes) == 0 && strlen(names[i]) == bytes)
			return true;
	}
	return strncmp(entry, "WINDLASS_", 9) == 0 &&
	       strncmp(entry, "WINDLASS_API_KEYS_FILE=", 23) != 0 &&
	       strncmp(entry, "WINDLASS_FAILPOINT=", 19) != 0;
}

static const char *const *children_env(struct supervisor *sup)
{
	size_t count = 0, n = 0;
	const char **env;

	while (environ[count])
		count++;
	env = ARENA_ARRAY(sup->arena, const char *, count + 3);
	for (size_t i = 0; i < count; i++) {
		if (!is_handed_over(environ[i]))
			env[n++] = arena_strdup(sup->arena, environ[i]);
	}
	env[n++] = "WINDLASS_SETTINGS_FD=3";
	if (sup->ctx.metrics_fd >= 0)
		env[n++] = "WINDLASS_METRICS_FD=4";
	return env;
}

static bool supervisor_init(struct supervisor *sup, struct service *service, const char *program)
{
	static const char *const roles[ROLES_MAX] = { "gateway", "scaler", "dispatch" };

	*sup = (struct supervisor){ .service = service, .arena = arena_new(0), .link_fd = -1 };
	sup->ctx = (struct child_context){ .program = program,
					   .grace_ms = service->settings->grace_ms,
					   .lease_ms = service->settings->lease_ms,
					   .metrics_fd = -1,
					   .link_fd = -1 };
	sup->ctx.settings_fd = settings_handover(service->settings);
	if (sup->ctx.settings_fd < 0) {
		log_line(LOG_FATAL, "handover-failed", LOG_S("error", strerror(errno)));
		return false;
	}
	if (scale_link_open(&sup->link_fd, &sup->ctx.link_fd) != 0) {
		log_line(LOG_FATAL, "link-failed", LOG_S("error", strerror(errno)));
		return false;
	}
	sup->ctx.metrics_fd = metrics_create();
	if (sup->ctx.metrics_fd < 0)
		log_line(LOG_WARN, "metrics-not-shared", LOG_S("error", strerror(errno)));
	sup->ctx.env = children_env(sup);
	crew_init(&sup->crew, service->defs, service->settings);
	sup->role_count = *service->settings->broker_url ? ROLES_MAX : ROLES_MAX - 1;
	for (size_t i = 0; i < sup->role_count; i++)
		sup->roles[i] = (struct child){ .role = roles[i], .process = PROCESS_NONE };
	return true;
}

static size_t child_count(const struct supervisor *sup)
{
	return sup->role_count + sup->crew.count;
}

static struct child *child_at(const struct supervisor *sup, size_t i)
{
	return i < sup->role_count ? (struct child *)&sup->roles[i]
				   : sup->crew.workers[i - sup->role_count];
}

static void supervisor_release(struct supervisor *sup)
{
	if (sup->ctx.settings_fd >= 0)
		close(sup->ctx.settings_fd);
	if (sup->ctx.metrics_fd >= 0)
		close(sup->ctx.metrics_fd);
	if (sup->link_fd >= 0)
		close(sup->link_fd);
	if (sup->ctx.link_fd >= 0)
		close(sup->ctx.link_fd);
	crew_release(&sup->crew);
	arena_free(&sup->arena);
}

/* Of those children that stop in this phase. */
static bool any_stops(const struct supervisor *sup)
{
	size_t first = sup->phase == PHASE_GATEWAY_STOPS ? 0 : 1;
	size_t end = sup->phase == PHASE_GATEWAY_STOPS ? 1 : sup->role_count;

	for (size_t i = first; i < end; i++) {
		if (sup->roles[i].process.pid)
			return true;
	}
	return false;
}

static bool anybody_runs(const struct supervisor *sup)
{
	for (size_t i = 0; i < child_count(sup); i++) {
		if (child_at(sup, i)->process.pid)
			return true;
	}
	return false;
}

/* ---- stopping */

static void begin_drain(struct supervisor *sup, int64_t now_ms)
{
	if (sup->phase != PHASE_RUN)
		return;
	log_line(LOG_INFO, "draining", LOG_I("grace_ms", sup->ctx.grace_ms));
	sup->phase = PHASE_GATEWAY_STOPS;
	sup->next_phase_at_ms = now_ms + sup->ctx.grace_ms / 2;
	child_drain(&sup->roles[0], &sup->ctx, now_ms);
}

static void begin_now(struct supervisor *sup, int64_t now_ms)
{
	log_line(LOG_INFO, "stopping-now");
	sup->phase = PHASE_WORKERS_STOP;
	for (size_t i = 0; i < child_count(sup); i++)
		child_now(child_at(sup, i), now_ms);
}

/* ---- the steps of a turn */

static void reap(struct supervisor *sup, struct child *child, int64_t now_ms)
{
	char text[PROCESS_STATUS_TEXT];
	pid_t pid = child->process.pid;
	int status;

	if (!pid || process_reap(&child->process, &status) == 0)
		return;
	log_line(status == 0 || child->retiring ? LOG_INFO : LOG_WARN, "child-ended",
		 LOG_S("child", child->role), LOG_I("child_pid", pid),
		 LOG_S("how", process_status(status, text)),
		 LOG_I("up_ms", now_ms - child->started_ms));
	child_ended(child, now_ms);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EX_CONFIG && !child->settled &&
	    sup->phase == PHASE_RUN) {
		/* It has said why; starting it again would only say it again. */
		sup->exit_code = EX_CONFIG;
		begin_drain(sup, now_ms);
	}
}

static void step_signals(struct supervisor *sup, int64_t now_ms)
{
	enum service_signal signal;

	while ((signal = service_signal(sup->service)) != SERVICE_NONE) {
		if (signal == SERVICE_DRAIN)
			begin_drain(sup, now_ms);
		else if (signal == SERVICE_NOW)
			begin_now(sup, now_ms);
		else if (signal == SERVICE_RELOAD && service_reload(sup->service)) {
			for (size_t i = 0; i < child_count(sup); i++)
				process_signal(&child_at(sup, i)->process, SIGHUP, false);
		} else if (signal == SERVICE_MORE || signal == SERVICE_LESS)
			scale_link_ask(sup->link_fd, signal == SERVICE_MORE ? 1 : -1);
	}
	for (size_t i = 0; i < child_count(sup); i++)
		reap(sup, child_at(sup, i), now_ms);
	crew_forget_ended(&sup->crew);
}

/* From one phase to the next, as soon as who stops in it has ended, or takes too long. Of the grace
 * the gateway may use half, the dispatcher an eighth. */
static void step_phase(struct supervisor *sup, int64_t now_ms)
{
	while ((sup->phase == PHASE_GATEWAY_STOPS || sup->phase == PHASE_DISPATCH_STOPS) &&
	       (!any_stops(sup) || now_ms >= sup->next_phase_at_ms)) {
		bool gateway = sup->phase == PHASE_GATEWAY_STOPS;
		size_t first = gateway ? 1 : sup->role_count;
		size_t end = gateway ? sup->role_count : child_count(sup);

		sup->phase = gateway ? PHASE_DISPATCH_STOPS : PHASE_WORKERS_STOP;
		sup->next_phase_at_ms = now_ms + sup->ctx.grace_ms / 8;
		for (size_t i = first; i < end; i++)
			child_drain(child_at(sup, i), &sup->ctx, now_ms);
	}
}

/* Orders that come while everything stops are not followed. */
static void step_orders(struct supervisor *sup)
{
	struct scale_orders orders;

	if (sup->phase != PHASE_RUN)
		return;
	while (scale_link_orders(sup->link_fd, &orders))
		crew_order(&sup->crew, &orders);
	crew_follow(&sup->crew);
	crew_forget_ended(&sup->crew);
}

static void step_children(struct supervisor *sup, int64_t now_ms)
{
	for (size_t i = 0; i < child_count(sup); i++) {
		struct child *child = child_at(sup, i);

		child_enforce(child, now_ms);
		if (sup->phase == PHASE_RUN && !child->process.pid && now_ms >= child->start_at_ms)
			child_start(child, &sup->ctx, now_ms);
	}
}

/* Until the next start or end of patience; for ever when there is none. */
static int next_ms(const struct supervisor *sup, int64_t now_ms)
{
	int64_t at = INT64_MAX;

	if (sup->phase == PHASE_GATEWAY_STOPS || sup->phase == PHASE_DISPATCH_STOPS)
		at = sup->next_phase_at_ms;
	for (size_t i = 0; i < child_count(sup); i++) {
		const struct child *child = child_at(sup, i);

		if (child->process.pid && child->kill_at_ms && child->kill_at_ms < at)
			at = child->kill_at_ms;
		if (!child->process.pid && sup->phase == PHASE_RUN && child->start_at_ms < at)
			at = child->start_at_ms;
	}
	if (at == INT64_MAX)
		return -1;
	return at <= now_ms ? 0 : at - now_ms > 60000 ? 60000 : (int)(at - now_ms);
}

static void loop(struct supervisor *sup)
{
	struct pollfd fds[] = { { .fd = sup->service->signal_fd, .events = POLLIN },
				{ .fd = sup->link_fd, .events = POLLIN } };

	while (sup->phase == PHASE_RUN || anybody_runs(sup)) {
		int64_t now_ms = clock_mono_ms();

		step_signals(sup, now_ms);
		step_phase(sup, now_ms);
		step_orders(sup);
		step_children(sup, now_ms);
		if (sup->phase == PHASE_RUN || anybody_runs(sup))
			(void)poll(fds, sup->phase == PHASE_RUN ? 2 : 1, next_ms(sup, now_ms));
	}
}

int supervisor_main(struct service *service, const char *program)
{
	struct supervisor sup;

	if (!supervisor_init(&sup, service, program)) {
		supervisor_release(&sup);
		return EX_OSERR;
	}
	log_line(LOG_INFO, "started", LOG_I("workers", service->settings->workers));
	loop(&sup);
	log_line(LOG_INFO, "stopped", LOG_I("exit", sup.exit_code));
	supervisor_release(&sup);
	return sup.exit_code;
}

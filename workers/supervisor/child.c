/* SPDX-License-Identifier: Apache-2.0 */
/* Lives of a child. The first death is answered at once, since a crash is usually one job's fault;
 * one that dies again and again is given time. Children have a process group of their own, so that
 * Ctrl-C reaches them once, through the supervisor. */
#include "workers/supervisor/child.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"

/* Numbers in the child; WINDLASS_SETTINGS_FD and WINDLASS_METRICS_FD in its environment say them.
 */
#define SETTINGS_THERE 3
#define METRICS_THERE  4
#define LINK_THERE     5 /* --link */

static void plan_start(struct child *child, int64_t now_ms)
{
	child->start_at_ms = now_ms + child->backoff_ms;
	child->backoff_ms = child->backoff_ms ? child->backoff_ms * 2 : CHILD_BACKOFF_FIRST_MS;
	if (child->backoff_ms > CHILD_BACKOFF_MAX_MS)
		child->backoff_ms = CHILD_BACKOFF_MAX_MS;
}

/* Whether a life got so far as to end the sessions before it is not known here; ending one twice
 * is harmless. */
static void remember_session(struct child *child, int64_t now_ms)
{
	if (uuid_is_nil(&child->session))
		return;
	if (child->former_count == SERVICE_PREDECESSORS_MAX)
		child->former_count--;
	memmove(&child->formers[1], &child->formers[0],
		child->former_count * sizeof(child->formers[0]));
	child->formers[0] = (struct child_former){ child->session, now_ms };
	child->former_count++;
}

static void forget_expired(struct child *child, int64_t lease_ms, int64_t now_ms)
{
	while (child->former_count &&
	       now_ms - child->formers[child->former_count - 1].ended_ms >= lease_ms)
		child->former_count--;
}

void child_start(struct child *child, const struct child_context *ctx, int64_t now_ms)
{
	struct process_fd fds[3] = { { ctx->settings_fd, SETTINGS_THERE } };
	char parent[16], session[UUID_TEXT], formers[SERVICE_PREDECESSORS_MAX][UUID_TEXT];
	const char *argv[9 + 2 * SERVICE_PREDECESSORS_MAX] = { "windlass", child->role, "--parent",
							       parent };
	struct process_spec spec = { .program = ctx->program,
				     .argv = argv,
				     .env = ctx->env,
				     .own_group = true,
				     .fds = fds,
				     .fd_count = 1 };
	struct error error;
	size_t n = 4;

	CHECK(child->process.pid == 0);
	snprintf(parent, sizeof(parent), "%d", (int)getpid());
	if (ctx->metrics_fd >= 0)
		fds[spec.fd_count++] = (struct process_fd){ ctx->metrics_fd, METRICS_THERE };
	if (child->role[0] == 's') {
		fds[spec.fd_count++] = (struct process_fd){ ctx->link_fd, LINK_THERE };
		argv[n++] = "--link";
		argv[n++] = "5";
	}
	if (child->role[0] == 'w') {
		uuid_v7(&child->session);
		argv[n++] = "--pool";
		argv[n++] = child->pool;
		argv[n++] = "--session";
		argv[n++] = uuid_format(&child->session, session);
		forget_expired(child, ctx->lease_ms, now_ms);
		for (size_t i = 0; i < child->former_count; i++) {
			argv[n++] = "--predecessor";
			argv[n++] = uuid_format(&child->formers[i].session, formers[i]);
		}
	}
	child->started_ms = now_ms;
	child->kill_at_ms = 0;
	if (process_spawn(&spec, &child->process, &error) != 0) {
		log_line(LOG_ERROR, "child-not-started", LOG_S("child", child->role),
			 LOG_S("error", error.message));
		plan_start(child, now_ms);
		return;
	}
	log_line(LOG_INFO, "child-started", LOG_S("child", child->role),
		 LOG_I("child_pid", child->process.pid));
}

void child_ended(struct child *child, int64_t now_ms)
{
	CHECK(child->process.pid == 0);
	if (now_ms - child->started_ms >= CHILD_SETTLED_MS) {
		child->backoff_ms = 0;
		child->settled = true;
	}
	remember_session(child, now_ms);
	child->kill_at_ms = 0;
	plan_start(child, now_ms);
}

void child_retire(struct child *child)
{
	child->retiring = true;
	process_signal(&child->process, SIGUSR1, false);
}

void child_drain(struct child *child, const struct child_context *ctx, int64_t now_ms)
{
	if (child->process.pid == 0 || child->kill_at_ms)
		return;
	child->kill_at_ms = now_ms + ctx->grace_ms + CHILD_KILL_AFTER_MS;
	process_signal(&child->process, SIGTERM, false);
}

void child_now(struct child *child, int64_t now_ms)
{
	if (child->process.pid == 0)
		return;
	child->kill_at_ms = now_ms + CHILD_KILL_AFTER_MS;
	/* Two of the same kind could become one on the way; a role takes either for either. */
	process_signal(&child->process, SIGTERM, false);
	process_signal(&child->process, SIGINT, false);
}

void child_enforce(struct child *child, int64_t now_ms)
{
	if (child->process.pid == 0 || !child->kill_at_ms || now_ms < child->kill_at_ms)
		return;
	log_line(LOG_WARN, "child-killed", LOG_S("child", child->role),
		 LOG_I("child_pid", child->process.pid));
	process_signal(&child->process, SIGKILL, true);
	child->kill_at_ms = now_ms + CHILD_KILL_AFTER_MS;
}

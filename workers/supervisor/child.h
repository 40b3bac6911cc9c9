/* SPDX-License-Identifier: Apache-2.0 */
/* One role's process under `windlass run`, over all its lives: when it is started again, and how it
 * is told to stop. */
#ifndef WORKERS_SUPERVISOR_CHILD_H
#define WORKERS_SUPERVISOR_CHILD_H
#include <stdbool.h>
#include <stdint.h>

#include "common/base/uuid.h"
#include "common/service/service.h"
#include "workers/supervisor/process.h"

#define CHILD_BACKOFF_FIRST_MS 100
#define CHILD_BACKOFF_MAX_MS   5000
#define CHILD_SETTLED_MS       10000 /* up for so long: its next death is answered at once */
#define CHILD_KILL_AFTER_MS    5000

struct child {
	const char *role;            /* "gateway", "scaler", "dispatch", "work" */
	char pool[JOB_TYPE_MAX + 1]; /* work: whose it is */
	bool retiring;               /* work: finishes what it has, and is not started again */
	struct process process;      /* none while it is down */
	struct uuid session;         /* work: fresh for each life */
	/* work: sessions before it that may still hold leases, the newest first */
	struct child_former {
		struct uuid session;
		int64_t ended_ms; /* monotonic */
	} formers[SERVICE_PREDECESSORS_MAX];
	size_t former_count;
	int64_t started_ms;  /* monotonic, of this life */
	int64_t start_at_ms; /* down: when to start it */
	int64_t backoff_ms;  /* before the next start but one */
	int64_t kill_at_ms;  /* told to stop: when patience ends; 0: not told */
	bool settled;        /* was up for CHILD_SETTLED_MS once */
};

struct child_context { /* what all children get */
	const char *program;
	const char *const *env;
	int settings_fd, metrics_fd;
	int link_fd; /* the scaler's */
	int64_t grace_ms;
	int64_t lease_ms; /* a session that ended so long ago holds nothing any more */
};

/* Starts it (a failure counts as a death at once). Never blocks. */
void child_start(struct child *child, const struct child_context *ctx, int64_t now_ms);
/* It has ended: plans the next start. */
void child_ended(struct child *child, int64_t now_ms);
/* It is not needed any more: it is told to finish what it has, however long that takes. */
void child_retire(struct child *child);
/* Drain: SIGTERM once, and a deadline. Now: at once, and a shorter one. Nothing when it is down. */
void child_drain(struct child *child, const struct child_context *ctx, int64_t now_ms);
void child_now(struct child *child, int64_t now_ms);
/* SIGKILL to its whole group when its patience has ended. */
void child_enforce(struct child *child, int64_t now_ms);

#endif

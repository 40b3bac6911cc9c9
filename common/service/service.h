/* SPDX-License-Identifier: Apache-2.0 */
/* The skeleton of every role's process: signals as flags and an eventfd, what main hands to the
 * role, exit codes of sysexits. */
#ifndef COMMON_SERVICE_SERVICE_H
#define COMMON_SERVICE_SERVICE_H
#include <stdbool.h>

#include "common/config/definitions.h"
#include "common/config/settings.h"
#include "common/service/metrics.h"

struct service {
	const char *role; /* "gateway", "dispatch", "work" */
	struct settings *settings;
	struct definitions *defs; /* the role takes its own references */
	struct metrics *metrics;
	/* signalfd of SIGTERM SIGINT SIGHUP SIGCHLD SIGUSR1, for "run" SIGTTIN SIGTTOU as well; all
	 * blocked in every thread */
	int signal_fd;
	bool draining; /* a first SIGTERM or SIGINT was seen */
};

#define SERVICE_PREDECESSORS_MAX 8

enum service_signal {
	SERVICE_NONE = 0,
	SERVICE_DRAIN,
	SERVICE_NOW,
	SERVICE_RELOAD,
	SERVICE_CHILD,
	SERVICE_RETIRE, /* drain, however long what runs may take */
	SERVICE_MORE,   /* one worker more, */
	SERVICE_LESS,   /* or less */
};

/* Blocks the signals, ignores SIGPIPE, makes signal_fd, PR_SET_DUMPABLE 0 and RLIMIT_CORE 0
 * (secrets), log_init with settings->log_level when there are settings. Keeps the other fields as
 * main has set them. Called before any thread starts. 0, or -1 after logging why. */
int service_init(struct service *service, const char *role) must_check;
/* Reads one signal without blocking: first SIGTERM/SIGINT is DRAIN, a second one NOW. */
enum service_signal service_signal(struct service *service);
/* The same, after waiting for one up to timeout_ms. */
enum service_signal service_wait(struct service *service, int timeout_ms);
/* WINDLASS_NODE, else the host's name. */
#define SERVICE_NODE_BYTES 129
char *service_node(const struct settings *settings, char node_r[SERVICE_NODE_BYTES]);
/* Re-reads the definitions: the new object in service->defs and true; or the old one stays, the
 * errors are logged, false. */
bool service_reload(struct service *service);

/* The roles: each runs until drained and returns the process's exit code (0, or sysexits). Declared
 * here, defined in their *_main.c. */
int gateway_main(struct service *service);
/* supervised: started by `windlass run`. */
int dispatch_main(struct service *service, bool supervised);
/* session_text may be NULL. predecessors: sessions of workers that died, ended first. */
int work_main(struct service *service, const char *session_text, const char *const *predecessors,
	      size_t predecessor_count);

#endif

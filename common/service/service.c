/* SPDX-License-Identifier: Apache-2.0 */
/* The skeleton of a role's process. Signals are read from a descriptor in the role's own loop and
 * never interrupt anything; what holds secrets leaves no core file and cannot be read by other
 * processes of its user. */
#include "common/service/service.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/base/log.h"

/* The leak checker of sanitizers attaches to its own process, so those builds stay open to it. */
static void close_to_others(void)
{
#ifndef __SANITIZE_ADDRESS__
	struct rlimit none = { 0, 0 };

	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)setrlimit(RLIMIT_CORE, &none);
#endif
}

int service_init(struct service *service, const char *role)
{
	sigset_t signals;

	service->role = role;
	service->draining = false;
	log_init(role, service->settings ? service->settings->log_level : LOG_INFO);
	close_to_others();
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGUSR1);
	if (strcmp(role, "run") == 0) {
		sigaddset(&signals, SIGTTIN);
		sigaddset(&signals, SIGTTOU);
	}
	CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	CHECK(sigprocmask(SIG_BLOCK, &signals, NULL) == 0);
	service->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	if (service->signal_fd < 0) {
		log_line(LOG_FATAL, "signals-failed", LOG_S("error", strerror(errno)));
		return -1;
	}
	return 0;
}

enum service_signal service_signal(struct service *service)
{
	struct signalfd_siginfo info;

	if (read(service->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return SERVICE_NONE;
	switch (info.ssi_signo) {
	case SIGCHLD:
		return SERVICE_CHILD;
	case SIGHUP:
		return SERVICE_RELOAD;
	case SIGUSR1:
		return SERVICE_RETIRE;
	case SIGTTIN:
		return SERVICE_MORE;
	case SIGTTOU:
		return SERVICE_LESS;
	default:
		break;
	}
	if (service->draining)
		return SERVICE_NOW;
	service->draining = true;
	return SERVICE_DRAIN;
}

char *service_node(const struct settings *settings, char node_r[SERVICE_NODE_BYTES])
{
	memset(node_r, 0, SERVICE_NODE_BYTES);
	if (*settings->node)
		snprintf(node_r, SERVICE_NODE_BYTES, "%s", settings->node);
	else if (gethostname(node_r, SERVICE_NODE_BYTES - 1) != 0)
		snprintf(node_r, SERVICE_NODE_BYTES, "localhost");
	return node_r;
}

enum service_signal service_wait(struct service *service, int timeout_ms)
{
	struct pollfd signals = { .fd = service->signal_fd, .events = POLLIN };

	return poll(&signals, 1, timeout_ms) > 0 ? service_signal(service) : SERVICE_NONE;
}

static void log_problems(char *problems)
{
	char *rest = problems;

	for (char *line = strtok_r(rest, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		log_line(LOG_ERROR, "definitions-refused", LOG_S("problem", line));
}

bool service_reload(struct service *service)
{
	char *problems = NULL;
	size_t bytes = 0;
	FILE *errors = open_memstream(&problems, &bytes);
	struct definitions *fresh;

	CHECK(errors);
	fresh = definitions_open(service->settings, errors);
	CHECK(fclose(errors) == 0);
	if (fresh) {
		definitions_unref(&service->defs);
		service->defs = fresh;
		log_line(LOG_INFO, "definitions-loaded",
			 LOG_S("file", service->settings->jobs_path),
			 LOG_I("types", definitions_type_count(fresh)));
	} else {
		log_problems(problems);
	}
	free(problems);
	return fresh != NULL;
}

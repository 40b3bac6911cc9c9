/* SPDX-License-Identifier: Apache-2.0 */
/* One child process: posix_spawn with everything said explicitly. Used by the supervisor for its
 * roles and by the pool for its hosts. Never forks, so that it may be called at any time from any
 * thread. */
#ifndef WORKERS_SUPERVISOR_PROCESS_H
#define WORKERS_SUPERVISOR_PROCESS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/check.h"
#include "common/base/error.h"

#define PROCESS_FDS_MAX 16

struct process_fd {
	int here;  /* number in this process; may be close-on-exec */
	int there; /* number in the child, below 32 */
};

struct process_spec {
	const char *program; /* what is executed; NULL: argv[0] */
	const char *const
		*argv; /* NULL-terminated; a program without a slash is looked for in PATH */
	const char *const *env; /* "NAME=value", NULL-terminated: all that the child gets */
	/* working directory, or NULL: this one's. A program with a slash is relative to it */
	const char *directory;
	/* the child gets these and, where they are not among them, /dev/null as 0 and our 1 and 2
	 */
	const struct process_fd *fds;
	size_t fd_count;
	/* in a process group of its own: Ctrl-C at the terminal does not reach it */
	bool own_group;
	int64_t memory_bytes_max; /* RLIMIT_DATA, 0: inherited */
};

struct process {
	pid_t pid; /* 0: none */
	int pidfd; /* readable when it has ended; close-on-exec */
};

#define PROCESS_NONE                  \
	{                             \
		.pid = 0, .pidfd = -1 \
	}

/* Starts it; signals are unblocked and at their defaults in the child, every other descriptor is
 * closed. 0, or -1 (ERROR_NOT_FOUND: no such program or directory; ERROR_FULL: no memory, processes
 * or descriptors left; ERROR_INTERNAL). Does not wait for anything but the exec. */
int process_spawn(const struct process_spec *spec, struct process *process_r,
		  struct error *err_r) must_check;
/* Sends a signal to it, or with `group` to its process group (spec.own_group). Harmless when it has
 * ended. */
void process_signal(const struct process *process, int signal, bool group);
/* 1: it had ended and is reaped, *status_r as of waitpid, *process is none again; 0: it runs. Never
 * blocks. */
int process_reap(struct process *process, int *status_r) must_check;
/* "exit 3", "signal 11 (SEGV)". */
#define PROCESS_STATUS_TEXT 40
char *process_status(int status, char text_r[PROCESS_STATUS_TEXT]);
/* For the child itself, first thing: dies with SIGKILL when its parent does. False: the parent is
 * gone already, leave. */
bool process_follow_parent(pid_t parent) must_check;

#endif

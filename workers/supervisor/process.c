/* SPDX-License-Identifier: Apache-2.0 */
/* Children by posix_spawn. Descriptors are first copied out of the way (a target number may be the
 * source of another one), then put in place by file actions; whatever is left open in the child is
 * closed there, close-on-exec or not. */
#include "workers/supervisor/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define THERE_MAX 32

struct plan { /* what becomes of the child's descriptors */
	posix_spawn_file_actions_t actions;
	int copies[PROCESS_FDS_MAX]; /* of spec->fds[i].here, out of the way; -1: none */
};

static int spawn_error(struct error *err_r, int error, const char *program)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case EACCES:
	case ENOEXEC:
		return error_set(err_r, ERROR_NOT_FOUND, "cannot start %s: %s", program,
				 strerror(error));
	case EAGAIN:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return error_set(err_r, ERROR_FULL, "cannot start %s: %s", program,
				 strerror(error));
	default:
		return error_set(err_r, ERROR_INTERNAL, "cannot start %s: %s", program,
				 strerror(error));
	}
}

static bool is_target(const struct process_spec *spec, int there)
{
	for (size_t i = 0; i < spec->fd_count; i++) {
		if (spec->fds[i].there == there)
			return true;
	}
	return false;
}

/* The order matters: targets first, then close what is not a target. */
static int plan_actions(struct plan *plan, const struct process_spec *spec)
{
	int error = 0, last = STDERR_FILENO;

	for (size_t i = 0; i < spec->fd_count && !error; i++) {
		error = posix_spawn_file_actions_adddup2(&plan->actions, plan->copies[i],
							 spec->fds[i].there);
		if (spec->fds[i].there > last)
			last = spec->fds[i].there;
	}
	if (!error && !is_target(spec, STDIN_FILENO))
		error = posix_spawn_file_actions_addopen(&plan->actions, STDIN_FILENO, "/dev/null",
							 O_RDONLY, 0);
	for (int fd = STDERR_FILENO + 1; fd < last && !error; fd++) {
		if (!is_target(spec, fd))
			error = posix_spawn_file_actions_addclose(&plan->actions, fd);
	}
	if (!error)
		error = posix_spawn_file_actions_addclosefrom_np(&plan->actions, last + 1);
	if (!error && spec->directory)
		error = posix_spawn_file_actions_addchdir_np(&plan->actions, spec->directory);
	return error;
}

static int plan_copies(struct plan *plan, const struct process_spec *spec)
{
	for (size_t i = 0; i < spec->fd_count; i++)
		plan->copies[i] = -1;
	for (size_t i = 0; i < spec->fd_count; i++) {
		CHECK(spec->fds[i].there >= 0 && spec->fds[i].there < THERE_MAX);
		plan->copies[i] = fcntl(spec->fds[i].here, F_DUPFD_CLOEXEC, THERE_MAX);
		if (plan->copies[i] < 0)
			return errno;
	}
	return 0;
}

static void plan_release(struct plan *plan, const struct process_spec *spec)
{
	for (size_t i = 0; i < spec->fd_count; i++) {
		if (plan->copies[i] >= 0)
			close(plan->copies[i]);
	}
	posix_spawn_file_actions_destroy(&plan->actions);
}

static void attributes_init(posix_spawnattr_t *attr, const struct process_spec *spec)
{
	short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	sigdelset(&all, SIGKILL);
	sigdelset(&all, SIGSTOP);
	CHECK(posix_spawnattr_init(attr) == 0);
	CHECK(posix_spawnattr_setsigmask(attr, &none) == 0);
	CHECK(posix_spawnattr_setsigdefault(attr, &all) == 0);
	if (spec->own_group) {
		CHECK(posix_spawnattr_setpgroup(attr, 0) == 0);
		flags |= POSIX_SPAWN_SETPGROUP;
	}
	CHECK(posix_spawnattr_setflags(attr, flags) == 0);
}

int process_spawn(const struct process_spec *spec, struct process *process_r, struct error *err_r)
{
	struct plan plan;
	posix_spawnattr_t attr;
	const char *program;
	int error;

	CHECK(spec->fd_count <= PROCESS_FDS_MAX && spec->argv && spec->argv[0] && spec->env);
	program = spec->program ? spec->program : spec->argv[0];
	*process_r = (struct process)PROCESS_NONE;
	CHECK(posix_spawn_file_actions_init(&plan.actions) == 0);
	attributes_init(&attr, spec);
	error = plan_copies(&plan, spec);
	if (!error)
		error = plan_actions(&plan, spec);
	if (!error)
		error = posix_spawnp(&process_r->pid, program, &plan.actions, &attr,
				     (char *const *)(void *)spec->argv,
				     (char *const *)(void *)spec->env);
	posix_spawnattr_destroy(&attr);
	plan_release(&plan, spec);
	if (error) {
		process_r->pid = 0;
		return spawn_error(err_r, error, program);
	}
	if (spec->memory_bytes_max > 0) {
		struct rlimit limit = { .rlim_cur = (rlim_t)spec->memory_bytes_max,
					.rlim_max = (rlim_t)spec->memory_bytes_max };

		/* Fails only when the child has ended already or the hard limit is lower still. */
		(void)prlimit(process_r->pid, RLIMIT_DATA, &limit, NULL);
	}
	process_r->pidfd = pidfd_open(process_r->pid, 0);
	if (process_r->pidfd < 0) {
		error = errno;
		kill(process_r->pid, SIGKILL);
		while (waitpid(process_r->pid, NULL, 0) < 0 && errno == EINTR)
			;
		process_r->pid = 0;
		return spawn_error(err_r, error, program);
	}
	return 0;
}

void process_signal(const struct process *process, int signal, bool group)
{
	if (process->pid <= 0)
		return;
	/* Not reaped yet, so the number cannot be somebody else's. */
	if (group)
		(void)kill(-process->pid, signal);
	else
		(void)kill(process->pid, signal);
}

int process_reap(struct process *process, int *status_r)
{
	pid_t pid;

	CHECK(process->pid > 0);
	do {
		pid = waitpid(process->pid, status_r, WNOHANG);
	} while (pid < 0 && errno == EINTR);
	if (pid == 0)
		return 0;
	CHECK(pid == process->pid); /* anything else: somebody else reaped it */
	if (process->pidfd >= 0)
		close(process->pidfd);
	*process = (struct process)PROCESS_NONE;
	return 1;
}

char *process_status(int status, char text_r[PROCESS_STATUS_TEXT])
{
	if (WIFSIGNALED(status)) {
		const char *name = sigabbrev_np(WTERMSIG(status));

		snprintf(text_r, PROCESS_STATUS_TEXT, "signal %d (%s)", WTERMSIG(status),
			 name ? name : "?");
	} else {
		snprintf(text_r, PROCESS_STATUS_TEXT, "exit %d", WEXITSTATUS(status));
	}
	return text_r;
}

bool process_follow_parent(pid_t parent)
{
	CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	return getppid() == parent; /* it may have died before the request was in place */
}

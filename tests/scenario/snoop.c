/* SPDX-License-Identifier: Apache-2.0 */
/* A handler that tries what it must not, one thing a job: the payload's `what` on `path` or `pid`.
 * Used by test_sandbox.py. Ends with {"errno": n, "text": "…"} when it is let live. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "windlass.h"

static long read_some(const char *path, char *text, size_t bytes)
{
	int fd = open(path, O_RDONLY);
	long n = fd < 0 ? -1 : read(fd, text, bytes - 1);
	int error = errno;

	if (fd >= 0)
		close(fd);
	if (n > 0)
		text[n] = 0;
	errno = error;
	return n;
}

static long make(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	return fd < 0 ? -1 : close(fd);
}

/* The numbers of what is open beside the three that all have. */
static long descriptors(char *text, size_t bytes)
{
	DIR *folder = opendir("/proc/self/fd");
	struct dirent *entry;
	char target[200];

	while (folder && (entry = readdir(folder))) {
		ssize_t n = readlinkat(dirfd(folder), entry->d_name, target, sizeof(target) - 1);

		target[n > 0 ? n : 0] = 0;
		if (n > 0)
			snprintf(text + strlen(text), bytes - strlen(text), "%s=%s ", entry->d_name,
				 target);
	}
	return folder ? closedir(folder) : -1;
}

static long look_into(pid_t pid)
{
	char here[8];
	struct iovec local = { here, sizeof(here) }, remote = { (void *)&errno, sizeof(here) };

	return process_vm_readv(pid, &local, 1, &remote, 1, 0);
}

static long run(const char *path)
{
	char *const argv[] = { (char *)(uintptr_t)path, NULL };

	return execve(path, argv, argv + 1);
}

static long limits(char *text, size_t bytes)
{
	struct rlimit core, files, size;

	if (getrlimit(RLIMIT_CORE, &core) < 0 || getrlimit(RLIMIT_NOFILE, &files) < 0 ||
	    getrlimit(RLIMIT_FSIZE, &size) < 0)
		return -1;
	return snprintf(text, bytes, "%llu %llu %llu", (unsigned long long)core.rlim_max,
			(unsigned long long)files.rlim_max, (unsigned long long)size.rlim_max);
}

static long do_it(struct wl_job *job, const char *what, char *text, size_t bytes)
{
	const char *path = wl_str(job, "path", "");
	pid_t pid = (pid_t)wl_int(job, "pid", 0);

	if (strcmp(what, "read") == 0)
		return read_some(path, text, bytes);
	if (strcmp(what, "make") == 0)
		return make(path);
	if (strcmp(what, "cwd") == 0)
		return getcwd(text, bytes) ? 0 : -1;
	if (strcmp(what, "descriptors") == 0)
		return descriptors(text, bytes);
	if (strcmp(what, "limits") == 0)
		return limits(text, bytes);
	if (strcmp(what, "kill") == 0)
		return kill(pid, SIGKILL);
	if (strcmp(what, "ptrace") == 0)
		return ptrace(PTRACE_ATTACH, pid, NULL, NULL);
	if (strcmp(what, "process_vm_readv") == 0)
		return look_into(pid);
	if (strcmp(what, "execve") == 0)
		return run("/bin/true");
	if (strcmp(what, "socket") == 0)
		return socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	if (strcmp(what, "alg") == 0)
		return socket(AF_ALG, SOCK_SEQPACKET, 0);
	if (strcmp(what, "raw") == 0)
		return socket(AF_INET, SOCK_RAW, 1);
	if (strcmp(what, "number") == 0)
		return syscall(wl_int(job, "number", 0), 0, 0, 0, 0, 0);
	errno = ENOTSUP;
	return -1;
}

static enum wl_outcome snoop(struct wl_job *job)
{
	char text[4096] = "";
	long result;

	errno = 0;
	result = do_it(job, wl_str(job, "what", ""), text, sizeof(text));
	return wl_done(job, "{\"errno\":%d,\"text\":%s}", result < 0 ? errno : 0,
		       wl_quote(job, text));
}

WL_MODULE({ .type = "snoop", .run = snoop }, { .type = "snoop.trusted", .run = snoop },
	  { .type = "snoop.files", .run = snoop })

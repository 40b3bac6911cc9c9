/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts' own folders. An empty one is removed at once; another is renamed, so that its name is free
 * for the next process of that number, and removed by the sweeper. What lies in it was written by
 * handlers: no symbolic link is followed, and no depth of folders is too deep. An engine holds a
 * lock on its folder, so that others can tell one that was left behind. */
#include "workers/pool/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/log.h"
#include "common/base/strbuf.h"

#define NAME      "windlass-hosts-"
#define NAME_NEW  "windlass-new-" /* before it is locked */
#define DEPTH_MAX 32              /* what is deeper is moved up first */

struct scratch {
	char *path;
	int fd; /* of it; locked */
	pthread_t sweeper;
	unsigned long dropped; /* folders renamed, of the loop's thread */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;
	bool stop, more;
};

/* ---- removing; sweeper, or nobody else any more */
struct removal {
	int base;            /* where what is too deep is moved to */
	unsigned long moved; /* so far */
};

static void remove_entry(struct removal *removal, int folder, const char *name, int depth);

static void empty(struct removal *removal, int fd, int depth)
{
	DIR *folder = fdopendir(fd);
	struct dirent *entry;

	if (!folder) {
		close(fd);
		return;
	}
	while ((entry = readdir(folder))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			remove_entry(removal, fd, entry->d_name, depth);
	}
	closedir(folder);
}

static void remove_entry(struct removal *removal, int folder, const char *name, int depth)
{
	char up[64];
	int fd;

	if (unlinkat(folder, name, 0) == 0 || unlinkat(folder, name, AT_REMOVEDIR) == 0)
		return;
	if (depth == DEPTH_MAX) {
		snprintf(up, sizeof(up), "deep-%lu", removal->moved++);
		(void)renameat(folder, name, removal->base, up);
		return;
	}
	fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == EACCES && fchmodat(folder, name, 0700, 0) == 0)
		fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0) {
		(void)fchmod(fd, 0700);
		empty(removal, fd, depth + 1);
	}
	(void)unlinkat(folder, name, AT_REMOVEDIR);
}

/* Those of its entries that are not of living hosts; with `all` these too. */
static void sweep(int base, bool all)
{
	struct removal removal = { .base = base };
	bool again = true;

	while (again) {
		unsigned long moved = removal.moved;
		int fd = openat(base, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *folder = fd < 0 ? NULL : fdopendir(fd);
		struct dirent *entry;

		while (folder && (entry = readdir(folder))) {
			if (*entry->d_name != '.' && (all || *entry->d_name > '9'))
				remove_entry(&removal, base, entry->d_name, 0);
		}
		if (folder)
			closedir(folder);
		again = removal.moved > moved;
	}
}

static void sweep_left_behind(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat about;

	if (fd < 0)
		return;
	if (fstat(fd, &about) == 0 && about.st_uid == geteuid() &&
	    flock(fd, LOCK_EX | LOCK_NB) == 0) {
		sweep(fd, true);
		(void)unlinkat(parent, name, AT_REMOVEDIR);
	}
	close(fd);
}

static void sweep_of_the_dead(const char *path)
{
	char *parent = xstrdup(path);
	struct dirent *entry;
	DIR *folder;

	*strrchr(parent, '/') = 0;
	folder = opendir(*parent ? parent : "/");
	while (folder && (entry = readdir(folder))) {
		if (strncmp(entry->d_name, NAME, strlen(NAME)) == 0)
			sweep_left_behind(dirfd(folder), entry->d_name);
	}
	if (folder)
		closedir(folder);
	free(parent);
}

static void *sweeper_main(void *arg)
{
	struct scratch *scratch = arg;

	sweep_of_the_dead(scratch->path);
	pthread_mutex_lock(&scratch->lock);
	while (!scratch->stop) {
		if (!scratch->more) {
			pthread_cond_wait(&scratch->wake, &scratch->lock);
			continue;
		}
		scratch->more = false;
		pthread_mutex_unlock(&scratch->lock);
		sweep(scratch->fd, false);
		pthread_mutex_lock(&scratch->lock);
	}
	pthread_mutex_unlock(&scratch->lock);
	return NULL;
}

/* ---- the pool's side */
/* It gets the name that others look for when it is locked. -1 with errno. */
static int make_locked(const char *parent, struct strbuf *path)
{
	struct strbuf fresh;
	int fd;

	strbuf_init(&fresh);
	strbuf_printf(&fresh, "%s/" NAME_NEW "XXXXXX", parent);
	fd = mkdtemp(fresh.data) ? open(fresh.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	strbuf_printf(path, "%s/" NAME "%s", parent,
		      fresh.data + strlen(parent) + strlen("/" NAME_NEW));
	if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) < 0 || rename(fresh.data, path->data) < 0)) {
		int error = errno;

		(void)rmdir(fresh.data);
		close(fd);
		errno = error;
		fd = -1;
	}
	strbuf_release(&fresh);
	return fd;
}

static char *make_folder(int *fd_r)
{
	const char *parent = getenv("TMPDIR");
	struct strbuf path;

	strbuf_init(&path);
	*fd_r = make_locked(parent && *parent == '/' ? parent : "/tmp", &path);
	if (*fd_r >= 0)
		return strbuf_take(&path);
	log_line(LOG_WARN, "scratch-not-made", LOG_S("path", path.data),
		 LOG_S("error", strerror(errno)));
	strbuf_release(&path);
	return NULL;
}

struct scratch *scratch_new(void)
{
	struct scratch *scratch;
	int fd;
	char *path = make_folder(&fd);

	if (!path)
		return NULL;
	scratch = xcalloc(1, sizeof(*scratch));
	scratch->path = path;
	scratch->fd = fd;
	CHECK(pthread_mutex_init(&scratch->lock, NULL) == 0);
	CHECK(pthread_cond_init(&scratch->wake, NULL) == 0);
	CHECK(pthread_create(&scratch->sweeper, NULL, sweeper_main, scratch) == 0);
	return scratch;
}

void scratch_free(struct scratch **pointer)
{
	struct scratch *scratch = *pointer;

	*pointer = NULL;
	if (!scratch)
		return;
	pthread_mutex_lock(&scratch->lock);
	scratch->stop = true;
	pthread_cond_signal(&scratch->wake);
	pthread_mutex_unlock(&scratch->lock);
	CHECK(pthread_join(scratch->sweeper, NULL) == 0);
	sweep(scratch->fd, true);
	(void)rmdir(scratch->path);
	close(scratch->fd);
	pthread_mutex_destroy(&scratch->lock);
	pthread_cond_destroy(&scratch->wake);
	free(scratch->path);
	free(scratch);
}

const char *scratch_path(const struct scratch *scratch)
{
	return scratch->path;
}

void scratch_drop(struct scratch *scratch, pid_t pid)
{
	char name[24], old[40];

	snprintf(name, sizeof(name), "%ld", (long)pid);
	if (unlinkat(scratch->fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return;
	snprintf(old, sizeof(old), "old-%lu", scratch->dropped++);
	if (renameat(scratch->fd, name, scratch->fd, old) < 0)
		log_line(LOG_WARN, "scratch-not-removed", LOG_S("path", scratch->path),
			 LOG_S("error", strerror(errno)));
	pthread_mutex_lock(&scratch->lock);
	scratch->more = true;
	pthread_cond_signal(&scratch->wake);
	pthread_mutex_unlock(&scratch->lock);
}

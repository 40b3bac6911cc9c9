/* SPDX-License-Identifier: Apache-2.0 */
/* <file>-bell: opening it, and the mutex that puts the write transactions of all processes in a
 * row. The file is made anew by whoever opens it while nobody else has it open (an exclusive flock
 * tells), so what a crash or a reboot left in it is harmless. A process that dies inside the mutex
 * leaves it to the next one; SQLite undoes what it had begun. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/store/sqlite/bell_file.h"
#include "common/store/sqlite/sqlite_impl.h"

/* Links are resolved as SQLite does it: two names of one database share one bell. */
int sqlite_bell_path(const char *path, char bell_path_r[SQLITE_PATH_BYTES], struct error *err_r)
{
	char folder[SQLITE_PATH_BYTES], name[SQLITE_PATH_BYTES], real[PATH_MAX];
	int bytes;

	snprintf(folder, sizeof(folder), "%s", path);
	snprintf(name, sizeof(name), "%s", path);
	if (realpath(path, real)) {
		bytes = snprintf(bell_path_r, SQLITE_PATH_BYTES, "%s-bell", real);
	} else {
		if (errno != ENOENT || !realpath(dirname(folder), real))
			return error_set(err_r, ERROR_UNAVAILABLE, "%s: %s", path, strerror(errno));
		bytes = snprintf(bell_path_r, SQLITE_PATH_BYTES, "%s/%s-bell", real,
				 basename(name));
	}
	if (bytes >= SQLITE_PATH_BYTES)
		return error_set(err_r, ERROR_INVALID, "%s: the path is too long", path);
	return 0;
}

static void init_mutex(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attr;

	CHECK(pthread_mutexattr_init(&attr) == 0);
	CHECK(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0);
	CHECK(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0);
	CHECK(pthread_mutex_init(mutex, &attr) == 0);
	pthread_mutexattr_destroy(&attr);
}

static struct bell_shared *map(int fd)
{
	void *p = mmap(NULL, sizeof(struct bell_shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* The layout's number is written last: a file without it is nobody's. Room is taken now, for a full
 * disk would otherwise show as a fatal signal at the first write to a page. */
static int make(int fd, struct error *err_r)
{
	struct bell_shared *shared;
	int rc;

	if (ftruncate(fd, 0))
		return error_set(err_r, ERROR_UNAVAILABLE, "bell file: %s", strerror(errno));
	rc = posix_fallocate(fd, 0, sizeof(struct bell_shared));
	if (rc)
		return error_set(err_r, rc == ENOSPC ? ERROR_FULL : ERROR_UNAVAILABLE,
				 "bell file: %s", strerror(rc));
	shared = map(fd);
	if (!shared)
		return error_set(err_r, ERROR_UNAVAILABLE, "bell file: %s", strerror(errno));
	shared->bytes = sizeof(*shared);
	init_mutex(&shared->writer);
	atomic_store(&shared->layout, BELL_FILE_LAYOUT);
	munmap(shared, sizeof(*shared));
	return 0;
}

/* 1: usable; 0: not made yet; -1: another layout. */
static int inspect(int fd, struct bell_shared **shared_r, struct error *err_r)
{
	struct stat st;
	struct bell_shared *shared;
	uint32_t layout = 0;

	if (fstat(fd, &st))
		return error_set(err_r, ERROR_UNAVAILABLE, "bell file: %s", strerror(errno));
	if ((size_t)st.st_size < sizeof(layout) ||
	    pread(fd, &layout, sizeof(layout), 0) != sizeof(layout) || layout == 0)
		return 0;
	if (layout != BELL_FILE_LAYOUT || (size_t)st.st_size != sizeof(*shared))
		return error_set(
			err_r, ERROR_UNAVAILABLE,
			"another version of Windlass has this database open (bell file layout %08x, mine %08x)",
			layout, BELL_FILE_LAYOUT);
	shared = map(fd);
	if (!shared)
		return error_set(err_r, ERROR_UNAVAILABLE, "bell file: %s", strerror(errno));
	if (shared->bytes != sizeof(*shared)) {
		munmap(shared, sizeof(*shared));
		return error_set(err_r, ERROR_UNAVAILABLE,
				 "another build of Windlass has this database open");
	}
	*shared_r = shared;
	return 1;
}

static int share(int fd, struct bell_shared **shared_r, struct error *err_r)
{
	for (int tries = 0; tries < 100; tries++) {
		int rc;

		if (flock(fd, LOCK_EX | LOCK_NB) == 0 && make(fd, err_r))
			return -1;
		/* Not atomic: somebody may be alone with the file in between and make it again,
		 * which we then wait for. */
		while (flock(fd, LOCK_SH))
			if (errno != EINTR)
				return error_set(err_r, ERROR_UNAVAILABLE, "bell file: %s",
						 strerror(errno));
		rc = inspect(fd, shared_r, err_r);
		if (rc)
			return rc < 0 ? -1 : 0;
		flock(fd, LOCK_UN);
	}
	return error_set(err_r, ERROR_UNAVAILABLE,
			 "bell file: somebody keeps it open without having made it");
}

/* The umask has no say about a new file; an old one keeps what it has. */
static int open_private(const char *name, mode_t mode)
{
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	if (fd >= 0)
		(void)fchmod(fd, mode);
	else if (errno == EEXIST)
		fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, mode);
	return fd;
}

struct bell_file *bell_file_open(const char *path, struct error *err_r)
{
	struct bell_file *file;
	char name[SQLITE_PATH_BYTES];
	struct stat st;
	mode_t mode = SQLITE_NEW_MODE;
	int fd;

	if (sqlite_bell_path(path, name, err_r))
		return NULL;
	if (stat(path, &st) == 0)
		mode = st.st_mode & 0666;
	fd = open_private(name, mode);
	if (fd < 0) {
		error_set(err_r, errno == ENOSPC ? ERROR_FULL : ERROR_UNAVAILABLE, "%s: %s", name,
			  strerror(errno));
		return NULL;
	}
	file = xcalloc(1, sizeof(*file));
	file->fd = fd;
	if (share(fd, &file->shared, err_r) == 0)
		return file;
	close(fd);
	free(file);
	return NULL;
}

void bell_file_close(struct bell_file **file)
{
	munmap((*file)->shared, sizeof(*(*file)->shared));
	close((*file)->fd);
	free(*file);
	*file = NULL;
}

/* glibc's mutex lets whoever is running barge in; a thread that commits in a loop would starve the
 * others. Whoever was in last lets one of those who wait go first. */
static void let_others_in(struct bell_file *file)
{
	struct bell_shared *shared = file->shared;
	int64_t until_ns = clock_mono_ns() + 3000000;

	while (atomic_load(&shared->waiting) > 0 && atomic_load(&shared->turn) == file->last_turn) {
		if (clock_mono_ns() > until_ns) {
			atomic_store(&shared->waiting, 0);
			return;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
	}
}

static void stop_waiting(struct bell_shared *shared)
{
	int32_t seen = atomic_load(&shared->waiting);

	while (seen > 0 && !atomic_compare_exchange_weak(&shared->waiting, &seen, seen - 1))
		;
}

/* In slices by the wall clock, for that is the one that every libc and ThreadSanitizer know here;
 * the sum goes by the monotonic one. */
static int wait_for(pthread_mutex_t *mutex, int timeout_ms)
{
	int64_t until_ms = clock_mono_ms() + timeout_ms;
	int rc;

	do {
		int64_t slice_ms = clock_wall_ms() + 500;
		struct timespec until = { .tv_sec = slice_ms / 1000,
					  .tv_nsec = slice_ms % 1000 * 1000000 };

		rc = pthread_mutex_timedlock(mutex, &until);
	} while (rc == ETIMEDOUT && clock_mono_ms() < until_ms);
	return rc;
}

int bell_file_lock(struct bell_file *file, int timeout_ms, struct error *err_r)
{
	struct bell_shared *shared = file->shared;
	int rc;

	let_others_in(file);
	rc = pthread_mutex_trylock(&shared->writer);
	if (rc == EBUSY) {
		atomic_fetch_add(&shared->waiting, 1);
		rc = wait_for(&shared->writer, timeout_ms);
		stop_waiting(shared);
	}
	if (rc == ETIMEDOUT)
		return error_set(err_r, ERROR_CONTENTION,
				 "another process has been writing for %d ms", timeout_ms);
	if (rc == EOWNERDEAD)
		rc = pthread_mutex_consistent(&shared->writer);
	if (rc)
		return error_set(err_r, ERROR_UNAVAILABLE, "bell file: %s", strerror(rc));
	file->last_turn = atomic_fetch_add(&shared->turn, 1) + 1;
	return 0;
}

void bell_file_unlock(struct bell_file *file)
{
	CHECK(pthread_mutex_unlock(&file->shared->writer) == 0);
}

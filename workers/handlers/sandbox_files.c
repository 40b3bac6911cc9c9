/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock by its system calls: Debian has no library for it. A rule allows a folder with all that
 * is below, and nothing can be taken out again; so a folder that holds something hidden is allowed
 * entry by entry, and what is put beside the hidden one later is not seen. */
#include "workers/handlers/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/arena.h"

/* What the header of an older kernel does not have; numbers never change. */
#define ACCESS_REFER     (UINT64_C(1) << 13) /* version 2 */
#define ACCESS_TRUNCATE  (UINT64_C(1) << 14) /* 3 */
#define ACCESS_IOCTL_DEV (UINT64_C(1) << 15) /* 5 */
#define SCOPE_ALL        UINT64_C(3)         /* 6: abstract sockets, signals */

#define ACCESS_READ \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE)
#define ACCESS_MAKE                                                    \
	(LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |   \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | \
	 LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REMOVE_DIR | \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | ACCESS_REFER)
#define ACCESS_CHANGE (LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_TRUNCATE | ACCESS_IOCTL_DEV)
#define ACCESS_WRITE  (ACCESS_READ | ACCESS_MAKE | ACCESS_CHANGE)
/* Devices are made by nobody. */
#define ACCESS_ALL     (ACCESS_WRITE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)
#define ACCESS_OF_FILE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE | ACCESS_CHANGE)

struct ruleset_attr { /* as of version 6; older kernels take it while what they lack is 0 */
	uint64_t handled_access_fs, handled_access_net, scoped;
};

struct rules { /* being made */
	const struct sandbox *sandbox;
	int fd;
	uint64_t handled;
	struct arena *arena;
	const char **hidden; /* without symbolic links */
	size_t hidden_count;
	int error; /* errno of a rule that was refused */
};

static const char *const system_folders[] = {
	"/usr",           "/bin",
	"/sbin",          "/lib",
	"/lib32",         "/lib64",
	"/etc",           "/opt",
	"/nix/store",     "/gnu/store",
	"/snap",          "/run/systemd/resolve",
	"/proc",          "/sys/devices/system",
	"/sys/fs/cgroup",
};
static const char *const devices[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random",
				       "/dev/urandom" };
/* What a program in PREFIX/bin wants besides: an interpreter its library, say. */
static const char *const beside_bin[] = { "lib", "lib64", "libexec", "include", "pyvenv.cfg" };
/* Root may read them, a handler that root runs need not. */
static const char *const always_hidden[] = { "/etc/shadow", "/etc/shadow-", "/etc/gshadow",
					     "/etc/gshadow-", "/etc/ssl/private" };

int sandbox_landlock(void)
{
	long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return version > 0 ? (int)version : 0;
}

/* ---- names */
/* Without symbolic links, also of a file that is not there yet; NULL: neither is its folder. */
static const char *canonical(struct arena *arena, const char *path)
{
	char whole[PATH_MAX];
	const char *slash = strrchr(path, '/'), *folder;

	if (realpath(path, whole))
		return arena_strdup(arena, whole);
	folder = !slash          ? "."
		 : slash == path ? "/"
				 : arena_strndup(arena, path, (size_t)(slash - path));
	if (errno != ENOENT || !realpath(folder, whole))
		return NULL;
	return arena_printf(arena, "%s/%s", whole[1] ? whole : "", slash ? slash + 1 : path);
}

static bool is_below(const char *path, const char *folder)
{
	size_t bytes = strlen(folder);

	if (bytes == 1)
		return path[1] != 0;
	return strncmp(path, folder, bytes) == 0 && path[bytes] == '/';
}

static bool is_hidden(const struct rules *rules, const char *path)
{
	for (size_t i = 0; i < rules->hidden_count; i++) {
		if (strcmp(path, rules->hidden[i]) == 0 || is_below(path, rules->hidden[i]))
			return true;
	}
	return false;
}

static const char *hidden_below(const struct rules *rules, const char *folder)
{
	for (size_t i = 0; i < rules->hidden_count; i++) {
		if (is_below(rules->hidden[i], folder))
			return rules->hidden[i];
	}
	return NULL;
}

static void hide(struct rules *rules, const char *path)
{
	const char *whole = canonical(rules->arena, path);

	if (whole)
		rules->hidden[rules->hidden_count++] = whole;
}

/* ---- rules */
static void add_rule(struct rules *rules, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr attr = { .allowed_access = access & rules->handled };
	struct stat about;

	attr.parent_fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (attr.parent_fd < 0)
		return; /* not there, or not ours to see: no rule is wanted */
	if (fstat(attr.parent_fd, &about) == 0 && !S_ISLNK(about.st_mode)) {
		if (!S_ISDIR(about.st_mode))
			attr.allowed_access &= ACCESS_OF_FILE;
		if (attr.allowed_access && syscall(SYS_landlock_add_rule, rules->fd,
						   LANDLOCK_RULE_PATH_BENEATH, &attr, 0) < 0)
			rules->error = errno;
	}
	close(attr.parent_fd);
}

/* A path without symbolic links. What begins with a dot in the definitions' folder (.env, .git,
 * .ssh) is not part of the program. */
static void allow_read(struct rules *rules, const char *path)
{
	const char *directory = rules->sandbox->directory;
	bool home = strcmp(path, directory) == 0;
	struct dirent *entry;
	DIR *folder;

	if (is_hidden(rules, path))
		return;
	if (!home && !is_below(directory, path) && !hidden_below(rules, path)) {
		add_rule(rules, path, ACCESS_READ);
		return;
	}
	add_rule(rules, path, LANDLOCK_ACCESS_FS_READ_DIR);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		const char *name = entry->d_name;

		if (entry->d_type == DT_LNK || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
		    (home && *name == '.'))
			continue;
		allow_read(rules, arena_printf(rules->arena, "%s/%s", path[1] ? path : "", name));
	}
	if (folder)
		closedir(folder);
}

static void allow_if_there(struct rules *rules, const char *path)
{
	char whole[PATH_MAX];

	if (realpath(path, whole))
		allow_read(rules, whole);
}

/* A folder of programs, and what lies beside it for them. */
static void allow_programs(struct rules *rules, const char *folder)
{
	const char *home = getenv("HOME");
	char whole[PATH_MAX];
	char *slash;

	/* The definitions' folder has its own rule; a program that lies in somebody's home, or at
	 * the root, does not open all of it. */
	if (!realpath(folder, whole) || !whole[1] || is_below(whole, "/usr") ||
	    strcmp(whole, rules->sandbox->directory) == 0 || (home && strcmp(whole, home) == 0))
		return;
	allow_read(rules, whole);
	slash = strrchr(whole, '/');
	if (strcmp(slash, "/shims") == 0) { /* of a version manager: pyenv, rbenv, asdf, mise */
		*slash = 0;
		allow_read(rules, *whole ? whole : "/usr");
		return;
	}
	if (strcmp(slash, "/bin") != 0 && strcmp(slash, "/sbin") != 0)
		return;
	*slash = 0;
	for (size_t i = 0; i < ARRAY_LEN(beside_bin); i++)
		allow_if_there(rules, arena_printf(rules->arena, "%s/%s", whole, beside_bin[i]));
}

static void allow_program(struct rules *rules, const char *program)
{
	char whole[PATH_MAX];
	char *slash = strrchr(program, '/');

	if (!slash)
		return; /* in a folder of PATH */
	allow_programs(rules, arena_strndup(rules->arena, program, (size_t)(slash - program) + 1));
	if (realpath(program, whole)) { /* a virtual environment's python is a link to another */
		add_rule(rules, whole, ACCESS_READ);
		*strrchr(whole, '/') = 0;
		allow_programs(rules, *whole ? whole : "/");
	}
}

/* What a program in PATH is a link to has its library elsewhere, too. */
static void allow_path(struct rules *rules)
{
	const char *at = getenv("PATH");

	for (; at && *at; at += strspn(at, ":")) {
		size_t bytes = strcspn(at, ":");
		const char *folder = arena_strndup(rules->arena, at, bytes), *program;

		at += bytes;
		allow_programs(rules, folder);
		if (strchr(rules->sandbox->program, '/'))
			continue;
		program = arena_printf(rules->arena, "%s/%s", folder, rules->sandbox->program);
		if (access(program, X_OK) == 0)
			allow_program(rules, program);
	}
}

static int allow_asked(struct rules *rules, const struct sandbox_paths *paths, bool write,
		       struct error *err_r)
{
	for (size_t i = 0; i < paths->count; i++) {
		const char *path = paths->items[i], *below;
		char whole[PATH_MAX];

		if (!realpath(path, whole))
			return error_set(err_r, ERROR_INVALID, "`files`: %s: %s", path,
					 strerror(errno));
		below = hidden_below(rules, whole);
		if (is_hidden(rules, whole) || (write && below))
			return error_set(err_r, ERROR_INVALID,
					 "`files`: %s %s; no handler is let there", path,
					 below ? "holds files of Windlass's own"
					       : "is Windlass's own");
		if (write)
			add_rule(rules, whole, ACCESS_WRITE);
		else
			allow_read(rules, whole);
	}
	return 0;
}

/* ---- all of them */
static void hide_all(struct rules *rules)
{
	const struct sandbox_paths *hidden = &rules->sandbox->hidden;

	rules->hidden =
		ARENA_ARRAY(rules->arena, const char *, hidden->count + ARRAY_LEN(always_hidden));
	for (size_t i = 0; i < hidden->count; i++)
		hide(rules, hidden->items[i]);
	for (size_t i = 0; getuid() == 0 && i < ARRAY_LEN(always_hidden); i++)
		hide(rules, always_hidden[i]);
}

static int allow_all(struct rules *rules, struct error *err_r)
{
	const struct sandbox *sandbox = rules->sandbox;

	hide_all(rules);
	for (size_t i = 0; i < ARRAY_LEN(system_folders); i++)
		allow_if_there(rules, system_folders[i]);
	for (size_t i = 0; i < ARRAY_LEN(devices); i++)
		add_rule(rules, devices[i],
			 LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE);
	if (sandbox->directory[1])
		allow_if_there(rules, sandbox->directory);
	allow_path(rules);
	allow_program(rules, sandbox->program);
	if (sandbox->scratch)
		add_rule(rules, sandbox->scratch, ACCESS_WRITE);
	if (allow_asked(rules, &sandbox->read, false, err_r) < 0 ||
	    allow_asked(rules, &sandbox->write, true, err_r) < 0)
		return -1;
	errno = rules->error;
	return errno ? error_set(err_r, ERROR_INTERNAL, "Landlock: %s", strerror(errno)) : 0;
}

int sandbox_close_files(const struct sandbox *sandbox, struct error *err_r)
{
	int version = sandbox_landlock(), result;
	struct ruleset_attr attr = { .handled_access_fs = ACCESS_ALL };
	struct rules rules = { .sandbox = sandbox };

	if (version == 0)
		return 0;
	if (version < 5)
		attr.handled_access_fs &= ~ACCESS_IOCTL_DEV;
	if (version < 3)
		attr.handled_access_fs &= ~ACCESS_TRUNCATE;
	if (version < 2)
		attr.handled_access_fs &= ~ACCESS_REFER;
	if (version >= 6)
		attr.scoped = SCOPE_ALL;
	rules.handled = attr.handled_access_fs;
	rules.fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (rules.fd < 0)
		return error_set(err_r, ERROR_INTERNAL, "Landlock: %s", strerror(errno));
	rules.arena = arena_new(0);
	result = allow_all(&rules, err_r);
	if (result == 0 && syscall(SYS_landlock_restrict_self, rules.fd, 0) < 0)
		result = error_set(err_r, ERROR_INTERNAL, "Landlock: %s", strerror(errno));
	arena_free(&rules.arena);
	close(rules.fd);
	return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at files that definitions name, without running or loading anything of them. */
#include "common/config/definitions_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int definitions_read_file(const char *path, size_t bytes_max, struct strbuf *text_r)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), error = 0;
	char buffer[16384];

	if (fd < 0)
		return -1;
	while (text_r->len <= bytes_max) {
		ssize_t n = read(fd, buffer, sizeof(buffer));

		if (n < 0 && errno == EINTR)
			continue;
		error = n < 0 ? errno : 0;
		if (n <= 0)
			break;
		strbuf_add(text_r, buffer, (size_t)n);
	}
	close(fd);
	errno = error;
	return error ? -1 : 0;
}

const char *definitions_directory(const char *path, struct arena *arena)
{
	const char *slash = strrchr(path, '/');
	char absolute[PATH_MAX];
	const char *directory =
		slash ? arena_strndup(arena, path, slash == path ? 1 : (size_t)(slash - path))
		      : ".";

	if (realpath(directory, absolute) || getcwd(absolute, sizeof(absolute)))
		return arena_strdup(arena, absolute);
	return "/";
}

const char *definitions_path(const char *directory, const char *path, struct arena *arena)
{
	return path[0] == '/' ? path : arena_printf(arena, "%s/%s", directory, path);
}

const char *definitions_module_fault(const char *path, struct arena *arena)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char magic[4];
	ssize_t n;

	if (fd < 0)
		return arena_printf(arena, "cannot read %s: %s", path, strerror(errno));
	n = read(fd, magic, sizeof(magic));
	close(fd);
	if (n != sizeof(magic) || memcmp(magic, "\177ELF", sizeof(magic)) != 0)
		return arena_printf(arena, "%s is not a shared object", path);
	return NULL;
}

static bool is_program(const char *path)
{
	struct stat about;

	return stat(path, &about) == 0 && S_ISREG(about.st_mode) && access(path, X_OK) == 0;
}

static bool is_in_path(const char *program, struct arena *arena)
{
	const char *at = getenv("PATH");

	for (at = at ? at : "/usr/bin:/bin"; *at; at += strspn(at, ":")) {
		size_t bytes = strcspn(at, ":");

		if (is_program(arena_printf(arena, "%.*s/%s", (int)bytes, at, program)))
			return true;
		at += bytes;
	}
	return false;
}

const char *definitions_program_fault(const char *program, const char *directory,
				      struct arena *arena)
{
	const char *path = definitions_path(directory, program, arena);

	if (strchr(program, '/')) {
		if (is_program(path))
			return NULL;
		return arena_printf(arena, "%s is not a program that can be run: %s", path,
				    access(path, X_OK) == 0 ? "not a file" : strerror(errno));
	}
	if (is_in_path(program, arena))
		return NULL;
	if (access(path, F_OK) == 0)
		return arena_printf(arena, "no program `%s` in PATH; did you mean `./%s`?", program,
				    program);
	return arena_printf(arena, "no program `%s` in PATH", program);
}

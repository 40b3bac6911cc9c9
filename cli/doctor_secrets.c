/* SPDX-License-Identifier: Apache-2.0 */
/* What `windlass doctor` says about secrets: files that others on this machine can read, secrets
 * written where they do not belong, and how well hosts are kept from both. Opens nothing for
 * writing, prints no value. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"
#include "common/config/definitions.h"
#include "workers/handlers/sandbox.h"

#include "cli/doctor.h"

#define SQLITE            "sqlite:"
#define DEFINITIONS_BYTES (4 * 1024 * 1024)

/* ---- files */

static void examine_file(struct doctor *doctor, const char *path, const char *what,
			 enum finding open)
{
	struct stat about;

	if (stat(path, &about) != 0)
		return;
	if (about.st_mode & (S_IROTH | S_IWOTH))
		doctor_say(doctor, open, "%s (%s) is open to every user: chmod o-rwx %s", path,
			   what, path);
	else
		doctor_say(doctor, FINE, "%s (%s) is closed to other users", path, what);
}

static void examine_sqlite(struct doctor *doctor)
{
	static const char *const suffixes[] = { "-wal", "-shm", "-journal" };
	const char *path = doctor->settings.database_url + strlen(SQLITE);
	struct arena *arena = arena_new(0);
	struct stat about;

	examine_file(doctor, path, "the store", DOUBTFUL);
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		const char *beside = arena_printf(arena, "%s%s", path, suffixes[i]);

		if (stat(beside, &about) == 0 && about.st_mode & (S_IROTH | S_IWOTH))
			examine_file(doctor, beside, "of the store", DOUBTFUL);
	}
	arena_free(&arena);
}

/* A value that is written out where ${env.NAME} should stand, in `Bearer …`, `Basic …` or a URL's
 * user:password@. */
static bool is_literal(const char *line)
{
	static const char *const schemes[] = { "Bearer ", "Basic " };
	const char *url = strstr(line, "://"), *at, *colon;

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		const char *value = strstr(line, schemes[i]);

		value = value ? value + strlen(schemes[i]) : "";
		if (strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "0123456789._~+/=-") >= 8)
			return true;
	}
	if (!url)
		return false;
	url += strlen("://");
	at = url + strcspn(url, "@/ \t\"'\n");
	colon = memchr(url, ':', (size_t)(at - url));
	return *at == '@' && colon && colon + 1 < at && colon[1] != '$';
}

static void examine_literals(struct doctor *doctor)
{
	const char *path = doctor->settings.jobs_path;
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t room = 0, number = 0, bytes = 0;
	ssize_t n;

	while (file && bytes < DEFINITIONS_BYTES && (n = getline(&line, &room, file)) > 0) {
		const char *text = line + strspn(line, " \t-");

		number++;
		bytes += (size_t)n;
		if (*text != '#' && is_literal(text))
			doctor_say(
				doctor, DOUBTFUL,
				"%s:%zu seems to hold a secret: name a variable in `env:` and write ${env.NAME} instead",
				path, number);
	}
	if (line)
		explicit_bzero(line, room);
	free(line);
	if (file)
		fclose(file);
}

void doctor_examine_files(struct doctor *doctor)
{
	struct arena *arena = arena_new(0);
	const char *line = doctor->settings.secret_paths;

	for (; *line; line += strspn(line, "\n")) {
		size_t bytes = strcspn(line, "\n");

		examine_file(doctor, arena_strndup(arena, line, bytes), "secrets", WRONG);
		line += bytes;
	}
	if (*doctor->settings.tls_key)
		examine_file(doctor, doctor->settings.tls_key, "the gateway's TLS key", WRONG);
	if (strncmp(doctor->settings.database_url, SQLITE, strlen(SQLITE)) == 0)
		examine_sqlite(doctor);
	for (size_t i = 0; doctor->defs && i < definitions_target_count(doctor->defs); i++) {
		const char *key = definitions_target_at(doctor->defs, i)->tls_key;

		if (key)
			examine_file(doctor, key, "a TLS key", WRONG);
	}
	examine_literals(doctor);
	arena_free(&arena);
}

/* ---- hosts */

static void examine_paths(struct doctor *doctor, const struct job_type *type,
			  const char *const *paths)
{
	for (size_t i = 0; paths[i]; i++) {
		if (access(paths[i], F_OK) != 0)
			doctor_say(doctor, WRONG, "`files` of %s: %s is not there: make it",
				   type->name, paths[i]);
	}
}

static void examine_types(struct doctor *doctor)
{
	for (size_t i = 0; doctor->defs && i < definitions_type_count(doctor->defs); i++) {
		const struct job_type *type = definitions_type_at(doctor->defs, i);

		if (type->kind != HANDLER_MODULE && type->kind != HANDLER_EXEC)
			continue;
		examine_paths(doctor, type, type->files_read);
		examine_paths(doctor, type, type->files_write);
		if (type->sandbox_off)
			doctor_say(
				doctor, DOUBTFUL,
				"%s has `sandbox: off`: its handler can read all that the worker can, secrets too",
				type->name);
	}
}

void doctor_examine_hosts(struct doctor *doctor)
{
	int landlock = sandbox_landlock();

	if (landlock)
		doctor_say(doctor, FINE, "Landlock %d keeps hosts to their own files", landlock);
	else
		doctor_say(
			doctor, DOUBTFUL,
			"no Landlock here: hosts can read and change what this user can. Linux 5.13 or newer has it, with landlock among lsm= and nothing (a container's profile) in its way");
	if (sandbox_seccomp())
		doctor_say(doctor, FINE, "seccomp keeps hosts from dangerous system calls");
	else
		doctor_say(
			doctor, DOUBTFUL,
			"no seccomp here: hosts may make any system call that this user may. The kernel needs CONFIG_SECCOMP_FILTER");
	if (geteuid() == 0)
		doctor_say(
			doctor, DOUBTFUL,
			"this is root: hosts get none of root's privileges, but own root's files. Make a user for Windlass");
	examine_types(doctor);
}

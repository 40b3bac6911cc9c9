/* SPDX-License-Identifier: Apache-2.0 */
/* Collects the paths from the settings, once at the engine's start. The definitions are among them
 * because people write secrets into them, though they should not. */
#include "workers/engine/hidden_files.h"

#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define SQLITE "sqlite:"

struct collecting {
	struct arena *arena;
	const char **paths; /* NULL: only counting */
	size_t count;
};

static void add(struct collecting *collecting, const char *path, const char *suffix)
{
	char here[PATH_MAX];

	if (!*path || (*path != '/' && !getcwd(here, sizeof(here))))
		return;
	if (collecting->paths)
		collecting->paths[collecting->count] =
			arena_printf(collecting->arena, "%s%s%s%s", *path == '/' ? "" : here,
				     *path == '/' ? "" : "/", path, suffix);
	collecting->count++;
}

/* Keys of client certificates; one whose path has ${env.X} in it is not known here. */
static void collect_keys(struct collecting *collecting, const struct definitions *defs)
{
	for (size_t i = 0; i < definitions_target_count(defs); i++) {
		const char *path = definitions_target_at(defs, i)->tls_key;

		if (path && !strstr(path, "${"))
			add(collecting, path, "");
	}
}

static void collect(struct collecting *collecting, const struct settings *settings,
		    const struct definitions *defs)
{
	static const char *const of_sqlite[] = { "", "-wal", "-shm", "-journal", "-bell" };
	const char *line = settings->secret_paths;

	for (; line && *line; line += strspn(line, "\n")) {
		size_t bytes = strcspn(line, "\n");

		add(collecting, arena_strndup(collecting->arena, line, bytes), "");
		line += bytes;
	}
	for (size_t i = 0; i < ARRAY_LEN(of_sqlite); i++) {
		if (strncmp(settings->database_url, SQLITE, strlen(SQLITE)) == 0)
			add(collecting, settings->database_url + strlen(SQLITE), of_sqlite[i]);
	}
	add(collecting, settings->jobs_path, "");
	collect_keys(collecting, defs);
}

const char *const *hidden_files(const struct settings *settings, const struct definitions *defs,
				struct arena *arena)
{
	struct collecting collecting = { .arena = arena };

	collect(&collecting, settings, defs);
	collecting.paths = ARENA_ARRAY(arena, const char *, collecting.count + 1);
	collecting.count = 0;
	collect(&collecting, settings, defs);
	return collecting.paths;
}

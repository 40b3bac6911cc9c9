/* SPDX-License-Identifier: Apache-2.0 */
/* Which job types share hosts, and what those hosts are started with: the command, an environment
 * of four names plus what the types list, never the engine's own, and the sandbox. */
#include "workers/pool/host_group.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "workers/pool/host_codec.h"

#define ENV_MAX   256
#define WORDS_MAX 1024

static const char *const env_always[] = { "PATH", "HOME", "LANG", "TZ" };

/* ---- alike or not */
static void add_list(struct strbuf *key, const char *before, const char *const *items)
{
	for (size_t i = 0; items[i]; i++) {
		strbuf_addstr(key, before);
		strbuf_json(key, items[i]);
	}
}

static char *make_key(const struct job_type *type)
{
	struct strbuf key;

	strbuf_init(&key);
	strbuf_addstr(&key, type->sandbox_off ? "trusted " : "");
	if (type->kind == HANDLER_MODULE) {
		strbuf_printf(&key, "module %s", type->module);
		return strbuf_take(&key);
	}
	strbuf_printf(&key, "exec %lld %lld %d ", (long long)type->memory_bytes_max,
		      (long long)type->file_bytes_max, type->own_directory);
	strbuf_json(&key, type->directory);
	add_list(&key, "", type->exec);
	add_list(&key, " ", type->env);
	add_list(&key, " read ", type->files_read);
	add_list(&key, " write ", type->files_write);
	return strbuf_take(&key);
}

bool host_group_fits(const struct host_group *group, const struct job_type *type)
{
	char *key;
	bool fits;

	if (group->module != (type->kind == HANDLER_MODULE))
		return false;
	key = make_key(type);
	fits = strcmp(key, group->key) == 0;
	free(key);
	return fits;
}

/* ---- the recipe */
struct gathering {
	const char *types[1024], *env[ENV_MAX], *words[WORDS_MAX]; /* words: of the sandbox */
	size_t type_count, env_count, word_count;
};

static bool has_host(const struct job_type *type)
{
	return type->kind == HANDLER_MODULE || type->kind == HANDLER_EXEC;
}

static void add_word(struct gathering *gathering, struct arena *arena, const char *option,
		     const char *value)
{
	CHECK(gathering->word_count + 2 <= WORDS_MAX);
	gathering->words[gathering->word_count++] = option;
	if (value)
		gathering->words[gathering->word_count++] = arena_strdup(arena, value);
}

static void add_paths(struct gathering *gathering, struct arena *arena, const char *option,
		      const char *const *paths)
{
	/* The types of one module may ask for more together than there is room for. */
	for (size_t i = 0; paths[i] && gathering->word_count + 8 < WORDS_MAX; i++)
		add_word(gathering, arena, option, paths[i]);
}

static void add_env(struct gathering *gathering, struct arena *arena, const char *name)
{
	const char *value = getenv(name);
	size_t bytes = strlen(name);

	for (size_t i = 0; i < gathering->env_count; i++) {
		if (strncmp(gathering->env[i], name, bytes) == 0 && gathering->env[i][bytes] == '=')
			return;
	}
	if (value && gathering->env_count < ENV_MAX)
		gathering->env[gathering->env_count++] = arena_printf(arena, "%s=%s", name, value);
}

/* The strictest concurrency, the widest memory and all the files of those that share the hosts. */
static void add_type(struct host_recipe *recipe, struct gathering *gathering,
		     const struct job_type *type)
{
	if (gathering->type_count < ARRAY_LEN(gathering->types))
		gathering->types[gathering->type_count++] = arena_strdup(recipe->arena, type->name);
	for (size_t i = 0; type->env[i]; i++)
		add_env(gathering, recipe->arena, type->env[i]);
	add_paths(gathering, recipe->arena, "--read", type->files_read);
	add_paths(gathering, recipe->arena, "--write", type->files_write);
	if (type->memory_bytes_max > recipe->memory_bytes_max)
		recipe->memory_bytes_max = type->memory_bytes_max;
	if (type->file_bytes_max > recipe->file_bytes_max)
		recipe->file_bytes_max = type->file_bytes_max;
	if (type->hosts_max > 0 && (recipe->hosts_max == 0 || type->hosts_max < recipe->hosts_max))
		recipe->hosts_max = type->hosts_max;
}

static const char *const *terminated(struct arena *arena, const char *const *items, size_t count)
{
	const char **list = ARENA_ARRAY(arena, const char *, count + 1);

	memcpy(list, items, count * sizeof(*list));
	return list;
}

static void add_sandbox(const struct host_group *group, struct host_recipe *recipe,
			struct gathering *gathering, const struct job_type *type)
{
	const struct host_confines *confines = group->confines;

	if (confines->scratch)
		add_word(gathering, recipe->arena, "--scratch", scratch_path(confines->scratch));
	if (type->sandbox_off)
		return;
	add_word(gathering, recipe->arena, "--sandbox", NULL);
	add_paths(gathering, recipe->arena, "--hide", confines->hidden);
}

/* A word of a program that runs elsewhere: a file beside the definitions is still found. */
static const char *own_word(struct arena *arena, const struct job_type *type, const char *word)
{
	const char *path = arena_printf(arena, "%s/%s", type->directory, word);

	return type->own_directory && *word && *word != '/' && access(path, F_OK) == 0
		       ? path
		       : arena_strdup(arena, word);
}

/* argv[0] is for those who read `ps`; what is executed is the pool's program. */
static void add_command(struct host_recipe *recipe, const struct gathering *gathering,
			const struct job_type *type)
{
	struct arena *arena = recipe->arena;
	const char *head[] = {
		"windlass", "host",
		"--parent", arena_printf(arena, "%lld", (long long)getpid()),
		"--memory", arena_printf(arena, "%lld", (long long)recipe->memory_bytes_max),
		"--file",   arena_printf(arena, "%lld", (long long)recipe->file_bytes_max),
	};
	size_t count = 0, words = 0;
	const char **argv;

	while (type->kind == HANDLER_EXEC && type->exec[words])
		words++;
	argv = ARENA_ARRAY(arena, const char *,
			   ARRAY_LEN(head) + gathering->word_count + words + 5);
	for (; count < ARRAY_LEN(head); count++)
		argv[count] = arena_strdup(arena, head[count]);
	for (size_t i = 0; i < gathering->word_count; i++)
		argv[count++] = gathering->words[i];
	if (type->kind == HANDLER_MODULE) {
		argv[count++] = "--cell";
		argv[count++] = "--module";
		argv[count++] = arena_strdup(arena, type->module);
	} else {
		if (type->own_directory)
			argv[count++] = "--own-directory";
		argv[count++] = "--exec";
		argv[count++] = "--";
		for (size_t i = 0; i < words; i++)
			argv[count++] = own_word(arena, type, type->exec[i]);
	}
	recipe->argv = argv;
}

static void note_module_file(struct host_recipe *recipe, const struct job_type *type)
{
	struct stat st;

	if (type->kind == HANDLER_MODULE && stat(type->module, &st) == 0) {
		recipe->built = st.st_mtim;
		recipe->inode = st.st_ino;
	}
}

/* False when no type of the definitions belongs to the group any more. */
static bool recipe_make(const struct host_group *group, const struct definitions *defs,
			struct host_recipe *recipe_r)
{
	struct gathering *gathering = xcalloc(1, sizeof(*gathering));
	const struct job_type *one = NULL;

	*recipe_r = (struct host_recipe){ .arena = arena_new(0) };
	for (size_t i = 0; i < ARRAY_LEN(env_always); i++)
		add_env(gathering, recipe_r->arena, env_always[i]);
	for (size_t i = 0; i < definitions_type_count(defs); i++) {
		const struct job_type *type = definitions_type_at(defs, i);

		if (has_host(type) && host_group_fits(group, type)) {
			add_type(recipe_r, gathering, type);
			one = type;
		}
	}
	if (one) {
		recipe_r->types =
			terminated(recipe_r->arena, gathering->types, gathering->type_count);
		recipe_r->env = terminated(recipe_r->arena, gathering->env, gathering->env_count);
		recipe_r->directory = arena_strdup(recipe_r->arena, one->directory);
		add_sandbox(group, recipe_r, gathering, one);
		add_command(recipe_r, gathering, one);
		note_module_file(recipe_r, one);
	}
	free(gathering);
	return one != NULL;
}

static bool same_list(const char *const *a, const char *const *b)
{
	for (; *a && *b; a++, b++) {
		if (strcmp(*a, *b) != 0)
			return false;
	}
	return *a == *b;
}

static bool same_recipe(const struct host_recipe *a, const struct host_recipe *b)
{
	return same_list(a->argv, b->argv) && same_list(a->env, b->env) &&
	       same_list(a->types, b->types) && strcmp(a->directory, b->directory) == 0 &&
	       a->inode == b->inode && a->built.tv_sec == b->built.tv_sec &&
	       a->built.tv_nsec == b->built.tv_nsec;
}

/* ---- the group */
struct host_group *host_group_new(struct pool *pool, const struct host_confines *confines,
				  const struct definitions *defs, const struct job_type *type)
{
	struct host_group *group = xcalloc(1, sizeof(*group));

	*group = (struct host_group){ .pool = pool,
				      .confines = confines,
				      .key = make_key(type),
				      .module = type->kind == HANDLER_MODULE };
	group->name = xstrdup(group->module ? type->module : type->exec[0]);
	list_init(&group->link);
	list_init(&group->hosts);
	list_init(&group->waiting);
	CHECK(recipe_make(group, defs, &group->recipe));
	return group;
}

void host_group_free(struct host_group **group)
{
	CHECK(list_empty(&(*group)->hosts) && list_empty(&(*group)->waiting));
	list_remove(&(*group)->link);
	arena_free(&(*group)->recipe.arena);
	free((*group)->key);
	free((*group)->name);
	free(*group);
	*group = NULL;
}

const char *host_group_name(const struct host_group *group)
{
	return group->name;
}

bool host_group_renew(struct host_group *group, const struct definitions *defs)
{
	struct host_recipe fresh;
	bool stale = false;

	if (recipe_make(group, defs, &fresh)) {
		struct host_recipe old = group->recipe;

		stale = !same_recipe(&old, &fresh);
		group->recipe = fresh;
		fresh = old;
		group->failures = 0; /* what was wrong may have been mended */
		group->retry_ns = 0;
	}
	arena_free(&fresh.arena);
	return stale;
}

struct host *host_group_spawn(struct host_group *group, const char *program, struct loop *loop,
			      size_t line_bytes_max, int64_t result_bytes_max, struct error *err_r)
{
	struct host_launch launch = { .program = program,
				      .argv = group->recipe.argv,
				      .env = group->recipe.env,
				      .directory = group->recipe.directory,
				      .scratch = group->confines->scratch,
				      .with_cell = group->module,
				      .line_bytes_max = line_bytes_max };
	struct strbuf hello;
	struct host *host;

	strbuf_init(&hello);
	host_codec_hello(&hello, group->recipe.types, result_bytes_max);
	launch.hello = hello.data;
	group->spawned_ns = clock_mono_ns();
	host = host_new(group->pool, group, loop, &launch, err_r);
	strbuf_release(&hello);
	if (host) {
		host->started_ns = host->idle_since_ns = group->spawned_ns;
		list_append(&group->hosts, &host->link);
	}
	return host;
}

size_t host_group_count(const struct host_group *group, size_t *idle_r, size_t *unready_r)
{
	size_t count = 0;

	*idle_r = *unready_r = 0;
	for (const struct list *at = group->hosts.next; at != &group->hosts; at = at->next) {
		const struct host *host = list_entry(at, struct host, link);

		if (host->state != HOST_UP)
			continue;
		count++;
		*idle_r += host->in_hand_count == 0;
		*unready_r += !host->ready;
	}
	return count;
}

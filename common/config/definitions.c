/* SPDX-License-Identifier: Apache-2.0 */
/* Job definitions: what keys mean together (one handler, files that exist, on_discard that leads
 * somewhere), and the object that the roles look types up in. Keys one by one are
 * definitions_keys.c; YAML is yaml_reader.c. */
#include "common/config/definitions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "common/config/definitions_files.h"
#include "common/config/definitions_hooks.h"
#include "common/config/definitions_impl.h"
#include "common/config/definitions_keys.h"
#include "common/config/definitions_payload.h"
#include "common/config/definitions_pools.h"
#include "common/config/definitions_schedules.h"
#include "common/config/definitions_targets.h"
#include "common/config/sql_template.h"
#include "common/config/suggest.h"

struct reading { /* of one file */
	struct key_reader keys;
	struct definitions *defs;
	const char *source;
	const char *directory;
	bool check_files;
	const struct yaml_node **maps; /* of each type, beside defs->types */
	struct yaml_place *places;     /* of each type's name */
};

static struct yaml_place place_of(const struct reading *reading, size_t type, const char *key)
{
	const struct yaml_node *node = definitions_member(reading->maps[type], key);

	return node ? node->place : reading->places[type];
}

/* ---- queues */

static struct queue_definition *find_queue(struct definitions *defs, const char *name)
{
	for (size_t i = 0; i < defs->queue_count; i++) {
		if (strcmp(defs->queues[i].name, name) == 0)
			return &defs->queues[i];
	}
	return NULL;
}

static const struct yaml_node *as_map(struct reading *reading, const struct yaml_node *node,
				      const char *name)
{
	if (node->kind == YAML_MAP)
		return node;
	problem_add(reading->keys.problems, node->place, "bad value %s of `%s`; expected a map",
		    yaml_describe(node, reading->keys.arena), name);
	return NULL;
}

static bool check_name(struct reading *reading, const struct yaml_node *key)
{
	if (webhook_reserved(key->text)) {
		problem_add(reading->keys.problems, key->place,
			    "bad name %s; names that begin with " RESERVED_PREFIX
			    " are Windlass's own",
			    yaml_describe(key, reading->keys.arena));
		return false;
	}
	if (job_name_valid(key->text))
		return true;
	problem_add(reading->keys.problems, key->place,
		    "bad name %s; expected " DEFINITIONS_NAME_RULE,
		    yaml_describe(key, reading->keys.arena));
	return false;
}

/* Weights as JSON text: who hands out reads them as they are stored. */
static void read_weights(struct reading *reading, struct queue_definition *queue)
{
	const struct yaml_node *map = queue->weights_node;
	struct strbuf json;

	if (!map)
		return;
	strbuf_init(&json);
	for (size_t i = 0; i < map->count; i++) {
		const char *text = map->items[i]->kind == YAML_SCALAR ? map->items[i]->text : "";
		size_t digits = strspn(text, "0123456789");
		long weight = digits && digits < 5 && !text[digits] ? atol(text) : 0;

		if (weight < 1 || weight > 1000)
			problem_add(reading->keys.problems, map->items[i]->place,
				    "bad weight %s of %s; expected a whole number of 1..1000",
				    yaml_describe(map->items[i], reading->keys.arena),
				    yaml_describe(map->keys[i], reading->keys.arena));
		strbuf_addch(&json, i ? ',' : '{');
		strbuf_json(&json, map->keys[i]->text);
		strbuf_printf(&json, ":%ld", weight);
	}
	if (map->count)
		strbuf_addch(&json, '}');
	queue->weights =
		map->count ? arena_strndup(reading->defs->arena, json.data, json.len) : NULL;
	strbuf_release(&json);
	if (queue->weights && !queue->fair)
		problem_add(reading->keys.problems, map->place,
			    "`weights` has no meaning without `fair: true`");
}

static void read_queues(struct reading *reading, const struct yaml_node *node)
{
	const struct yaml_node *queues = node ? as_map(reading, node, "queues") : NULL;

	for (size_t i = 0; queues && i < queues->count; i++) {
		const struct yaml_node *key = queues->keys[i], *value = queues->items[i];
		struct queue_definition *queue = &reading->defs->queues[reading->defs->queue_count];

		if (!check_name(reading, key) || find_queue(reading->defs, key->text))
			continue;
		reading->defs->queue_count++;
		queue->name = key->text;
		queue->line = key->place.line;
		queue->column = key->place.column;
		definitions_read_keys(
			&reading->keys, &definitions_queue_keys,
			yaml_is_null(value) ? NULL : as_map(reading, value, key->text), queue);
		read_weights(reading, queue);
	}
}

/* Queues that are only named by types. */
static void add_named_queues(struct definitions *defs)
{
	for (size_t i = 0; i < defs->type_count; i++) {
		if (!find_queue(defs, defs->types[i].queue))
			defs->queues[defs->queue_count++].name = defs->types[i].queue;
	}
}

/* ---- types */

/* The type's one handler, and what else its map says that has no meaning beside it. */
static void check_handler(struct reading *reading, size_t index)
{
	struct job_type *type = &reading->defs->types[index];
	const struct yaml_node *map = reading->maps[index];
	const struct key_row *first = NULL;
	bool later = false;

	for (size_t i = 0; i < map->count; i++) {
		const struct key_row *row =
			definitions_key(&definitions_job_keys, map->keys[i]->text);

		later = later || (row && row->kind == KEY_LATER);
		if (!row || !row->is || row == first)
			continue;
		if (first)
			problem_add(reading->keys.problems, map->keys[i]->place,
				    "`%s` has two handlers, `%s` and `%s`; expected one",
				    type->name, first->name, row->name);
		first = first ? first : row;
	}
	/* A later key may be the handler; it is refused already. */
	if (!first && !later)
		problem_add(reading->keys.problems, reading->places[index],
			    "`%s` has no handler; expected one of module, exec, sql, http",
			    type->name);
	type->kind = first ? first->is : 0;
	for (size_t i = 0; first && i < map->count; i++) {
		const struct key_row *row =
			definitions_key(&definitions_job_keys, map->keys[i]->text);

		if (row && row->handlers && !(row->handlers & (1u << first->is)))
			problem_add(reading->keys.problems, map->keys[i]->place,
				    "`%s` has no meaning beside `%s`", row->name, first->name);
	}
}

static void check_sql(struct reading *reading, size_t index)
{
	struct job_type *type = &reading->defs->types[index];
	const struct yaml_node *node = definitions_member(reading->maps[index], "sql");
	struct substitution_problem problem;

	if (!type->sql.sql)
		return;
	if (sql_template_parse(type->sql.sql, type->env, reading->keys.arena, &type->sql,
			       &problem) != 0)
		problem_add(reading->keys.problems,
			    yaml_place_within(reading->source, node, problem.offset), "`sql`: %s",
			    problem.message);
}

/* Whether they are there is seen when a host starts: on another machine they need not be. */
static const char *const *absolute_paths(struct reading *reading, const char *const *paths)
{
	struct arena *arena = reading->keys.arena;
	const char **absolute;
	size_t count = 0;

	while (paths[count])
		count++;
	absolute = ARENA_ARRAY(arena, const char *, count + 1);
	for (size_t i = 0; i < count; i++)
		absolute[i] = definitions_path(reading->directory, paths[i], arena);
	return absolute;
}

static void check_files(struct reading *reading, size_t index)
{
	struct job_type *type = &reading->defs->types[index];
	const char *fault;

	type->files_read = absolute_paths(reading, type->files_read);
	type->files_write = absolute_paths(reading, type->files_write);
	if (type->module) {
		type->module =
			definitions_path(reading->directory, type->module, reading->keys.arena);
		fault = reading->check_files
				? definitions_module_fault(type->module, reading->keys.arena)
				: NULL;
		if (fault)
			problem_add(reading->keys.problems, place_of(reading, index, "module"),
				    "`module`: %s", fault);
	}
	if (type->exec && reading->check_files) {
		fault = definitions_program_fault(type->exec[0], reading->directory,
						  reading->keys.arena);
		if (fault)
			problem_add(reading->keys.problems, place_of(reading, index, "exec"),
				    "`exec`: %s", fault);
	}
}

static struct schema *read_schema(struct reading *reading, const struct yaml_node *map,
				  const char *key)
{
	const struct yaml_node *value = definitions_member(map, key);

	/* What is neither a path nor a map was refused with the other keys. */
	if (!value || value->kind == YAML_LIST || yaml_is_null(value) ||
	    (value->kind == YAML_SCALAR && (!reading->check_files || !*value->text)))
		return NULL;
	return definitions_schema_compile(&reading->keys, key, value, reading->directory);
}

static void check_record(struct reading *reading, size_t index)
{
	const struct job_type *type = &reading->defs->types[index];
	const char *beside = type->result_topic    ? "result"
			     : type->on_discard    ? "on_discard"
			     : type->result_schema ? "result_schema"
						   : NULL;

	if (type->record_failures && beside)
		problem_add(
			reading->keys.problems, place_of(reading, index, "record"),
			"`record: failures` leaves nothing of a job that is done; it has no meaning beside `%s`",
			beside);
}

static void check_hooks(struct reading *reading, size_t index)
{
	const struct job_type *type = &reading->defs->types[index];

	for (size_t i = 0; type->record_failures && i < type->hooks.count; i++) {
		if (type->hooks.list[i].on & 1u << JOB_COMPLETED)
			problem_add(reading->keys.problems, place_of(reading, index, "hooks"),
				    "`record: failures` leaves nothing of a job that is done; "
				    "it has no meaning beside hooks on completed");
	}
}

static void read_type(struct reading *reading, const struct yaml_node *key,
		      const struct yaml_node *value)
{
	struct definitions *defs = reading->defs;
	size_t index = defs->type_count;
	struct job_type *type = &defs->types[index];
	const struct yaml_node *map = as_map(reading, value, key->text);

	if (!check_name(reading, key) || !map)
		return;
	defs->type_count++;
	reading->maps[index] = map;
	reading->places[index] = key->place;
	type->name = key->text;
	type->index = index;
	type->line = key->place.line;
	type->column = key->place.column;
	type->directory = reading->directory;
	type->sql.rows = -1;
	definitions_read_keys(&reading->keys, &definitions_job_keys, map, type);
	check_handler(reading, index);
	check_sql(reading, index);
	if (type->kind == HANDLER_HTTP)
		definitions_compile_http(&reading->keys, reading->source,
					 definitions_member(map, "http"), type);
	check_files(reading, index);
	check_hooks(reading, index);
	if (webhook_reserved(type->queue))
		problem_add(reading->keys.problems, place_of(reading, index, "queue"),
			    "`queue`: names that begin with " RESERVED_PREFIX
			    " are Windlass's own");
	if (type->retry.base_ms > type->retry.cap_ms)
		problem_add(reading->keys.problems, place_of(reading, index, "retry"),
			    "`retry`: base is larger than cap; expected base <= cap");
	type->payload_schema = read_schema(reading, map, "payload");
	type->result_schema = read_schema(reading, map, "result_schema");
	check_record(reading, index);
}

/* ---- on_discard */

static const struct job_type *find_type(const struct definitions *defs, const char *name)
{
	for (size_t i = 0; name && i < defs->type_count; i++) {
		if (strcmp(defs->types[i].name, name) == 0)
			return &defs->types[i];
	}
	return NULL;
}

/* `key` at this place names a type. */
static void check_target(struct reading *reading, struct yaml_place place, const char *key,
			 const char *target)
{
	struct suggest suggest = { .word = target };

	if (!target || find_type(reading->defs, target))
		return;
	for (size_t i = 0; i < reading->defs->type_count; i++)
		suggest_offer(&suggest, reading->defs->types[i].name);
	problem_add(reading->keys.problems, place, "`%s`: unknown type `%s`%s%s%s", key, target,
		    suggest.best ? "; did you mean `" : ", expected a type of this file",
		    suggest.best ? suggest.best : "", suggest.best ? "`?" : "");
}

/* A compensation whose compensation leads back to it would go round for ever. Each ring is told
 * once, at its first type in the file. */
static void check_ring(struct reading *reading, const size_t *next, size_t index)
{
	size_t count = reading->defs->type_count, at = next[index];
	struct strbuf ring;
	bool first = true;

	for (size_t steps = 0; steps < count && at < count && at != index; steps++) {
		first = first && at > index;
		at = next[at];
	}
	if (at != index || !first)
		return;
	strbuf_init(&ring);
	strbuf_addstr(&ring, reading->defs->types[index].name);
	at = next[index];
	for (size_t steps = 0; steps < 8 && at != index; steps++) {
		strbuf_printf(&ring, " → %s", reading->defs->types[at].name);
		at = next[at];
	}
	problem_add(reading->keys.problems, place_of(reading, index, "on_discard"),
		    "`on_discard` goes round: %s → %s%s", ring.data, at == index ? "" : "… → ",
		    reading->defs->types[index].name);
	strbuf_release(&ring);
}

static void check_discards(struct reading *reading)
{
	struct definitions *defs = reading->defs;
	size_t *next = ARENA_ARRAY(defs->arena, size_t, defs->type_count + 1);

	for (size_t i = 0; i < defs->type_count; i++) {
		const struct job_type *target = find_type(defs, defs->types[i].on_discard);

		check_target(reading, place_of(reading, i, "on_discard"), "on_discard",
			     defs->types[i].on_discard);
		next[i] = target ? target->index : defs->type_count;
	}
	for (size_t i = 0; i < defs->type_count; i++) {
		if (next[i] < defs->type_count)
			check_ring(reading, next, i);
	}
}

/* ---- sources */

static void read_sources(struct reading *reading, const struct yaml_node *node)
{
	const struct yaml_node *sources = node ? as_map(reading, node, "sources") : NULL;
	struct definitions *defs = reading->defs;

	defs->sources = ARENA_ARRAY(defs->arena, struct source_definition,
				    sources ? sources->count + 1 : 1);
	for (size_t i = 0; sources && i < sources->count; i++) {
		const struct yaml_node *key = sources->keys[i];
		const struct yaml_node *map = as_map(reading, sources->items[i], key->text), *type;
		struct source_definition *source = &defs->sources[defs->source_count];

		if (!check_name(reading, key) || !map)
			continue;
		defs->source_count++;
		source->name = key->text;
		source->line = key->place.line;
		source->column = key->place.column;
		definitions_read_keys(&reading->keys, &definitions_source_keys, map, source);
		type = definitions_member(map, "type");
		check_target(reading, type ? type->place : key->place, "type", source->type);
	}
}

/* A message whose job fails or takes long waits in the store, and those of its key behind it: the
 * store has to keep their order too. */
static void order_queues_of_sources(struct definitions *defs)
{
	for (size_t i = 0; i < defs->source_count; i++) {
		const struct source_definition *source = &defs->sources[i];
		const struct job_type *type = source->ordered && source->type
						      ? definitions_type(defs, source->type)
						      : NULL;

		if (type && type->queue)
			find_queue(defs, type->queue)->ordered = true;
	}
}

/* ---- targets */

static void read_targets(struct reading *reading, const struct yaml_node *node)
{
	const struct yaml_node *targets = node ? as_map(reading, node, "targets") : NULL;
	struct definitions *defs = reading->defs;

	defs->targets = ARENA_ARRAY(defs->arena, struct target_definition,
				    (targets ? targets->count : 0) + defs->type_count + 1);
	for (size_t i = 0; targets && i < targets->count; i++) {
		const struct yaml_node *key = targets->keys[i];
		const struct yaml_node *map = as_map(reading, targets->items[i], key->text);

		if (check_name(reading, key) && map)
			definitions_read_target(&reading->keys, key, map, reading->directory,
						&defs->targets[defs->target_count++]);
	}
}

/* The target of an `http:` type: there is one of that name, or it gets one for its rate. */
static void check_http_target(struct reading *reading, size_t index)
{
	struct definitions *defs = reading->defs;
	struct job_type *type = &defs->types[index];
	struct http_definition *http = &type->http;
	struct yaml_place place = place_of(reading, index, "http");

	if (http->target && !definitions_target(defs, http->target))
		problem_add(reading->keys.problems, place,
			    "`target`: unknown target `%s`, expected one of this file",
			    http->target);
	if (http->rate_per_s > 0 && (http->target || http->url_from_payload))
		problem_add(reading->keys.problems, place, "`rate` has no meaning beside `%s`",
			    http->target ? "target" : "url_from_payload");
	if (!(http->rate_per_s > 0) || http->target || !http->url_text)
		return;
	http->target = arena_printf(defs->arena, "http:%s", type->name);
	if (!definitions_target(defs, http->target))
		definitions_make_target(&reading->keys, http->target, http->url_text,
					http->rate_per_s, &defs->targets[defs->target_count++]);
}

/* ---- schedules */

static void read_schedules(struct reading *reading, const struct yaml_node *node)
{
	const struct yaml_node *schedules = node ? as_map(reading, node, "schedules") : NULL;

	for (size_t i = 0; schedules && i < schedules->count; i++) {
		if (!check_name(reading, schedules->keys[i]))
			schedules = NULL;
	}
	definitions_read_schedules(&reading->keys, schedules, reading->defs);
}

/* ---- the whole file */

static int compare_types(const void *a, const void *b)
{
	return strcmp((*(const struct job_type *const *)a)->name,
		      (*(const struct job_type *const *)b)->name);
}

static void index_types(struct definitions *defs)
{
	defs->by_name = ARENA_ARRAY(defs->arena, const struct job_type *, defs->type_count + 1);
	for (size_t i = 0; i < defs->type_count; i++)
		defs->by_name[i] = &defs->types[i];
	qsort(defs->by_name, defs->type_count, sizeof(defs->by_name[0]), compare_types);
}

static void read_root(struct reading *reading, const struct yaml_node *root)
{
	struct definitions *defs = reading->defs;
	const struct yaml_node *jobs = definitions_member(root, "jobs"),
			       *queues = definitions_member(root, "queues");
	size_t room;

	for (size_t i = 0; i < root->count; i++) {
		const struct key_row *row =
			definitions_key(&definitions_top_keys, root->keys[i]->text);

		if (!row || row->kind == KEY_LATER)
			definitions_refuse_key(&reading->keys, &definitions_top_keys,
					       root->keys[i]);
	}
	if (!jobs)
		problem_add(reading->keys.problems, root->place,
			    "no `jobs`; expected a map of job types");
	jobs = jobs ? as_map(reading, jobs, "jobs") : NULL;
	room = (jobs ? jobs->count : 0) + 1;
	defs->types = ARENA_ARRAY(defs->arena, struct job_type, room);
	reading->maps = ARENA_ARRAY(defs->arena, const struct yaml_node *, room);
	reading->places = ARENA_ARRAY(defs->arena, struct yaml_place, room);
	defs->queues = ARENA_ARRAY(defs->arena, struct queue_definition,
				   room + (queues ? queues->count : 0));
	read_queues(reading, queues);
	for (size_t i = 0; jobs && i < jobs->count; i++)
		read_type(reading, jobs->keys[i], jobs->items[i]);
	check_discards(reading);
	read_sources(reading, definitions_member(root, "sources"));
	read_targets(reading, definitions_member(root, "targets"));
	for (size_t i = 0; i < defs->type_count; i++) {
		if (defs->types[i].kind == HANDLER_HTTP)
			check_http_target(reading, i);
	}
	add_named_queues(defs);
	index_types(defs);
	order_queues_of_sources(defs);
	definitions_read_pools(&reading->keys, defs, definitions_member(root, "pools"));
	read_schedules(reading, definitions_member(root, "schedules"));
}

static struct definitions *parse(const char *text, size_t bytes, const char *name,
				 bool check_files_too, FILE *errors)
{
	struct problems problems = { .file = name, .out = errors };
	struct definitions *defs = xcalloc(1, sizeof(*defs));
	struct reading reading = { .defs = defs, .source = text, .check_files = check_files_too };
	const struct yaml_node *root;

	atomic_init(&defs->references, 1);
	defs->arena = arena_new(0);
	reading.keys = (struct key_reader){ .arena = defs->arena, .problems = &problems };
	reading.directory = definitions_directory(name, defs->arena);
	defs->file = arena_strdup(defs->arena, name);
	root = yaml_read(text, bytes, defs->arena, &problems);
	if (root && as_map(&reading, root, "the file"))
		read_root(&reading, root);
	problems_end(&problems);
	if (problems.count || definitions_check_broker(defs, BROKER_NONE, "", errors) < 0)
		definitions_unref(&defs);
	return defs;
}

struct definitions *definitions_parse(const char *text, size_t bytes, const char *name,
				      FILE *errors)
{
	return parse(text, bytes, name, false, errors);
}

struct definitions *definitions_load(const char *path, FILE *errors)
{
	struct definitions *defs = NULL;
	struct strbuf text;

	strbuf_init(&text);
	if (definitions_read_file(path, YAML_BYTES_MAX, &text) != 0)
		fprintf(errors, "%s:1:1: cannot read it: %s\n", path, strerror(errno));
	else
		defs = parse(text.data, text.len, path, true, errors);
	strbuf_release(&text);
	return defs;
}

void definitions_add_webhooks(struct definitions *defs, bool http)
{
	static const char *const none[] = { NULL };
	/* read_root leaves room for one more of each */
	struct job_type *type = &defs->types[defs->type_count];

	*type = (struct job_type){
		.name = WEBHOOK_TYPE,
		.queue = WEBHOOK_QUEUE,
		.kind = HANDLER_WEBHOOK,
		.directory = "/",
		.sql.rows = -1,
		.priority = PRIORITY_NORMAL,
		.retry = RETRY_POLICY_DEFAULT,
		.timeout_ms = 2 * WEBHOOK_TIMEOUT_MS,
		.env = none,
		.batch = 1,
		.index = defs->type_count++,
	};
	type->retry.max_attempts = WEBHOOK_ATTEMPTS;
	if (!find_queue(defs, WEBHOOK_QUEUE))
		defs->queues[defs->queue_count++].name = WEBHOOK_QUEUE;
	index_types(defs);
	definitions_cover_pools(defs);
	defs->webhooks = true;
	defs->webhooks_http = http;
}

bool definitions_webhooks(const struct definitions *defs, bool *http_r)
{
	*http_r = defs->webhooks_http;
	return defs->webhooks;
}

struct definitions *definitions_ref(struct definitions *defs)
{
	CHECK(atomic_fetch_add_explicit(&defs->references, 1, memory_order_relaxed) > 0);
	return defs;
}

void definitions_unref(struct definitions **defs)
{
	struct definitions *gone = *defs;

	*defs = NULL;
	if (!gone || atomic_fetch_sub_explicit(&gone->references, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < gone->type_count; i++) {
		schema_free(&gone->types[i].payload_schema);
		schema_free(&gone->types[i].result_schema);
	}
	arena_free(&gone->arena);
	free(gone);
}

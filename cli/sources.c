/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass sources`: where messages of other services come from, how far they are read, and how
 * many wait. `windlass source seek` puts the stored position of a log somewhere else. Both look at
 * this machine's configuration, the store and the broker, not at the API. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/broker/kafka_admin.h"
#include "common/config/definitions.h"
#include "common/config/settings.h"
#include "common/store/position.h"

#include "cli/api.h"
#include "cli/command.h"

#define BROKER_MS      10000
#define PARTITIONS_MAX 10000
#define SEEK_OFFSET    (-3) /* beside KAFKA_EARLIEST and KAFKA_LATEST */

struct sources {
	const struct command *command;
	struct settings settings;
	struct definitions *defs;
	struct broker_url url;
	struct arena *arena;
	struct store *store;
	struct kafka_admin *admin; /* Kafka, and it could be asked */
};

static int fail(struct sources *s, int code, const struct error *error)
{
	return command_failed(s->command, error->code == ERROR_INVALID ? EX_CONFIG : code, "%s",
			      error->message);
}

static int open_all(struct sources *s, const struct command *command)
{
	struct error error;

	*s = (struct sources){ .command = command };
	if (settings_load(&s->settings, stderr) != 0)
		return EX_CONFIG;
	s->arena = arena_new(0);
	s->defs = definitions_open(&s->settings, stderr);
	if (!s->defs)
		return EX_CONFIG;
	if (broker_url_parse(s->settings.broker_url, s->arena, &s->url, &error) < 0)
		return fail(s, EX_CONFIG, &error);
	if (store_open(s->settings.database_url, STORE_WRITE, "sources", &s->store, &error) < 0)
		return fail(s, EX_UNAVAILABLE, &error);
	if (s->url.kind == BROKER_KAFKA &&
	    kafka_admin_open(s->settings.broker_url, "windlass-sources",
			     *s->settings.broker_ca_file ? s->settings.broker_ca_file : NULL,
			     &s->admin, &error) < 0)
		return fail(s, EX_UNAVAILABLE, &error);
	return EX_OK;
}

static void close_all(struct sources *s)
{
	kafka_admin_close(&s->admin);
	store_close(&s->store);
	if (s->defs)
		definitions_unref(&s->defs);
	if (s->url.password)
		explicit_bzero((char *)s->url.password, strlen(s->url.password));
	if (s->arena)
		arena_free(&s->arena);
	settings_release(&s->settings);
}

/* ---- list */

static void add_row(json_t *rows, const struct source_definition *source, const char *note)
{
	json_array_append_new(rows,
			      json_pack("{s:s, s:s, s:s*, s:s}", "source", source->name, "topic",
					source->topic, "type", source->type, "note", note));
}

static void add_partition(json_t *rows, const struct source_definition *source,
			  const struct position *end, const struct position *stored)
{
	json_t *row = json_pack("{s:s, s:s, s:s*, s:i, s:I}", "source", source->name, "topic",
				source->topic, "type", source->type, "partition",
				(int)end->partition, "end", (json_int_t)end->offset);

	if (stored->offset >= 0) {
		json_object_set_new(row, "position", json_integer(stored->offset));
		json_object_set_new(row, "lag",
				    json_integer(end->offset > stored->offset
							 ? end->offset - stored->offset
							 : 0));
	}
	json_array_append_new(rows, row);
}

/* Stored positions of these partitions; all -1 when none are. */
static int load(struct sources *s, const struct position *like, size_t count,
		struct position **stored_r, struct error *err_r)
{
	*stored_r = ARENA_ARRAY(s->arena, struct position, count + 1);
	for (size_t i = 0; i < count; i++)
		(*stored_r)[i] = (struct position){ .group = s->settings.broker_group,
						    .topic = like[i].topic,
						    .partition = like[i].partition,
						    .offset = -1 };
	return position_load(s->store, *stored_r, count, err_r);
}

static int add_log(struct sources *s, const struct source_definition *source, json_t *rows)
{
	struct position *ends, *stored;
	struct error error;
	size_t count;

	if (kafka_admin_offsets(s->admin, source->topic, KAFKA_LATEST, BROKER_MS, s->arena, &ends,
				&count, &error) < 0) {
		add_row(rows, source, error.message);
		return EX_OK;
	}
	if (load(s, ends, count, &stored, &error) < 0)
		return fail(s, EX_UNAVAILABLE, &error);
	for (size_t i = 0; i < count; i++)
		add_partition(rows, source, &ends[i], &stored[i]);
	return EX_OK;
}

static int list(struct sources *s, bool json)
{
	static const char *const headings[] = { "SOURCE",   "TOPIC", "TYPE", "PARTITION",
						"POSITION", "END",   "LAG",  "NOTE" };
	static const char *const members[] = { "source",   "topic", "type", "partition",
					       "position", "end",   "lag",  "note" };
	json_t *rows = json_array();
	int code = EX_OK;

	for (size_t i = 0; code == EX_OK && i < definitions_source_count(s->defs); i++) {
		const struct source_definition *source = definitions_source_at(s->defs, i);

		if (s->url.kind == BROKER_KAFKA)
			code = add_log(s, source, rows);
		else
			add_row(rows, source,
				s->url.kind == BROKER_NONE ? "not read: BROKER_URL is not set"
							   : "the broker keeps its place");
	}
	if (code == EX_OK && json)
		api_print_json(rows);
	else if (code == EX_OK)
		api_print_table(rows, headings, members, ARRAY_LEN(headings));
	json_decref(rows);
	return code;
}

int command_sources(const struct command *command, int argc, char **argv)
{
	struct sources sources;
	bool json = false;
	int code;

	if (!command_json(command, argc, argv, 0, &json))
		return EX_USAGE;
	code = open_all(&sources, command);
	if (code == EX_OK)
		code = list(&sources, json);
	close_all(&sources);
	return code;
}

/* ---- seek */

struct seek {
	const char *source, *to;
	int64_t time_ms; /* of messages; or KAFKA_EARLIEST, KAFKA_LATEST, SEEK_OFFSET */
	int64_t offset;
	int partition; /* -1: all */
};

static bool read_number(const char *text, int64_t max, int64_t *n_r)
{
	size_t digits = strspn(text, "0123456789");

	if (!digits || digits > 18 || text[digits])
		return false;
	*n_r = strtoll(text, NULL, 10);
	return *n_r <= max;
}

static bool read_to(struct seek *seek)
{
	seek->time_ms = SEEK_OFFSET;
	if (strcmp(seek->to, "earliest") == 0)
		seek->time_ms = KAFKA_EARLIEST;
	else if (strcmp(seek->to, "latest") == 0)
		seek->time_ms = KAFKA_LATEST;
	else if (clock_parse(seek->to, &seek->time_ms) == 0)
		return seek->time_ms >= 0;
	else
		return read_number(seek->to, INT64_MAX, &seek->offset);
	return true;
}

static int read_seek(const struct command *command, int argc, char **argv, struct seek *seek_r)
{
	static const struct option options[] = {
		{ "to", required_argument, NULL, 't' },
		{ "partition", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int64_t partition = -1;
	int option;

	*seek_r = (struct seek){ 0 };
	while ((option = command_option(command, argc, argv, options)) != -1) {
		if (option == 't')
			seek_r->to = optarg;
		else if (option != 'p')
			return EX_USAGE;
		else if (!read_number(optarg, PARTITIONS_MAX, &partition))
			return command_misused(command, "%s is not a partition", optarg);
	}
	seek_r->partition = (int)partition;
	if (argc - optind != 2 || strcmp(argv[optind], "seek") != 0 || !seek_r->to)
		return command_misused(command, "expected seek NAME --to WHERE");
	seek_r->source = argv[optind + 1];
	if (!read_to(seek_r))
		return command_misused(
			command, "%s is neither earliest, latest, an offset nor a time (RFC 3339)",
			seek_r->to);
	return EX_OK;
}

/* Keeps those that are asked for, at the offset asked for. */
static size_t pick(const struct sources *s, const struct seek *seek, struct position *positions,
		   size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (seek->partition >= 0 && positions[i].partition != seek->partition)
			continue;
		positions[kept] = positions[i];
		positions[kept].group = s->settings.broker_group;
		if (seek->time_ms == SEEK_OFFSET)
			positions[kept].offset = seek->offset;
		kept++;
	}
	return kept;
}

static int seek_log(struct sources *s, const struct seek *seek,
		    const struct source_definition *source)
{
	int64_t time_ms = seek->time_ms == SEEK_OFFSET ? KAFKA_LATEST : seek->time_ms;
	struct position *positions;
	struct error error;
	size_t count;
	bool active;

	if (kafka_admin_group_active(s->admin, s->settings.broker_group, BROKER_MS, &active,
				     &error) < 0 ||
	    kafka_admin_offsets(s->admin, source->topic, time_ms, BROKER_MS, s->arena, &positions,
				&count, &error) < 0)
		return fail(s, error.code == ERROR_NOT_FOUND ? EX_DATAERR : EX_UNAVAILABLE, &error);
	if (active)
		return command_failed(s->command, EX_UNAVAILABLE,
				      "workers of the group %s are reading: stop them first",
				      s->settings.broker_group);
	count = pick(s, seek, positions, count);
	if (!count)
		return command_failed(s->command, EX_DATAERR, "%s has no partition %d",
				      source->topic, seek->partition);
	if (position_save(s->store, positions, count, &error) < 0)
		return fail(s, EX_UNAVAILABLE, &error);
	for (size_t i = 0; i < count; i++)
		printf("%s partition %d: %" PRId64 "\n", source->topic, (int)positions[i].partition,
		       positions[i].offset);
	return EX_OK;
}

int command_source(const struct command *command, int argc, char **argv)
{
	const struct source_definition *source;
	struct sources sources;
	struct seek seek;
	int code = read_seek(command, argc, argv, &seek);

	if (code != EX_OK)
		return code;
	code = open_all(&sources, command);
	if (code == EX_OK) {
		source = definitions_source(sources.defs, seek.source);
		if (!source)
			code = command_failed(command, EX_DATAERR, "%s is not a source of %s",
					      seek.source, sources.settings.jobs_path);
		else if (sources.url.kind != BROKER_KAFKA)
			code = command_failed(command, EX_DATAERR,
					      "only Kafka keeps messages to go back to");
		else
			code = seek_log(&sources, &seek, source);
	}
	close_all(&sources);
	return code;
}

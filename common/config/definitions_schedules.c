/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules of a definitions file: the keys one by one are checked here, with their places; then
 * each becomes the JSON text that a client could have sent, and is read as such. */
#include "common/config/definitions_schedules.h"

#include <stddef.h>
#include <string.h>

#include "common/config/schedule_definition.h"

#define DAY_MS INT64_C(86400000)

struct scratch { /* where the keys go: the text is what counts */
	const char *cron, *at, *zone, *missed, *tenant, *job, *queue, *order_key, *fair_key,
		*callback_url;
	int64_t every_ms, max_late_ms, timeout_ms;
	enum job_priority priority;
	int max_attempts;
	const char *const *tags;
	const struct yaml_node *payload, *unique;
};

#define FIELD(field) offsetof(struct scratch, field)

static const struct key_row schedule_rows[] = {
	{ .name = "cron",
	  .kind = KEY_TEXT,
	  .offset = FIELD(cron),
	  .help = "When: minute hour day month weekday, with seconds in front or without; @daily and the like; @every 5m." },
	{ .name = "every",
	  .kind = KEY_DURATION,
	  .offset = FIELD(every_ms),
	  .min = TIMING_EVERY_MIN_MS,
	  .max = TIMING_EVERY_MAX_MS,
	  .help = "When: at multiples of this, counted from 1970 in UTC." },
	{ .name = "at",
	  .kind = KEY_TEXT,
	  .offset = FIELD(at),
	  .help = "When: once, at this time (RFC 3339)." },
	{ .name = "zone",
	  .kind = KEY_TEXT,
	  .offset = FIELD(zone),
	  .help = "Time zone of `cron`, as in Europe/Paris; UTC when absent." },
	{ .name = "missed",
	  .kind = KEY_TEXT,
	  .offset = FIELD(missed),
	  .help = "What becomes of times that nobody could serve within a minute: run_once (the last one; the default), skip or run_all." },
	{ .name = "max_late",
	  .kind = KEY_DURATION,
	  .offset = FIELD(max_late_ms),
	  .min = 1000,
	  .max = 366 * DAY_MS,
	  .help = "How late a run may be at all; 1d when absent." },
	{ .name = "tenant",
	  .kind = KEY_NAME,
	  .offset = FIELD(tenant),
	  .help = "Tenant of its jobs; the default one when absent." },
	{ .name = "job",
	  .kind = KEY_NAME,
	  .offset = FIELD(job),
	  .required = true,
	  .help = "Type of the job that each time makes." },
	{ .name = "payload",
	  .kind = KEY_ANY,
	  .offset = FIELD(payload),
	  .help = "Its payload; ${schedule.name} and ${schedule.tick} are replaced." },
	{ .name = "queue",
	  .kind = KEY_NAME,
	  .offset = FIELD(queue),
	  .help = "Another queue than its type's." },
	{ .name = "priority",
	  .kind = KEY_PRIORITY,
	  .offset = FIELD(priority),
	  .help = "Another priority than its type's." },
	{ .name = "max_attempts",
	  .kind = KEY_INT,
	  .offset = FIELD(max_attempts),
	  .min = 1,
	  .max = 1000,
	  .help = "Attempts before it is discarded; its type's when absent." },
	{ .name = "timeout",
	  .kind = KEY_DURATION,
	  .offset = FIELD(timeout_ms),
	  .min = 100,
	  .max = 7 * DAY_MS,
	  .help = "How long an attempt may take; its type's when absent." },
	{ .name = "tags",
	  .kind = KEY_TEXTS,
	  .offset = FIELD(tags),
	  .max = JOB_TAGS_MAX,
	  .help = "Tags of its jobs." },
	{ .name = "order_key",
	  .kind = KEY_TEXT,
	  .offset = FIELD(order_key),
	  .help = "Order key of its jobs." },
	{ .name = "fair_key",
	  .kind = KEY_TEXT,
	  .offset = FIELD(fair_key),
	  .help = "Fair key of its jobs." },
	{ .name = "unique",
	  .kind = KEY_ANY,
	  .offset = FIELD(unique),
	  .help = "{key, for, on_conflict}, as in a request: a job that still runs keeps the next one away." },
	{ .name = "callback_url",
	  .kind = KEY_TEXT,
	  .offset = FIELD(callback_url),
	  .help = "Address that is told how each job ends." },
	KEY_OF_LATER("batch"),
};
const struct key_rows definitions_schedule_keys = KEY_ROWS(schedule_rows);

/* ---- YAML as JSON text. Numbers stay as they are written. */

static bool is_number(const char *text)
{
	json_t *json = *text && strchr("-0123456789", *text)
			       ? json_loads(text, JSON_DECODE_ANY, NULL)
			       : NULL;
	bool number = json_is_number(json);

	json_decref(json);
	return number;
}

static void write_json(struct strbuf *out, const struct yaml_node *node)
{
	if (node->kind == YAML_SCALAR) {
		if (yaml_is_null(node))
			strbuf_addstr(out, "null");
		else if (node->plain && (!strcmp(node->text, "true") ||
					 !strcmp(node->text, "false") || is_number(node->text)))
			strbuf_addstr(out, node->text);
		else
			strbuf_json(out, node->text);
		return;
	}
	strbuf_addch(out, node->kind == YAML_MAP ? '{' : '[');
	for (size_t i = 0; i < node->count; i++) {
		if (i)
			strbuf_addch(out, ',');
		if (node->kind == YAML_MAP) {
			strbuf_json(out, node->keys[i]->text);
			strbuf_addch(out, ':');
		}
		write_json(out, node->items[i]);
	}
	strbuf_addch(out, node->kind == YAML_MAP ? '}' : ']');
}

/* ---- reading */

/* The job that the first tick would make: its type is there and takes the payload. */
static int check_job(const struct schedule_definition *definition, const char *name,
		     struct definitions *defs, struct job_request_error *err_r)
{
	const struct job_request_context context = { .defs = defs,
						     .payload_bytes_max = SCHEDULE_BYTES_MAX };
	struct new_job job;

	return schedule_definition_job(definition, name, 0, &context, defs->arena, &job, err_r);
}

/* At the key that the error points to, or inside of. */
static void say(struct key_reader *reader, const struct yaml_node *key, const struct yaml_node *map,
		const struct job_request_error *err)
{
	size_t bytes = *err->pointer ? strcspn(err->pointer + 1, "/") : 0;
	const char *member = arena_strndup(reader->arena, err->pointer + (bytes > 0), bytes);
	const struct yaml_node *value = definitions_member(map, member);

	if (value)
		problem_add(reader->problems, value->place, "`%s`: %s", member,
			    err->faults.count ? job_request_reason(err, "", reader->arena)
					      : err->message);
	else
		problem_add(reader->problems, key->place, "`%s`: %s", key->text, err->message);
}

static void read_text(struct key_reader *reader, const struct yaml_node *key,
		      const struct yaml_node *map, struct definitions *defs)
{
	struct schedule_entry *entry = &defs->schedules[defs->schedule_count];
	struct schedule_definition definition;
	struct zones *zones = zones_new();
	struct job_request_error err;
	struct json_error fault = { 0 };
	struct strbuf text;
	json_t *root;

	strbuf_init(&text);
	write_json(&text, map);
	*entry = (struct schedule_entry){ key->text,
					  arena_strndup(defs->arena, text.data, text.len) };
	root = json_text_parse(text.data, text.len, &fault);
	if (!root)
		problem_add(reader->problems, key->place, "`%s`: %s", key->text, fault.message);
	else if (schedule_definition_parse((struct json_slice){ text.data, text.len }, root, zones,
					   &definition, &err) < 0 ||
		 check_job(&definition, key->text, defs, &err) < 0)
		say(reader, key, map, &err);
	else
		defs->schedule_count++;
	json_decref(root);
	strbuf_release(&text);
	zones_free(&zones);
}

void definitions_read_schedules(struct key_reader *reader, const struct yaml_node *map,
				struct definitions *defs)
{
	defs->schedules = ARENA_ARRAY(defs->arena, struct schedule_entry, map ? map->count + 1 : 1);
	for (size_t i = 0; map && i < map->count; i++) {
		const struct yaml_node *value = map->items[i];
		int before = reader->problems->count;
		struct scratch scratch = { 0 };

		if (value->kind != YAML_MAP) {
			problem_add(reader->problems, value->place,
				    "bad value %s of `%s`; expected a map",
				    yaml_describe(value, reader->arena), map->keys[i]->text);
			continue;
		}
		definitions_read_keys(reader, &definitions_schedule_keys, value, &scratch);
		if (reader->problems->count == before)
			read_text(reader, map->keys[i], value, defs);
	}
}

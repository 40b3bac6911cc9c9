/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON Schema of the definitions file, printed from the table of keys, so that what an editor
 * underlines is what Windlass refuses. Keys of later versions are left out. */
#include <jansson.h>
#include <stdio.h>

#include "common/config/definitions.h"
#include "common/config/definitions_hooks.h"
#include "common/config/definitions_keys.h"

#define DURATION_PATTERN "^[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)?$"
#define SIZE_PATTERN     "^[0-9]+(B|KiB|MiB|GiB)?$"
#define RATE_PATTERN     "^[0-9]+(\\.[0-9]+)?/[smh]$"
#define SECRET_PATTERN   "^\\$\\{env\\.[A-Za-z_][A-Za-z0-9_]*\\}$"
#define STATUS_PATTERN   "^([1-5]xx|[1-5][0-9][0-9]|network)$"
#define NAME_PATTERN     "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"

static json_t *map_schema(const struct key_rows *keys);

static json_t *list_schema(const struct key_row *row)
{
	json_t *item =
		row->kind == KEY_STATUSES
			? json_pack("{s:[s, s], s:s, s:i, s:i}", "type", "string", "integer",
				    "pattern", STATUS_PATTERN, "minimum", 100, "maximum", 599)
		: row->kind == KEY_VARIABLES ? json_pack("{s:s, s:s}", "type", "string", "pattern",
							 "^[A-Za-z_][A-Za-z0-9_]*$")
		: row->is ? json_pack("{s:[s, s, s]}", "type", "string", "number", "boolean")
			  : json_pack("{s:s, s:i}", "type", "string", "minLength", 1);

	return json_pack("{s:s, s:o, s:i, s:I, s:b}", "type", "array", "items", item, "minItems",
			 row->is ? 1 : 0, "maxItems", (json_int_t)row->max, "uniqueItems",
			 !row->is);
}

static json_t *named_schema(const struct key_row *row)
{
	return json_pack("{s:s, s:{s:s}, s:o}", "type", "object", "propertyNames", "pattern",
			 NAME_PATTERN, "additionalProperties", map_schema(row->members));
}

static json_t *row_schema(const struct key_row *row)
{
	switch (row->kind) {
	case KEY_NAME:
		return json_pack("{s:s, s:s}", "type", "string", "pattern", NAME_PATTERN);
	case KEY_TEXT:
		return json_pack("{s:s, s:i}", "type", "string", "minLength", 1);
	case KEY_INT:
	case KEY_COUNT:
		return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum",
				 (json_int_t)row->min, "maximum", (json_int_t)row->max);
	case KEY_DURATION:
		return json_pack("{s:[s, s], s:s, s:i}", "type", "string", "number", "pattern",
				 DURATION_PATTERN, "minimum", 0);
	case KEY_SIZE:
		return json_pack("{s:[s, s], s:s, s:i}", "type", "string", "integer", "pattern",
				 SIZE_PATTERN, "minimum", 0);
	case KEY_PRIORITY:
		return json_pack("{s:[s, s, s]}", "enum", "high", "normal", "low");
	case KEY_FLAG:
		return json_pack("{s:s}", "type", "boolean");
	case KEY_CHOICE:
		return json_pack("{s:[s, s]}", "enum", row->words[0], row->words[1]);
	case KEY_PAYLOAD:
		return json_pack("{s:s, s:s}", "type", "string", "pattern", "^payload(\\.[^.]+)+$");
	case KEY_RATE:
		return json_pack("{s:s, s:s}", "type", "string", "pattern", RATE_PATTERN);
	case KEY_PART:
		return json_pack("{s:s, s:i, s:i}", "type", "number", "exclusiveMinimum", 0,
				 "maximum", 1);
	case KEY_TEMPLATE:
		return json_pack("{s:s, s:i}", "type", "string", "minLength", 1);
	case KEY_SECRET:
		return json_pack("{s:s, s:s}", "type", "string", "pattern", SECRET_PATTERN);
	case KEY_SCHEMA:
		return json_pack("{s:[s, s], s:i}", "type", "string", "object", "minLength", 1);
	case KEY_TEXTS:
	case KEY_VARIABLES:
	case KEY_STATUSES:
		return list_schema(row);
	case KEY_POLICY:
		return json_pack("{s:[s, s, s]}", "enum", "resend_same_key", "lookup", "park");
	case KEY_TEXT_MAP:
		return json_pack("{s:s, s:{s:[s, s, s]}}", "type", "object", "additionalProperties",
				 "type", "string", "number", "boolean");
	case KEY_ANY:
		return json_pack("{s:[s, s, s, s, s]}", "type", "string", "number", "boolean",
				 "object", "array");
	case KEY_HOOKS:
		return definitions_hooks_schema();
	case KEY_NAMED:
		return named_schema(row);
	default:
		return map_schema(row->members);
	}
}

/* Exactly one handler key. */
static void add_handlers(const struct key_rows *keys, json_t *schema)
{
	json_t *choices = json_array();

	for (size_t i = 0; i < keys->count; i++) {
		if (keys->rows[i].is)
			json_array_append_new(choices,
					      json_pack("{s:[s]}", "required", keys->rows[i].name));
	}
	if (json_array_size(choices))
		json_object_set(schema, "oneOf", choices);
	json_decref(choices);
}

/* Keys that only some handlers take need one of them beside. */
static void add_dependency(const struct key_rows *keys, const struct key_row *row, json_t *schema)
{
	json_t *choices;

	if (!row->handlers)
		return;
	choices = json_array();
	for (size_t i = 0; i < keys->count; i++) {
		if (keys->rows[i].is && row->handlers & (1u << keys->rows[i].is))
			json_array_append_new(choices,
					      json_pack("{s:[s]}", "required", keys->rows[i].name));
	}
	if (!json_object_get(schema, "dependentSchemas"))
		json_object_set_new(schema, "dependentSchemas", json_object());
	json_object_set_new(json_object_get(schema, "dependentSchemas"), row->name,
			    json_pack("{s:o}", "anyOf", choices));
}

static void add_required(const struct key_row *row, json_t *schema)
{
	if (!row->required)
		return;
	if (!json_object_get(schema, "required"))
		json_object_set_new(schema, "required", json_array());
	json_array_append_new(json_object_get(schema, "required"), json_string(row->name));
}

static json_t *map_schema(const struct key_rows *keys)
{
	json_t *properties = json_object();
	json_t *schema = json_pack("{s:s, s:b, s:o}", "type", "object", "additionalProperties", 0,
				   "properties", properties);

	for (size_t i = 0; i < keys->count; i++) {
		const struct key_row *row = &keys->rows[i];
		json_t *member;

		if (row->kind == KEY_LATER)
			continue;
		member = row_schema(row);
		json_object_set_new(member, "description", json_string(row->help));
		if (row->default_text && (row->kind == KEY_INT || row->kind == KEY_COUNT))
			json_object_set_new(member, "default",
					    json_loads(row->default_text, JSON_DECODE_ANY, NULL));
		else if (row->default_text)
			json_object_set_new(member, "default", json_string(row->default_text));
		else if (row->kind == KEY_CHOICE)
			json_object_set_new(member, "default", json_string(row->words[0]));
		json_object_set_new(properties, row->name, member);
		add_dependency(keys, row, schema);
		add_required(row, schema);
	}
	add_handlers(keys, schema);
	return schema;
}

void definitions_schema(FILE *out)
{
	json_t *schema =
		json_pack("{s:s, s:s}", "$schema", "https://json-schema.org/draft/2020-12/schema",
			  "title", "Windlass job definitions");
	json_t *keys = map_schema(&definitions_top_keys);

	CHECK(schema && keys);
	json_object_update_new(schema, keys);
	json_object_set_new(schema, "required", json_pack("[s]", "jobs"));
	CHECK(json_dumpf(schema, out, JSON_INDENT(2) | JSON_ENSURE_ASCII) == 0);
	fputc('\n', out);
	json_decref(schema);
}

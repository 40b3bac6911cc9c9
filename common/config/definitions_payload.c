/* SPDX-License-Identifier: Apache-2.0 */
/* From YAML, or a file, to a compiled schema. What is wrong with a map is told at its own place;
 * what is wrong with a file at the key that names it, with the place in the file. */
#include "common/config/definitions_payload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/config/definitions_files.h"
#include "common/json/json_text.h"

/* ---- YAML as JSON */

static json_t *json_of(const struct yaml_node *node);

static json_t *json_of_scalar(const struct yaml_node *node)
{
	const char *text = node->text;
	json_t *json = NULL;

	if (yaml_is_null(node))
		return json_null();
	if (node->plain && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
		return json_boolean(*text == 't');
	if (node->plain && *text && strchr("-0123456789", *text))
		json = json_loads(text, JSON_DECODE_ANY, NULL);
	if (!json_is_number(json)) {
		json_decref(json);
		json = json_string(text);
	}
	return json;
}

static json_t *json_of_map(const struct yaml_node *node)
{
	json_t *json = json_object();

	for (size_t i = 0; i < node->count; i++)
		CHECK(json_object_set_new(json, node->keys[i]->text, json_of(node->items[i])) == 0);
	return json;
}

static json_t *json_of(const struct yaml_node *node)
{
	json_t *json;

	if (node->kind == YAML_SCALAR)
		return json_of_scalar(node);
	if (node->kind == YAML_MAP)
		return json_of_map(node);
	json = json_array();
	for (size_t i = 0; i < node->count; i++)
		CHECK(json_array_append_new(json, json_of(node->items[i])) == 0);
	return json;
}

/* What most people mean: payloads are objects. */
static void imply_object(json_t *json)
{
	if (!json_object_get(json, "type") &&
	    (json_object_get(json, "required") || json_object_get(json, "properties")))
		json_object_set_new(json, "type", json_string("object"));
}

/* ---- places */

static const struct yaml_node *step(const struct yaml_node *node, const char *token, size_t bytes,
				    struct yaml_place *place)
{
	struct strbuf name;
	const struct yaml_node *found = NULL;

	for (size_t i = 0; node->kind == YAML_MAP && i < node->count && !found; i++) {
		strbuf_init(&name);
		json_pointer_add(&name, node->keys[i]->text);
		if (name.len == bytes + 1 && memcmp(name.data + 1, token, bytes) == 0) {
			*place = node->keys[i]->place;
			found = node->items[i];
		}
		strbuf_release(&name);
	}
	if (node->kind == YAML_LIST && strtoull(token, NULL, 10) < node->count) {
		found = node->items[strtoull(token, NULL, 10)];
		*place = found->place;
	}
	return found;
}

/* As near to what the pointer names as the map has it: a key's own place. */
static struct yaml_place place_at(const struct yaml_node *node, const char *pointer)
{
	struct yaml_place place = node->place;

	while (node && *pointer == '/') {
		size_t bytes = strcspn(++pointer, "/");

		node = step(node, pointer, bytes, &place);
		pointer += bytes;
	}
	return place;
}

/* ---- compiling */

static struct schema *compile(struct key_reader *reader, const char *key,
			      const struct yaml_node *value, const char *path, const json_t *json)
{
	const struct schema_options options = { .formats = true };
	struct arena *arena = arena_new(0);
	struct schema_faults faults;
	struct schema *schema = schema_compile(json, "", &options, arena, &faults);

	for (size_t i = 0; i < faults.count; i++) {
		const struct schema_fault *fault = &faults.faults[i];

		problem_add(reader->problems, path ? value->place : place_at(value, fault->pointer),
			    "`%s`: %s%s: %s", key, path ? path : "", fault->location,
			    fault->message);
	}
	if (faults.more)
		problem_add(reader->problems, value->place, "`%s`: and %zu more", key, faults.more);
	arena_free(&arena);
	return schema;
}

static struct schema *compile_file(struct key_reader *reader, const char *key,
				   const struct yaml_node *value, const char *directory)
{
	const char *path = definitions_path(directory, value->text, reader->arena);
	struct schema *schema = NULL;
	struct json_error error;
	struct strbuf text;
	json_t *json = NULL;

	strbuf_init(&text);
	if (definitions_read_file(path, SCHEMA_FILE_BYTES_MAX, &text) != 0)
		problem_add(reader->problems, value->place, "`%s`: cannot read %s: %s", key, path,
			    strerror(errno));
	else if (text.len > SCHEMA_FILE_BYTES_MAX)
		problem_add(reader->problems, value->place,
			    "`%s`: %s is too large; expected at most %d bytes", key, path,
			    SCHEMA_FILE_BYTES_MAX);
	else if (!(json = json_text_parse(text.data, text.len, &error)))
		problem_add(reader->problems, value->place, "`%s`: %s:%d:%d: %s", key, value->text,
			    error.line, error.column, error.message);
	else
		schema = compile(reader, key, value, value->text, json);
	json_decref(json);
	strbuf_release(&text);
	return schema;
}

struct schema *definitions_schema_compile(struct key_reader *reader, const char *key,
					  const struct yaml_node *value, const char *directory)
{
	struct schema *schema;
	json_t *json;

	if (value->kind == YAML_SCALAR)
		return compile_file(reader, key, value, directory);
	json = json_of(value);
	imply_object(json);
	schema = compile(reader, key, value, NULL, json);
	json_decref(json);
	return schema;
}

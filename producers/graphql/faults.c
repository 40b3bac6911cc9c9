/* SPDX-License-Identifier: Apache-2.0 */
/* Collects errors and writes them down in the form of the specification's section 7. */
#include "producers/graphql/faults.h"

#include <string.h>

#include "common/base/strbuf.h"

#define TOO_MANY "Too many validation errors, error limit reached. Validation aborted."

void faults_init(struct faults *faults, struct arena *arena, size_t max)
{
	*faults = (struct faults){ .arena = arena, .max = max };
}

static struct fault *append(struct faults *faults, const char *message)
{
	struct fault *fault = ARENA_NEW(faults->arena, struct fault);

	fault->message = message;
	if (faults->aborted)
		return fault; /* nobody will see it */
	if (faults->last)
		faults->last->next = fault;
	else
		faults->first = fault;
	faults->last = fault;
	faults->count++;
	return fault;
}

void faults_abort(struct faults *faults, const char *message)
{
	append(faults, message);
	faults->aborted = true;
}

static struct fault *add(struct faults *faults, const char *message)
{
	if (faults->max && faults->count == faults->max && !faults->aborted)
		faults_abort(faults, TOO_MANY);
	return append(faults, message);
}

struct fault *faults_at_nodes(struct faults *faults, const struct node *const *nodes, size_t count,
			      const char *fmt, ...)
{
	uint32_t *places = ARENA_ARRAY(faults->arena, uint32_t, count + 1);
	struct fault *fault;
	va_list args;

	va_start(args, fmt);
	fault = add(faults, arena_vprintf(faults->arena, fmt, args));
	va_end(args);
	for (size_t i = 0; i < count && fault->place_count < FAULT_PLACES_MAX; i++) {
		if (nodes[i])
			places[fault->place_count++] = nodes[i]->start;
	}
	fault->places = places;
	return fault;
}

struct fault *faults_at_byte(struct faults *faults, size_t at, const char *fmt, ...)
{
	uint32_t *place = ARENA_NEW(faults->arena, uint32_t);
	struct fault *fault;
	va_list args;

	va_start(args, fmt);
	fault = add(faults, arena_vprintf(faults->arena, fmt, args));
	va_end(args);
	*place = (uint32_t)at;
	fault->places = place;
	fault->place_count = 1;
	return fault;
}

struct fault *faults_at(struct faults *faults, const struct node *node, const char *fmt, ...)
{
	const char *message;
	va_list args;

	va_start(args, fmt);
	message = arena_vprintf(faults->arena, fmt, args);
	va_end(args);
	return faults_at_nodes(faults, &node, node != NULL, "%s", message);
}

static json_t *places_json(const struct fault *fault, const char *text)
{
	json_t *list = json_array();
	int line, column;

	for (size_t i = 0; i < fault->place_count; i++) {
		document_place(text, fault->places[i], &line, &column);
		json_array_append_new(list, json_pack("{s:i,s:i}", "line", line, "column", column));
	}
	return list;
}

static void add_path(json_t *list, const struct fault_path *path)
{
	if (!path)
		return;
	add_path(list, path->up);
	if (path->key)
		json_array_append_new(list, json_string(path->key));
	else
		json_array_append_new(list, json_integer((json_int_t)path->index));
}

json_t *faults_json(const struct faults *faults, const char *text)
{
	json_t *errors = json_array();

	for (const struct fault *fault = faults->first; fault; fault = fault->next) {
		json_t *error = json_object();

		json_object_set_new(error, "message", json_string(fault->message));
		if (text && fault->place_count > 0)
			json_object_set_new(error, "locations", places_json(fault, text));
		if (fault->path) {
			json_t *path = json_array();
			add_path(path, fault->path);
			json_object_set_new(error, "path", path);
		}
		if (fault->extensions)
			json_object_set(error, "extensions", fault->extensions);
		json_array_append_new(errors, error);
	}
	return errors;
}

static void write_path(struct strbuf *out, const struct fault_path *path)
{
	if (path->up)
		write_path(out, path->up);
	if (path->key) {
		strbuf_addch(out, '.');
		strbuf_addstr(out, path->key);
	} else {
		strbuf_printf(out, "[%zu]", path->index);
	}
}

const char *faults_path_text(struct arena *arena, const struct fault_path *path)
{
	struct strbuf out;
	char *text;

	if (!path)
		return "";
	strbuf_init(&out);
	strbuf_addstr(&out, " at ");
	write_path(&out, path);
	text = arena_strndup(arena, out.data, out.len);
	strbuf_release(&out);
	return text;
}

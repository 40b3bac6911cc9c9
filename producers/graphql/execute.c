/* SPDX-License-Identifier: Apache-2.0 */
/* Completes values by their types: section 6.4 of the specification. An error makes its field null;
 * where null is not allowed it goes up to the next field that may be. */
#include "producers/graphql/execute.h"

#include <string.h>

#include "producers/graphql/introspect.h"
#include "producers/graphql/serialize.h"

struct site { /* the field that is being completed */
	const struct type *parent;
	const char *name;
	const struct group *group;
};

static json_t *complete(struct execution *e, const struct site *site, const struct fault_path *path,
			const struct type *type, const struct found *found);

/* ---- errors */

/* Raises: NULL goes up until a field may be null. */
static json_t *raise(struct execution *e, const struct site *site, const struct fault_path *path,
		     const char *message, json_t *extensions)
{
	struct faults one;

	faults_init(&one, e->arena, 0);
	e->raised = faults_at_nodes(&one, site->group->nodes, site->group->count, "%s", message);
	e->raised->path = path;
	e->raised->extensions = extensions;
	return NULL;
}

/* The same with an error that has its own places. */
static json_t *raise_fault(struct execution *e, const struct faults *faults,
			   const struct fault_path *path)
{
	e->raised = faults->first;
	e->raised->path = path;
	return NULL;
}

static void note_raised(struct execution *e)
{
	struct fault *fault = e->raised;
	struct fault *noted = faults_at(&e->faults, NULL, "%s", fault->message);

	noted->places = fault->places;
	noted->place_count = fault->place_count;
	noted->path = fault->path;
	noted->extensions = fault->extensions;
	e->raised = NULL;
}

/* What becomes of a value here: itself, or null when its error may stop here. NULL: it goes up. */
static json_t *settle(struct execution *e, const struct type *type, json_t *value)
{
	if (value || type->kind == TYPE_NON_NULL)
		return value;
	note_raised(e);
	return json_null();
}

/* ---- fields */

static const struct fault_path *below(struct execution *e, const struct fault_path *up,
				      const char *key, size_t index)
{
	struct fault_path *path = ARENA_NEW(e->arena, struct fault_path);

	*path = (struct fault_path){ .up = up, .key = key, .index = index };
	return path;
}

static struct found json_found(const json_t *value)
{
	bool none = !value || json_is_null(value);

	return (struct found){ .kind = none ? FOUND_NULL : FOUND_JSON, .what = value };
}

static json_t *complete_field(struct execution *e, const struct type *parent,
			      const struct fault_path *up, const struct group *group,
			      const struct found *source)
{
	const struct field *field = types_field(e->types, parent, group->nodes[0]->text);
	struct site site = { parent, field->name, group };
	const struct fault_path *path = below(e, up, group->key, 0);
	struct faults refused;
	struct found found;
	json_t *args;

	faults_init(&refused, e->arena, 0);
	args = coerce_arguments(&e->coercion, field->args, field->arg_count, group->nodes[0],
				&refused);
	if (!args)
		return settle(e, field->type, raise_fault(e, &refused, path));
	if (field == &e->types->typename_field)
		found = (struct found){ .kind = FOUND_TEXT, .what = parent->name };
	else if (source->kind == FOUND_JSON)
		found = json_found(json_object_get(source->what, field->name));
	else
		found = introspect_field(e->types, e->arena, source, field->name, args);
	return settle(e, field->type, complete(e, &site, path, field->type, &found));
}

static json_t *complete_object(struct execution *e, const struct site *site,
			       const struct fault_path *path, const struct type *type,
			       const struct found *found)
{
	struct collection fields = { .coercion = &e->coercion,
				     .document = e->document,
				     .type = type };
	json_t *object = json_object(), *value;
	struct faults refused;

	faults_init(&refused, e->arena, 0);
	for (size_t i = 0; i < site->group->count; i++) {
		const struct node *set = site->group->nodes[i]->selection_set;
		if (set && !collect_selections(&fields, set, &refused)) {
			json_decref(object);
			return raise_fault(e, &refused, path);
		}
	}
	for (const struct group *g = fields.first; g; g = g->next) {
		if (!types_field(e->types, type, g->nodes[0]->text))
			continue;
		value = complete_field(e, type, path, g, found);
		if (!value) {
			json_decref(object);
			return NULL;
		}
		json_object_set_new_nocheck(object, g->key, value);
	}
	return object;
}

/* ---- values */

static json_t *complete_list(struct execution *e, const struct site *site,
			     const struct fault_path *path, const struct type *type,
			     const struct found *found)
{
	bool json = found->kind == FOUND_JSON;
	size_t count = json ? json_array_size(found->what) : found->count;
	json_t *list, *value;

	if (json ? !json_is_array((const json_t *)found->what) : found->kind != FOUND_LIST)
		return raise(e, site, path,
			     arena_printf(e->arena,
					  "Expected Iterable, but did not find one for field "
					  "'%s.%s'.",
					  site->parent->name, site->name),
			     NULL);
	list = json_array();
	for (size_t i = 0; i < count; i++) {
		struct found item =
			json ? json_found(json_array_get(found->what, i)) : found->items[i];
		value = complete(e, site, below(e, path, NULL, i), type->of, &item);
		value = settle(e, type->of, value);
		if (!value) {
			json_decref(list);
			return NULL;
		}
		json_array_append_new(list, value);
	}
	return list;
}

static json_t *complete_leaf(struct execution *e, const struct site *site,
			     const struct fault_path *path, const struct type *type,
			     const struct found *found)
{
	const char *why;
	json_t *value;

	if (found->kind == FOUND_BOOL)
		return json_boolean(found->yes);
	if (found->kind == FOUND_TEXT)
		return json_string(found->what);
	value = serialize_leaf(e->arena, type, found->what, &why);
	return value ? value : raise(e, site, path, why, NULL);
}

static json_t *complete_abstract(struct execution *e, const struct site *site,
				 const struct fault_path *path, const struct type *type,
				 const struct found *found)
{
	const char *name = json_string_value(json_object_get(found->what, "__typename"));
	const struct type *object = name ? types_find(e->types, name) : NULL;
	const char *why = NULL;

	if (!name)
		why = arena_printf(
			e->arena,
			"Abstract type '%s' must resolve to an Object type at runtime for field "
			"'%s.%s'. Either the '%s' type should provide a 'resolve_type' function or "
			"each possible type should provide an 'is_type_of' function.",
			type->text, site->parent->name, site->name, type->text);
	else if (!object)
		why = arena_printf(e->arena,
				   "Abstract type '%s' was resolved to a type '%s' that does not "
				   "exist inside the schema.",
				   type->text, name);
	else if (object->kind != TYPE_OBJECT)
		why = arena_printf(e->arena,
				   "Abstract type '%s' was resolved to a non-object type '%s'.",
				   type->text, name);
	else if (!types_stands_for(type, object))
		why = arena_printf(e->arena,
				   "Runtime Object type '%s' is not a possible type for '%s'.",
				   name, type->text);
	return why ? raise(e, site, path, why, NULL)
		   : complete_object(e, site, path, object, found);
}

static json_t *complete_nullable(struct execution *e, const struct site *site,
				 const struct fault_path *path, const struct type *type,
				 const struct found *found)
{
	if (found->kind == FOUND_NULL)
		return json_null();
	if (type->kind == TYPE_LIST)
		return complete_list(e, site, path, type, found);
	if (types_is_leaf(type))
		return complete_leaf(e, site, path, type, found);
	if (types_is_abstract(type))
		return complete_abstract(e, site, path, type, found);
	return complete_object(e, site, path, type, found);
}

static json_t *complete(struct execution *e, const struct site *site, const struct fault_path *path,
			const struct type *type, const struct found *found)
{
	json_t *value;

	if (type->kind != TYPE_NON_NULL)
		return complete_nullable(e, site, path, type, found);
	value = complete_nullable(e, site, path, type->of, found);
	if (value && json_is_null(value)) {
		json_decref(value);
		return raise(e, site, path,
			     arena_printf(e->arena,
					  "Cannot return null for non-nullable field %s.%s.",
					  site->parent->name, site->name),
			     NULL);
	}
	return value;
}

/* ---- the operation's own fields */

static json_t *complete_root(struct execution *e, struct root_field *field)
{
	struct site site = { e->root, field->name, field->group };
	const struct fault_path *path = below(e, NULL, field->group->key, 0);
	struct found found;
	struct faults refused;

	faults_init(&refused, e->arena, 0);
	if (!field->args) {
		coerce_arguments(&e->coercion, field->field->args, field->field->arg_count,
				 field->group->nodes[0], &refused);
		return settle(e, field->field->type, raise_fault(e, &refused, path));
	}
	if (field->error)
		return settle(e, field->field->type,
			      raise(e, &site, path, field->error, field->extensions));
	if (field->elsewhere)
		found = json_found(field->value);
	else if (field->field == &e->types->typename_field)
		found = (struct found){ .kind = FOUND_TEXT, .what = e->root->name };
	else
		found = introspect_root(e->types, field->name, field->args);
	return settle(e, field->field->type, complete(e, &site, path, field->field->type, &found));
}

static bool is_meta(const struct types *types, const struct field *field)
{
	return field == &types->typename_field || field == &types->schema_field ||
	       field == &types->type_field;
}

static void list_fields(struct execution *e, const struct collection *fields)
{
	size_t count = 0;

	for (const struct group *g = fields->first; g; g = g->next)
		count++;
	e->fields = ARENA_ARRAY(e->arena, struct root_field, count + 1);
	for (const struct group *g = fields->first; g; g = g->next) {
		const char *name = g->nodes[0]->text;
		const struct field *field = types_field(e->types, e->root, name);
		struct root_field *root = &e->fields[e->field_count];
		struct faults ignored;

		if (!field)
			continue;
		faults_init(&ignored, e->arena, 0);
		e->field_count++;
		root->group = g;
		root->field = field;
		root->name = field->name;
		root->args = coerce_arguments(&e->coercion, field->args, field->arg_count,
					      g->nodes[0], &ignored);
		root->elsewhere = root->args && !is_meta(e->types, field);
	}
}

bool execute_start(struct execution *e, const struct execute_request *request)
{
	struct collection fields = { .coercion = &e->coercion, .document = request->document };

	*e = (struct execution){ .types = request->types,
				 .arena = request->arena,
				 .document = request->document,
				 .operation = request->operation };
	e->coercion = (struct coercion){ .types = e->types,
					 .arena = e->arena,
					 .kept = json_array(),
					 .hide_suggestions = request->hide_suggestions };
	e->root = fields.type = e->types->roots[e->operation->operation];
	faults_init(&e->faults, e->arena, FAULTS_VARIABLES_MAX);
	e->coercion.variables =
		coerce_variables(&e->coercion, e->operation, request->variables, &e->faults);
	if (!e->coercion.variables) {
		e->refused = true;
		return false;
	}
	e->faults.max = 0;
	if (!collect_selections(&fields, e->operation->selection_set, &e->faults))
		return false;
	list_fields(e, &fields);
	return true;
}

void execute_value(struct execution *e, size_t index, json_t *value)
{
	e->fields[index].value = value;
	if (value)
		json_array_append_new(e->coercion.kept, value);
}

void execute_error(struct execution *e, size_t index, const char *message, json_t *extensions)
{
	e->fields[index].error = arena_strdup(e->arena, message);
	e->fields[index].extensions = extensions;
	if (extensions)
		json_array_append_new(e->coercion.kept, extensions);
}

json_t *execute_finish(struct execution *e, const char *text)
{
	json_t *answer = json_object(), *data = NULL;

	if (e->faults.count == 0)
		data = json_object();
	for (size_t i = 0; data && i < e->field_count; i++) {
		json_t *value = complete_root(e, &e->fields[i]);
		if (value) {
			json_object_set_new_nocheck(data, e->fields[i].group->key, value);
			continue;
		}
		note_raised(e);
		json_decref(data);
		data = NULL;
	}
	if (!e->refused)
		json_object_set_new(answer, "data", data ? data : json_null());
	if (e->faults.count > 0)
		json_object_set_new(answer, "errors", faults_json(&e->faults, text));
	return answer;
}

void execute_release(struct execution *e)
{
	json_decref(e->coercion.kept);
	e->coercion.kept = NULL;
}

static bool selects(struct execution *e, const struct type *type, const struct group *group,
		    const char *const *path, const char *name)
{
	struct collection fields = { .coercion = &e->coercion,
				     .document = e->document,
				     .type = type };
	struct faults ignored;

	faults_init(&ignored, e->arena, 0);
	for (size_t i = 0; i < group->count; i++) {
		if (group->nodes[i]->selection_set)
			collect_selections(&fields, group->nodes[i]->selection_set, &ignored);
	}
	for (const struct group *g = fields.first; g; g = g->next) {
		const struct field *field = types_field(e->types, type, g->nodes[0]->text);

		if (!field || strcmp(field->name, *path ? *path : name) != 0)
			continue;
		if (!*path || selects(e, types_named(field->type), g, path + 1, name))
			return true;
	}
	return false;
}

bool execute_selects(struct execution *e, size_t index, const char *const *path, const char *name)
{
	const struct root_field *field = &e->fields[index];

	return selects(e, types_named(field->field->type), field->group, path, name);
}

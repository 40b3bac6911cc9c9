/* SPDX-License-Identifier: Apache-2.0 */
/* Scalars and enums, from literals and from JSON. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "producers/graphql/coerce_impl.h"
#include "producers/graphql/printer.h"
#include "producers/graphql/show.h"
#include "producers/graphql/suggest.h"

static const char *const scalar_words[] = {
	[SCALAR_CUSTOM] = "",
	[SCALAR_INT] = "Int cannot represent non-integer value",
	[SCALAR_FLOAT] = "Float cannot represent non numeric value",
	[SCALAR_STRING] = "String cannot represent a non string value",
	[SCALAR_BOOLEAN] = "Boolean cannot represent a non boolean value",
	[SCALAR_ID] = "ID cannot represent value",
	[SCALAR_DATE_TIME] = "DateTime cannot represent value",
};

#define NOT_32_BIT "Int cannot represent non 32-bit signed integer value"

static const char *near_values(const struct coercion *c, const struct type *type, const char *text)
{
	const char **names = arena_zalloc(c->arena, sizeof(*names) * (type->value_count + 1));

	if (c->hide_suggestions)
		return "";
	for (size_t i = 0; i < type->value_count; i++)
		names[i] = type->values[i].name;
	return suggest(c->arena, "the enum value", text, names, type->value_count);
}

static bool has_value(const struct type *type, const char *name)
{
	for (size_t i = 0; i < type->value_count; i++) {
		if (strcmp(type->values[i].name, name) == 0)
			return true;
	}
	return false;
}

static bool is_date_time(const char *text, size_t bytes)
{
	int64_t wall_ms;

	return strlen(text) == bytes && clock_parse(text, &wall_ms) == 0;
}

/* ---- from literals */

static json_t *enum_literal(const struct coercion *c, const struct node *node,
			    const struct type *type, const char **why_r)
{
	const char *text = printer_constant(c->arena, node);

	if (node->kind != NODE_ENUM) {
		*why_r = arena_printf(c->arena, "Enum '%s' cannot represent non-enum value: %s.%s",
				      type->name, text, near_values(c, type, text));
		return NULL;
	}
	if (has_value(type, node->text))
		return coerce_keep(c, json_string(node->text));
	*why_r = arena_printf(c->arena, "Value '%s' does not exist in '%s' enum.%s", text,
			      type->name, near_values(c, type, text));
	return NULL;
}

static json_t *string_of(const struct node *node)
{
	return json_stringn_nocheck(node->text, node->text_bytes);
}

/* Anything that a document can say, as JSON; variables by their values. */
static json_t *untyped(const struct coercion *c, const struct node *node)
{
	json_t *list;

	switch (node->kind) {
	case NODE_VARIABLE:
		return json_incref(json_object_get(c->variables, node->text));
	case NODE_INT:
		if (node->text_bytes < 19)
			return json_integer(strtoll(node->text, NULL, 10));
		return json_real(strtod(node->text, NULL));
	case NODE_FLOAT:
		return json_real(strtod(node->text, NULL));
	case NODE_BOOLEAN:
		return json_boolean(node->flag);
	case NODE_NULL:
		return json_null();
	case NODE_LIST:
		list = json_array();
		for (const struct node *i = node->items; i; i = i->next) {
			json_t *item = untyped(c, i);
			json_array_append_new(list, item ? item : json_null());
		}
		return list;
	case NODE_OBJECT:
		list = json_object();
		for (const struct node *i = node->items; i; i = i->next)
			json_object_set_new_nocheck(list, i->text, untyped(c, i->value));
		return list;
	default:
		return string_of(node);
	}
}

static json_t *int_literal(const struct coercion *c, const struct node *node, const char **why_r)
{
	long long number = strtoll(node->text, NULL, 10); /* saturates */

	if (number >= INT32_MIN && number <= INT32_MAX)
		return json_integer(number);
	*why_r = arena_printf(c->arena, NOT_32_BIT ": %s", node->text);
	return NULL;
}

/* NULL without *why_r: the literal is of the wrong kind. */
static json_t *scalar_literal(const struct coercion *c, const struct node *node,
			      const struct type *type, const char **why_r)
{
	switch (type->scalar) {
	case SCALAR_CUSTOM:
		return untyped(c, node);
	case SCALAR_INT:
		return node->kind == NODE_INT ? int_literal(c, node, why_r) : NULL;
	case SCALAR_FLOAT:
		return node->kind == NODE_INT || node->kind == NODE_FLOAT
			       ? json_real(strtod(node->text, NULL))
			       : NULL;
	case SCALAR_STRING:
		return node->kind == NODE_STRING ? string_of(node) : NULL;
	case SCALAR_BOOLEAN:
		return node->kind == NODE_BOOLEAN ? json_boolean(node->flag) : NULL;
	case SCALAR_ID:
		return node->kind == NODE_STRING || node->kind == NODE_INT ? string_of(node) : NULL;
	case SCALAR_DATE_TIME:
		return node->kind == NODE_STRING && is_date_time(node->text, node->text_bytes)
			       ? string_of(node)
			       : NULL;
	}
	return NULL;
}

json_t *coerce_leaf_literal(const struct coercion *c, const struct node *node,
			    const struct type *type, const char **why_r, const struct node **at_r)
{
	json_t *value;

	/* graphql-core has made lists and objects anew by then, and knows no place of them. */
	*at_r = node->kind == NODE_LIST || node->kind == NODE_OBJECT ? NULL : node;
	*why_r = NULL;
	if (type->kind == TYPE_ENUM)
		return enum_literal(c, node, type, why_r);
	value = scalar_literal(c, node, type, why_r);
	if (value)
		return coerce_keep(c, value);
	if (!*why_r)
		*why_r = arena_printf(
			c->arena, "%s: %s",
			type->scalar == SCALAR_ID
				? "ID cannot represent a non-string and non-integer value"
				: scalar_words[type->scalar],
			printer_constant(c->arena, node));
	return NULL;
}

/* ---- from JSON */

static json_t *enum_value(const struct coercion *c, const json_t *value, const struct type *type,
			  const char **why_r)
{
	const char *text = json_string_value(value);

	if (text && has_value(type, text))
		return json_string(text);
	if (text) {
		*why_r = arena_printf(c->arena, "Value '%s' does not exist in '%s' enum.%s", text,
				      type->name, near_values(c, type, text));
		return NULL;
	}
	text = show_value(c->arena, value);
	*why_r = arena_printf(c->arena, "Enum '%s' cannot represent non-string value: %s.%s",
			      type->name, text, near_values(c, type, text));
	return NULL;
}

static bool is_whole(const json_t *value)
{
	double number = json_number_value(value);

	return json_is_integer(value) ||
	       (json_is_real(value) && isfinite(number) && floor(number) == number);
}

static json_t *int_value(const struct coercion *c, const json_t *value, const char **why_r)
{
	double number = json_number_value(value);

	if (!is_whole(value))
		return NULL;
	if (number >= INT32_MIN && number <= INT32_MAX)
		return json_integer((json_int_t)number);
	*why_r = arena_printf(c->arena, NOT_32_BIT ": %s", show_value(c->arena, value));
	return NULL;
}

static json_t *float_value(const struct coercion *c, const json_t *value, const char **why_r)
{
	double number = json_number_value(value);

	if (!json_is_number(value))
		return NULL;
	if (json_is_integer(value) &&
	    (fabs(number) >= 0x1p63 || (json_int_t)number != json_integer_value(value))) {
		*why_r = arena_printf(c->arena, "%s: %s (value would lose precision)",
				      scalar_words[SCALAR_FLOAT], show_value(c->arena, value));
		return NULL;
	}
	return json_real(number);
}

static json_t *id_value(const struct coercion *c, const json_t *value)
{
	if (json_is_string(value))
		return json_deep_copy(value);
	if (json_is_integer(value))
		return json_string(
			arena_printf(c->arena, "%lld", (long long)json_integer_value(value)));
	return is_whole(value)
		       ? json_string(arena_printf(c->arena, "%.0f", json_number_value(value)))
		       : NULL;
}

static json_t *scalar_value(const struct coercion *c, const json_t *value, const struct type *type,
			    const char **why_r)
{
	switch (type->scalar) {
	case SCALAR_CUSTOM:
		return json_incref((json_t *)value);
	case SCALAR_INT:
		return int_value(c, value, why_r);
	case SCALAR_FLOAT:
		return float_value(c, value, why_r);
	case SCALAR_STRING:
		return json_is_string(value) ? json_incref((json_t *)value) : NULL;
	case SCALAR_BOOLEAN:
		return json_is_boolean(value) ? json_incref((json_t *)value) : NULL;
	case SCALAR_ID:
		return id_value(c, value);
	case SCALAR_DATE_TIME:
		return json_is_string(value) && is_date_time(json_string_value(value),
							     json_string_length(value))
			       ? json_incref((json_t *)value)
			       : NULL;
	}
	return NULL;
}

json_t *coerce_leaf_value(const struct coercion *c, const json_t *value, const struct type *type,
			  const char **why_r)
{
	json_t *taken;

	*why_r = NULL;
	taken = type->kind == TYPE_ENUM ? enum_value(c, value, type, why_r)
					: scalar_value(c, value, type, why_r);
	if (taken)
		return coerce_keep(c, taken);
	if (!*why_r)
		*why_r = arena_printf(c->arena, "%s: %s", scalar_words[type->scalar],
				      show_value(c->arena, value));
	return NULL;
}

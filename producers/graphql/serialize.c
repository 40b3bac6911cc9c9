/* SPDX-License-Identifier: Apache-2.0 */
/* A little more is taken on the way out than on the way in: numbers in texts, true as 1. Pure. */
#include "producers/graphql/serialize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "producers/graphql/show.h"

#define NOT_32_BIT "Int cannot represent non 32-bit signed integer value"

static bool is_whole(const json_t *value)
{
	double number = json_number_value(value);

	return json_is_number(value) && isfinite(number) && floor(number) == number;
}

static json_t *int_out(struct arena *arena, const json_t *value, const char **why_r)
{
	double number = json_number_value(value);
	char *end;

	if (json_is_boolean(value))
		return json_integer(json_is_true(value));
	if (json_is_string(value) && json_string_length(value) > 0) {
		number = (double)strtoll(json_string_value(value), &end, 10);
		if (*end)
			return NULL;
	} else if (!is_whole(value)) {
		return NULL;
	}
	if (number >= INT32_MIN && number <= INT32_MAX)
		return json_integer((json_int_t)number);
	*why_r = arena_printf(arena, NOT_32_BIT ": %s", show_value(arena, value));
	return NULL;
}

static json_t *float_out(const json_t *value)
{
	double number = json_number_value(value);
	char *end;

	if (json_is_boolean(value))
		return json_integer(json_is_true(value));
	if (json_is_string(value) && json_string_length(value) > 0) {
		number = strtod(json_string_value(value), &end);
		return *end || !isfinite(number) ? NULL : json_real(number);
	}
	return json_is_number(value) && isfinite(number) ? json_real(number) : NULL;
}

static json_t *text_out(struct arena *arena, const json_t *value)
{
	if (json_is_string(value))
		return json_incref((json_t *)value);
	if (json_is_boolean(value))
		return json_string(json_is_true(value) ? "true" : "false");
	return json_is_number(value) ? json_string(show_value(arena, value)) : NULL;
}

static json_t *id_out(struct arena *arena, const json_t *value)
{
	if (json_is_string(value))
		return json_incref((json_t *)value);
	if (json_is_integer(value))
		return json_string(show_value(arena, value));
	return is_whole(value) ? json_string(arena_printf(arena, "%.0f", json_number_value(value)))
			       : NULL;
}

static json_t *enum_out(struct arena *arena, const struct type *type, const json_t *value,
			const char **why_r)
{
	const char *text = json_string_value(value);

	for (size_t i = 0; text && i < type->value_count; i++) {
		if (strcmp(type->values[i].name, text) == 0)
			return json_string(text);
	}
	*why_r = arena_printf(arena, "Enum '%s' cannot represent value: %s", type->name,
			      show_value(arena, value));
	return NULL;
}

static json_t *scalar_out(struct arena *arena, const struct type *type, const json_t *value,
			  const char **why_r)
{
	switch (type->scalar) {
	case SCALAR_INT:
		return int_out(arena, value, why_r);
	case SCALAR_FLOAT:
		return float_out(value);
	case SCALAR_STRING:
		return text_out(arena, value);
	case SCALAR_BOOLEAN:
		if (json_is_boolean(value))
			return json_incref((json_t *)value);
		return json_is_number(value) ? json_boolean(json_number_value(value) != 0) : NULL;
	case SCALAR_ID:
		return id_out(arena, value);
	case SCALAR_CUSTOM:
	case SCALAR_DATE_TIME:
		return json_incref((json_t *)value);
	}
	return NULL;
}

json_t *serialize_leaf(struct arena *arena, const struct type *type, const json_t *value,
		       const char **why_r)
{
	static const char *const words[] = {
		[SCALAR_CUSTOM] = "Value",
		[SCALAR_INT] = "Int cannot represent non-integer value",
		[SCALAR_FLOAT] = "Float cannot represent non numeric value",
		[SCALAR_STRING] = "String cannot represent value",
		[SCALAR_BOOLEAN] = "Boolean cannot represent a non boolean value",
		[SCALAR_ID] = "ID cannot represent value",
		[SCALAR_DATE_TIME] = "DateTime cannot represent value",
	};
	json_t *out;

	*why_r = NULL;
	if (type->kind == TYPE_ENUM)
		return enum_out(arena, type, value, why_r);
	out = scalar_out(arena, type, value, why_r);
	if (!out && !*why_r)
		*why_r = arena_printf(arena, "%s: %s", words[type->scalar],
				      show_value(arena, value));
	return out;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* When two JSON values are the same for const, enum and uniqueItems: numbers by their value,
 * objects whatever the order of their members. */
#include <string.h>

#include "common/schema/schema_impl.h"

static bool equal_arrays(const json_t *a, const json_t *b)
{
	size_t count = json_array_size(a);

	if (count != json_array_size(b))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!schema_equal(json_array_get(a, i), json_array_get(b, i)))
			return false;
	}
	return true;
}

static bool equal_objects(const json_t *a, const json_t *b)
{
	/* Only walked; jansson's iteration wants it writable. */
	json_t *walked = (json_t *)(uintptr_t)a;

	if (json_object_size(a) != json_object_size(b))
		return false;
	for (void *at = json_object_iter(walked); at; at = json_object_iter_next(walked, at)) {
		const json_t *other =
			json_object_getn(b, json_object_iter_key(at), json_object_iter_key_len(at));

		if (!other || !schema_equal(json_object_iter_value(at), other))
			return false;
	}
	return true;
}

bool schema_equal(const json_t *a, const json_t *b)
{
	if (json_is_number(a) && json_is_number(b))
		return schema_number_compare(a, b) == 0;
	if (json_typeof(a) != json_typeof(b))
		return false;
	switch (json_typeof(a)) {
	case JSON_STRING:
		return json_string_length(a) == json_string_length(b) &&
		       memcmp(json_string_value(a), json_string_value(b), json_string_length(a)) ==
			       0;
	case JSON_ARRAY:
		return equal_arrays(a, b);
	case JSON_OBJECT:
		return equal_objects(a, b);
	default:
		return true;
	}
}

static uint64_t mix(uint64_t hash)
{
	hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
	return hash ^ hash >> 31;
}

static uint64_t hash_bytes(const char *text, size_t bytes)
{
	uint64_t hash = bytes;

	for (size_t i = 0; i < bytes; i++)
		hash = (hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
	return mix(hash);
}

static uint64_t hash_number(const json_t *value)
{
	double real = json_number_value(value) + 0.0; /* -0.0 becomes 0.0 */
	uint64_t bits;

	memcpy(&bits, &real, sizeof(bits));
	return mix(bits + 1);
}

static uint64_t hash_object(const json_t *value)
{
	json_t *walked = (json_t *)(uintptr_t)value;
	uint64_t sum = 7;

	for (void *at = json_object_iter(walked); at; at = json_object_iter_next(walked, at))
		sum += mix(hash_bytes(json_object_iter_key(at), json_object_iter_key_len(at)) * 3 +
			   schema_hash(json_object_iter_value(at)));
	return mix(sum);
}

uint64_t schema_hash(const json_t *value)
{
	uint64_t hash = 5;

	switch (json_typeof(value)) {
	case JSON_INTEGER:
	case JSON_REAL:
		return hash_number(value);
	case JSON_STRING:
		return hash_bytes(json_string_value(value), json_string_length(value));
	case JSON_OBJECT:
		return hash_object(value);
	case JSON_ARRAY:
		for (size_t i = 0; i < json_array_size(value); i++)
			hash = mix(hash + schema_hash(json_array_get(value, i)));
		return hash;
	default:
		return mix(json_typeof(value));
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Pointer (RFC 6901), for places in error messages and for settings such as `order_key:
 * /customer/id` that name a value inside a payload. Never changes what it points into. */
#include <stdlib.h>
#include <string.h>

#include "common/json/json_text.h"

/* Undoes ~0 and ~1 in place. False when a "~" is followed by anything else. */
static bool undo_escapes(char *token, size_t *bytes)
{
	char *out = token;

	for (size_t i = 0; i < *bytes; i++) {
		char c = token[i];

		if (c == '~') {
			if (++i == *bytes || (token[i] != '0' && token[i] != '1'))
				return false;
			c = token[i] == '0' ? '~' : '/';
		}
		*out++ = c;
	}
	*bytes = (size_t)(out - token);
	return true;
}

static json_t *get_member(json_t *object, const char *token, size_t bytes)
{
	char brief[256], *key;
	json_t *value;

	if (!memchr(token, '~', bytes))
		return json_object_getn(object, token, bytes);
	key = bytes <= sizeof(brief) ? brief : xmalloc(bytes);
	memcpy(key, token, bytes);
	value = undo_escapes(key, &bytes) ? json_object_getn(object, key, bytes) : NULL;
	if (key != brief)
		free(key);
	return value;
}

/* "0", or digits without a leading zero. "-" is the place behind the last element, where nothing
 * is. */
static json_t *get_element(json_t *array, const char *token, size_t bytes)
{
	size_t index = 0;

	if (bytes == 0 || bytes > 9 || (token[0] == '0' && bytes > 1))
		return NULL;
	for (size_t i = 0; i < bytes; i++) {
		if (token[i] < '0' || token[i] > '9')
			return NULL;
		index = index * 10 + (size_t)(token[i] - '0');
	}
	return json_array_get(array, index);
}

json_t *json_pointer_get(json_t *root, const char *pointer)
{
	json_t *at = root;

	if (*pointer == '\0')
		return root;
	if (*pointer == '/')
		pointer++;
	while (at) {
		size_t bytes = strcspn(pointer, "/");

		at = json_is_object(at)  ? get_member(at, pointer, bytes)
		     : json_is_array(at) ? get_element(at, pointer, bytes)
					 : NULL;
		if (pointer[bytes] == '\0')
			break;
		pointer += bytes + 1;
	}
	return at;
}

void json_pointer_add(struct strbuf *sb, const char *token)
{
	strbuf_addch(sb, '/');
	for (; *token; token++) {
		if (*token == '~')
			strbuf_add(sb, "~0", 2);
		else if (*token == '/')
			strbuf_add(sb, "~1", 2);
		else
			strbuf_addch(sb, *token);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that reads JSON from outside: the parser, slices and pointers. What the parser takes
 * must look the same through slices as through jansson's tree; what it refuses must still not lead
 * a slice out of its bounds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/base/strbuf.h"
#include "common/json/json_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Finding a member by name starts at the front each time; in large objects only the first are
 * looked for. */
#define GETS_MAX 32

struct view {
	struct arena *arena;
	json_t *root;
	struct strbuf pointer; /* to the value being compared */
};

static void compare(struct view *view, struct json_slice s, json_t *value);

static void compare_at(struct view *view, const char *token, struct json_slice s, json_t *value)
{
	size_t length = view->pointer.len;

	CHECK(value != NULL);
	json_pointer_add(&view->pointer, token);
	CHECK(json_pointer_get(view->root, view->pointer.data) == value);
	compare(view, s, value);
	view->pointer.len = length;
	if (view->pointer.cap > 0)
		view->pointer.data[length] = '\0';
}

static void compare_object(struct view *view, struct json_slice s, json_t *object)
{
	struct json_member member;
	const char *cursor = NULL;
	size_t count = 0;
	int result;

	while ((result = json_slice_next(s, &cursor, &member)) == 1) {
		struct json_slice quoted = { .text = member.key.text - 1,
					     .bytes = member.key.bytes + 2 };
		char *key = json_slice_string(view->arena, quoted);

		CHECK(key != NULL);
		compare_at(view, key, member.value, json_object_get(object, key));
		if (count++ < GETS_MAX) {
			struct json_slice got = json_slice_get(s, key);
			bool escaped =
				member.key.bytes && memchr(member.key.text, '\\', member.key.bytes);

			CHECK(got.text == (escaped ? NULL : member.value.text));
			CHECK(got.bytes == (escaped ? 0 : member.value.bytes));
		}
	}
	CHECK(result == 0);
	CHECK(count == json_object_size(object));
}

static void compare_array(struct view *view, struct json_slice s, json_t *array)
{
	struct json_slice element;
	const char *cursor = NULL;
	size_t count = 0;
	int result;

	while ((result = json_slice_element(s, &cursor, &element)) == 1) {
		char *token = arena_printf(view->arena, "%zu", count);

		compare_at(view, token, element, json_array_get(array, count));
		count++;
	}
	CHECK(result == 0);
	CHECK(count == json_array_size(array));
}

static void compare_number(struct json_slice s, const json_t *value)
{
	int64_t n;
	double d;

	CHECK(json_slice_double(s, &d) == 0);
	CHECK(d == json_number_value(value));
	if (json_is_integer(value)) {
		CHECK(json_slice_int(s, &n) == 0);
		CHECK(n == json_integer_value(value));
	} else {
		CHECK(json_slice_int(s, &n) == -1);
	}
}

static void compare(struct view *view, struct json_slice s, json_t *value)
{
	char *text = json_slice_string(view->arena, s);

	CHECK((text != NULL) == json_is_string(value));
	if (json_is_object(value))
		compare_object(view, s, value);
	else if (json_is_array(value))
		compare_array(view, s, value);
	else if (json_is_string(value))
		CHECK(strcmp(text, json_string_value(value)) == 0);
	else if (json_is_number(value))
		compare_number(s, value);
	else
		CHECK(json_slice_is(s, json_is_null(value)   ? "null"
				       : json_is_true(value) ? "true"
							     : "false"));
}

/* The same value on one line. */
static void compare_line(struct json_slice s, json_t *value)
{
	struct json_error error;
	struct strbuf line;
	json_t *again;

	strbuf_init(&line);
	json_slice_add_line(&line, s);
	CHECK(line.len == s.bytes);
	CHECK(!memchr(line.data, '\n', line.len) && !memchr(line.data, '\r', line.len));
	again = json_text_parse(line.data, line.len, &error);
	CHECK(again != NULL && json_equal(again, value));
	json_decref(again);
	strbuf_release(&line);
}

static struct json_slice trim(struct json_slice s)
{
	while (s.bytes > 0 && strchr(" \t\r\n", s.text[0])) {
		s.text++;
		s.bytes--;
	}
	while (s.bytes > 0 && strchr(" \t\r\n", s.text[s.bytes - 1]))
		s.bytes--;
	return s;
}

/* Broken text: any answer will do, as long as there is one. */
static void walk_broken(struct arena *arena, struct json_slice s)
{
	struct json_slice element;
	struct json_member member;
	const char *cursor = NULL;
	int64_t n;
	double d;

	while (json_slice_next(s, &cursor, &member) == 1)
		(void)json_slice_string(arena, member.value);
	cursor = NULL;
	while (json_slice_element(s, &cursor, &element) == 1)
		(void)json_slice_string(arena, element);
	(void)json_slice_get(s, "a");
	(void)json_slice_string(arena, s);
	(void)json_slice_int(s, &n);
	(void)json_slice_double(s, &d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct json_slice s = { .text = (const char *)data, .bytes = bytes };
	struct view view = { .arena = arena_new(0) };
	struct json_error error = { .line = 0 };

	strbuf_init(&view.pointer);
	view.root = json_text_parse(s.text, s.bytes, &error);
	CHECK(json_text_check(s.text, s.bytes) == (view.root != NULL));
	if (view.root) {
		compare(&view, trim(s), view.root);
		compare_line(s, view.root);
		(void)json_pointer_get(view.root, arena_strndup(view.arena, s.text, s.bytes));
	} else {
		CHECK(error.line >= 1 && error.column >= 1 && error.message[0]);
		walk_broken(view.arena, s);
	}
	json_decref(view.root);
	strbuf_release(&view.pointer);
	arena_free(&view.arena);
	return 0;
}

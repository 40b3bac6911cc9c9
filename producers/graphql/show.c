/* SPDX-License-Identifier: Apache-2.0 */
/* Long texts and lists lose their middle, deep ones their inside. Pure. */
#include "producers/graphql/show.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "common/base/utf8.h"

#define DEPTH_MAX   2
#define TEXT_MAX    240
#define TEXT_HEAD   118
#define TEXT_TAIL   119
#define ENTRIES_MAX 10
#define HEAD        5
#define TAIL        4

static void show(struct strbuf *out, const json_t *value, int depth);

static bool is_hidden(uint32_t point)
{
	return point < 0x20 || point == 0x7f || (point >= 0x80 && point < 0xa1) || point == 0xad;
}

static void add_quoted(struct strbuf *out, const char *text, size_t bytes)
{
	char quote = memchr(text, '\'', bytes) && !memchr(text, '"', bytes) ? '"' : '\'';

	strbuf_addch(out, quote);
	for (size_t i = 0, step; i < bytes; i += step) {
		unsigned char c = (unsigned char)text[i];
		uint32_t point = c;

		step = c < 0x80 ? 1 : utf8_at((const unsigned char *)text + i, bytes - i, &point);
		if (step == 0)
			step = 1;
		if (c == '\\' || c == (unsigned char)quote)
			strbuf_printf(out, "\\%c", c);
		else if (c == '\n' || c == '\r' || c == '\t')
			strbuf_addstr(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
		else if (is_hidden(point))
			strbuf_printf(out, "\\x%02x", point);
		else
			strbuf_add(out, text + i, step);
	}
	strbuf_addch(out, quote);
}

static size_t skip_characters(const char *text, size_t count)
{
	size_t at = 0;

	for (; count > 0 && text[at]; count--) {
		at++;
		while (((unsigned char)text[at] & 0xc0) == 0x80)
			at++;
	}
	return at;
}

static void add_shortened(struct strbuf *out, const struct strbuf *text)
{
	size_t count = 0;

	for (size_t i = 0; i < text->len; i++)
		count += ((unsigned char)text->data[i] & 0xc0) != 0x80;
	if (count <= TEXT_MAX) {
		strbuf_add(out, text->data, text->len);
		return;
	}
	strbuf_add(out, text->data, skip_characters(text->data, TEXT_HEAD));
	strbuf_addstr(out, "...");
	strbuf_addstr(out, text->data + skip_characters(text->data, count - TEXT_TAIL));
}

static void show_text(struct strbuf *out, const json_t *value)
{
	struct strbuf text;

	strbuf_init(&text);
	add_quoted(&text, json_string_value(value), json_string_length(value));
	add_shortened(out, &text);
	strbuf_release(&text);
}

/* The shortest digits that read back as the same number; their exponent is that of 0.digits. */
static int shortest_digits(double number, char digits_r[24])
{
	char text[40];

	for (int precision = 0; precision < 17; precision++) {
		snprintf(text, sizeof(text), "%.*e", precision, number);
		if (strtod(text, NULL) == number)
			break;
	}
	char *e = strchr(text, 'e');
	size_t count = 0;
	for (const char *at = text; at < e; at++) {
		if (*at >= '0' && *at <= '9')
			digits_r[count++] = *at;
	}
	while (count > 1 && digits_r[count - 1] == '0')
		count--;
	digits_r[count] = 0;
	return atoi(e + 1) + 1;
}

static void show_real(struct strbuf *out, double number)
{
	char digits[24];
	int point = shortest_digits(fabs(number), digits), count = (int)strlen(digits);

	if (signbit(number))
		strbuf_addch(out, '-');
	if (number == 0) {
		strbuf_addstr(out, "0.0");
	} else if (point > 16 || point < -3) {
		strbuf_printf(out, "%c%s%s", digits[0], count > 1 ? "." : "", digits + 1);
		strbuf_printf(out, "e%c%02d", point > 0 ? '+' : '-', abs(point - 1));
	} else if (point <= 0) {
		strbuf_addstr(out, "0.");
		for (int i = point; i < 0; i++)
			strbuf_addch(out, '0');
		strbuf_addstr(out, digits);
	} else {
		for (int i = 0; i < point || i < count; i++) {
			if (i == point)
				strbuf_addch(out, '.');
			strbuf_addch(out, i < count ? digits[i] : '0');
		}
		if (count <= point)
			strbuf_addstr(out, ".0");
	}
}

/* Is this entry shown? The middle of a long list is not; *gap_r: dots stand in its place. */
static bool is_shown(size_t index, size_t count, bool *gap_r)
{
	*gap_r = count > ENTRIES_MAX && index == HEAD;
	return count <= ENTRIES_MAX || index < HEAD || index >= count - TAIL;
}

static void show_list(struct strbuf *out, const json_t *list, int depth)
{
	size_t count = json_array_size(list);
	bool gap;

	strbuf_addch(out, '[');
	for (size_t i = 0; i < count; i++) {
		bool shown = is_shown(i, count, &gap);
		if (gap)
			strbuf_addstr(out, ", ...");
		if (!shown)
			continue;
		if (i > 0)
			strbuf_addstr(out, ", ");
		show(out, json_array_get(list, i), depth + 1);
	}
	strbuf_addch(out, ']');
}

static void show_object(struct strbuf *out, const json_t *object, int depth)
{
	size_t count = json_object_size(object), i = 0;
	const char *key;
	json_t *value;
	bool gap;

	strbuf_addch(out, '{');
	json_object_foreach((json_t *)object, key, value)
	{
		bool shown = is_shown(i, count, &gap);
		if (gap)
			strbuf_addstr(out, ", ...");
		if (shown) {
			if (i > 0)
				strbuf_addstr(out, ", ");
			add_quoted(out, key, strlen(key));
			strbuf_addstr(out, ": ");
			show(out, value, depth + 1);
		}
		i++;
	}
	strbuf_addch(out, '}');
}

static void show(struct strbuf *out, const json_t *value, int depth)
{
	switch (json_typeof(value)) {
	case JSON_NULL:
		strbuf_addstr(out, "None");
		break;
	case JSON_TRUE:
		strbuf_addstr(out, "True");
		break;
	case JSON_FALSE:
		strbuf_addstr(out, "False");
		break;
	case JSON_INTEGER:
		strbuf_addi(out, json_integer_value(value));
		break;
	case JSON_REAL:
		show_real(out, json_real_value(value));
		break;
	case JSON_STRING:
		show_text(out, value);
		break;
	case JSON_ARRAY:
		if (depth >= DEPTH_MAX && json_array_size(value) > 0)
			strbuf_addstr(out, "[...]");
		else
			show_list(out, value, depth);
		break;
	case JSON_OBJECT:
		if (depth >= DEPTH_MAX && json_object_size(value) > 0)
			strbuf_addstr(out, "{...}");
		else
			show_object(out, value, depth);
		break;
	}
}

const char *show_value(struct arena *arena, const json_t *value)
{
	struct strbuf out;
	const char *text;

	if (!value)
		return "Undefined";
	strbuf_init(&out);
	show(&out, value, 0);
	text = arena_strndup(arena, out.data, out.len);
	strbuf_release(&out);
	return text;
}

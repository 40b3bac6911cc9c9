/* SPDX-License-Identifier: Apache-2.0 */
/* SQL values of handlers, and how they are written into a line. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "workers/handlers/host_value.h"

enum value_kind { VALUE_NULL = 0, VALUE_TEXT, VALUE_I64, VALUE_F64, VALUE_BOOL, VALUE_BLOB };

struct wl_value wl_text(const char *text)
{
	if (!text)
		return wl_null();
	return (struct wl_value){ .kind = VALUE_TEXT, .p = text, .bytes = strlen(text) };
}

struct wl_value wl_i64(int64_t n)
{
	return (struct wl_value){ .kind = VALUE_I64, .i = n };
}

struct wl_value wl_f64(double d)
{
	return (struct wl_value){ .kind = VALUE_F64, .d = d };
}

struct wl_value wl_bool(bool yes)
{
	return (struct wl_value){ .kind = VALUE_BOOL, .i = yes };
}

struct wl_value wl_blob(const void *data, size_t bytes)
{
	return (struct wl_value){ .kind = VALUE_BLOB, .p = data, .bytes = bytes };
}

struct wl_value wl_null(void)
{
	return (struct wl_value){ .kind = VALUE_NULL };
}

void host_value_add_text(struct strbuf *out, const char *text, size_t bytes)
{
	json_t *valid = memchr(text, 0, bytes) ? NULL : json_stringn(text, bytes);

	if (valid)
		strbuf_json_n(out, text, bytes);
	else
		base64_json(out, text, bytes);
	json_decref(valid);
}

/* JSON has no infinity and no NaN; SQL takes them as text. */
static void add_double(struct strbuf *out, double d)
{
	char text[40];

	if (isnan(d) || isinf(d)) {
		strbuf_addstr(out, isnan(d) ? "\"NaN\"" : d > 0 ? "\"Infinity\"" : "\"-Infinity\"");
		return;
	}
	snprintf(text, sizeof(text), "%.17g", d);
	strbuf_addstr(out, text);
	if (!strpbrk(text, ".e"))
		strbuf_addstr(out, ".0");
}

static void add_value(struct strbuf *out, const struct wl_value *value)
{
	switch (value->kind) {
	case VALUE_TEXT:
		host_value_add_text(out, value->p, value->bytes);
		break;
	case VALUE_I64:
		strbuf_addi(out, value->i);
		break;
	case VALUE_F64:
		add_double(out, value->d);
		break;
	case VALUE_BOOL:
		strbuf_addstr(out, value->i ? "true" : "false");
		break;
	case VALUE_BLOB:
		base64_json(out, value->p, value->bytes);
		break;
	default:
		strbuf_addstr(out, "null");
	}
}

void host_value_add_args(struct strbuf *out, struct wl_args args)
{
	strbuf_addch(out, '[');
	for (size_t i = 0; i < args.count; i++) {
		if (i > 0)
			strbuf_addch(out, ',');
		add_value(out, &args.value[i]);
	}
	strbuf_addch(out, ']');
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See chain_payload.h. The payload is walked as text, token by token: what is not a reference stays
 * as it was sent. */
#include "common/job/chain_payload.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/json/json_text.h"

#define REFERENCE     "${after."
#define ROW_REFERENCE "${row."

struct reference {
	struct json_slice name, field, path; /* path: "a.b", or nothing */
};

struct fill {
	const char *sign; /* what a reference begins with */
	size_t sign_bytes;
	struct json_slice row; /* of ROW_REFERENCE */
	const struct chain_edge *edges;
	size_t count;
	struct arena *arena;
	struct strbuf out;
	char *reason; /* what is wrong, or NULL */
	bool dry;     /* only looks whether the references are well-formed */
};

bool chain_refers(const char *payload, size_t bytes)
{
	return memmem(payload, bytes, REFERENCE, strlen(REFERENCE)) != NULL;
}

/* ---- one reference */

static struct json_slice until_dot(const char **at, const char *end)
{
	struct json_slice part = { .text = *at };

	while (*at < end && **at != '.')
		++*at;
	part.bytes = (size_t)(*at - part.text);
	if (*at < end)
		++*at;
	return part;
}

static bool plain(struct json_slice part)
{
	for (size_t i = 0; i < part.bytes; i++)
		if (!isalnum((unsigned char)part.text[i]) && !strchr("_-.", part.text[i]))
			return false;
	return part.bytes > 0;
}

static bool is_field(struct json_slice field)
{
	return json_slice_is(field, "result") || json_slice_is(field, "state") ||
	       json_slice_is(field, "reason") || json_slice_is(field, "id");
}

static const struct chain_edge *edge_of(const struct fill *fill, struct json_slice name)
{
	for (size_t i = 0; i < fill->count; i++)
		if (json_slice_is(name, fill->edges[i].after.name))
			return &fill->edges[i];
	return NULL;
}

/* `inner`: what stands between "${" and "}". NULL: fill->reason says why not. */
static const struct chain_edge *read_reference(struct fill *fill, struct json_slice inner,
					       struct reference *reference_r)
{
	const char *at = inner.text + sizeof("after.") - 1, *end = inner.text + inner.bytes;
	const struct chain_edge *edge;

	reference_r->name = until_dot(&at, end);
	reference_r->field = until_dot(&at, end);
	reference_r->path = (struct json_slice){ .text = at, .bytes = (size_t)(end - at) };
	edge = edge_of(fill, reference_r->name);
	if (!plain(inner) || !is_field(reference_r->field) ||
	    (reference_r->path.bytes && !json_slice_is(reference_r->field, "result")))
		fill->reason = arena_printf(fill->arena,
					    "${%.*s}: expected ${after.<name>.result}, with a path "
					    "or without, or .state, .reason, .id",
					    (int)inner.bytes, inner.text);
	else if (!edge)
		fill->reason = arena_printf(fill->arena, "${%.*s}: it waits for no such job",
					    (int)inner.bytes, inner.text);
	return fill->reason ? NULL : edge;
}

static struct json_slice element_of(struct json_slice array, struct json_slice part)
{
	struct json_slice element = { 0 };
	const char *cursor = NULL;
	int64_t n;

	if (json_slice_int(part, &n) != 0 || n < 0)
		return element;
	while (json_slice_element(array, &cursor, &element) == 1)
		if (n-- == 0)
			return element;
	return (struct json_slice){ 0 };
}

static struct json_slice follow(struct json_slice value, struct json_slice path)
{
	const char *at = path.text, *end = path.text + path.bytes;

	while (at < end && value.bytes) {
		struct json_slice part = until_dot(&at, end);
		char key[256];

		if (part.bytes >= sizeof(key))
			return (struct json_slice){ 0 };
		memcpy(key, part.text, part.bytes);
		key[part.bytes] = '\0';
		value = value.text[0] == '[' ? element_of(value, part) : json_slice_get(value, key);
	}
	return value;
}

static struct json_slice text_value(struct fill *fill, const char *text)
{
	struct strbuf json;
	struct json_slice value;

	strbuf_init(&json);
	strbuf_json(&json, text);
	value.bytes = json.len;
	value.text = arena_strndup(fill->arena, json.data, json.len);
	strbuf_release(&json);
	return value;
}

/* Its value as JSON; no bytes: there is none, and fill->reason says so. */
static struct json_slice edge_value(struct fill *fill, struct json_slice inner)
{
	static const struct json_slice null = { "null", 4 };
	struct reference reference;
	const struct chain_edge *edge = read_reference(fill, inner, &reference);
	struct json_slice value = { 0 };
	char id[UUID_TEXT];

	if (!edge)
		return value;
	if (fill->dry)
		return null;
	if (json_slice_is(reference.field, "id"))
		return text_value(fill, uuid_format(&edge->after.id, id));
	if (json_slice_is(reference.field, "state"))
		return text_value(fill, job_state_name(edge->state));
	if (json_slice_is(reference.field, "reason"))
		return text_value(fill, edge->reason);
	if (!edge->result)
		return null;
	value = (struct json_slice){ edge->result, strlen(edge->result) };
	value = follow(value, reference.path);
	if (!value.bytes)
		fill->reason = arena_printf(fill->arena, "${%.*s}: the result of that job has none",
					    (int)inner.bytes, inner.text);
	return value;
}

/* A member of the row; no bytes: it has none. */
static struct json_slice row_value(struct fill *fill, struct json_slice inner)
{
	static const struct json_slice null = { "null", 4 };
	size_t head = sizeof("row.") - 1;
	struct json_slice path = { inner.text + head, inner.bytes - head }, value;

	if (!path.bytes || !plain(inner)) {
		fill->reason = arena_printf(fill->arena, "${%.*s}: expected ${row.<name>}",
					    (int)inner.bytes, inner.text);
		return (struct json_slice){ 0 };
	}
	if (fill->dry)
		return null;
	value = follow(fill->row, path);
	if (!value.bytes)
		fill->reason = arena_printf(fill->arena, "${%.*s}: the row has none",
					    (int)inner.bytes, inner.text);
	return value;
}

static struct json_slice value_of(struct fill *fill, struct json_slice inner)
{
	return fill->edges ? edge_value(fill, inner) : row_value(fill, inner);
}

/* ---- a string of the payload, without its quotes */

static bool refers(const struct fill *fill, struct json_slice raw)
{
	return memmem(raw.text, raw.bytes, fill->sign, fill->sign_bytes) != NULL;
}

/* `at` is at REFERENCE. What stands inside; no bytes: it has no end. */
static struct json_slice inner_of(const char *at, const char *end)
{
	const char *close = memchr(at, '}', (size_t)(end - at));

	return (struct json_slice){ at + 2, close ? (size_t)(close - at - 2) : 0 };
}

static void add_in_string(struct strbuf *out, struct json_slice value)
{
	struct strbuf json;

	if (value.text[0] == '"') {
		strbuf_add(out, value.text + 1, value.bytes - 2);
		return;
	}
	strbuf_init(&json);
	strbuf_json_n(&json, value.text, value.bytes);
	strbuf_add(out, json.data + 1, json.len - 2);
	strbuf_release(&json);
}

static void fill_pieces(struct fill *fill, struct json_slice raw)
{
	const char *at = raw.text, *end = raw.text + raw.bytes;

	while (at < end && !fill->reason) {
		const char *next = memmem(at, (size_t)(end - at), fill->sign, fill->sign_bytes);
		struct json_slice inner, value;

		if (!next) {
			strbuf_add(&fill->out, at, (size_t)(end - at));
			return;
		}
		if (next > at && next[-1] == '$') {
			strbuf_add(&fill->out, at, (size_t)(next - 1 - at));
			strbuf_addstr(&fill->out, fill->sign);
			at = next + fill->sign_bytes;
			continue;
		}
		strbuf_add(&fill->out, at, (size_t)(next - at));
		inner = inner_of(next, end);
		if (!inner.bytes) {
			fill->reason = arena_printf(fill->arena, "%s without its }", fill->sign);
			return;
		}
		value = value_of(fill, inner);
		if (value.bytes)
			add_in_string(&fill->out, value);
		at = inner.text + inner.bytes + 1;
	}
}

static void fill_string(struct fill *fill, struct json_slice raw)
{
	struct json_slice inner = inner_of(raw.text, raw.text + raw.bytes), value;
	bool whole = raw.bytes > fill->sign_bytes &&
		     !memcmp(raw.text, fill->sign, fill->sign_bytes) &&
		     inner.bytes + 3 == raw.bytes;

	if (!whole) {
		strbuf_addch(&fill->out, '"');
		fill_pieces(fill, raw);
		strbuf_addch(&fill->out, '"');
		return;
	}
	value = value_of(fill, inner);
	strbuf_add(&fill->out, value.text ? value.text : "", value.bytes);
}

/* ---- the payload */

/* `at` is behind the first quote: the last one. The text is valid JSON. */
static const char *string_end(const char *at, const char *end)
{
	while (at < end && *at != '"')
		at += *at == '\\' ? 2 : 1;
	CHECK(at < end);
	return at;
}

static bool names_member(const char *at, const char *end)
{
	while (at < end && strchr(" \t\r\n", *at))
		at++;
	return at < end && *at == ':';
}

static void fill_payload(struct fill *fill, const char *at, const char *end)
{
	while (at < end && !fill->reason) {
		const char *quote = memchr(at, '"', (size_t)(end - at)), *close;

		if (!quote) {
			strbuf_add(&fill->out, at, (size_t)(end - at));
			return;
		}
		strbuf_add(&fill->out, at, (size_t)(quote - at));
		close = string_end(quote + 1, end);
		struct json_slice raw = { quote + 1, (size_t)(close - quote - 1) };

		if (!refers(fill, raw) || names_member(close + 1, end))
			strbuf_add(&fill->out, quote, raw.bytes + 2);
		else
			fill_string(fill, raw);
		at = close + 1;
	}
}

static void judge(struct fill *fill)
{
	if (fill->reason || fill->dry)
		return;
	if (fill->out.len > CHAIN_PAYLOAD_BYTES_MAX)
		fill->reason = arena_printf(fill->arena,
					    "with what it waited for, its payload has %zu bytes; "
					    "at most %d are allowed",
					    fill->out.len, CHAIN_PAYLOAD_BYTES_MAX);
	else if (!json_text_check(fill->out.data, fill->out.len))
		fill->reason = arena_strdup(fill->arena, "with what it waited for, its payload is "
							 "nested too deeply");
}

char *chain_payload_fill(const char *payload, size_t bytes, const struct chain_edge *edges,
			 size_t count, struct arena *arena, char **reason_r)
{
	struct fill fill = { .sign = REFERENCE,
			     .sign_bytes = strlen(REFERENCE),
			     .edges = edges,
			     .count = count,
			     .arena = arena };
	char *filled = NULL;

	strbuf_init(&fill.out);
	fill_payload(&fill, payload, payload + bytes);
	judge(&fill);
	if (fill.reason)
		*reason_r = fill.reason;
	else
		filled = arena_strndup(arena, fill.out.data, fill.out.len);
	strbuf_release(&fill.out);
	return filled;
}

const char *chain_reference_fault(const char *payload, size_t bytes, const struct job_after *after,
				  size_t count, struct arena *arena)
{
	struct chain_edge *edges = ARENA_ARRAY(arena, struct chain_edge, count);
	struct fill fill = { .sign = REFERENCE,
			     .sign_bytes = strlen(REFERENCE),
			     .edges = edges,
			     .count = count,
			     .arena = arena,
			     .dry = true };

	for (size_t i = 0; i < count; i++)
		edges[i].after = after[i];
	strbuf_init(&fill.out);
	fill_payload(&fill, payload, payload + bytes);
	strbuf_release(&fill.out);
	return fill.reason;
}

char *chain_payload_row(const char *payload, size_t bytes, const char *row, size_t row_bytes,
			struct arena *arena, char **reason_r)
{
	struct fill fill = { .sign = ROW_REFERENCE,
			     .sign_bytes = strlen(ROW_REFERENCE),
			     .row = { row, row_bytes },
			     .arena = arena };
	char *filled = NULL;

	strbuf_init(&fill.out);
	fill_payload(&fill, payload, payload + bytes);
	judge(&fill);
	if (fill.reason)
		*reason_r = fill.reason;
	else
		filled = arena_strndup(arena, fill.out.data, fill.out.len);
	strbuf_release(&fill.out);
	return filled;
}

const char *chain_payload_row_fault(const char *payload, size_t bytes, struct arena *arena)
{
	struct fill fill = { .sign = ROW_REFERENCE,
			     .sign_bytes = strlen(ROW_REFERENCE),
			     .arena = arena,
			     .dry = true };

	strbuf_init(&fill.out);
	fill_payload(&fill, payload, payload + bytes);
	strbuf_release(&fill.out);
	return fill.reason;
}

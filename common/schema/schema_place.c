/* SPDX-License-Identifier: Apache-2.0 */
/* Where something is, for people: places are kept as links and become text only when a fault is
 * told. */
#include <stdlib.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "common/json/json_text.h"
#include "common/schema/schema_impl.h"

#define FEW_FAULTS    4   /* what room is made for at first */
#define LISTED_MAX    3   /* faults in one line */
#define LISTED_BYTES  120 /* of pointer and message there */
#define POINTER_BYTES 500 /* members' names may be as long as a payload */

static const char *take(struct strbuf *text, struct arena *arena)
{
	const char *kept = arena_strndup(arena, text->data, text->len);

	strbuf_release(text);
	return kept;
}

static void add_index(struct strbuf *out, size_t index)
{
	strbuf_addch(out, '/');
	strbuf_addi(out, (int64_t)index);
}

/* Spots are linked from the leaf; a value is at most SCHEMA_NESTING_MAX deep when it is looked at.
 */
static void add_spot(struct strbuf *out, const struct spot *spot)
{
	if (!spot->up)
		return;
	add_spot(out, spot->up);
	if (spot->key)
		json_pointer_add(out, spot->key);
	else
		add_index(out, spot->index);
}

/* No longer than that, and UTF-8 to its end. */
static const char *cut(const char *text, size_t bytes_max, struct arena *arena)
{
	size_t bytes = strlen(text);

	if (bytes <= bytes_max)
		return text;
	for (bytes = bytes_max; bytes && ((unsigned char)text[bytes] & 0xc0) == 0x80; bytes--)
		;
	return arena_printf(arena, "%.*s…", (int)bytes, text);
}

const char *spot_pointer(const struct spot *spot, struct arena *arena)
{
	struct strbuf text;

	strbuf_init(&text);
	add_spot(&text, spot);
	if (text.len > POINTER_BYTES) {
		const char *pointer = cut(text.data, POINTER_BYTES, arena);

		strbuf_release(&text);
		return pointer;
	}
	return take(&text, arena);
}

static void add_place(struct strbuf *out, const struct node *node)
{
	if (!node->keyword)
		return;
	add_place(out, node->parent);
	if (node->raw)
		strbuf_addstr(out, node->keyword);
	else
		json_pointer_add(out, node->keyword);
	if (node->token)
		json_pointer_add(out, node->token);
	else if (node->index != SIZE_MAX)
		add_index(out, node->index);
}

const char *node_pointer(const struct node *node, const char *keyword, struct arena *arena)
{
	struct strbuf text;

	strbuf_init(&text);
	add_place(&text, node);
	if (keyword && *keyword)
		json_pointer_add(&text, keyword);
	return take(&text, arena);
}

const char *node_location(const struct node *node, const char *keyword, struct arena *arena)
{
	return arena_printf(arena, "%s#%s", node->resource->document,
			    node_pointer(node, keyword, arena));
}

const char *json_brief(const json_t *value, size_t bytes_max, struct arena *arena)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	const char *brief;

	CHECK(text);
	brief = cut(arena_strdup(arena, text), bytes_max, arena);
	free(text);
	return brief;
}

void schema_fault_add(struct schema_faults *faults, struct arena *arena, struct schema_fault fault)
{
	if (faults->count == SCHEMA_FAULTS_MAX) {
		faults->more++;
		return;
	}
	if (faults->count == 0 || faults->count == FEW_FAULTS) {
		size_t room = faults->count ? SCHEMA_FAULTS_MAX : FEW_FAULTS;
		struct schema_fault *larger = ARENA_ARRAY(arena, struct schema_fault, room);

		if (faults->count)
			memcpy(larger, faults->faults, faults->count * sizeof(*larger));
		faults->faults = larger;
	}
	faults->faults[faults->count++] = fault;
}

const char *schema_faults_brief(const struct schema_faults *faults, const char *root,
				struct arena *arena)
{
	size_t listed = faults->count < LISTED_MAX ? faults->count : LISTED_MAX;
	size_t rest = faults->count - listed + faults->more;
	struct strbuf text;

	strbuf_init(&text);
	for (size_t i = 0; i < listed; i++) {
		const struct schema_fault *fault = &faults->faults[i];

		strbuf_printf(&text, "%s%s%s: %s", i ? "; " : "", root,
			      cut(fault->pointer, LISTED_BYTES, arena),
			      cut(fault->message, LISTED_BYTES, arena));
		if (*fault->keyword)
			strbuf_printf(&text, " (%s)", fault->keyword);
	}
	if (rest)
		strbuf_printf(&text, "; and %zu more", rest);
	return take(&text, arena);
}

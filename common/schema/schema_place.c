/* SPDX-License-Identifier: Apache-2.0 */
/* Where something is, for people: places are kept as links and become text only when a fault is
 * told. */
#include <string.h>

#include "common/base/strbuf.h"
#include "common/json/json_text.h"
#include "common/schema/schema_impl.h"

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

const char *spot_pointer(const struct spot *spot, struct arena *arena)
{
	struct strbuf text;

	strbuf_init(&text);
	add_spot(&text, spot);
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
	char *text = arena_alloc(arena, bytes_max + 4);
	size_t bytes = json_dumpb(value, text, bytes_max, JSON_COMPACT | JSON_ENCODE_ANY);

	if (bytes > bytes_max) {
		bytes = bytes_max;
		while (bytes && ((unsigned char)text[bytes - 1] & 0xc0) == 0x80)
			bytes--;
		bytes -= bytes && (unsigned char)text[bytes - 1] >= 0xc0;
		memcpy(text + bytes, "…", 3);
		bytes += 3;
	}
	text[bytes] = '\0';
	return text;
}

void faults_add(struct schema_faults *faults, struct arena *arena, struct schema_fault fault)
{
	if (faults->count == SCHEMA_FAULTS_MAX) {
		faults->more++;
		return;
	}
	if (!faults->faults)
		faults->faults = ARENA_ARRAY(arena, struct schema_fault, SCHEMA_FAULTS_MAX);
	faults->faults[faults->count++] = fault;
}

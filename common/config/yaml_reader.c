/* SPDX-License-Identifier: Apache-2.0 */
/* libyaml's events made into a tree on an arena. The only file that sees libyaml. An alias shares
 * the node of its anchor, and every node knows how many nodes it stands for, so that a "billion
 * laughs" document is refused before anybody walks it. */
#include "common/config/yaml_reader.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <yaml.h>

#include "common/base/strbuf.h"

struct frame { /* a collection that is still open */
	struct yaml_node *node;
	struct yaml_node *key; /* map: waits for its value */
	bool skip;             /* map: the key is a duplicate, its value is left out */
	const char *anchor;
	size_t capacity;
};

struct anchor {
	const char *name;
	struct yaml_node *node;
	struct anchor *next;
};

struct reader {
	yaml_parser_t parser;
	struct arena *arena;
	struct problems *problems;
	const char *source;
	size_t source_bytes;
	size_t raw_bytes, raw_characters; /* how far raw_offset has counted */
	struct frame frames[YAML_DEPTH_MAX];
	size_t depth;
	struct anchor *anchors;
	struct yaml_node *root;
	size_t weight;
};

void problem_add(struct problems *problems, struct yaml_place place, const char *fmt, ...)
{
	struct strbuf text;
	va_list args;
	char *line;
	struct arena *arena;

	if (++problems->count > YAML_PROBLEMS_MAX)
		return;
	arena = arena_new(0);
	strbuf_init(&text);
	va_start(args, fmt);
	line = arena_vprintf(arena, fmt, args);
	va_end(args);
	/* What comes from the file must not be able to write lines or move the terminal's cursor.
	 */
	for (char *p = line; *p; p++)
		strbuf_addch(&text, (unsigned char)*p < 0x20 || *p == 0x7f ? ' ' : *p);
	fprintf(problems->out, "%s:%d:%d: %s\n", problems->file, place.line, place.column,
		text.data);
	strbuf_release(&text);
	arena_free(&arena);
}

void problems_end(struct problems *problems)
{
	if (problems->count > YAML_PROBLEMS_MAX)
		fprintf(problems->out, "%s: and %d more\n", problems->file,
			problems->count - YAML_PROBLEMS_MAX);
}

static struct yaml_place place_of(const yaml_mark_t *mark)
{
	return (struct yaml_place){ .line = (int)mark->line + 1, .column = (int)mark->column + 1 };
}

/* libyaml counts characters; nodes come in ascending order, so the source is walked once. */
static size_t raw_offset(struct reader *reader, size_t characters)
{
	if (characters < reader->raw_characters)
		reader->raw_characters = reader->raw_bytes = 0;
	while (reader->raw_characters < characters && reader->raw_bytes < reader->source_bytes) {
		reader->raw_bytes++;
		while (reader->raw_bytes < reader->source_bytes &&
		       ((unsigned char)reader->source[reader->raw_bytes] & 0xc0) == 0x80)
			reader->raw_bytes++;
		reader->raw_characters++;
	}
	return reader->raw_bytes;
}

static struct yaml_node *node_new(struct reader *reader, enum yaml_kind kind,
				  const yaml_event_t *event)
{
	struct yaml_node *node = ARENA_NEW(reader->arena, struct yaml_node);

	node->kind = kind;
	node->place = place_of(&event->start_mark);
	node->weight = 1;
	return node;
}

static void append(struct reader *reader, struct frame *frame, struct yaml_node *value)
{
	struct yaml_node *node = frame->node;

	if (frame->skip) {
		frame->skip = false;
		frame->key = NULL;
		return;
	}
	if (node->count == frame->capacity) {
		size_t capacity = frame->capacity ? frame->capacity * 2 : 8;
		struct yaml_node **items = ARENA_ARRAY(reader->arena, struct yaml_node *, capacity);
		struct yaml_node **keys = ARENA_ARRAY(reader->arena, struct yaml_node *, capacity);

		if (node->count) {
			memcpy(items, node->items, node->count * sizeof(struct yaml_node *));
			memcpy(keys, node->keys, node->count * sizeof(struct yaml_node *));
		}
		node->items = items;
		node->keys = keys;
		frame->capacity = capacity;
	}
	node->keys[node->count] = frame->key;
	node->items[node->count++] = value;
	node->weight += value->weight;
	frame->key = NULL;
}

static int take_key(struct reader *reader, struct frame *frame, struct yaml_node *key,
		    struct yaml_place place)
{
	if (key->kind != YAML_SCALAR) {
		problem_add(reader->problems, place, "a key must be a plain word, not %s",
			    yaml_describe(key, reader->arena));
		return -1;
	}
	if (key->plain && strcmp(key->text, "<<") == 0) {
		problem_add(reader->problems, place,
			    "merge keys (<<) are not supported; use an alias for the whole value");
		return -1;
	}
	for (size_t i = 0; i < frame->node->count; i++) {
		const struct yaml_node *other = frame->node->keys[i];

		if (strcmp(other->text, key->text) != 0)
			continue;
		problem_add(reader->problems, place, "duplicate key `%s`, first at line %d",
			    key->text, other->place.line);
		frame->skip = true;
	}
	frame->key = key;
	return 0;
}

/* A finished node (or an alias, with its own place) goes where it belongs. */
static int place_node(struct reader *reader, struct yaml_node *node, struct yaml_place place)
{
	struct frame *frame = reader->depth ? &reader->frames[reader->depth - 1] : NULL;

	reader->weight += node->weight;
	if (reader->weight > YAML_NODES_MAX) {
		problem_add(
			reader->problems, place,
			"too many values; expected at most %d, aliases counted where they are used",
			YAML_NODES_MAX);
		return -1;
	}
	if (!frame)
		reader->root = node;
	else if (frame->node->kind == YAML_MAP && !frame->key)
		return take_key(reader, frame, node, place);
	else
		append(reader, frame, node);
	return 0;
}

static void remember_anchor(struct reader *reader, const char *name, struct yaml_node *node)
{
	struct anchor *anchor;

	if (!name)
		return;
	anchor = ARENA_NEW(reader->arena, struct anchor);
	anchor->name = name;
	anchor->node = node;
	anchor->next = reader->anchors;
	reader->anchors = anchor;
}

static int refuse_tag(struct reader *reader, const yaml_char_t *tag, const yaml_event_t *event)
{
	if (!tag || strcmp((const char *)tag, "!") == 0)
		return 0;
	problem_add(reader->problems, place_of(&event->start_mark), "tags are not supported: %s",
		    (const char *)tag);
	return -1;
}

static int on_scalar(struct reader *reader, const yaml_event_t *event)
{
	struct yaml_node *node = node_new(reader, YAML_SCALAR, event);
	size_t bytes = event->data.scalar.length;

	if (refuse_tag(reader, event->data.scalar.tag, event) != 0)
		return -1;
	if (memchr(event->data.scalar.value, 0, bytes)) {
		problem_add(reader->problems, node->place, "a text must not contain NUL");
		return -1;
	}
	node->text = arena_strndup(reader->arena, (const char *)event->data.scalar.value, bytes);
	node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	node->raw_start = raw_offset(reader, event->start_mark.index);
	node->raw_end = raw_offset(reader, event->end_mark.index);
	remember_anchor(reader,
			arena_strdup(reader->arena, (const char *)event->data.scalar.anchor), node);
	return place_node(reader, node, node->place);
}

static int on_alias(struct reader *reader, const yaml_event_t *event)
{
	const char *name = (const char *)event->data.alias.anchor;
	struct yaml_place place = place_of(&event->start_mark);

	for (const struct anchor *anchor = reader->anchors; anchor; anchor = anchor->next) {
		if (strcmp(anchor->name, name) == 0)
			return place_node(reader, anchor->node, place);
	}
	problem_add(reader->problems, place, "no anchor `%s` ends before this alias", name);
	return -1;
}

static int on_start(struct reader *reader, enum yaml_kind kind, const yaml_char_t *anchor,
		    const yaml_char_t *tag, const yaml_event_t *event)
{
	struct yaml_node *node = node_new(reader, kind, event);

	if (refuse_tag(reader, tag, event) != 0)
		return -1;
	if (reader->depth == YAML_DEPTH_MAX) {
		problem_add(reader->problems, node->place, "too deep; expected at most %d levels",
			    YAML_DEPTH_MAX);
		return -1;
	}
	reader->frames[reader->depth++] =
		(struct frame){ .node = node,
				.anchor = arena_strdup(reader->arena, (const char *)anchor) };
	return 0;
}

static int on_end(struct reader *reader)
{
	struct frame *frame = &reader->frames[--reader->depth];

	/* Its members were counted one by one already. */
	reader->weight -= frame->node->weight - 1;
	remember_anchor(reader, frame->anchor, frame->node);
	return place_node(reader, frame->node, frame->node->place);
}

static int on_document(struct reader *reader, const yaml_event_t *event)
{
	if (!reader->root)
		return 0;
	problem_add(reader->problems, place_of(&event->start_mark),
		    "a second document; expected one");
	return -1;
}

static int on_event(struct reader *reader, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		return on_document(reader, event);
	case YAML_SCALAR_EVENT:
		return on_scalar(reader, event);
	case YAML_ALIAS_EVENT:
		return on_alias(reader, event);
	case YAML_SEQUENCE_START_EVENT:
		return on_start(reader, YAML_LIST, event->data.sequence_start.anchor,
				event->data.sequence_start.tag, event);
	case YAML_MAPPING_START_EVENT:
		return on_start(reader, YAML_MAP, event->data.mapping_start.anchor,
				event->data.mapping_start.tag, event);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return on_end(reader);
	default:
		return 0;
	}
}

/* libyaml's own complaint. The reader stage gives a byte offset instead of a place. */
static void syntax_problem(struct reader *reader)
{
	const yaml_parser_t *parser = &reader->parser;
	struct yaml_place place = place_of(&parser->problem_mark);

	if (parser->error == YAML_READER_ERROR) {
		place = (struct yaml_place){ 1, 1 };
		for (size_t i = 0; i < parser->problem_offset && i < reader->source_bytes; i++) {
			unsigned char c = (unsigned char)reader->source[i];

			place.line += c == '\n';
			place.column = c == '\n' ? 1 : place.column + ((c & 0xc0) != 0x80);
		}
	}
	problem_add(reader->problems, place, "not YAML: %s%s%s",
		    parser->problem ? parser->problem : "out of memory", parser->context ? " " : "",
		    parser->context ? parser->context : "");
}

struct yaml_node *yaml_read(const char *text, size_t bytes, struct arena *arena,
			    struct problems *problems)
{
	struct reader reader = {
		.arena = arena, .problems = problems, .source = text, .source_bytes = bytes
	};
	bool more = true, broken = false;

	if (bytes > YAML_BYTES_MAX) {
		problem_add(problems, (struct yaml_place){ 1, 1 },
			    "too large; expected at most %d bytes", YAML_BYTES_MAX);
		return NULL;
	}
	CHECK(yaml_parser_initialize(&reader.parser));
	yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, bytes);
	while (more) {
		yaml_event_t event;

		if (!yaml_parser_parse(&reader.parser, &event)) {
			syntax_problem(&reader);
			broken = true;
			break;
		}
		broken = on_event(&reader, &event) != 0;
		more = !broken && event.type != YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&reader.parser);
	if (!broken && !reader.root)
		problem_add(problems, (struct yaml_place){ 1, 1 }, "empty; expected a map");
	return broken ? NULL : reader.root;
}

struct yaml_place yaml_place_within(const char *source, const struct yaml_node *scalar,
				    size_t offset)
{
	struct yaml_place place = scalar->place;
	char wanted;
	size_t nth = 0, at = scalar->raw_start;

	CHECK(offset <= strlen(scalar->text));
	wanted = scalar->text[offset];
	/* The n-th such byte of the value is the n-th one of the source, whatever quotes, folds and
	 * indents lie between. */
	for (size_t i = 0; i < offset; i++)
		nth += scalar->text[i] == wanted;
	for (; at < scalar->raw_end; at++) {
		unsigned char c = (unsigned char)source[at];

		if (source[at] == wanted && nth-- == 0)
			return place;
		place.line += c == '\n';
		place.column = c == '\n' ? 1 : place.column + ((c & 0xc0) != 0x80);
	}
	return scalar->place;
}

bool yaml_is_null(const struct yaml_node *node)
{
	return node->kind == YAML_SCALAR && node->plain &&
	       (!*node->text || strcmp(node->text, "~") == 0 ||
		strcasecmp(node->text, "null") == 0);
}

const char *yaml_describe(const struct yaml_node *node, struct arena *arena)
{
	if (node->kind != YAML_SCALAR)
		return node->kind == YAML_LIST ? "a list" : "a map";
	if (yaml_is_null(node))
		return "nothing";
	return arena_printf(arena, "`%.60s%s`", node->text, strlen(node->text) > 60 ? "…" : "");
}

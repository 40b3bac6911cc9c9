/* SPDX-License-Identifier: Apache-2.0 */
/* Walking and asking the tree. Pure. */
#include "producers/graphql/document.h"

#include <string.h>

enum slot {
	SLOT_ALIAS,
	SLOT_NAME,
	SLOT_VARIABLES,
	SLOT_INTERFACES,
	SLOT_ARGUMENTS,
	SLOT_TYPE,
	SLOT_VALUE,
	SLOT_DIRECTIVES,
	SLOT_SELECTION_SET,
	SLOT_ITEMS,
	SLOTS,
};

static struct node *slot_of(const struct node *node, int slot)
{
	switch ((enum slot)slot) {
	case SLOT_ALIAS:
		return node->alias;
	case SLOT_NAME:
		return node->name;
	case SLOT_VARIABLES:
		return node->variables;
	case SLOT_INTERFACES:
		return node->interfaces;
	case SLOT_ARGUMENTS:
		return node->arguments;
	case SLOT_TYPE:
		return node->type;
	case SLOT_VALUE:
		return node->value;
	case SLOT_DIRECTIVES:
		return node->directives;
	case SLOT_SELECTION_SET:
		return node->selection_set;
	case SLOT_ITEMS:
		return node->items;
	case SLOTS:
		break;
	}
	return NULL;
}

struct node *document_child(const struct node *node, const struct node *last, int *step)
{
	if (last && last->next)
		return last->next;
	while (*step < SLOTS) {
		struct node *child = slot_of(node, (*step)++);
		if (child)
			return child;
	}
	return NULL;
}

const char *document_key(const struct node *field)
{
	return field->alias ? field->alias->text : field->text;
}

static const struct node *named(const struct node *list, const char *name)
{
	for (; list; list = list->next) {
		if (strcmp(list->text, name) == 0)
			return list;
	}
	return NULL;
}

const struct node *document_directive(const struct node *node, const char *name)
{
	return named(node->directives, name);
}

/* The last one of a name counts, should there be several: such a document is refused before. */
const struct node *document_argument(const struct node *node, const char *name)
{
	const struct node *found = named(node->arguments, name);
	const struct node *later = found;

	while (later && (later = named(later->next, name)))
		found = later;
	return found;
}

const struct node *document_operation(struct arena *arena, const struct node *document,
				      const char *name, const char **why_r)
{
	const struct node *found = NULL;

	for (const struct node *d = document->items; d; d = d->next) {
		if (d->kind != NODE_OPERATION)
			continue;
		if (name && (!d->name || strcmp(d->text, name) != 0))
			continue;
		if (!name && found) {
			*why_r = "Must provide operation name if query contains multiple "
				 "operations.";
			return NULL;
		}
		found = d;
	}
	if (!found && name)
		*why_r = arena_printf(arena, "Unknown operation named '%s'.", name);
	else if (!found)
		*why_r = "Must provide an operation.";
	return found;
}

const struct node *document_fragment(const struct node *document, const char *name)
{
	const struct node *found = NULL;

	for (const struct node *d = document->items; d; d = d->next) {
		if (d->kind == NODE_FRAGMENT_DEFINITION && strcmp(d->text, name) == 0)
			found = d;
	}
	return found;
}

const struct node *document_directive_definition(const struct node *document, const char *name)
{
	const struct node *found = NULL;

	for (const struct node *d = document->items; d; d = d->next) {
		if (d->kind == NODE_DIRECTIVE_DEFINITION && strcmp(d->text, name) == 0)
			found = d;
	}
	return found;
}

const char *document_operation_word(enum operation operation)
{
	static const char *const words[] = { "query", "mutation", "subscription" };

	return words[operation];
}

bool document_is_value(const struct node *node)
{
	return node->kind == NODE_VARIABLE || (node->kind >= NODE_INT && node->kind <= NODE_OBJECT);
}

bool document_is_sdl(const struct node *node)
{
	return node->kind >= NODE_SCHEMA_DEFINITION;
}

void document_place(const char *text, size_t at, int *line_r, int *column_r)
{
	size_t line_start = 0;
	int line = 1, column = 1;

	for (size_t i = 0; i < at; i++) {
		if (text[i] == '\r' && text[i + 1] == '\n') {
			if (i + 1 >= at)
				break;
			i++;
		}
		if (text[i] == '\n' || text[i] == '\r') {
			line++;
			line_start = i + 1;
		}
	}
	for (size_t i = line_start; i < at; i++)
		column += ((unsigned char)text[i] & 0xc0) != 0x80;
	*line_r = line;
	*column_r = column;
}

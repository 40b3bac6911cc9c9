/* SPDX-License-Identifier: Apache-2.0 */
/* Names are hashed by their text: the same member may be marked by way of the value's own key or of
 * another copy of it. */
#include "common/schema/schema_marks.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"

#define NAMES_MIN 16

void marks_init(struct marks *marks)
{
	*marks = (struct marks){ 0 };
}

void marks_release(struct marks *marks)
{
	free(marks->names);
	free(marks->bits);
	marks_init(marks);
}

static size_t find_place(const struct marks *marks, const char *name)
{
	uint64_t hash = UINT64_C(1469598103934665603);
	size_t at;

	for (const char *p = name; *p; p++)
		hash = (hash ^ (unsigned char)*p) * UINT64_C(1099511628211);
	at = (size_t)(hash ^ hash >> 32) & (marks->name_room - 1);
	while (marks->names[at] && strcmp(marks->names[at], name) != 0)
		at = (at + 1) & (marks->name_room - 1);
	return at;
}

static void grow_names(struct marks *marks)
{
	struct marks larger = { .name_room = marks->name_room ? marks->name_room * 2 : NAMES_MIN };

	larger.names = xcalloc(larger.name_room, sizeof(*larger.names));
	for (size_t i = 0; i < marks->name_room; i++) {
		if (marks->names[i])
			larger.names[find_place(&larger, marks->names[i])] = marks->names[i];
	}
	free(marks->names);
	marks->names = larger.names;
	marks->name_room = larger.name_room;
}

void marks_add_member(struct marks *marks, const char *name)
{
	size_t at;

	if (marks->all_members)
		return;
	if (marks->name_count * 2 >= marks->name_room)
		grow_names(marks);
	at = find_place(marks, name);
	marks->name_count += !marks->names[at];
	marks->names[at] = name;
}

bool marks_have_member(const struct marks *marks, const char *name)
{
	return marks->all_members ||
	       (marks->name_count && marks->names[find_place(marks, name)] != NULL);
}

void marks_add_element(struct marks *marks, size_t index)
{
	size_t word = index / 64;

	if (marks->all_elements)
		return;
	if (word >= marks->words) {
		size_t words = word * 2 + 1;

		marks->bits = xrealloc(marks->bits, words * sizeof(*marks->bits));
		memset(marks->bits + marks->words, 0,
		       (words - marks->words) * sizeof(*marks->bits));
		marks->words = words;
	}
	marks->bits[word] |= UINT64_C(1) << (index % 64);
}

bool marks_have_element(const struct marks *marks, size_t index)
{
	return marks->all_elements ||
	       (index / 64 < marks->words && marks->bits[index / 64] >> (index % 64) & 1);
}

void marks_merge(struct marks *marks, const struct marks *from)
{
	for (size_t i = 0; i < from->name_room; i++) {
		if (from->names[i])
			marks_add_member(marks, from->names[i]);
	}
	for (size_t i = 0; i < from->words * 64; i++) {
		if (marks_have_element(from, i))
			marks_add_element(marks, i);
	}
	marks->all_members |= from->all_members;
	marks->all_elements |= from->all_elements;
}

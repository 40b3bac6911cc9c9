/* SPDX-License-Identifier: Apache-2.0 */
/* Which members and elements of one value are evaluated, for unevaluatedProperties and
 * unevaluatedItems. Lives as long as one schema is applied to that value. */
#ifndef COMMON_SCHEMA_SCHEMA_MARKS_H
#define COMMON_SCHEMA_SCHEMA_MARKS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct marks {
	bool all_members, all_elements;
	const char **names; /* a hash table; they are borrowed from the value */
	size_t name_count, name_room;
	uint64_t *bits; /* elements */
	size_t words;
};

void marks_init(struct marks *marks);
void marks_release(struct marks *marks);
void marks_add_member(struct marks *marks, const char *name);
bool marks_have_member(const struct marks *marks, const char *name);
void marks_add_element(struct marks *marks, size_t index);
bool marks_have_element(const struct marks *marks, size_t index);
void marks_merge(struct marks *marks, const struct marks *from);

#endif

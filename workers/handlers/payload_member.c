/* SPDX-License-Identifier: Apache-2.0 */
/* Paths with dots are pointers with slashes. */
#include "workers/handlers/payload_member.h"

#include <stdlib.h>
#include <string.h>

#include "common/json/json_text.h"

json_t *payload_member(json_t *payload, const char *path)
{
	struct strbuf pointer;
	char *copy = xstrdup(path), *rest = NULL;
	json_t *found;

	strbuf_init(&pointer);
	for (char *name = strtok_r(copy, ".", &rest); name; name = strtok_r(NULL, ".", &rest))
		json_pointer_add(&pointer, name);
	found = json_pointer_get(payload, pointer.data);
	strbuf_release(&pointer);
	free(copy);
	return found;
}

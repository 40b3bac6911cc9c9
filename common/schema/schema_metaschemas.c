/* SPDX-License-Identifier: Apache-2.0 */
/* The metaschemas of both drafts, as json-schema.org publishes them, put into the program as they
 * lie in metaschemas/. */
#include <string.h>

#include "common/schema/schema_compile.h"

#define EMBED(name, file)                                                                  \
	__asm__(".section .rodata\n"                                                       \
		".global schema_text_" #name "\nschema_text_" #name ":\n"                  \
		".incbin \"common/schema/metaschemas/" file "\"\n"                         \
		".global schema_text_end_" #name "\nschema_text_end_" #name ":\n.byte 0\n" \
		".previous\n");                                                            \
	extern const char schema_text_##name[], schema_text_end_##name[]

EMBED(draft_7, "draft-07.json");
EMBED(all, "2020-12.json");
EMBED(core, "2020-12-core.json");
EMBED(applicator, "2020-12-applicator.json");
EMBED(unevaluated, "2020-12-unevaluated.json");
EMBED(validation, "2020-12-validation.json");
EMBED(meta_data, "2020-12-meta-data.json");
EMBED(format, "2020-12-format-annotation.json");
EMBED(content, "2020-12-content.json");

#define ROW(uri, name)                                          \
	{                                                       \
		uri, schema_text_##name, schema_text_end_##name \
	}
#define META "https://json-schema.org/draft/2020-12/meta/"

static const struct {
	const char *uri, *text, *end;
} rows[] = {
	ROW("http://json-schema.org/draft-07/schema", draft_7),
	ROW("https://json-schema.org/draft/2020-12/schema", all),
	ROW(META "core", core),
	ROW(META "applicator", applicator),
	ROW(META "unevaluated", unevaluated),
	ROW(META "validation", validation),
	ROW(META "meta-data", meta_data),
	ROW(META "format-annotation", format),
	ROW(META "content", content),
};

const char *schema_metaschema(const char *uri, size_t *bytes_r)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i].uri, uri) != 0)
			continue;
		*bytes_r = (size_t)(rows[i].end - rows[i].text);
		return rows[i].text;
	}
	return NULL;
}

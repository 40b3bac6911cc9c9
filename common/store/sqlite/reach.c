/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a reach as one argument of REACH_SQL: [["type pattern", "queue pattern"], …]. */
#include "common/store/sqlite/sqlite_impl.h"

/* `*` and `?` are GLOB's as well; its brackets are no pattern of ours. */
static void add_pattern(struct strbuf *out, const char *pattern)
{
	struct strbuf glob;

	strbuf_init(&glob);
	for (const char *at = pattern ? pattern : "*"; *at; at++) {
		if (*at == '[')
			strbuf_addstr(&glob, "[[]");
		else
			strbuf_addch(&glob, *at);
	}
	strbuf_json(out, glob.data);
	strbuf_release(&glob);
}

char *sqlite_reach_rules(const struct reach *reach)
{
	struct strbuf out;
	char *text;

	if (!reach || !reach->rule_count)
		return NULL;
	strbuf_init(&out);
	for (size_t i = 0; i < reach->rule_count; i++) {
		strbuf_addstr(&out, i ? ",[" : "[[");
		add_pattern(&out, reach->rules[i].type);
		strbuf_addch(&out, ',');
		add_pattern(&out, reach->rules[i].queue);
		strbuf_addch(&out, ']');
	}
	strbuf_addch(&out, ']');
	text = xstrdup(out.data);
	strbuf_release(&out);
	return text;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The four arguments of REACH_SQL. Patterns become LIKE's; what LIKE would take for a wildcard of
 * its own is escaped. */
#include "common/store/postgres/postgres_impl.h"

static void add_pattern(struct array *array, const char *pattern)
{
	struct strbuf like;

	strbuf_init(&like);
	for (const char *at = pattern ? pattern : "*"; *at; at++) {
		if (*at == '*')
			strbuf_addch(&like, '%');
		else if (*at == '?')
			strbuf_addch(&like, '_');
		else if (*at == '%' || *at == '_' || *at == '\\')
			strbuf_printf(&like, "\\%c", *at);
		else
			strbuf_addch(&like, *at);
	}
	array_text(array, like.data);
	strbuf_release(&like);
}

void postgres_arg_reach(struct postgres *pg, const struct reach *reach)
{
	static const struct reach all = { 0 };
	struct array *types, *queues;

	if (!reach)
		reach = &all;
	postgres_arg_text(pg, reach->tenant);
	postgres_arg_text(pg, reach->owner);
	if (!reach->rule_count) {
		postgres_arg_text(pg, NULL);
		postgres_arg_text(pg, NULL);
		return;
	}
	types = postgres_arg_array(pg, TYPE_TEXT);
	for (size_t i = 0; i < reach->rule_count; i++)
		add_pattern(types, reach->rules[i].type);
	queues = postgres_arg_array(pg, TYPE_TEXT);
	for (size_t i = 0; i < reach->rule_count; i++)
		add_pattern(queues, reach->rules[i].queue);
}

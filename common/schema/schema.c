/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a compiled schema: everything of it lies in one arena, but the copies of documents
 * and what pcre2 holds. Also refuses references that go round without ever looking at another
 * value, which no value could end. */
#include "common/schema/schema.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/schema/schema_compile.h"

/* ---- chains of schemas for one value */

#define CHAIN_OPEN UINT_MAX /* is being looked at */

static unsigned chain_of(struct compiler *compiler, struct node *node, unsigned depth);

/* Keywords whose subschemas see the same value. */
static bool is_in_place(const struct check *check)
{
	static const char *const names[] = {
		"$ref", "$dynamicRef",      "allOf",       "anyOf", "oneOf", "not",
		"if",   "dependentSchemas", "dependencies"
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(check->keyword->name, names[i]) == 0)
			return true;
	}
	return false;
}

static unsigned chain_of_check(struct compiler *compiler, const struct check *check, unsigned depth)
{
	unsigned longest = 0;

	for (size_t i = 0; i < check->count && is_in_place(check); i++) {
		struct node *next = check->nodes[i];
		unsigned chain = next ? chain_of(compiler, next, depth + 1) : 0;

		if (chain >= SCHEMA_CHAIN_MAX) {
			compiler_problem(compiler, check->node, check->keyword->name,
					 chain == CHAIN_OPEN
						 ? "leads back to itself"
						 : "too many schemas, one inside the other");
			return 0;
		}
		longest = chain > longest ? chain : longest;
	}
	return longest;
}

static unsigned chain_of(struct compiler *compiler, struct node *node, unsigned depth)
{
	unsigned longest = 0;

	if (node->chain || node->kind != NODE_CHECKS)
		return node->chain;
	if (depth > SCHEMA_CHAIN_MAX)
		return SCHEMA_CHAIN_MAX;
	node->chain = CHAIN_OPEN;
	for (size_t i = 0; i < node->count && !compiler->failed; i++) {
		unsigned chain = chain_of_check(compiler, &node->checks[i], depth);

		longest = chain > longest ? chain : longest;
	}
	node->chain = longest + 1;
	return node->chain;
}

static void check_chains(struct compiler *compiler)
{
	for (size_t i = 0; i < compiler->nodes.room && !compiler->failed; i++) {
		if (compiler->nodes.places[i].node)
			(void)chain_of(compiler, compiler->nodes.places[i].node, 0);
	}
}

/* ---- life */

struct schema *schema_compile(const json_t *json, const char *uri,
			      const struct schema_options *options, struct arena *arena,
			      struct schema_faults *problems_r)
{
	static const struct schema_options none;
	struct schema *schema = xcalloc(1, sizeof(*schema));
	struct compiler compiler = { .schema = schema,
				     .options = options ? options : &none,
				     .faults_arena = arena,
				     .faults = problems_r,
				     .document = "" };
	const json_t *kept;

	*problems_r = (struct schema_faults){ 0 };
	schema->arena = arena_new(0);
	schema->formats = compiler.options->formats;
	kept = compiler_keep(&compiler, json, "");
	if (kept) {
		schema->root =
			compiler_document(&compiler, kept, arena_strdup(schema->arena, uri), "");
		compiler_resolve(&compiler);
	}
	if (!compiler.failed)
		check_chains(&compiler);
	free(compiler.nodes.places);
	if (compiler.failed)
		schema_free(&schema);
	return schema;
}

void schema_free(struct schema **schema)
{
	struct schema *gone = *schema;

	*schema = NULL;
	if (!gone)
		return;
	for (struct kept_regex *kept = gone->regexes; kept; kept = kept->next)
		schema_regex_release(kept->regex);
	schema_free_documents(gone->documents);
	arena_free(&gone->arena);
	free(gone);
}

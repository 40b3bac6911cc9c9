/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schema, draft 7 and 2020-12: a schema is compiled once, then any thread may check values
 * against it, at any time. Nothing is ever fetched: what a schema refers to is in itself, among the
 * known documents of its options, or one of the metaschemas, which are built in. For common/config;
 * knows nothing of jobs. */
#ifndef COMMON_SCHEMA_SCHEMA_H
#define COMMON_SCHEMA_SCHEMA_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/check.h"

#define SCHEMA_FAULTS_MAX  64  /* of one value or schema; those beyond are only counted */
#define SCHEMA_DEPTH_MAX   64  /* levels of JSON of a schema */
#define SCHEMA_NESTING_MAX 512 /* schemas applied inside one another while a value is checked */
#define SCHEMA_CHAIN_MAX   64  /* the same, to one and the same value, by $ref, allOf, if … */
#define SCHEMA_STEPS_MAX   10000000 /* schemas applied and items compared for one value */

enum schema_draft { SCHEMA_2020_12 = 0, SCHEMA_DRAFT_7 };

/* What is wrong, in one place. Texts live in the arena that the caller gave. */
struct schema_fault {
	const char *pointer;  /* RFC 6901, into the value; of schema_compile: into the schema */
	const char *keyword;  /* "minimum"; "" when no keyword is at fault */
	const char *location; /* of that keyword: "#/properties/age/minimum" */
	const char *message;  /* one sentence for people: "must be at least 1" */
};

struct schema_faults {
	struct schema_fault *faults;
	size_t count; /* of those listed */
	size_t more;  /* beside them */
};

struct schema_document { /* what a $ref or $schema may name */
	const char *uri;
	const json_t *json; /* copied when it is used */
};

struct schema_options {
	enum schema_draft draft; /* of documents without $schema */
	bool formats; /* `format` is checked; else it is only a remark, as the drafts say */
	const struct schema_document *documents;
	size_t document_count;
};

struct schema;

/* `uri`: what the schema's relative references are relative to, or ""; `options`: or NULL. The
 * schema is copied. NULL after filling *problems_r with all that is wrong: a keyword with a value
 * that the draft does not allow, a reference that leads nowhere or only in a circle, a pattern that
 * cannot be compiled, a draft or vocabulary that is not known. Unknown keywords and formats are
 * passed over, as the drafts say. Does not block. */
struct schema *schema_compile(const json_t *json, const char *uri,
			      const struct schema_options *options, struct arena *arena,
			      struct schema_faults *problems_r) must_check;
void schema_free(struct schema **schema); /* NULL-safe; leaves NULL */

/* True: the value is valid, and *faults_r empty. False: *faults_r has every fault, in the order of
 * the schema; of the branches of anyOf, oneOf, not and if only the keyword itself is told. A limit
 * that is reached (a pattern too costly, nesting too deep) is a fault. The value is only read. */
bool schema_validate(const struct schema *schema, json_t *value, struct arena *arena,
		     struct schema_faults *faults_r) must_check;
/* The first faults in one line: "payload/age: must be at least 1 (minimum); and 2 more". */
const char *schema_faults_brief(const struct schema_faults *faults, const char *root,
				struct arena *arena);
/* The same verdict, ended by the first fault. */
bool schema_accepts(const struct schema *schema, json_t *value) must_check;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of common/schema share. A schema is compiled to nodes, one for each subschema; a
 * node is a list of checks, one for each keyword that can fail, in the order in which they are
 * applied. Keywords are rows of tables, each in the file of what it looks at. */
#ifndef COMMON_SCHEMA_SCHEMA_IMPL_H
#define COMMON_SCHEMA_SCHEMA_IMPL_H
#include <stdint.h>

#include "common/schema/schema.h"
#include "common/schema/schema_marks.h"
#include "common/schema/schema_regex.h"

#define DRAFT_7       (1u << SCHEMA_DRAFT_7)
#define DRAFT_2020_12 (1u << SCHEMA_2020_12)
#define DRAFTS_BOTH   (DRAFT_7 | DRAFT_2020_12)

/* Bits; of draft 7 all but the last. */
enum vocabulary {
	VOCABULARY_CORE = 1,
	VOCABULARY_APPLICATOR = 2,
	VOCABULARY_UNEVALUATED = 4,
	VOCABULARY_VALIDATION = 8,
	VOCABULARY_META_DATA = 16,
	VOCABULARY_FORMAT_ANNOTATION = 32,
	VOCABULARY_CONTENT = 64,
	VOCABULARY_ALL = 127,
	VOCABULARY_FORMAT_ASSERTION = 128,
};

/* Values that a keyword looks at: bits of json_type. */
#define ON(type)   (1u << (type))
#define ON_OBJECT  ON(JSON_OBJECT)
#define ON_ARRAY   ON(JSON_ARRAY)
#define ON_STRING  ON(JSON_STRING)
#define ON_NUMBER  (ON(JSON_INTEGER) | ON(JSON_REAL))
#define ON_BOOLEAN (ON(JSON_TRUE) | ON(JSON_FALSE))
#define ON_ALL     (ON_OBJECT | ON_ARRAY | ON_STRING | ON_NUMBER | ON_BOOLEAN | ON(JSON_NULL))

/* What a keyword's own value has to be. */
enum shape {
	SHAPE_ANY,
	SHAPE_FLAG,
	SHAPE_COUNT, /* a whole number, not negative: check->limit */
	SHAPE_NUMBER,
	SHAPE_DIVISOR, /* a number above 0 */
	SHAPE_TEXT,
	SHAPE_LIST,
	SHAPE_NAMES, /* texts, all different */
	SHAPE_MAP,
	SHAPE_SCHEMA,     /* check->nodes: one */
	SHAPE_SCHEMAS,    /* a list, not empty */
	SHAPE_SCHEMA_MAP, /* in the order of the object's members */
};

struct run;
struct compiler;
struct check;

struct spot { /* where in the value; up to the root, which has no `up` */
	const struct spot *up;
	const char *key; /* NULL: `index` */
	size_t index;
};

/* Is the value as this keyword wants it? False after run_fail. `marks`: what is evaluated of the
 * value, or NULL when nobody asks. */
typedef bool check_fn(struct run *run, const struct check *check, json_t *value,
		      const struct spot *spot, struct marks *marks);
/* Makes ready what the shape does not. 1: the check is kept; 0: it has nothing to check; -1 after
 * compiler_problem. */
typedef int build_fn(struct compiler *compiler, struct check *check);
typedef bool format_fn(const char *text, size_t bytes);

struct keyword {
	const char *name;
	unsigned drafts, vocabularies;
	enum shape shape;
	unsigned on;      /* values of other types are not looked at */
	build_fn *build;  /* or NULL */
	check_fn *apply;  /* NULL: it only has subschemas, or is looked at by another */
	const char *says; /* of a failure; "%" is the keyword's value. NULL: apply knows better */
	const char *refusal; /* where its subschema is `false` */
};

struct keywords {
	const struct keyword *rows;
	size_t count;
};

struct check {
	const struct keyword *keyword;
	struct node *node;
	json_t *value;       /* of the keyword */
	const char *message; /* of a failure; NULL: made when there is one */
	struct node **nodes; /* subschemas */
	size_t count;
	union {
		size_t limit;
		struct {
			size_t min, max;
		} range;
		unsigned types;                /* `type`: bits of json_type */
		struct schema_regex **regexes; /* one for each node, or one */
		format_fn *format;
		struct {
			json_t *members;              /* of `properties`, or NULL */
			const struct check *patterns; /* or NULL */
		} beside;
		size_t start;       /* `items`: behind `prefixItems` */
		const char *anchor; /* $dynamicRef: looked for in the dynamic scope; or NULL */
	};
};

struct document;
struct kept_regex;

struct anchor {
	struct anchor *next;
	const char *name;
	struct node *node;
	bool dynamic;
};

struct resource { /* a schema with a URI, and what lies in it */
	struct resource *next;
	const char *uri;      /* absolute if anything was, without fragment */
	const char *document; /* what locations begin with: "" or the URI of another document */
	struct node *root;
	enum schema_draft draft;
	unsigned vocabularies;
	struct anchor *anchors;
};

enum node_kind { NODE_CHECKS = 0, NODE_TRUE, NODE_FALSE };

struct node {
	enum node_kind kind;
	bool own_marks; /* it has unevaluatedItems or unevaluatedProperties */
	struct check *checks;
	size_t count;
	const struct resource *resource;
	const json_t *json;
	/* place: below `parent`, keyword, then token or index */
	const struct node *parent;
	const char *keyword; /* NULL: the root of a document */
	const char *token;   /* or NULL */
	size_t index;        /* SIZE_MAX: none */
	bool raw;            /* `keyword` is a JSON pointer from `parent` */
	unsigned chain; /* longest chain of schemas for one value from here; 0: not known yet */
};

struct schema {
	struct arena *arena;
	struct node *root;
	bool formats;
	bool dynamic; /* a $dynamicRef looks at the scope */
	struct document *documents;
	struct kept_regex *regexes; /* all, to be freed */
};

/* ---- schema_compile.c, for build functions */

void compiler_problem(struct compiler *compiler, const struct node *node, const char *keyword,
		      const char *fmt, ...) printf_like(4, 5);
struct arena *compiler_arena(struct compiler *compiler);
struct schema *compiler_schema(struct compiler *compiler);
/* The subschema at keyword, then token or index (NULL, SIZE_MAX: none). NULL after a problem. */
struct node *compiler_node(struct compiler *compiler, struct node *parent, const json_t *json,
			   const char *keyword, const char *token, size_t index);
/* Is looked up when all of the document is known; then check->nodes has it. */
void compiler_refer(struct compiler *compiler, struct check *check);
/* A check of the same node that was built before, or NULL. */
const struct check *compiler_sibling(const struct check *check, const char *keyword);
/* NULL after a problem. */
struct schema_regex *compiler_regex(struct compiler *compiler, const struct check *check,
				    const char *pattern);

/* ---- schema_place.c */

/* "/properties/a~1b": in the arena. */
const char *spot_pointer(const struct spot *spot, struct arena *arena);
/* "#/properties/age", and the keyword behind it unless it is NULL. */
const char *node_location(const struct node *node, const char *keyword, struct arena *arena);
/* The part behind "#". */
const char *node_pointer(const struct node *node, const char *keyword, struct arena *arena);
/* JSON of a value, cut after so many bytes. */
const char *json_brief(const json_t *value, size_t bytes_max, struct arena *arena);
void schema_fault_add(struct schema_faults *faults, struct arena *arena, struct schema_fault fault);

/* ---- schema_run.c, for check functions */

struct run {
	const struct schema *schema;
	struct arena *arena; /* of the faults */
	struct schema_faults *faults;
	unsigned quiet; /* > 0: faults are not told, the first one ends it */
	unsigned depth;
	size_t steps;
	bool broken; /* a limit was reached */
	struct schema_scratch *scratch;
	size_t scope_count;
	const struct resource *scopes[SCHEMA_NESTING_MAX];
};

/* Applies a schema to a value, on behalf of `by`. */
bool run_node(struct run *run, const struct node *node, const struct check *by, json_t *value,
	      const struct spot *spot, struct marks *marks);
/* The same without telling why not; what it marks is only kept when it is valid. */
bool run_quietly(struct run *run, const struct node *node, const struct check *by, json_t *value,
		 const struct spot *spot, struct marks *marks);
/* Returns false. `message`: NULL for the check's own. */
bool run_fail(struct run *run, const struct check *check, const struct spot *spot,
	      const char *message);
/* Counts work. False: too much of it. */
bool run_step(struct run *run, const struct check *check, const struct spot *spot);
bool run_matches(struct run *run, const struct check *check, const struct schema_regex *regex,
		 const char *text, size_t bytes, const struct spot *spot);

/* ---- tables of keywords, in the order in which they are applied */

extern const struct keywords schema_logic_keywords, schema_scalar_keywords, schema_array_keywords,
	schema_object_keywords, schema_unevaluated_keywords;

/* ---- schema_number.c, schema_equal.c, schema_format.c */

/* Exactly, whatever the kinds: < 0, 0, > 0. */
int schema_number_compare(const json_t *a, const json_t *b);
/* Is `value` a whole multiple, as their shortest decimals say? */
bool schema_number_multiple(const json_t *value, const json_t *of);
/* 1.0 too. */
bool schema_number_whole(const json_t *value);
/* Equal as the drafts mean it: 1 is 1.0. */
bool schema_equal(const json_t *a, const json_t *b);
/* Equal values have equal hashes. */
uint64_t schema_hash(const json_t *value);
format_fn *schema_format(const char *name); /* NULL: not known */

#endif

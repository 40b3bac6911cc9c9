/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys of a definitions file: one row each says how it is checked, where it goes, what
 * it defaults to and what its JSON Schema is. For definitions.c and definitions_schema.c only. */
#ifndef COMMON_CONFIG_DEFINITIONS_KEYS_H
#define COMMON_CONFIG_DEFINITIONS_KEYS_H
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/config/definitions.h"
#include "common/config/yaml_reader.h"

enum key_kind {
	KEY_NAME,      /* const char *, job_name_valid */
	KEY_TEXT,      /* const char *, not empty */
	KEY_INT,       /* int */
	KEY_COUNT,     /* int64_t */
	KEY_DURATION,  /* int64_t, ms */
	KEY_SIZE,      /* int64_t, bytes */
	KEY_PRIORITY,  /* enum job_priority */
	KEY_FLAG,      /* bool: true, false */
	KEY_CHOICE,    /* bool: the second of the row's two words */
	KEY_PAYLOAD,   /* const char *, payload.NAME… */
	KEY_TEXTS,     /* const char *const *, NULL-terminated; not empty */
	KEY_VARIABLES, /* the same, names of environment variables */
	KEY_RATE,      /* double, a second: 50/s, 100/m, 1000/h */
	KEY_PART,      /* double, more than 0 and at most 1 */
	KEY_TEMPLATE,  /* const char *, not empty; may hold ${env.X} */
	KEY_SECRET,    /* const char *, exactly ${env.X} */
	KEY_STATUSES,  /* the same as KEY_TEXTS: 404, 5xx, network */
	KEY_POLICY,    /* enum call_policy */
	KEY_TEXT_MAP,  /* const struct yaml_node *, a map from names to texts */
	KEY_ANY,       /* const struct yaml_node * */
	KEY_SCHEMA,    /* the path of a JSON Schema file, or a map; put by definitions.c */
	KEY_MAP,       /* members; fields of the same struct */
	KEY_HOOKS,     /* struct webhook_hooks */
	KEY_NAMED,     /* top level: a map from names to maps of members */
	KEY_LATER,     /* belongs to a part that this version does not have */
};

#define FOR_MODULE (1u << HANDLER_MODULE)
#define FOR_EXEC   (1u << HANDLER_EXEC)
#define FOR_SQL    (1u << HANDLER_SQL)
#define FOR_HTTP   (1u << HANDLER_HTTP)
#define FOR_HOSTS  (FOR_MODULE | FOR_EXEC)

struct key_rows {
	const struct key_row *rows;
	size_t count;
};

struct key_row {
	const char *name;
	enum key_kind kind;
	size_t offset; /* of the field, in the struct of what is defined */
	int64_t min, max;
	const char *default_text; /* NULL: zero or, for lists, empty */
	const struct key_rows *members;
	unsigned handlers;    /* only for types with one of these; 0: for all */
	enum handler_kind is; /* this key is that handler, or 0 */
	bool required;
	const char *words[2]; /* KEY_CHOICE; the first is the default */
	const char *help;
};

/* How the tables' rows are written. */
#define KEY_ROWS(array)                                    \
	{                                                  \
		.rows = (array), .count = ARRAY_LEN(array) \
	}
#define KEY_OF_LATER(key)                        \
	{                                        \
		.name = (key), .kind = KEY_LATER \
	}

extern const struct key_rows definitions_top_keys, definitions_queue_keys, definitions_job_keys,
	definitions_source_keys, definitions_target_keys, definitions_pool_keys,
	definitions_schedule_keys;

struct key_reader {
	struct arena *arena;
	struct problems *problems;
};

/* Fills the fields of *target from a map node (NULL: defaults only). Says all that is wrong; fields
 * in question keep their defaults. */
void definitions_read_keys(struct key_reader *reader, const struct key_rows *keys,
			   const struct yaml_node *map, void *target);
/* The value of a key, or NULL. */
const struct yaml_node *definitions_member(const struct yaml_node *map, const char *name);
const struct key_row *definitions_key(const struct key_rows *keys,
				      const char *name); /* NULL: unknown */
/* Says that this key is not one of `keys`: later, or unknown with a guess and the list of what is
 * expected. */
void definitions_refuse_key(struct key_reader *reader, const struct key_rows *keys,
			    const struct yaml_node *key);

/* ---- definitions_http.c */

/* Checks and compiles `http:` of a type, whose map it is. `source`: the file's text. */
void definitions_compile_http(struct key_reader *reader, const char *source,
			      const struct yaml_node *map, struct job_type *type);

/* What was expected in place of this name of an environment variable, or NULL: a definitions file
 * may name it. */
const char *definitions_variable_fault(const char *name);

#define DEFINITIONS_NAME_RULE "1 to 128 letters, digits and . _ : -, the first a letter or digit"

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A YAML text as a tree of nodes with their places: one document, no tags, bounded depth and size,
 * aliases counted as often as they are used. Problems are collected, one a line with
 * file:line:column. Knows nothing of job definitions. */
#ifndef COMMON_CONFIG_YAML_READER_H
#define COMMON_CONFIG_YAML_READER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/base/arena.h"
#include "common/base/check.h"

#define YAML_BYTES_MAX    (1024 * 1024)
#define YAML_DEPTH_MAX    32
#define YAML_NODES_MAX    50000 /* aliases expanded */
#define YAML_PROBLEMS_MAX 50

struct problems {         /* what is wrong with one file */
	const char *file; /* as it is called in messages */
	FILE *out;
	int count; /* beyond YAML_PROBLEMS_MAX they are only counted */
};

struct yaml_place {
	int line, column; /* from 1; column in characters */
};

enum yaml_kind { YAML_SCALAR = 1, YAML_LIST, YAML_MAP };

struct yaml_node {
	enum yaml_kind kind;
	struct yaml_place place;
	const char *text;          /* scalar; no NUL inside */
	bool plain;                /* scalar without quotes: may be a number, true, null */
	size_t raw_start, raw_end; /* scalar: where it is in the source, in bytes */
	struct yaml_node **items;  /* list: elements; map: values */
	struct yaml_node **keys;   /* map: scalars, all different */
	size_t count;
	size_t weight; /* nodes in it, aliases expanded */
};

/* "file:line:column: text" */
void problem_add(struct problems *problems, struct yaml_place place, const char *fmt, ...)
	printf_like(3, 4);
/* Says how many were left out, if any. */
void problems_end(struct problems *problems);

/* NULL after a problem that ends the reading; after others (duplicate keys) the tree comes all the
 * same, so that the rest is checked too: see problems->count. The tree lives in the arena. */
struct yaml_node *yaml_read(const char *text, size_t bytes, struct arena *arena,
			    struct problems *problems);
/* The place of byte `offset` of a scalar's text: exact unless escapes hide it, else the scalar's
 * own. */
struct yaml_place yaml_place_within(const char *source, const struct yaml_node *scalar,
				    size_t offset);
/* A word for messages: "a list", "`lots`", "null". Valid until the arena goes. */
const char *yaml_describe(const struct yaml_node *node, struct arena *arena);
bool yaml_is_null(const struct yaml_node *node);

#endif

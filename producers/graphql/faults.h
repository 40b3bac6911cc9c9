/* SPDX-License-Identifier: Apache-2.0 */
/* The errors of one GraphQL request: a message, places in the document, the path in the answer.
 * They live in the request's arena. */
#ifndef PRODUCERS_GRAPHQL_FAULTS_H
#define PRODUCERS_GRAPHQL_FAULTS_H
#include <jansson.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "producers/graphql/document.h"

#define FAULTS_VALIDATION_MAX 100
#define FAULTS_VARIABLES_MAX  50
#define FAULT_PLACES_MAX      64

struct fault_path { /* from the inside to the root */
	const struct fault_path *up;
	const char *key; /* NULL: index */
	size_t index;
};

struct fault {
	struct fault *next;
	const char *message;
	const uint32_t *places; /* bytes in the text; sorted as they were said */
	size_t place_count;
	const struct fault_path *path; /* NULL: none */
	json_t *extensions;            /* a reference that somebody else holds, or NULL */
};

struct faults {
	struct arena *arena;
	struct fault *first, *last;
	size_t count;
	size_t max;   /* 0: any number; one more ends the checks */
	bool aborted; /* nothing is added any more */
};

void faults_init(struct faults *faults, struct arena *arena, size_t max);
/* A fault at these nodes (NULL: none of them). */
struct fault *faults_at_nodes(struct faults *faults, const struct node *const *nodes, size_t count,
			      const char *fmt, ...) printf_like(4, 5);
struct fault *faults_at(struct faults *faults, const struct node *node, const char *fmt, ...)
	printf_like(3, 4);
struct fault *faults_at_byte(struct faults *faults, size_t at, const char *fmt, ...)
	printf_like(3, 4);
/* The last word of checks that were given up. */
void faults_abort(struct faults *faults, const char *message);
/* As `errors` of an answer: a new reference. text is the document's, or NULL: no places. */
json_t *faults_json(const struct faults *faults, const char *text);
/* " at .a[0].b", or "" of no path. */
const char *faults_path_text(struct arena *arena, const struct fault_path *path);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What a document may ask for, looked at before anything else is done with it: fragments count
 * wherever they are spread, and a cycle of them ends the count. */
#ifndef PRODUCERS_GRAPHQL_LIMITS_H
#define PRODUCERS_GRAPHQL_LIMITS_H
#include "producers/graphql/document.h"

#define LIMITS_INTROSPECTION_DEPTH 20

struct limits {
	int depth; /* fields inside fields */
	int nodes; /* fields and fragments, of all operations */
	int aliases;
};

/* NULL: within the limits; else a sentence, and in *code_r a word for programs. */
const char *limits_exceeded(const struct limits *limits, struct arena *arena,
			    const struct node *document, const char **code_r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Is a document one that may be run against a type system? Every rule of the specification's
 * section 5, in the order, the words and with the places of graphql-core's specified_rules. */
#ifndef PRODUCERS_GRAPHQL_VALIDATE_H
#define PRODUCERS_GRAPHQL_VALIDATE_H
#include "producers/graphql/faults.h"
#include "producers/graphql/types.h"

struct validate_options {
	bool introspection;    /* otherwise __schema and __type are refused */
	bool hide_suggestions; /* no "Did you mean" */
};

/* Adds what is wrong to faults (made with FAULTS_VALIDATION_MAX). */
void validate(const struct types *types, const struct node *document,
	      const struct validate_options *options, struct faults *faults);

#endif

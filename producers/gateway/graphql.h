/* SPDX-License-Identifier: Apache-2.0 */
/* What all GraphQL requests of a gateway share: the schema, the limits, the documents that are
 * allowed; and how a text becomes an operation that may be run. */
#ifndef PRODUCERS_GATEWAY_GRAPHQL_H
#define PRODUCERS_GATEWAY_GRAPHQL_H
#include <jansson.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/config/settings.h"
#include "producers/graphql/document.h"
#include "producers/graphql/limits.h"
#include "producers/graphql/types.h"

struct graphql_documents;

struct graphql {
	struct types *types;
	struct limits limits;
	size_t tokens_max;
	bool introspection;
	struct graphql_documents *documents; /* NULL: any document may be run */
};

/* open: nobody needs a key. NULL: a setting is wrong, or the file of documents. */
struct graphql *graphql_open(const struct settings *settings, bool open, struct error *err_r);
void graphql_close(struct graphql **door); /* NULL-safe */

/* What a client asks, by whichever transport. All lie in memory that outlives the run. */
struct graphql_call {
	const char *query;          /* or NULL */
	const char *document_id;    /* "sha256:…"; or NULL */
	const char *operation_name; /* or NULL */
	json_t *variables;          /* an object, lent; or NULL */
};

/* Reads a call out of {query, operationName, variables, documentId, extensions}. NULL: fine; else
 * what is wrong with it. */
const char *graphql_call_read(const json_t *body, struct graphql_call *call_r);

struct graphql_prepared {
	const char *text; /* the document's */
	const struct node *document, *operation;
};

/* Finds, parses and checks the document. False: refused, *answer_r is the answer, a new reference.
 */
bool graphql_prepare(const struct graphql *door, struct arena *arena,
		     const struct graphql_call *call, struct graphql_prepared *prepared_r,
		     json_t **answer_r);
/* {"errors": [{"message", "extensions": {"code"}}]}; code may be NULL. */
json_t *graphql_refusal(const char *message, const char *code);

#endif

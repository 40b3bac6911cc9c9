/* SPDX-License-Identifier: Apache-2.0 */
/* The documents that may be run, where only those may: a JSON object, from the SHA-256 of each
 * document in hex to its text. */
#ifndef PRODUCERS_GATEWAY_GRAPHQL_DOCUMENTS_H
#define PRODUCERS_GATEWAY_GRAPHQL_DOCUMENTS_H
#include "common/base/error.h"

struct graphql_documents;

/* Every text must be what its digest says. NULL: *err_r names the file. */
struct graphql_documents *graphql_documents_load(const char *path, struct error *err_r);
void graphql_documents_free(struct graphql_documents **documents); /* NULL-safe */
/* The text of that id ("sha256:…" or the digest alone), or of this very text. NULL: not among them,
 * or the two are not the same. */
const char *graphql_documents_find(const struct graphql_documents *documents, const char *text,
				   const char *id);

#endif

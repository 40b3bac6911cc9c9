/* SPDX-License-Identifier: Apache-2.0 */
/* GraphQL text to its tree. Takes all of the language: requests, and type systems (whose text comes
 * from our own file, or from somebody who sends it where no type system belongs). */
#ifndef PRODUCERS_GRAPHQL_PARSER_H
#define PRODUCERS_GRAPHQL_PARSER_H
#include "producers/graphql/faults.h"

/* text is UTF-8 and NUL-terminated, and need not live on. tokens_max 0: any number. NULL: refused,
 * with one fault. */
struct node *parser_document(struct arena *arena, const char *text, size_t bytes, size_t tokens_max,
			     struct faults *faults);

#endif

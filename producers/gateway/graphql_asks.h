/* SPDX-License-Identifier: Apache-2.0 */
/* Which inner request each field of the schema is. */
#ifndef PRODUCERS_GATEWAY_GRAPHQL_ASKS_H
#define PRODUCERS_GATEWAY_GRAPHQL_ASKS_H
#include "producers/gateway/inner.h"
#include "producers/graphql/execute.h"

struct graphql_run;

struct graphql_ask {
	struct inner_request inner;
	struct graphql_run *run;
	size_t field, item;                     /* whose value it is; item: of a list's details */
	json_t *(*shape)(const json_t *answer); /* to the schema's form; a new reference */

	bool busy; /* nobody took it */
};

/* The asks of all fields that are found elsewhere, in the execution's arena. False: there are none.
 */
bool graphql_asks_make(struct execution *execution, struct graphql_ask **asks_r, size_t *count_r);
/* The ask for one job of a list. */
void graphql_asks_detail(struct arena *arena, struct graphql_ask *ask, size_t field, size_t item,
			 const char *id);

#endif

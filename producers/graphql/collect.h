/* SPDX-License-Identifier: Apache-2.0 */
/* The fields that an object is asked for: selections with their fragments spread, grouped by the
 * name in the answer, in the order in which that was first said. */
#ifndef PRODUCERS_GRAPHQL_COLLECT_H
#define PRODUCERS_GRAPHQL_COLLECT_H
#include "producers/graphql/coerce.h"

struct group {
	struct group *next;
	const char *key;
	const struct node **nodes; /* fields of that key */
	size_t count, room;
};

struct collection {
	const struct coercion *coercion; /* its variables decide about @skip and @include */
	const struct node *document;
	const struct type *type; /* the object's */
	struct group *first, *last;
	/* names of fragments that were spread */
	const char **spread;
	size_t spread_count, spread_room;
	/* do not decide, but note the directives: of subscriptions */
	bool forbid;
	const struct node **forbidden;
	size_t forbidden_count, forbidden_room;
};

/* Adds what a selection set says. False: a directive's argument was refused with a fault. */
bool collect_selections(struct collection *collection, const struct node *selection_set,
			struct faults *faults);

#endif

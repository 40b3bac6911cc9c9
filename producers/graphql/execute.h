/* SPDX-License-Identifier: Apache-2.0 */
/* Runs an operation. Only the fields of the operation itself are looked up elsewhere, by the
 * caller, who takes what time it needs and tells their values; everything below them is in those
 * values: a field finds the member of its name. So: start, tell, finish. */
#ifndef PRODUCERS_GRAPHQL_EXECUTE_H
#define PRODUCERS_GRAPHQL_EXECUTE_H
#include "producers/graphql/collect.h"

struct root_field { /* one of the answer's `data` */
	const struct group *group;
	const struct field *field;
	const char *name;
	json_t *args;   /* lent; NULL: they were refused, and nobody need look */
	bool elsewhere; /* the caller finds its value */
	/* told by the caller */
	json_t *value;      /* lent; NULL: null */
	const char *error;  /* or NULL */
	json_t *extensions; /* lent, or NULL */
};

struct execution {
	const struct types *types;
	struct arena *arena;
	const struct node *document, *operation;
	struct coercion coercion;
	struct faults faults; /* in the answer's `errors` */
	const struct type *root;
	struct root_field *fields;
	size_t field_count;
	bool refused;         /* the variables are wrong: there is no `data` */
	struct fault *raised; /* on its way up */
};

struct execute_request {
	const struct types *types;
	struct arena *arena;                     /* outlives the execution */
	const struct node *document, *operation; /* validated */
	json_t *variables;                       /* an object, or NULL */
	bool hide_suggestions;
};

/* Takes the variables and the arguments. False: refused, or nothing to run; finish says why. */
bool execute_start(struct execution *execution, const struct execute_request *request);
/* Tells a field's value; takes the reference; NULL: null. */
void execute_value(struct execution *execution, size_t index, json_t *value);
/* Tells that it failed; message is copied, the reference to extensions (or NULL) is taken. */
void execute_error(struct execution *execution, size_t index, const char *message,
		   json_t *extensions);
/* The answer: {"data": …, "errors": […]}; a new reference. text: the document's. */
json_t *execute_finish(struct execution *execution, const char *text);
/* Releases what the execution holds beside the arena. Twice does not hurt. */
void execute_release(struct execution *execution);
/* The fields that a root field's value is asked for below this path of names ("edges", "node");
 * NULL terminated. False: none of them is this one. */
bool execute_selects(struct execution *execution, size_t index, const char *const *path,
		     const char *name);

#endif

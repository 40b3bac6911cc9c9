/* SPDX-License-Identifier: Apache-2.0 */
/* What the rules share while one walk visits the document: the types at this place, and the
 * document asked by name. For the rules_*.c files only. */
#ifndef PRODUCERS_GRAPHQL_VALIDATOR_H
#define PRODUCERS_GRAPHQL_VALIDATOR_H
#include "producers/graphql/coerce.h"
#include "producers/graphql/validate.h"

#define INFO_STACK 256 /* more than a document can be nested */
#define RULES_MAX  40

struct info { /* stacks of types; entries may be NULL */
	const struct types *types;
	struct arena *arena;
	const struct type *output[INFO_STACK], *parent[INFO_STACK], *input[INFO_STACK];
	const struct field *field[INFO_STACK];
	bool has_default[INFO_STACK];
	size_t output_count, parent_count, input_count, field_count, default_count;
	const struct directive_type *directive;
	const struct input *argument;
};

void info_enter(struct info *info, const struct node *node);
void info_leave(struct info *info, const struct node *node);
const struct type *info_output(const struct info *info);
const struct type *info_parent(const struct info *info);
const struct type *info_input(const struct info *info);
const struct type *info_outer_input(const struct info *info); /* the one around it */
const struct field *info_field(const struct info *info);

struct frame { /* where the walk is */
	const struct node *node;
	const struct frame *up;
};

struct usage { /* of a variable */
	struct usage *next;
	const struct node *node;
	const struct type *type, *outer;
	bool has_default;
};

struct usage_list {
	struct usage *first, *last;
};

struct names { /* seen so far; for the uniqueness rules */
	const struct node **nodes;
	size_t count, room;
};

struct spread_list {
	const struct node **spreads;
	size_t count, room;
};

struct validator {
	const struct types *types;
	const struct node *document;
	const struct validate_options *options;
	struct faults *faults;
	struct arena *arena;
	struct coercion coercion;
	struct info info, scratch; /* the walk's, and that of walks inside a rule */
	const struct node *skipping[RULES_MAX];
	/* the rules' own */
	struct names operations, fragments;
	struct merge *merge;
	struct cycles *cycles;
};

typedef bool rule_enter_fn(struct validator *v, const struct frame *at); /* false: not below it */
typedef void rule_leave_fn(struct validator *v, const struct frame *at);
struct rule {
	rule_enter_fn *enter; /* or NULL */
	rule_leave_fn *leave; /* or NULL */
};

/* ---- validator.c */
/* Appends a pointer to an array in the arena. */
void *validator_grown(struct validator *v, const void *array, size_t count, size_t *room);
/* The spreads below a selection set, without those of the fragments themselves. */
void validator_spreads(struct validator *v, const struct node *set, struct spread_list *list_r);
/* Fragments that these operations spread, and those that these spread, and so on. */
void validator_referenced(struct validator *v, const struct node *const *operations, size_t count,
			  struct spread_list *fragments_r);
/* Where an operation and all that it spreads use variables. */
void validator_usages(struct validator *v, const struct node *operation, struct usage_list *list_r);
/* A name seen before, or NULL and it is noted. node->text is the name. */
const struct node *validator_seen(struct validator *v, struct names *names,
				  const struct node *node);
/* Faults for each name in the list that occurs several times, at all its places. what: "variable
 * named '$". */
void validator_repeated(struct validator *v, const struct node *list, const char *what);

/* ---- the rules */
rule_enter_fn rule_executable_definitions, rule_known_operation_types, rule_unique_operation_names,
	rule_lone_anonymous_operation, rule_single_field_subscriptions;
rule_enter_fn rule_known_type_names, rule_fragments_on_composite_types,
	rule_variables_are_input_types, rule_scalar_leafs, rule_fields_on_correct_type;
rule_enter_fn rule_unique_fragment_names, rule_known_fragment_names, rule_possible_fragment_spreads,
	rule_no_fragment_cycles;
rule_leave_fn rule_no_unused_fragments;
rule_enter_fn rule_unique_variable_names, rule_no_undefined_variables, rule_no_unused_variables;
rule_leave_fn rule_variables_in_allowed_position;
rule_enter_fn rule_known_directives, rule_unique_directives_per_location;
rule_enter_fn rule_known_argument_names, rule_unique_argument_names, rule_values_of_correct_type,
	rule_unique_input_field_names;
rule_leave_fn rule_provided_required_arguments;
rule_enter_fn rule_overlapping_fields;
rule_enter_fn rule_introspection_depth, rule_no_introspection;

#endif

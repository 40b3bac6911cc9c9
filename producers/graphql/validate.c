/* SPDX-License-Identifier: Apache-2.0 */
/* The table of rules, and the one walk in which all of them look at every node. */
#include "producers/graphql/validate.h"

#include "producers/graphql/validator.h"

/* In the order of graphql-core's specified_rules, less those about @defer and @stream, which no
 * type system of ours has. */
static const struct rule rules[] = {
	{ rule_executable_definitions, NULL },
	{ rule_known_operation_types, NULL },
	{ rule_unique_operation_names, NULL },
	{ rule_lone_anonymous_operation, NULL },
	{ rule_single_field_subscriptions, NULL },
	{ rule_known_type_names, NULL },
	{ rule_fragments_on_composite_types, NULL },
	{ rule_variables_are_input_types, NULL },
	{ rule_scalar_leafs, NULL },
	{ rule_fields_on_correct_type, NULL },
	{ rule_unique_fragment_names, NULL },
	{ rule_known_fragment_names, NULL },
	{ NULL, rule_no_unused_fragments },
	{ rule_possible_fragment_spreads, NULL },
	{ rule_no_fragment_cycles, NULL },
	{ rule_unique_variable_names, NULL },
	{ rule_no_undefined_variables, NULL },
	{ rule_no_unused_variables, NULL },
	{ rule_known_directives, NULL },
	{ rule_unique_directives_per_location, NULL },
	{ rule_known_argument_names, NULL },
	{ rule_unique_argument_names, NULL },
	{ rule_values_of_correct_type, NULL },
	{ NULL, rule_provided_required_arguments },
	{ NULL, rule_variables_in_allowed_position },
	{ rule_overlapping_fields, NULL },
	{ rule_unique_input_field_names, NULL },
	{ rule_introspection_depth, NULL },
	{ rule_no_introspection, NULL }, /* our own: by a setting */
};

_Static_assert(ARRAY_LEN(rules) <= RULES_MAX, "room for what each rule skips");

static void visit(struct validator *v, const struct frame *at)
{
	struct node *child = NULL;
	int step = 0;

	info_enter(&v->info, at->node);
	for (size_t i = 0; i < ARRAY_LEN(rules) && !v->faults->aborted; i++) {
		if (!v->skipping[i] && rules[i].enter && !rules[i].enter(v, at))
			v->skipping[i] = at->node;
	}
	while (!v->faults->aborted && (child = document_child(at->node, child, &step))) {
		struct frame below = { child, at };
		visit(v, &below);
	}
	for (size_t i = 0; i < ARRAY_LEN(rules) && !v->faults->aborted; i++) {
		if (v->skipping[i] == at->node)
			v->skipping[i] = NULL;
		else if (!v->skipping[i] && rules[i].leave)
			rules[i].leave(v, at);
	}
	info_leave(&v->info, at->node);
}

void validate(const struct types *types, const struct node *document,
	      const struct validate_options *options, struct faults *faults)
{
	struct frame root = { document, NULL };
	json_t *kept = json_array();
	struct validator *v = ARENA_NEW(faults->arena, struct validator);

	v->types = types;
	v->document = document;
	v->options = options;
	v->faults = faults;
	v->arena = faults->arena;
	v->info.types = v->scratch.types = types;
	v->info.arena = v->scratch.arena = v->arena;
	v->coercion = (struct coercion){ .types = types,
					 .arena = v->arena,
					 .kept = kept,
					 .hide_suggestions = options->hide_suggestions };
	visit(v, &root);
	json_decref(kept);
}

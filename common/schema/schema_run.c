/* SPDX-License-Identifier: Apache-2.0 */
/* Applies a compiled schema to a value: goes through the checks of a node and keeps count of
 * everything that could go on for ever. What each check looks at is elsewhere. */
#include <string.h>

#include "common/schema/schema_impl.h"

#define COSTLY_STEPS (SCHEMA_STEPS_MAX / 100) /* for a match that is: at most 100 of them */

bool run_fail(struct run *run, const struct check *check, const struct spot *spot,
	      const char *message)
{
	const char *keyword = check ? check->keyword->name : "";

	if (run->quiet || run->broken)
		return false;
	if (run->faults->count == SCHEMA_FAULTS_MAX) {
		run->faults->more++;
		return false;
	}
	schema_fault_add(run->faults, run->arena,
			 (struct schema_fault){
				 .pointer = spot_pointer(spot, run->arena),
				 .keyword = keyword,
				 .location = node_location(check ? check->node : run->schema->root,
							   keyword, run->arena),
				 .message = message ? message : check->message,
			 });
	return false;
}

/* Cannot be decided: the value is refused, wherever this is asked. Returns false. */
static bool give_up(struct run *run, const struct check *check, const struct spot *spot,
		    const char *message)
{
	unsigned quiet = run->quiet;

	if (run->faults) {
		run->quiet = 0;
		(void)run_fail(run, check, spot, message);
		run->quiet = quiet;
	}
	run->broken = true;
	return false;
}

bool run_step(struct run *run, const struct check *check, const struct spot *spot)
{
	return ++run->steps <= SCHEMA_STEPS_MAX ||
	       give_up(run, check, spot, "takes too long to check");
}

bool run_matches(struct run *run, const struct check *check, const struct schema_regex *regex,
		 const char *text, size_t bytes, const struct spot *spot)
{
	bool costly;
	int rc;

	if (!run_step(run, check, spot))
		return false;
	rc = schema_regex_match(regex, text, bytes, &run->scratch, &costly);
	run->steps += costly ? COSTLY_STEPS : 0;
	return rc >= 0 ? rc == 1
		       : give_up(run, check, spot, "takes too long to compare with a pattern");
}

static bool run_checks(struct run *run, const struct node *node, json_t *value,
		       const struct spot *spot, struct marks *marks)
{
	const unsigned type = ON(json_typeof(value));
	bool valid = true;

	for (size_t i = 0; i < node->count; i++) {
		const struct check *check = &node->checks[i];

		if (!(check->keyword->on & type) ||
		    check->keyword->apply(run, check, value, spot, marks))
			continue;
		valid = false;
		if (run->quiet || run->broken)
			break;
	}
	return valid && !run->broken;
}

static bool run_with_own_marks(struct run *run, const struct node *node, json_t *value,
			       const struct spot *spot, struct marks *marks)
{
	struct marks own;
	bool valid;

	marks_init(&own);
	valid = run_checks(run, node, value, spot, &own);
	if (valid && marks)
		marks_merge(marks, &own);
	marks_release(&own);
	return valid;
}

bool run_node(struct run *run, const struct node *node, const struct check *by, json_t *value,
	      const struct spot *spot, struct marks *marks)
{
	size_t scopes = run->scope_count;
	bool valid;

	if (node->kind == NODE_TRUE)
		return true;
	if (node->kind == NODE_FALSE)
		return run_fail(run, by, spot,
				by && by->keyword->refusal ? by->keyword->refusal
							   : "is not allowed here");
	if (run->depth == SCHEMA_NESTING_MAX)
		return give_up(run, by, spot, "is nested too deeply to check");
	if (!run_step(run, by, spot))
		return false;
	run->depth++;
	if (run->schema->dynamic && (!scopes || run->scopes[scopes - 1] != node->resource))
		run->scopes[run->scope_count++] = node->resource;
	valid = node->own_marks ? run_with_own_marks(run, node, value, spot, marks)
				: run_checks(run, node, value, spot, marks);
	run->scope_count = scopes;
	run->depth--;
	return valid;
}

bool run_quietly(struct run *run, const struct node *node, const struct check *by, json_t *value,
		 const struct spot *spot, struct marks *marks)
{
	struct marks own;
	bool valid;

	run->quiet++;
	marks_init(&own);
	valid = run_node(run, node, by, value, spot, marks ? &own : NULL);
	if (valid && marks)
		marks_merge(marks, &own);
	marks_release(&own);
	run->quiet--;
	return valid;
}

static bool run_all(struct run *run, json_t *value)
{
	const struct spot root = { 0 };
	bool valid = run_node(run, run->schema->root, NULL, value, &root, NULL);

	schema_scratch_free(&run->scratch);
	return valid && !run->broken;
}

bool schema_validate(const struct schema *schema, json_t *value, struct arena *arena,
		     struct schema_faults *faults_r)
{
	struct run run;

	*faults_r = (struct schema_faults){ 0 };
	memset(&run, 0, offsetof(struct run, scopes));
	run.schema = schema;
	run.arena = arena;
	run.faults = faults_r;
	return run_all(&run, value);
}

bool schema_accepts(const struct schema *schema, json_t *value)
{
	struct run run;

	memset(&run, 0, offsetof(struct run, scopes));
	run.schema = schema;
	run.quiet = 1;
	return run_all(&run, value);
}

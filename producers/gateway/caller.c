/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of scopes and what follows from them. Pure. */
#include "producers/gateway/caller.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/job/job.h"

static const struct {
	const char *verb;
	enum scope scope;
} verbs[] = {
	{ "enqueue", SCOPE_ENQUEUE }, { "read", SCOPE_READ },   { "cancel", SCOPE_CANCEL },
	{ "retry", SCOPE_RETRY },     { "admin", SCOPE_ADMIN },
};

static struct caller_rules *rules_of(const struct caller *caller, enum scope scope)
{
	size_t n = 0;

	while (scope >> n != 1)
		n++;
	CHECK(n < CALLER_VERBS);
	return (struct caller_rules *)&caller->rules[n];
}

struct caller *caller_new(void)
{
	struct caller *caller = xcalloc(1, sizeof(*caller));

	atomic_store(&caller->refs, 1);
	caller->arena = arena_new(1024);
	caller->tenant = "";
	return caller;
}

const struct caller *caller_ref(const struct caller *caller)
{
	if (atomic_load_explicit(&caller->refs, memory_order_relaxed) > 0)
		atomic_fetch_add_explicit(&((struct caller *)caller)->refs, 1,
					  memory_order_relaxed);
	return caller;
}

void caller_unref(const struct caller **caller_)
{
	struct caller *caller = (struct caller *)*caller_;

	*caller_ = NULL;
	if (!caller || atomic_load_explicit(&caller->refs, memory_order_relaxed) == 0 ||
	    atomic_fetch_sub_explicit(&caller->refs, 1, memory_order_acq_rel) > 1)
		return;
	arena_free(&caller->arena);
	free(caller);
}

/* ---- scopes */

/* A name's letters with `*` and `?`. */
static bool pattern_valid(const char *text)
{
	size_t bytes = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "._:-*?");

	return bytes > 0 && bytes <= JOB_TYPE_MAX && !text[bytes];
}

/* "order.*+queue=orders", taken apart in place. */
static int parse_rule(char *text, struct reach_rule *rule, struct error *err_r)
{
	while (text) {
		char *part = strsep(&text, "+");
		bool is_queue = strncmp(part, "queue=", 6) == 0;
		const char **slot = is_queue ? &rule->queue : &rule->type;

		if (is_queue)
			part += 6;
		if (*slot || !pattern_valid(part))
			return error_set(
				err_r, ERROR_INVALID,
				"`%s` is not a pattern: letters, digits and . _ : - with * and ?",
				part);
		*slot = part;
	}
	return 0;
}

static int add_rule(struct caller *caller, enum scope scope, const char *text, struct error *err_r)
{
	struct caller_rules *rules = rules_of(caller, scope);
	struct reach_rule rule = { 0 };

	if (parse_rule(arena_strdup(caller->arena, text), &rule, err_r) < 0)
		return -1;
	if (rules->count == CALLER_RULES_MAX)
		return error_set(err_r, ERROR_INVALID, "more than %d patterns of one verb",
				 CALLER_RULES_MAX);
	if (!rules->rules)
		rules->rules = ARENA_ARRAY(caller->arena, struct reach_rule, CALLER_RULES_MAX);
	rules->rules[rules->count++] = rule;
	return 0;
}

int caller_grant(struct caller *caller, const char *text, struct error *err_r)
{
	size_t verb_bytes = strcspn(text, ":");
	const char *pattern = text[verb_bytes] ? text + verb_bytes + 1 : NULL;
	size_t i = 0;

	while (i < ARRAY_LEN(verbs) && (strlen(verbs[i].verb) != verb_bytes ||
					memcmp(verbs[i].verb, text, verb_bytes) != 0))
		i++;
	if (i == ARRAY_LEN(verbs))
		return 1;
	if (verbs[i].scope == SCOPE_ADMIN && pattern)
		return error_set(err_r, ERROR_INVALID, "`admin` takes no pattern");
	if (pattern && add_rule(caller, verbs[i].scope, pattern, err_r) < 0)
		return -1;
	if (!pattern && verbs[i].scope != SCOPE_ADMIN)
		rules_of(caller, verbs[i].scope)->every = true;
	caller->scopes |= verbs[i].scope;
	return 0;
}

void caller_seal(struct caller *caller)
{
	static const struct uuid accounts = { { 'a', 'c', 'c', 'o', 'u', 'n', 't', 's' } };
	const char *name = arena_printf(caller->arena, "%s/%s%s", caller->tenant,
					caller->own_only ? "sub/" : "", caller->id);

	uuid_named(&accounts, name, strlen(name), &caller->account);
}

/* ---- the two that are always there */

const struct caller *caller_anybody(void)
{
	static const struct caller anybody = {
		.id = "local",
		.tenant = "",
		.scopes = SCOPE_ADMIN,
		.everywhere = true,
	};
	return &anybody;
}

const struct caller *caller_watcher(void)
{
	static const struct caller watcher = {
		.id = "watcher",
		.tenant = "",
		.scopes = SCOPE_READ,
		.rules[1] = { .every = true },
		.everywhere = true,
	};
	return &watcher;
}

/* ---- what follows */

bool caller_may(const struct caller *caller, enum scope scope)
{
	return scope == SCOPE_NONE || (caller->scopes & (SCOPE_ADMIN | (unsigned)scope));
}

bool caller_pattern_fits(const char *pattern, const char *name)
{
	return !pattern || fnmatch(pattern, name, FNM_NOESCAPE) == 0;
}

bool caller_may_enqueue(const struct caller *caller, const char *type, const char *queue)
{
	const struct caller_rules *rules = rules_of(caller, SCOPE_ENQUEUE);

	if ((caller->scopes & SCOPE_ADMIN) || rules->every)
		return true;
	for (size_t i = 0; i < rules->count; i++) {
		if (caller_pattern_fits(rules->rules[i].type, type) &&
		    caller_pattern_fits(rules->rules[i].queue, queue))
			return true;
	}
	return false;
}

struct reach caller_reach(const struct caller *caller, enum scope scope)
{
	struct reach reach = {
		.tenant = caller->everywhere ? NULL : caller->tenant,
		.owner = caller->own_only ? caller->id : NULL,
	};
	const struct caller_rules *rules;

	CHECK(caller_may(caller, scope));
	if (caller->scopes & SCOPE_ADMIN)
		return reach;
	rules = rules_of(caller, scope);
	if (!rules->every) {
		reach.rules = rules->rules;
		reach.rule_count = rules->count;
	}
	return reach;
}

bool caller_reads_all(const struct caller *caller)
{
	struct reach reach;

	if (!caller_may(caller, SCOPE_READ))
		return false;
	reach = caller_reach(caller, SCOPE_READ);
	return !reach.owner && !reach.rule_count;
}

struct reach caller_own_reach(const struct caller *caller)
{
	return (struct reach){ .tenant = caller->tenant, .owner = caller->id };
}

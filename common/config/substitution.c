/* SPDX-License-Identifier: Apache-2.0 */
/* Reads one reference and says what is wrong with it. Never looks at values. Called while a
 * definitions file is read. */
#include "common/config/substitution.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/config/definitions_keys.h"

static int refuse(struct substitution_problem *problem, size_t offset, const char *fmt, ...)
	printf_like(3, 4);

static int refuse(struct substitution_problem *problem, size_t offset, const char *fmt, ...)
{
	va_list args;

	problem->offset = offset;
	va_start(args, fmt);
	vsnprintf(problem->message, sizeof(problem->message), fmt, args);
	va_end(args);
	return -1;
}

/* payload.a.b: at least one member; letters, digits, _ and - */
static bool path_valid(const char *path)
{
	for (const char *p = path;; p++) {
		size_t bytes = strspn(
			p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

		if (!bytes)
			return false;
		p += bytes;
		if (*p != '.')
			return !*p;
	}
}

static bool is_known(const char *source, const struct substitution_rules *rules)
{
	if (!strcmp(source, "payload") || !strcmp(source, "job.id") ||
	    !strcmp(source, "job.type") || !strcmp(source, "job.attempt"))
		return true;
	if (!strcmp(source, "call.key"))
		return rules->call_key;
	return !strncmp(source, "payload.", 8) && path_valid(source + 8);
}

static int check_variable(const char *source, size_t offset, const struct substitution_rules *rules,
			  struct substitution_problem *problem)
{
	const char *variable = source + strlen("env."),
		   *fault = definitions_variable_fault(variable);

	if (!rules->env)
		return fault ? refuse(problem, offset, "${%.80s}: expected %s", source, fault) : 0;
	for (const char *const *name = rules->env; *name; name++) {
		if (strcmp(*name, variable) == 0)
			return 0;
	}
	return refuse(problem, offset, "${%.80s}: `%.80s` is not listed in this type's `env`",
		      source, variable);
}

static int check_source(const char *source, size_t offset, const struct substitution_rules *rules,
			struct substitution_problem *problem)
{
	if (is_known(source, rules))
		return 0;
	if (strncmp(source, "steps.", 6) == 0)
		return refuse(problem, offset, "${%.80s}: not available in this version", source);
	if (strncmp(source, "env.", 4) != 0)
		return refuse(
			problem, offset,
			"unknown ${%.80s}; expected payload, payload.NAME, job.id, job.type, job.attempt%s or env.NAME",
			source, rules->call_key ? ", call.key" : "");
	return check_variable(source, offset, rules, problem);
}

int substitution_take(const char *text, size_t offset, const struct substitution_rules *rules,
		      struct arena *arena, const char **source_r, size_t *end_r,
		      struct substitution_problem *problem_r)
{
	const char *inside = text + offset + 2, *end = inside + strcspn(inside, "}\n");

	CHECK(!strncmp(text + offset, "${", 2));
	if (*end != '}')
		return refuse(problem_r, offset, "`${` is not closed");
	*source_r = arena_strndup(arena, inside, (size_t)(end - inside));
	*end_r = (size_t)(end + 1 - text);
	return check_source(*source_r, offset, rules, problem_r);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* `sql:` of a job type: one statement in which ${payload.a.b}, ${job.id} and ${env.X} stand for
 * values. They become bind parameters and never text. `$${` is a plain `${`. */
#ifndef COMMON_CONFIG_SQL_TEMPLATE_H
#define COMMON_CONFIG_SQL_TEMPLATE_H
#include "common/base/arena.h"
#include "common/config/definitions.h"
#include "common/config/substitution.h"

#define SQL_TEMPLATE_PARAMETERS_MAX 100

/* env: names that ${env.X} may use, NULL-terminated. Fills sql, sources and source_count of
 * *template_r; strings live in the arena. 0, or -1 with *problem_r. */
int sql_template_parse(const char *text, const char *const *env, struct arena *arena,
		       struct sql_template *template_r,
		       struct substitution_problem *problem_r) must_check;

#endif

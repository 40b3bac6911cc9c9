/* SPDX-License-Identifier: Apache-2.0 */
/* Reasons are stored, shown and logged; the values of a type's variables are not meant to be. */
#ifndef WORKERS_ENGINE_CONCEAL_H
#define WORKERS_ENGINE_CONCEAL_H
#include "common/base/arena.h"
#include "common/config/definitions.h"

/* The text with ${env.NAME} in the place of the value of each variable that the type names in
 * `env:`, wherever it stands; values of less than 8 bytes stay. The text itself when there is none;
 * NULL for NULL. */
const char *conceal_variables(const struct job_type *type, const char *text, struct arena *arena);

#endif

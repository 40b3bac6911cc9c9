/* SPDX-License-Identifier: Apache-2.0 */
/* The files of the engine that no host may see: where its secrets are, its store, its definitions.
 */
#ifndef WORKERS_ENGINE_HIDDEN_FILES_H
#define WORKERS_ENGINE_HIDDEN_FILES_H
#include "common/base/arena.h"
#include "common/config/definitions.h"
#include "common/config/settings.h"

/* Absolute, NULL-terminated, in the arena; they need not be there. */
const char *const *hidden_files(const struct settings *settings, const struct definitions *defs,
				struct arena *arena);

#endif

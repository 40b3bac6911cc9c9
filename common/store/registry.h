/* SPDX-License-Identifier: Apache-2.0 */
/* What the store has to know of the definitions: job types, for windlass.enqueue() in SQL, for
 * on_discard and for hooks, and which queues are ordered;
 * and, for gateways, its schedules. Every role tells it at the start and when
 * it has read the file again. */
#ifndef COMMON_STORE_REGISTRY_H
#define COMMON_STORE_REGISTRY_H
#include "common/config/definitions.h"
#include "common/store/store.h"

/* 0, or -1: weather. Repeating is harmless. */
int registry_sync(struct store *store, const struct definitions *defs,
		  struct error *err_r) must_check;
/* Makes the file's schedules those of the store that are a file's. The same, and ERROR_INVALID: one
 * of them cannot be read here (time zone data). */
int registry_sync_schedules(struct store *store, const struct definitions *defs,
			    struct error *err_r) must_check;

#endif

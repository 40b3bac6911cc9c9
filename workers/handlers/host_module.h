/* SPDX-License-Identifier: Apache-2.0 */
/* A handler module: a shared object that exports `windlass_module` (windlass.h). */
#ifndef WORKERS_HANDLERS_HOST_MODULE_H
#define WORKERS_HANDLERS_HOST_MODULE_H
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "workers/handlers/windlass.h"

struct host_served { /* one type of the module, and how long its jobs take */
	const struct wl_handler *handler;
	int64_t average_ns; /* 0: none has run yet */
};

struct host_module {
	const struct wl_module *module;
	struct host_served *served; /* count entries */
	size_t count;
};

/* Loads, checks and initialises. 0, or -1 with a reason that a person can act on. A module is never
 * unloaded. */
int host_module_load(const char *path, struct host_module *module_r,
		     struct error *err_r) must_check;
struct host_served *host_module_find(struct host_module *module,
				     const char *type); /* NULL: not there */
void host_module_release(struct host_module *module);   /* a clean end: calls its exit function */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Loading of handler modules, with errors that say what to do. */
#include "workers/handlers/host_module.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"

/* Modules find these functions in the program at run time; no code of ours calls them, so a linker
 * that takes objects from an archive would leave them out. */
typedef void exported_fn(void);
extern exported_fn *const host_module_exports[];
exported_fn *const host_module_exports[] = {
	(exported_fn *)wl_id,    (exported_fn *)wl_text, (exported_fn *)wl_query,
	(exported_fn *)wl_write, (exported_fn *)wl_call, (exported_fn *)wl_done,
};

static int check(const struct wl_module *module, const char *path, struct error *err_r)
{
	if (module->abi != WL_ABI)
		return error_set(
			err_r, ERROR_INVALID,
			"%s was built for handler interface %u, this Windlass has %u: build it again",
			path, module->abi, WL_ABI);
	if (module->bytes < sizeof(struct wl_module) || !module->handlers)
		return error_set(err_r, ERROR_INVALID,
				 "%s: windlass_module is incomplete; declare it with WL_MODULE",
				 path);
	for (const struct wl_handler *handler = module->handlers; handler->type; handler++) {
		if (!handler->run && !handler->run_batch)
			return error_set(err_r, ERROR_INVALID,
					 "%s: type %s has neither run nor run_batch", path,
					 handler->type);
	}
	return 0;
}

static const struct wl_module *open_module(const char *path, struct error *err_r)
{
	void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const struct wl_module *module;

	if (!object) {
		error_set(err_r, ERROR_NOT_FOUND, "cannot load module: %s", dlerror());
		return NULL;
	}
	module = dlsym(object, "windlass_module");
	if (!module)
		error_set(
			err_r, ERROR_INVALID,
			"%s is not a handler module: it has no windlass_module; declare it with WL_MODULE",
			path);
	return module;
}

int host_module_load(const char *path, struct host_module *module_r, struct error *err_r)
{
	const struct wl_module *module = open_module(path, err_r);
	int result;

	if (!module || check(module, path, err_r) < 0)
		return -1;
	result = module->init ? module->init() : 0;
	if (result != 0)
		return error_set(err_r, ERROR_INVALID, "%s: its init function returned %d", path,
				 result);
	*module_r = (struct host_module){ .module = module };
	while (module->handlers[module_r->count].type)
		module_r->count++;
	module_r->served = xcalloc(module_r->count + 1, sizeof(*module_r->served));
	for (size_t i = 0; i < module_r->count; i++)
		module_r->served[i].handler = &module->handlers[i];
	return 0;
}

struct host_served *host_module_find(struct host_module *module, const char *type)
{
	for (size_t i = 0; i < module->count; i++) {
		if (strcmp(module->served[i].handler->type, type) == 0)
			return &module->served[i];
	}
	return NULL;
}

void host_module_release(struct host_module *module)
{
	if (module->module->exit)
		module->module->exit();
	free(module->served);
}

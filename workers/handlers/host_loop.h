/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of a module host: lines in, handlers called, lines out. */
#ifndef WORKERS_HANDLERS_HOST_LOOP_H
#define WORKERS_HANDLERS_HOST_LOOP_H
#include "workers/handlers/host_cell.h"
#include "workers/handlers/host_link.h"
#include "workers/handlers/host_module.h"

/* Serves until the input ends or SIGTERM came. cell: NULL when there is none. */
void host_loop(struct host_link *link, struct host_module *module, struct host_cell *cell);

#endif

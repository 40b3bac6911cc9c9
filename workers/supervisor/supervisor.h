/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass run`: keeps one gateway, one scaler, with a broker one dispatcher, and as many workers
 * running as are wanted. Holds no connection and no thread, and does nothing for a job. */
#ifndef WORKERS_SUPERVISOR_SUPERVISOR_H
#define WORKERS_SUPERVISOR_SUPERVISOR_H
#include "common/service/service.h"

/* Runs until the last child has ended after SIGTERM or SIGINT. `program`: what is executed for a
 * child ("/proc/self/exe"). Returns the exit code: 0; 78 when a child refused its configuration at
 * the first start; 71 when nothing could be set up. */
int supervisor_main(struct service *service, const char *program);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass scaler`: a child of `windlass run` that holds the store's connection which the
 * supervisor does not: it follows the wanted counts of workers, and autoscales. */
#ifndef WORKERS_SUPERVISOR_SCALER_H
#define WORKERS_SUPERVISOR_SCALER_H
#include "common/service/service.h"

/* link_fd: its end of scale_link.h. Runs until SIGTERM; returns the exit code. */
int scale_main(struct service *service, int link_fd);

#endif

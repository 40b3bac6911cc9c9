/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass batch run`, for batch.c. */
#ifndef CLI_BATCH_RUN_H
#define CLI_BATCH_RUN_H
#include "cli/command.h"

/* argv[0] is "run". Returns the exit code: 0 when the batch has completed. */
int batch_run(const struct command *command, int argc, char **argv);

#endif

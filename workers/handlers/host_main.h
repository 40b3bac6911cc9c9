/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass host`: what the engine starts for a handler. Not called by people, except to see why a
 * module cannot be loaded. */
#ifndef WORKERS_HANDLERS_HOST_MAIN_H
#define WORKERS_HANDLERS_HOST_MAIN_H
#include <stdbool.h>

/* argv[0] is "host". Then limits (--parent PID, --memory BYTES, --file BYTES), the sandbox
 * (--scratch FOLDER, --sandbox, --read, --write, --hide PATH) and either [--cell] --module PATH
 * (the cell is descriptor 3), which serves jobs on descriptors 0 and 1 until the input ends, or
 * [--own-directory]
 * --exec -- ARGV..., which becomes that program. The working directory is the definitions file's.
 * Returns the exit code: 0; 64 for a wrong command line; 78 for a module that cannot be loaded and
 * 127 for a program that cannot be started (said on descriptor 1 as well). */
int host_main(int argc, char **argv);

/* SIGTERM came: finish the job in hand, then leave. */
bool host_term_asked(void);

#endif

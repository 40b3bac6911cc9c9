/* SPDX-License-Identifier: Apache-2.0 */
/* The folder in which each host of an engine makes its own (host_main.c), named by its process.
 * Owned by the pool; what a host leaves is removed on a thread of its own, because it may be much.
 */
#ifndef WORKERS_POOL_SCRATCH_H
#define WORKERS_POOL_SCRATCH_H
#include <sys/types.h>

struct scratch;

/* Makes it in TMPDIR, else /tmp, closed to other users; removes those of engines that died. NULL
 * after saying so in the log: hosts then have no folder of their own. */
struct scratch *scratch_new(void);
void scratch_free(struct scratch **scratch); /* all of it; NULL-safe */
const char *scratch_path(const struct scratch *scratch);
/* The host with this process has ended. Takes its folder away; never waits. */
void scratch_drop(struct scratch *scratch, pid_t pid);

#endif

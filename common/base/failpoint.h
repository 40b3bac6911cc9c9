/* SPDX-License-Identifier: Apache-2.0 */
/* Places where a test can make the process die, fail or wait. Compiled in with
 * -DWINDLASS_FAILPOINTS (the test build, build/test/), nothing otherwise.
 * WINDLASS_FAILPOINT=name:k:kill|err|delay[=ms] arms one: at the k-th passage. */
#ifndef COMMON_BASE_FAILPOINT_H
#define COMMON_BASE_FAILPOINT_H
#include <stdbool.h>

#ifdef WINDLASS_FAILPOINTS
bool failpoint_hit(const char *name); /* true: the caller shall fail here */
#define FAILPOINT(name) failpoint_hit(name)
#else
#define FAILPOINT(name) false
#endif

#endif

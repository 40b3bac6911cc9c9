/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a process that found a bug in itself. Called by CHECK only. Never allocates and never
 * takes the log's lock: the bug may have been found while it was held. */
#include "common/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void check_failed(const char *cond, const char *file, int line)
{
	char text[512];
	int len = snprintf(text, sizeof(text), "CHECK failed: %s at %s:%d (pid %d)\n", cond, file,
			   line, (int)getpid());

	if (len >= (int)sizeof(text)) {
		len = sizeof(text) - 1;
		text[len - 1] = '\n';
	}
	if (len > 0 && write(STDERR_FILENO, text, (size_t)len) < 0)
		abort();
	abort();
}

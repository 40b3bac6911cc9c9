/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers print becomes log lines, bounded in length and rate: a handler that prints in a
 * loop costs itself CPU and nobody their disk. */
#ifndef WORKERS_POOL_HOST_OUTPUT_H
#define WORKERS_POOL_HOST_OUTPUT_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define HOST_OUTPUT_LINE_BYTES     1000
#define HOST_OUTPUT_LINES_A_SECOND 100

struct host_output {
	const char *stream; /* "stdout", "stderr" */
	pid_t pid;
	const char *group; /* borrowed: the handler's name in the log */
	char line[HOST_OUTPUT_LINE_BYTES];
	size_t bytes;
	int64_t second;     /* monotonic */
	int lines, dropped; /* in it */
};

void host_output_init(struct host_output *output, const char *stream, pid_t pid, const char *group);
/* Any bytes; whole lines are logged at once. */
void host_output_add(struct host_output *output, const char *text, size_t bytes);
/* The end: logs an unfinished line and what was dropped. */
void host_output_finish(struct host_output *output);

#endif

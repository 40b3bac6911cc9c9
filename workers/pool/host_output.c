/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers' output, cut into lines and written to the log as event handler-output. The text is a
 * value and never a format. */
#include "workers/pool/host_output.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"

void host_output_init(struct host_output *output, const char *stream, pid_t pid, const char *group)
{
	*output = (struct host_output){ .stream = stream, .pid = pid, .group = group };
}

static void report_dropped(struct host_output *output)
{
	if (output->dropped > 0)
		log_line(LOG_WARN, "handler-output-dropped", LOG_S("handler", output->group),
			 LOG_I("host", output->pid), LOG_S("stream", output->stream),
			 LOG_I("lines", output->dropped));
	output->dropped = 0;
}

static void log_one(struct host_output *output)
{
	int64_t second = clock_mono_ms() / 1000;

	if (second != output->second) {
		report_dropped(output);
		output->second = second;
		output->lines = 0;
	}
	output->line[output->bytes] = 0;
	output->bytes = 0;
	if (++output->lines > HOST_OUTPUT_LINES_A_SECOND)
		output->dropped++;
	else if (output->line[0])
		log_line(LOG_INFO, "handler-output", LOG_S("handler", output->group),
			 LOG_I("host", output->pid), LOG_S("stream", output->stream),
			 LOG_S("text", output->line));
}

void host_output_add(struct host_output *output, const char *text, size_t bytes)
{
	while (bytes > 0) {
		const char *end = memchr(text, '\n', bytes);
		size_t part = end ? (size_t)(end - text) : bytes,
		       room = sizeof(output->line) - 1 - output->bytes;
		size_t kept = part < room ? part : room; /* a longer line is cut */

		memcpy(output->line + output->bytes, text, kept);
		output->bytes += kept;
		if (!end)
			return;
		log_one(output);
		bytes -= part + 1;
		text = end + 1;
	}
}

void host_output_finish(struct host_output *output)
{
	if (output->bytes > 0)
		log_one(output);
	report_dropped(output);
}

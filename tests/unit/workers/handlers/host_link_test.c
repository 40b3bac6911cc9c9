/* SPDX-License-Identifier: Apache-2.0 */
/* The module host's end of the pipes: what its buffers hold when the engine is always ahead. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "workers/handlers/host_link.h"

#define LINE_BYTES 1000
#define LINES      5000

static void send_line(int fd)
{
	char line[LINE_BYTES];

	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	assert_int_equal(write(fd, line, sizeof(line)), sizeof(line));
}

/* Jobs that ask read while lines are left: the buffer never runs empty, and must not grow. */
static void lines_that_are_done_leave_the_buffer(void **state)
{
	struct host_link link;
	struct json_slice line;
	int in[2];

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	host_link_init(&link, in[0], -1);
	send_line(in[1]);
	for (int i = 0; i < LINES; i++) {
		send_line(in[1]);
		assert_true(host_link_pump(&link, true));
		assert_int_equal(host_link_line(&link, &line), 1);
		assert_int_equal(line.bytes, LINE_BYTES - 1);
		assert_int_equal(strspn(line.text, "x"), LINE_BYTES - 1);
		assert_true(host_link_has_line(&link));
		assert_true(link.in.len < 256 * 1024);
	}
	host_link_release(&link);
	close(in[0]);
	close(in[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_that_are_done_leave_the_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What reaches stderr: each line is JSON by itself, whatever the fields hold, and a sink that is
 * full, slow or gone costs lines and never time. Every case runs with stderr replaced by a pipe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strbuf.h"

struct capture {
	int reader, saved;
};

static struct capture capture_start(void)
{
	struct capture capture = { .saved = dup(STDERR_FILENO) };
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	capture.reader = ends[0];
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	return capture;
}

/* Appends what is in the pipe by now. */
static void capture_read(const struct capture *capture, struct strbuf *sb)
{
	ssize_t n;

	fcntl(capture->reader, F_SETFL, O_NONBLOCK);
	do {
		strbuf_reserve(sb, 65536);
		n = read(capture->reader, sb->data + sb->len, 65536);
		if (n > 0)
			sb->len += (size_t)n;
	} while (n > 0);
	sb->data[sb->len] = '\0';
}

static void capture_stop(struct capture *capture)
{
	dup2(capture->saved, STDERR_FILENO);
	close(capture->saved);
	close(capture->reader);
}

/* Parses the next line of the buffer and removes it; NULL when none is left. */
static json_t *next_line(struct strbuf *sb)
{
	char *end = memchr(sb->data, '\n', sb->len);
	json_t *line;

	if (!end)
		return NULL;
	assert_true(end - sb->data < PIPE_BUF);
	line = json_loadb(sb->data, (size_t)(end - sb->data), JSON_REJECT_DUPLICATES, NULL);
	if (!line)
		fail_msg("not JSON: %.*s", (int)(end - sb->data), sb->data);
	strbuf_consume(sb, (size_t)(end - sb->data) + 1);
	return line;
}

static const char *text_of(json_t *line, const char *key)
{
	return json_string_value(json_object_get(line, key));
}

static void fields(void **state)
{
	struct capture capture = capture_start();
	struct strbuf sb;
	json_t *line;
	int64_t ms;

	(void)state;
	strbuf_init(&sb);
	log_init("work", LOG_INFO);
	log_line(LOG_WARN, "broker-lost", LOG_S("host", "a\"b\nc\x80"), LOG_S("none", NULL),
		 LOG_I("n", INT64_MIN), LOG_D("ratio", 0.25), LOG_D("bad", NAN),
		 LOG_D("huge", INFINITY));
	log_line(LOG_DEBUG, "not-shown");
	log_line(LOG_FATAL, "bare");
	capture_read(&capture, &sb);
	capture_stop(&capture);
	line = next_line(&sb);
	assert_int_equal(clock_parse(text_of(line, "ts"), &ms), 0);
	assert_in_range(ms, clock_wall_ms() - 60000, clock_wall_ms());
	assert_string_equal(text_of(line, "level"), "warn");
	assert_string_equal(text_of(line, "role"), "work");
	assert_string_equal(text_of(line, "event"), "broker-lost");
	assert_string_equal(text_of(line, "host"), "a\"b\nc\xef\xbf\xbd");
	assert_true(json_is_null(json_object_get(line, "none")));
	assert_true(json_is_null(json_object_get(line, "bad")));
	assert_true(json_is_null(json_object_get(line, "huge")));
	assert_int_equal(json_integer_value(json_object_get(line, "n")), INT64_MIN);
	assert_true(json_real_value(json_object_get(line, "ratio")) == 0.25);
	assert_int_equal(json_integer_value(json_object_get(line, "pid")), getpid());
	json_decref(line);
	line = next_line(&sb);
	assert_string_equal(text_of(line, "event"), "bare");
	assert_int_equal(json_object_size(line), 5);
	json_decref(line);
	assert_int_equal(sb.len, 0);
	strbuf_release(&sb);
}

static void cuts(void **state)
{
	struct capture capture = capture_start();
	char text[3001], wide[1100], dirty[3001];
	struct strbuf sb;
	json_t *line;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	memset(dirty, '\x01', sizeof(dirty) - 1);
	dirty[sizeof(dirty) - 1] = '\0';
	memset(wide, 'a', 1022);
	strcpy(wide + 1022, "\xf0\x9f\x98\x80 and more");
	strbuf_init(&sb);
	log_line(LOG_ERROR, "long", LOG_S("a", text), LOG_S("b", wide), LOG_I("c", 1));
	log_line(LOG_ERROR, "longer", LOG_S("a", text), LOG_S("b", dirty), LOG_I("c", 1));
	capture_read(&capture, &sb);
	capture_stop(&capture);
	line = next_line(&sb);
	assert_int_equal(strlen(text_of(line, "a")), 1024);
	assert_int_equal(strlen(text_of(line, "b")), 1022);
	assert_int_equal(json_integer_value(json_object_get(line, "c")), 1);
	json_decref(line);
	line = next_line(&sb);
	assert_int_equal(strlen(text_of(line, "a")), 1024);
	assert_null(json_object_get(line, "b"));
	assert_true(json_is_true(json_object_get(line, "cut")));
	json_decref(line);
	strbuf_release(&sb);
}

static void buffers(void **state)
{
	struct capture capture = capture_start();
	struct strbuf sb;
	json_t *line;

	(void)state;
	strbuf_init(&sb);
	for (int i = 0; i < 3; i++)
		log_buffered(LOG_INFO, "job-done",
			     (struct log_field[]){ LOG_I("n", i), { .key = NULL } });
	capture_read(&capture, &sb);
	assert_int_equal(sb.len, 0);
	log_line(LOG_INFO, "after");
	log_buffered(LOG_INFO, "last", (struct log_field[]){ { .key = NULL } });
	log_flush();
	log_flush();
	capture_read(&capture, &sb);
	capture_stop(&capture);
	for (int i = 0; i < 3; i++) {
		line = next_line(&sb);
		assert_int_equal(json_integer_value(json_object_get(line, "n")), i);
		json_decref(line);
	}
	line = next_line(&sb);
	assert_string_equal(text_of(line, "event"), "after");
	json_decref(line);
	line = next_line(&sb);
	assert_string_equal(text_of(line, "event"), "last");
	json_decref(line);
	assert_null(next_line(&sb));
	strbuf_release(&sb);
}

/* Nobody reads: the pipe fills, the rest is dropped and counted, and what was taken is whole lines.
 */
static void full_sink(void **state)
{
	struct capture capture = capture_start();
	uint64_t dropped = log_dropped(), seen = 0;
	int64_t start_ms = clock_mono_ms();
	struct strbuf sb;
	json_t *line;

	(void)state;
	strbuf_init(&sb);
	for (int i = 0; i < 3000; i++)
		log_line(LOG_INFO, "filling", LOG_I("n", i),
			 LOG_S("pad", "0123456789abcdef0123456789abcdef"));
	for (int i = 0; i < 2000; i++)
		log_buffered(LOG_INFO, "filling",
			     (struct log_field[]){ LOG_I("n", i), { .key = NULL } });
	log_flush();
	capture_read(&capture, &sb);
	capture_stop(&capture);
	assert_true(clock_mono_ms() - start_ms < 5000);
	while ((line = next_line(&sb)) != NULL) {
		seen++;
		json_decref(line);
	}
	assert_int_equal(sb.len, 0);
	assert_true(seen > 100);
	assert_int_equal(seen + log_dropped() - dropped, 5000);
	strbuf_release(&sb);
}

/* The reader is gone: no SIGPIPE, lines are counted. */
static void lost_sink(void **state)
{
	struct capture capture = capture_start();
	uint64_t dropped = log_dropped();

	(void)state;
	close(capture.reader);
	capture.reader = dup(STDERR_FILENO);
	log_line(LOG_INFO, "into-the-void");
	capture_stop(&capture);
	assert_int_equal(log_dropped() - dropped, 1);
}

static void *write_lines(void *arg)
{
	for (int i = 0; i < 100; i++) {
		log_line(LOG_INFO, "threads", LOG_S("who", arg), LOG_I("n", i));
		log_buffered(LOG_INFO, "threads",
			     (struct log_field[]){ LOG_I("n", i), { .key = NULL } });
	}
	return NULL;
}

static void threads(void **state)
{
	struct capture capture = capture_start();
	static char names[4][2] = { "a", "b", "c", "d" };
	pthread_t ids[ARRAY_LEN(names)];
	struct strbuf sb;
	int seen = 0;
	json_t *line;

	(void)state;
	fcntl(STDERR_FILENO, F_SETPIPE_SZ, 1 << 20);
	strbuf_init(&sb);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(pthread_create(&ids[i], NULL, write_lines, names[i]), 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		pthread_join(ids[i], NULL);
	log_flush();
	capture_read(&capture, &sb);
	capture_stop(&capture);
	for (; (line = next_line(&sb)) != NULL; seen++)
		json_decref(line);
	assert_int_equal(seen, 800);
	strbuf_release(&sb);
}

static void levels(void **state)
{
	enum log_level level;

	(void)state;
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_DEBUG);
	assert_int_equal(log_level_parse("fatal", &level), 0);
	assert_int_equal(level, LOG_FATAL);
	assert_int_equal(log_level_parse("Warn", &level), -1);
	assert_int_equal(log_level_parse("", &level), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields),    cmocka_unit_test(cuts),      cmocka_unit_test(buffers),
		cmocka_unit_test(full_sink), cmocka_unit_test(lost_sink), cmocka_unit_test(threads),
		cmocka_unit_test(levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* JSON lines on stderr: {"ts":"…","level":"info","role":"work","pid":1,"event":"broker-lost",...}.
 * The first argument is a stable tag, then typed key/value pairs, so that a message is never built
 * from outside text. One write per line, safe from any thread; when the sink is full or away lines
 * are dropped and counted, never waited for. Levels mean actions: debug, info (lifecycle and
 * outcomes), warn (self-healed), error (a person should look), fatal (exits). */
#ifndef COMMON_BASE_LOG_H
#define COMMON_BASE_LOG_H
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_FATAL };

struct log_field {
	const char *key; /* NULL ends the list */
	char kind;       /* 's' string, 'i' integer, 'd' double */
	const char *s;   /* NULL prints null; cut after 1,024 bytes */
	int64_t i;
	double d;
};

#define LOG_S(k, v) ((struct log_field){ .key = (k), .kind = 's', .s = (v) })
#define LOG_I(k, v) ((struct log_field){ .key = (k), .kind = 'i', .i = (int64_t)(v) })
#define LOG_D(k, v) ((struct log_field){ .key = (k), .kind = 'd', .d = (v) })

/* log_line(LOG_INFO, "worker-started", LOG_S("queue", q), LOG_I("hosts", n)); at least one field is
 * not needed. */
/* clang-format off */
#define log_line(level, event, ...) \
	log_write((level), (event), (struct log_field[]){ __VA_ARGS__ __VA_OPT__(,) { .key = 0 } })
/* clang-format on */

void log_write(enum log_level level, const char *event, const struct log_field *fields);
/* Called once by main before threads start: the role's name in every line, the lowest level that is
 * written. */
void log_init(const char *role, enum log_level lowest);
/* Lines are collected and written every 64 KiB or by log_flush; for outcome lines at high rates.
 * log_line flushes first. */
void log_buffered(enum log_level level, const char *event, const struct log_field *fields);
void log_flush(void);
uint64_t log_dropped(void);
int log_level_parse(const char *text, enum log_level *level_r); /* 0, or -1 */

#endif

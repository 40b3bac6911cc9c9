/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer, always NUL-terminated. Aborts when memory is out; callers bound what they
 * append. */
#ifndef COMMON_BASE_STRBUF_H
#define COMMON_BASE_STRBUF_H
#include <stdint.h>
#include <stddef.h>

#include "common/base/check.h"

struct strbuf {
	char *data; /* never NULL after init; data[len] == 0 */
	size_t len;
	size_t cap;
};

void strbuf_init(struct strbuf *sb);
void strbuf_release(struct strbuf *sb); /* frees; may be initialised again */
void strbuf_clear(struct strbuf *sb);   /* len = 0, keeps the memory */
void strbuf_reserve(struct strbuf *sb, size_t more_bytes);
void strbuf_add(struct strbuf *sb, const void *data, size_t bytes);
void strbuf_addstr(struct strbuf *sb, const char *text);
void strbuf_addch(struct strbuf *sb, char c);
void strbuf_addi(struct strbuf *sb, int64_t n); /* decimal; much cheaper than printf */
void strbuf_printf(struct strbuf *sb, const char *fmt, ...) printf_like(2, 3);
void strbuf_consume(struct strbuf *sb, size_t bytes); /* drops bytes from the front */
char *strbuf_take(struct strbuf *sb);                 /* caller frees; the buffer is empty again */

/* Appends text as a JSON string with quotes: escapes ", \, controls (C0, DEL, C1), U+2028/9 and
 * bidi controls; bytes that are not UTF-8 become U+FFFD. NULL text appends null. */
void strbuf_json(struct strbuf *sb, const char *text);
void strbuf_json_n(struct strbuf *sb, const char *text, size_t bytes);
/* Appends text for a terminal: the same without quotes, and with " and \ as they are. */
void strbuf_shown(struct strbuf *sb, const char *text);

#endif

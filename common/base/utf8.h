/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef COMMON_BASE_UTF8_H
#define COMMON_BASE_UTF8_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the sequence of two or more bytes at p (at least one byte is left) and its code point,
 * or 0 when there is none. */
size_t utf8_at(const unsigned char *p, size_t left, uint32_t *point_r);
/* A text without NUL bytes that is UTF-8 throughout. */
bool utf8_text(const char *text, size_t bytes);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is freed all at once. One arena per job or per request: everything that belongs to it
 * lives there. Not thread-safe; an arena may be handed from thread to thread. Small allocations
 * succeed or abort. */
#ifndef COMMON_BASE_ARENA_H
#define COMMON_BASE_ARENA_H
#include <stdarg.h>
#include <stddef.h>

#include "common/base/check.h"

struct arena;

struct arena *arena_new(size_t first_block_bytes); /* 0: a sensible default */
void arena_free(struct arena **arena);             /* NULL-safe; leaves NULL */
void arena_reset(struct arena *arena);             /* forgets everything, keeps the first block */
size_t arena_bytes(const struct arena *arena);     /* handed out so far */

void *arena_alloc(struct arena *arena, size_t bytes);  /* 16-byte aligned, not zeroed */
void *arena_zalloc(struct arena *arena, size_t bytes); /* zeroed */
void *arena_dup(struct arena *arena, const void *p, size_t bytes);
char *arena_strdup(struct arena *arena, const char *text);                /* NULL gives NULL */
char *arena_strndup(struct arena *arena, const char *text, size_t bytes); /* NUL added */
char *arena_printf(struct arena *arena, const char *fmt, ...) printf_like(2, 3);
char *arena_vprintf(struct arena *arena, const char *fmt, va_list args) printf_like(2, 0);

#define ARENA_NEW(arena, type)          ((type *)arena_zalloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, count) ((type *)arena_zalloc((arena), sizeof(type) * (count)))

/* malloc family that aborts when memory is out. The only places that call malloc directly. */
void *xmalloc(size_t bytes);
void *xcalloc(size_t count, size_t bytes);
void *xrealloc(void *p, size_t bytes);
char *xstrdup(const char *text);

#endif

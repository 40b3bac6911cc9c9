/* SPDX-License-Identifier: Apache-2.0 */
/* A bump allocator in a chain of blocks, newest first. The first block lies behind the struct
 * itself, so that a short job costs one malloc and one free. Also the malloc family that aborts.
 * Never shrinks while in use, never locks. */
#include "common/base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_ALIGN           16
#define ARENA_FIRST_BYTES     4096
#define ARENA_BLOCK_BYTES_MAX ((size_t)1 << 20)

struct block {
	struct block *next;
	size_t pad; /* keeps what follows aligned */
};

struct arena {
	char *at;             /* where the next allocation goes, always aligned */
	char *end;            /* of the current block */
	struct block *blocks; /* all but the first block, newest first */
	size_t bytes;         /* handed out since new or reset */
	size_t first_bytes;
	size_t next_bytes; /* size of the next block */
};

_Static_assert(sizeof(struct block) % ARENA_ALIGN == 0, "blocks keep the alignment");
_Static_assert(sizeof(struct arena) % ARENA_ALIGN == 0, "the first block keeps the alignment");

static char *arena_first(struct arena *arena)
{
	return (char *)(arena + 1);
}

static void arena_rewind(struct arena *arena)
{
	arena->at = arena_first(arena);
	arena->end = arena->at + arena->first_bytes;
	arena->blocks = NULL;
	arena->bytes = 0;
	arena->next_bytes = arena->first_bytes * 2;
}

struct arena *arena_new(size_t first_block_bytes)
{
	size_t bytes =
		first_block_bytes ? first_block_bytes : ARENA_FIRST_BYTES - sizeof(struct arena);
	struct arena *arena;

	CHECK(bytes < SIZE_MAX / 4);
	bytes = (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	arena = xmalloc(sizeof(*arena) + bytes);
	arena->first_bytes = bytes;
	arena_rewind(arena);
	return arena;
}

static void arena_free_blocks(struct arena *arena)
{
	while (arena->blocks) {
		struct block *block = arena->blocks;

		arena->blocks = block->next;
		free(block);
	}
}

void arena_free(struct arena **arena)
{
	if (*arena) {
		arena_free_blocks(*arena);
		free(*arena);
		*arena = NULL;
	}
}

void arena_reset(struct arena *arena)
{
	arena_free_blocks(arena);
	arena_rewind(arena);
}

size_t arena_bytes(const struct arena *arena)
{
	return arena->bytes;
}

static void *arena_block(struct arena *arena, size_t bytes)
{
	struct block *block = xmalloc(sizeof(*block) + bytes);

	block->next = arena->blocks;
	arena->blocks = block;
	return block + 1;
}

/* The slow path: the current block cannot hold `bytes` (rounded up). */
static void *arena_grow(struct arena *arena, size_t bytes)
{
	char *p;

	/* A large piece gets its own block, so that the rest of the current one is not lost. */
	if (bytes > arena->next_bytes / 4)
		return arena_block(arena, bytes);
	p = arena_block(arena, arena->next_bytes);
	arena->at = p + bytes;
	arena->end = p + arena->next_bytes;
	if (arena->next_bytes < ARENA_BLOCK_BYTES_MAX)
		arena->next_bytes *= 2;
	return p;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
	char *p = arena->at;

	CHECK(bytes < SIZE_MAX / 2);
	arena->bytes += bytes;
	bytes = (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (__builtin_expect(bytes > (size_t)(arena->end - p), 0))
		return arena_grow(arena, bytes);
	arena->at = p + bytes;
	return p;
}

void *arena_zalloc(struct arena *arena, size_t bytes)
{
	return memset(arena_alloc(arena, bytes), 0, bytes);
}

void *arena_dup(struct arena *arena, const void *p, size_t bytes)
{
	void *copy = arena_alloc(arena, bytes);

	if (bytes > 0)
		memcpy(copy, p, bytes);
	return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	return text ? arena_dup(arena, text, strlen(text) + 1) : NULL;
}

char *arena_strndup(struct arena *arena, const char *text, size_t bytes)
{
	char *copy;

	CHECK(bytes < SIZE_MAX / 2);
	copy = arena_alloc(arena, bytes + 1);
	if (bytes > 0)
		memcpy(copy, text, bytes);
	copy[bytes] = '\0';
	return copy;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	text = arena_vprintf(arena, fmt, args);
	va_end(args);
	return text;
}

char *arena_vprintf(struct arena *arena, const char *fmt, va_list args)
{
	char brief[256], *text;
	va_list again;
	int len;

	va_copy(again, args);
	len = vsnprintf(brief, sizeof(brief), fmt, args);
	CHECK(len >= 0);
	text = arena_alloc(arena, (size_t)len + 1);
	if ((size_t)len < sizeof(brief))
		memcpy(text, brief, (size_t)len + 1);
	else
		vsnprintf(text, (size_t)len + 1, fmt, again);
	va_end(again);
	return text;
}

void *xmalloc(size_t bytes)
{
	void *p = malloc(bytes ? bytes : 1);

	CHECK(p != NULL);
	return p;
}

void *xcalloc(size_t count, size_t bytes)
{
	void *p = calloc(count ? count : 1, bytes ? bytes : 1);

	CHECK(p != NULL);
	return p;
}

void *xrealloc(void *p, size_t bytes)
{
	p = realloc(p, bytes ? bytes : 1);
	CHECK(p != NULL);
	return p;
}

char *xstrdup(const char *text)
{
	size_t bytes = strlen(text) + 1;

	return memcpy(xmalloc(bytes), text, bytes);
}

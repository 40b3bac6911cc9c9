/* SPDX-License-Identifier: Apache-2.0 */
/* Statements argument by argument, in binary (arrays go without a quoting pass), and the cache of
 * what a connection has prepared. Nothing here touches the network; flight.c sends. */
#include "common/store/postgres/postgres_impl.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_HEAD_BYTES 20 /* dimensions, nulls?, element type, length, lower bound */

/* ---- arguments */

void postgres_say(struct postgres *pg, const char *sql)
{
	pg->statement.sql = sql;
	pg->statement.count = 0;
}

static int next_arg(struct postgres *pg, const void *value, size_t bytes, int format)
{
	struct statement *st = &pg->statement;

	CHECK(st->count < STATEMENT_ARGS_MAX && bytes < INT32_MAX);
	st->values[st->count] = value;
	st->lengths[st->count] = (int)bytes;
	st->formats[st->count] = format;
	st->of[st->count] = NULL;
	return st->count++;
}

static void fixed_arg(struct postgres *pg, const void *data, size_t bytes)
{
	struct statement *st = &pg->statement;

	CHECK(st->count < STATEMENT_ARGS_MAX && bytes <= sizeof(st->fixed[0]));
	memcpy(st->fixed[st->count], data, bytes);
	next_arg(pg, st->fixed[st->count], bytes, 1);
}

void postgres_arg_uuid(struct postgres *pg, const struct uuid *id)
{
	if (id)
		fixed_arg(pg, id->b, sizeof(id->b));
	else
		next_arg(pg, NULL, 0, 1);
}

void postgres_arg_bytes(struct postgres *pg, const void *data, size_t bytes)
{
	next_arg(pg, data, data ? bytes : 0, 1);
}

void postgres_arg_text(struct postgres *pg, const char *text)
{
	postgres_arg_bytes(pg, text, text ? strlen(text) : 0);
}

void postgres_arg_i64(struct postgres *pg, int64_t n)
{
	uint64_t wire = htobe64((uint64_t)n);

	fixed_arg(pg, &wire, sizeof(wire));
}

void postgres_arg_i32(struct postgres *pg, int32_t n)
{
	uint32_t wire = htonl((uint32_t)n);

	fixed_arg(pg, &wire, sizeof(wire));
}

void postgres_arg_i16(struct postgres *pg, int16_t n)
{
	uint16_t wire = htons((uint16_t)n);

	fixed_arg(pg, &wire, sizeof(wire));
}

void postgres_arg_f64(struct postgres *pg, double d)
{
	uint64_t wire;

	memcpy(&wire, &d, sizeof(wire));
	wire = htobe64(wire);
	fixed_arg(pg, &wire, sizeof(wire));
}

void postgres_arg_bool(struct postgres *pg, bool b)
{
	fixed_arg(pg, b ? "\1" : "\0", 1);
}

/* ---- arrays */

struct array *postgres_arg_array(struct postgres *pg, Oid element)
{
	struct statement *st = &pg->statement;
	int place = next_arg(pg, NULL, 0, 1);
	struct array *array = &st->arrays[place];

	array_begin(array, element);
	st->of[place] = array;
	return array;
}

void array_begin(struct array *array, Oid element)
{
	if (!array->bytes.data)
		strbuf_init(&array->bytes);
	strbuf_clear(&array->bytes);
	strbuf_add(&array->bytes, (char[ARRAY_HEAD_BYTES]){ 0 }, ARRAY_HEAD_BYTES);
	array->element = element;
	array->count = 0;
	array->nulls = false;
}

void array_bytes(struct array *array, const void *data, size_t bytes)
{
	uint32_t length = data ? htonl((uint32_t)bytes) : htonl((uint32_t)-1);

	CHECK(bytes < INT32_MAX);
	strbuf_add(&array->bytes, &length, sizeof(length));
	if (data)
		strbuf_add(&array->bytes, data, bytes);
	else
		array->nulls = true;
	array->count++;
}

void array_uuid(struct array *array, const struct uuid *id)
{
	array_bytes(array, id ? id->b : NULL, id ? sizeof(id->b) : 0);
}

void array_text(struct array *array, const char *text)
{
	array_bytes(array, text, text ? strlen(text) : 0);
}

void array_null(struct array *array)
{
	array_bytes(array, NULL, 0);
}

void array_i64(struct array *array, int64_t n)
{
	uint64_t wide = htobe64((uint64_t)n);
	size_t bytes = array->element == TYPE_INT8 ? 8 : array->element == TYPE_INT4 ? 4 : 2;

	CHECK(bytes > 2 || array->element == TYPE_INT2);
	array_bytes(array, (const char *)&wide + (8 - bytes), bytes);
}

void array_f64(struct array *array, double d)
{
	uint64_t wire;

	memcpy(&wire, &d, sizeof(wire));
	wire = htobe64(wire);
	array_bytes(array, &wire, sizeof(wire));
}

void array_bool(struct array *array, bool b)
{
	array_bytes(array, b ? "\1" : "\0", 1);
}

size_t array_end(struct array *array)
{
	uint32_t head[5] = { htonl(array->count ? 1 : 0), htonl(array->nulls),
			     htonl(array->element), htonl((uint32_t)array->count), htonl(1) };

	memcpy(array->bytes.data, head, sizeof(head));
	/* An empty array has no dimension, so its header ends after the element type. */
	return array->count ? array->bytes.len : 12;
}

void postgres_statement_seal(struct postgres *pg)
{
	struct statement *st = &pg->statement;

	for (int i = 0; i < st->count; i++) {
		if (!st->of[i])
			continue;
		st->lengths[i] = (int)array_end(st->of[i]);
		st->values[i] = st->of[i]->bytes.data;
	}
}

/* ---- what is prepared */

static uint64_t hash_of(const char *sql)
{
	uint64_t h = 14695981039346656037u;

	for (; *sql; sql++)
		h = (h ^ (unsigned char)*sql) * 1099511628211u;
	return h;
}

struct prepared *prepared_find(struct postgres *pg, const char *sql)
{
	uint64_t hash = hash_of(sql);

	for (size_t i = 0; i < pg->cache_count; i++) {
		struct prepared *p = pg->cache[i];

		if (p->hash == hash && !strcmp(p->sql, sql)) {
			p->used = ++pg->cache_clock;
			return p;
		}
	}
	return NULL;
}

void prepared_forget(struct postgres *pg, struct prepared *prepared)
{
	for (size_t i = 0; i < pg->cache_count; i++) {
		if (pg->cache[i] != prepared)
			continue;
		pg->cache[i] = pg->cache[--pg->cache_count];
		free(prepared->sql);
		free(prepared->arrays);
		free(prepared);
		return;
	}
	CHECK(!"in the cache");
}

void prepared_forget_all(struct postgres *pg)
{
	while (pg->cache_count)
		prepared_forget(pg, pg->cache[0]);
	pg->cache_unsure = false;
}

static void make_place(struct postgres *pg)
{
	struct prepared *oldest = pg->cache[0];

	for (size_t i = 1; i < pg->cache_count; i++)
		if (pg->cache[i]->used < oldest->used)
			oldest = pg->cache[i];
	postgres_deallocate(pg, oldest->name);
	/* Answers that are on their way may point to it. */
	for (size_t i = 0; i < pg->answer_count; i++)
		if (pg->answers[i].prepared == oldest)
			pg->answers[i].prepared = NULL;
	prepared_forget(pg, oldest);
}

struct prepared *prepared_add(struct postgres *pg, const char *sql)
{
	if (pg->cache_count == STATEMENT_CACHE_MAX)
		make_place(pg);
	struct prepared *p = xcalloc(1, sizeof(*p));

	p->sql = xstrdup(sql);
	p->hash = hash_of(sql);
	p->used = ++pg->cache_clock;
	snprintf(p->name, sizeof(p->name), "w%llu", (unsigned long long)++pg->names);
	pg->cache[pg->cache_count++] = p;
	return p;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Making, reading and comparing UUIDs. Ids of one thread ascend because each millisecond starts at
 * a random 74-bit number and counts up from there in random steps: ids stay hard to guess and rows
 * arrive in index order. */
#include "common/base/uuid.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/digest.h"

#define DAY_MS    86400000
#define TAIL_MASK (((uint64_t)1 << 62) - 1)
#define STEP_MASK (((uint64_t)1 << 48) - 1)

/* The last id of this thread: 48 bits of time, 12 + 62 bits that count. */
static _Thread_local struct {
	int64_t ms;
	uint32_t head;
	uint64_t tail;
} last;

static void store_be(uint8_t *p, uint64_t n, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--, n >>= 8)
		p[i] = (uint8_t)n;
}

static void uuid_mark(struct uuid *id, int version)
{
	id->b[6] = (uint8_t)((id->b[6] & 0x0f) | version << 4);
	id->b[8] = (uint8_t)((id->b[8] & 0x3f) | 0x80);
}

static void last_start(int64_t ms)
{
	uint64_t draw[2];

	random_bytes(draw, sizeof(draw));
	last.ms = ms;
	last.head = draw[0] & 0xfff;
	last.tail = draw[1] & TAIL_MASK;
}

/* The wall clock has not moved on, or went back: stay ascending, if need be by borrowing from the
 * next millisecond. */
static void last_step(void)
{
	uint64_t step = 0;

	random_bytes(&step, 6);
	last.tail += (step & STEP_MASK) + 1;
	if (last.tail <= TAIL_MASK)
		return;
	last.tail &= TAIL_MASK;
	if (++last.head > 0xfff)
		last_start(last.ms + 1);
}

void uuid_v7(struct uuid *id_r)
{
	int64_t now_ms = clock_wall_ms();

	if (now_ms > last.ms)
		last_start(now_ms);
	else
		last_step();
	store_be(id_r->b, (uint64_t)last.ms << 16 | last.head, 8);
	store_be(id_r->b + 8, last.tail, 8);
	uuid_mark(id_r, 7);
}

void uuid_named(const struct uuid *ns, const char *name, size_t name_bytes, struct uuid *id_r)
{
	uint8_t brief[256], digest[SHA256_BYTES];
	size_t bytes = sizeof(ns->b) + name_bytes;
	uint8_t *text = bytes <= sizeof(brief) ? brief : xmalloc(bytes);

	CHECK(bytes > name_bytes);
	memcpy(text, ns->b, sizeof(ns->b));
	if (name_bytes > 0)
		memcpy(text + sizeof(ns->b), name, name_bytes);
	digest_sha256(text, bytes, digest);
	if (text != brief)
		free(text);
	memcpy(id_r->b, digest, sizeof(id_r->b));
	uuid_mark(id_r, 8);
}

void uuid_named_dated(const struct uuid *ns, const char *name, size_t name_bytes, struct uuid *id_r)
{
	struct uuid named;

	uuid_named(ns, name, name_bytes, &named);
	memcpy(named.b, ns->b, 6);
	*id_r = named;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_bytes(const char *text, int count, uint8_t *p)
{
	for (int i = 0; i < count; i++) {
		int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		p[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

bool uuid_parse(const char *text, struct uuid *id_r)
{
	return uuid_parse_n(text, strnlen(text, UUID_TEXT), id_r);
}

bool uuid_parse_n(const char *text, size_t bytes, struct uuid *id_r)
{
	struct uuid id;

	if (bytes != UUID_TEXT - 1)
		return false;
	if (text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-')
		return false;
	if (!hex_bytes(text, 4, id.b) || !hex_bytes(text + 9, 2, id.b + 4) ||
	    !hex_bytes(text + 14, 2, id.b + 6) || !hex_bytes(text + 19, 2, id.b + 8) ||
	    !hex_bytes(text + 24, 6, id.b + 10))
		return false;
	*id_r = id;
	return true;
}

bool uuid_parse_hex(const char text[32], struct uuid *id_r)
{
	struct uuid id;

	if (!hex_bytes(text, 16, id.b))
		return false;
	*id_r = id;
	return true;
}

static char *put_hex(char *at, const uint8_t *p, int count)
{
	static const char hex[] = "0123456789abcdef";

	for (int i = 0; i < count; i++) {
		*at++ = hex[p[i] >> 4];
		*at++ = hex[p[i] & 15];
	}
	return at;
}

char *uuid_format(const struct uuid *id, char text_r[UUID_TEXT])
{
	static const int groups[] = { 4, 2, 2, 2, 6 };
	const uint8_t *p = id->b;
	char *at = text_r;

	for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
		at = put_hex(at, p, groups[i]);
		*at++ = '-';
		p += groups[i];
	}
	at[-1] = '\0';
	return text_r;
}

void uuid_hex(const struct uuid *id, char text_r[33])
{
	*put_hex(text_r, id->b, sizeof(id->b)) = '\0';
}

int uuid_version(const struct uuid *id)
{
	return id->b[6] >> 4;
}

int64_t uuid_time_ms(const struct uuid *id)
{
	int64_t ms = 0;

	for (int i = 0; i < 6; i++)
		ms = ms << 8 | id->b[i];
	return ms;
}

int uuid_compare(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool uuid_is_nil(const struct uuid *id)
{
	static const struct uuid nil;

	return uuid_equal(id, &nil);
}

/* Without version and variant: the bound must lie below the ids of every version. */
void uuid_day_floor(int64_t ms, struct uuid *id_r)
{
	CHECK(ms >= 0 && ms < (int64_t)1 << 48);
	memset(id_r, 0, sizeof(*id_r));
	store_be(id_r->b, (uint64_t)(ms - ms % DAY_MS), 6);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Says of a text whether json_text_parse would take it, without making the tree: for messages that
 * are stored as they came, at a tenth of the cost. One pass without recursion; the fuzzer holds
 * both to the same answers. */
#include <stdlib.h>
#include <string.h>

#include "common/base/utf8.h"
#include "common/json/json_escape.h"
#include "common/json/json_text.h"

#define KEYS_AT_HAND 48
#define PAIRWISE_MAX 12 /* keys of one object, up to which sorting costs more */

struct key {
	const char *text; /* decoded; in `arena` when it had escapes */
	size_t bytes;
};

struct checking {
	const char *at, *end;
	size_t first_key[JSON_DEPTH_MAX]; /* of each open container */
	bool is_object[JSON_DEPTH_MAX];
	size_t depth;
	struct key *keys; /* of all open objects */
	size_t key_count, key_room;
	struct key at_hand[KEYS_AT_HAND];
	struct arena *arena; /* made for the first key with escapes */
};

static void skip_space(struct checking *c)
{
	while (c->at < c->end &&
	       (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r'))
		c->at++;
}

/* Behind the character at `at`, which is none of the plain ones; NULL: it may not stand there. */
static const char *take_special(const char *at, const char *end, bool *escaped_r)
{
	char sink[4], *out = sink;
	uint32_t point;
	size_t bytes;

	if (*at == '\\') {
		*escaped_r = true;
		return json_escape_take(at + 1, end, &out);
	}
	if ((unsigned char)*at < 0x20)
		return NULL;
	bytes = utf8_at((const unsigned char *)at, (size_t)(end - at), &point);
	return bytes ? at + bytes : NULL;
}

/* `at` is the opening quote. */
static bool take_string(struct checking *c, bool *escaped_r)
{
	const char *at = c->at + 1, *end = c->end;

	*escaped_r = false;
	while (at && at < end && *at != '"') {
		if ((unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 && *at != '\\')
			at++;
		else
			at = take_special(at, end, escaped_r);
	}
	if (!at || at == end)
		return false;
	c->at = at + 1;
	return true;
}

static bool take_number(struct checking *c)
{
	const char *start = c->at;
	struct json_slice number;
	bool real = false;
	int64_t n;
	double d;

	for (; c->at < c->end && *c->at && strchr("0123456789+-.eE", *c->at); c->at++)
		real = real || *c->at == '.' || *c->at == 'e' || *c->at == 'E';
	number = (struct json_slice){ start, (size_t)(c->at - start) };
	return real ? json_slice_double(number, &d) == 0 : json_slice_int(number, &n) == 0;
}

static bool take_word(struct checking *c, const char *word)
{
	size_t bytes = strlen(word);

	if ((size_t)(c->end - c->at) < bytes || memcmp(c->at, word, bytes) != 0)
		return false;
	c->at += bytes;
	return true;
}

/* ---- keys */

static void add_key(struct checking *c, const char *quoted, bool escaped)
{
	struct key key = { quoted + 1, (size_t)(c->at - quoted) - 2 };

	if (escaped) {
		if (!c->arena)
			c->arena = arena_new(0);
		key.text =
			json_slice_string(c->arena, (struct json_slice){ quoted, key.bytes + 2 });
		key.bytes = strlen(key.text);
	}
	if (c->key_count == c->key_room) {
		struct key *more = xmalloc(2 * c->key_room * sizeof(*more));

		memcpy(more, c->keys, c->key_count * sizeof(*more));
		if (c->keys != c->at_hand)
			free(c->keys);
		c->keys = more;
		c->key_room *= 2;
	}
	c->keys[c->key_count++] = key;
}

/* `"name" :` */
static bool take_key(struct checking *c)
{
	const char *quoted;
	bool escaped;

	skip_space(c);
	quoted = c->at;
	if (c->at == c->end || *c->at != '"' || !take_string(c, &escaped))
		return false;
	add_key(c, quoted, escaped);
	skip_space(c);
	return c->at < c->end && *c->at++ == ':';
}

static int compare_keys(const void *a, const void *b)
{
	const struct key *one = a, *two = b;

	if (one->bytes != two->bytes)
		return one->bytes < two->bytes ? -1 : 1;
	return one->bytes ? memcmp(one->text, two->text, one->bytes) : 0;
}

/* The keys of the object that ends here, which are the last ones. */
static bool keys_differ(struct checking *c, size_t first)
{
	size_t count = c->key_count - first;
	struct key *keys = c->keys + first;

	c->key_count = first;
	if (count > PAIRWISE_MAX)
		qsort(keys, count, sizeof(*keys), compare_keys);
	for (size_t i = 1; i < count; i++) {
		size_t down_to = count > PAIRWISE_MAX ? i - 1 : 0;

		for (size_t k = i; k-- > down_to;) {
			if (compare_keys(&keys[k], &keys[i]) == 0)
				return false;
		}
	}
	return true;
}

/* ---- containers */

/* `at` is the opening bracket. *more_r: a value follows. */
static bool open_container(struct checking *c, bool *more_r)
{
	bool object = *c->at++ == '{';

	if (c->depth == JSON_DEPTH_MAX)
		return false;
	c->is_object[c->depth] = object;
	c->first_key[c->depth++] = c->key_count;
	skip_space(c);
	*more_r = c->at < c->end && *c->at != (object ? '}' : ']');
	return !*more_r || !object || take_key(c);
}

/* Behind a value, or an empty container's bracket: closes what ends there. *more_r: another value
 * follows. */
static bool go_on(struct checking *c, bool *more_r)
{
	*more_r = false;
	while (c->depth) {
		bool object = c->is_object[c->depth - 1];

		skip_space(c);
		if (c->at == c->end)
			return false;
		if (*c->at == ',') {
			c->at++;
			*more_r = true;
			return !object || take_key(c);
		}
		if (*c->at++ != (object ? '}' : ']'))
			return false;
		if (object && !keys_differ(c, c->first_key[c->depth - 1]))
			return false;
		c->depth--;
	}
	return true;
}

static bool take_value(struct checking *c, bool *more_r)
{
	bool escaped, good;

	skip_space(c);
	if (c->at == c->end)
		return false;
	switch (*c->at) {
	case '{':
	case '[':
		if (!open_container(c, more_r))
			return false;
		return *more_r || go_on(c, more_r);
	case '"':
		good = take_string(c, &escaped);
		break;
	case 't':
		good = take_word(c, "true");
		break;
	case 'f':
		good = take_word(c, "false");
		break;
	case 'n':
		good = take_word(c, "null");
		break;
	default:
		good = take_number(c);
	}
	return good && go_on(c, more_r);
}

bool json_text_check(const char *text, size_t bytes)
{
	struct checking c = { .at = text, .key_room = KEYS_AT_HAND };
	bool more = true, good = true;

	c.end = bytes ? text + bytes : text;
	c.keys = c.at_hand;
	while (good && more)
		good = take_value(&c, &more);
	skip_space(&c);
	if (c.keys != c.at_hand)
		free(c.keys);
	arena_free(&c.arena);
	return good && c.at == c.end;
}

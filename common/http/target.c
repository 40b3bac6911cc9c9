/* SPDX-License-Identifier: Apache-2.0 */
/* Parses request targets. Called once a request by the server; pure. */
#include "common/http/target.h"

#include <string.h>

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* How many bytes the UTF-8 sequence at p has; 0 when it is none (overlong, surrogate, above
 * U+10FFFF, control). */
static size_t utf8_sequence(const unsigned char *p)
{
	if (p[0] < 0x80)
		return p[0] >= 0x20 && p[0] != 0x7f;
	size_t bytes = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < bytes; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))
		return 0;
	if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	if (p[0] == 0xc2 && p[1] < 0xa0)
		return 0; /* C1 controls */
	return bytes;
}

static int check_text(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	while (*p) {
		size_t bytes = utf8_sequence(p);
		if (bytes == 0)
			return -1;
		p += bytes;
	}
	return 0;
}

/* Decodes in place; in a query a plus is a blank. */
static int decode(char *text, int plus_is_blank)
{
	char *out = text;

	for (const char *p = text; *p; p++) {
		if (*p == '%') {
			int high = hex_value(p[1]);
			int low = high < 0 ? -1 : hex_value(p[2]);
			if (low < 0 || high * 16 + low == 0)
				return -1;
			*out++ = (char)(high * 16 + low);
			p += 2;
		} else {
			*out++ = *p == '+' && plus_is_blank ? ' ' : *p;
		}
	}
	*out = 0;
	return check_text(text);
}

static int parse_path(char *path, struct target *target, const char **why_r)
{
	char *rest = path + 1;

	if (*rest == 0)
		return 0;
	while (rest) {
		char *segment = strsep(&rest, "/");
		if (target->segment_count == TARGET_SEGMENTS_MAX) {
			*why_r = "the path has too many segments";
			return -1;
		}
		if (decode(segment, 0) < 0) {
			*why_r = "the path is not percent-encoded UTF-8 text";
			return -1;
		}
		target->segments[target->segment_count++] = segment;
	}
	return 0;
}

static int add_param(struct target *target, char *pair, const char **why_r)
{
	char *value = strchr(pair, '=');

	if (value)
		*value++ = 0;
	else
		value = pair + strlen(pair);
	if (decode(pair, 1) < 0 || decode(value, 1) < 0) {
		*why_r = "the query is not percent-encoded UTF-8 text";
		return -1;
	}
	if (target_param(target, pair)) {
		*why_r = "a query parameter is given twice";
		return -1;
	}
	if (target->param_count == TARGET_PARAMS_MAX) {
		*why_r = "the query has too many parameters";
		return -1;
	}
	target->params[target->param_count++] =
		(struct target_param){ .name = pair, .value = value };
	return 0;
}

static int parse_query(char *query, struct target *target, const char **why_r)
{
	char *next;

	for (char *pair = query; pair; pair = next) {
		next = strchr(pair, '&');
		if (next)
			*next++ = 0;
		if (*pair && add_param(target, pair, why_r) < 0)
			return -1;
	}
	return 0;
}

int target_parse(struct arena *arena, const char *raw, struct target *target_r, const char **why_r)
{
	char *path = arena_strdup(arena, raw);
	char *query = strchr(path, '?');

	target_r->segment_count = target_r->param_count = 0;
	if (path[0] != '/' || strchr(raw, '#')) {
		*why_r = "the request target is not a path";
		return -1;
	}
	if (query)
		*query++ = 0;
	if (parse_path(path, target_r, why_r) < 0)
		return -1;
	return parse_query(query, target_r, why_r);
}

const char *target_param(const struct target *target, const char *name)
{
	for (size_t i = 0; i < target->param_count; i++) {
		if (strcmp(target->params[i].name, name) == 0)
			return target->params[i].value;
	}
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Damerau and Levenshtein's distance, without regard to case, given up as soon as it is too far.
 * Names are ASCII. Pure. */
#include "producers/graphql/suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/strbuf.h"

#define SUGGESTIONS_MAX 5
#define INPUT_BYTES_MAX 200 /* longer ones are near to nothing that has a name */

struct candidate {
	const char *name;
	int distance;
};

static int least(int a, int b)
{
	return a < b ? a : b;
}

/* One row of the matrix; the least of its cells. */
static int fill_row(const char *a, const char *b, int i, int b_length,
		    int rows[3][INPUT_BYTES_MAX + 1])
{
	const int *up = rows[(i - 1) % 3], *up2 = rows[(i + 1) % 3];
	int *row = rows[i % 3], smallest = i;

	row[0] = i;
	for (int j = 1; j <= b_length; j++) {
		int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);
		int cell = least(least(up[j] + 1, row[j - 1] + 1), up[j - 1] + (ca != cb));

		if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
		    tolower((unsigned char)a[i - 2]) == cb)
			cell = least(cell, up2[j - 2] + 1);
		row[j] = cell;
		smallest = least(smallest, cell);
	}
	return smallest;
}

/* -1: farther than that. */
static int distance(const char *input, const char *option, int threshold)
{
	int rows[3][INPUT_BYTES_MAX + 1];
	size_t a_length = strlen(input), b_length = strlen(option);
	const char *a = input, *b = option;

	if (strcmp(a, b) == 0)
		return 0;
	if (strcasecmp(a, b) == 0)
		return 1;
	if (a_length < b_length) {
		size_t length = a_length;
		a_length = b_length;
		b_length = length;
		a = option;
		b = input;
	}
	if (b_length > INPUT_BYTES_MAX || a_length - b_length > (size_t)threshold)
		return -1;
	for (size_t j = 0; j <= b_length; j++)
		rows[0][j] = (int)j;
	for (int i = 1; i <= (int)a_length; i++) {
		if (fill_row(a, b, i, (int)b_length, rows) > threshold)
			return -1;
	}
	return rows[a_length % 3][b_length] <= threshold ? rows[a_length % 3][b_length] : -1;
}

/* Runs of digits compare as numbers, all else byte by byte. */
static int natural_order(const char *a, const char *b)
{
	while (*a && *b) {
		if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
			char *a_end, *b_end;
			unsigned long long x = strtoull(a, &a_end, 10), y = strtoull(b, &b_end, 10);
			if (x != y)
				return x < y ? -1 : 1;
			a = a_end;
			b = b_end;
			continue;
		}
		if (*a != *b)
			return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
		a++;
		b++;
	}
	return (*a != 0) - (*b != 0);
}

static int candidate_order(const void *a_, const void *b_)
{
	const struct candidate *a = a_, *b = b_;

	if (a->distance != b->distance)
		return a->distance < b->distance ? -1 : 1;
	return natural_order(a->name, b->name);
}

size_t suggest_near(struct arena *arena, const char *input, const char *const *options,
		    size_t count, const char **near_r)
{
	struct candidate *found = ARENA_ARRAY(arena, struct candidate, count + 1);
	int threshold = (int)((double)strlen(input) * 0.4) + 1;
	size_t found_count = 0;

	for (size_t i = 0; i < count; i++) {
		int d = distance(input, options[i], threshold);
		if (d >= 0)
			found[found_count++] = (struct candidate){ options[i], d };
	}
	qsort(found, found_count, sizeof(*found), candidate_order);
	for (size_t i = 0; i < found_count; i++)
		near_r[i] = found[i].name;
	return found_count;
}

const char *suggest_text(struct arena *arena, const char *sub, const char *const *near,
			 size_t count)
{
	struct strbuf out;
	const char *text;

	if (count == 0)
		return "";
	if (count > SUGGESTIONS_MAX)
		count = SUGGESTIONS_MAX;
	strbuf_init(&out);
	strbuf_addstr(&out, " Did you mean ");
	if (sub)
		strbuf_printf(&out, "%s ", sub);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			strbuf_addstr(&out, count > 2 ? ", " : " ");
		if (i > 0 && i + 1 == count)
			strbuf_addstr(&out, "or ");
		strbuf_printf(&out, "'%s'", near[i]);
	}
	strbuf_addch(&out, '?');
	text = arena_strndup(arena, out.data, out.len);
	strbuf_release(&out);
	return text;
}

const char *suggest(struct arena *arena, const char *sub, const char *input,
		    const char *const *options, size_t count)
{
	const char **near = arena_zalloc(arena, sizeof(*near) * (count + 1));

	if (strlen(input) > INPUT_BYTES_MAX)
		return "";
	return suggest_text(arena, sub, near, suggest_near(arena, input, options, count, near));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Edit distance with neighbouring letters swapped counted as one (optimal string alignment), over
 * short names only. */
#include "common/config/suggest.h"

#include <ctype.h>
#include <string.h>

#define NAME_MAX_BYTES 64

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t edit_distance(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
	size_t rows[3][NAME_MAX_BYTES + 1];

	for (size_t j = 0; j <= b_bytes; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_bytes; i++) {
		size_t *now = rows[i % 3], *above = rows[(i + 2) % 3],
		       *two_above = rows[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= b_bytes; j++) {
			int ca = tolower((unsigned char)a[i - 1]),
			    cb = tolower((unsigned char)b[j - 1]);

			now[j] = least(above[j - 1] + (ca != cb), least(above[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
			    cb == tolower((unsigned char)a[i - 2]))
				now[j] = least(now[j], two_above[j - 2] + 1);
		}
	}
	return rows[a_bytes % 3][b_bytes];
}

void suggest_offer(struct suggest *suggest, const char *name)
{
	size_t word_bytes = strlen(suggest->word), name_bytes = strlen(name), distance, limit;

	if (word_bytes > NAME_MAX_BYTES || name_bytes > NAME_MAX_BYTES || !word_bytes ||
	    !name_bytes)
		return;
	limit = least(3, (1 + least(word_bytes, name_bytes)) / 3);
	distance = edit_distance(suggest->word, word_bytes, name, name_bytes);
	if (word_bytes >= 3 && strncmp(name, suggest->word, word_bytes) == 0)
		distance = least(distance, 1); /* only begun */
	if (distance > limit || (suggest->best && distance >= suggest->distance))
		return;
	suggest->best = name;
	suggest->distance = distance;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes: a whole number and a binary unit. Decimal units (kB, MB) are refused, since half the world
 * reads them as binary. */
#include "common/config/size.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SIZE_MAX_BYTES (INT64_C(1) << 62)

static const struct {
	const char *name;
	int shift;
} size_units[] = { { "GiB", 30 }, { "MiB", 20 }, { "KiB", 10 }, { "B", 0 } };

static int unit_shift(const char *text, int *shift_r)
{
	if (!*text) {
		*shift_r = 0;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(size_units); i++) {
		if (strcmp(text, size_units[i].name) == 0) {
			*shift_r = size_units[i].shift;
			return 0;
		}
	}
	return -1;
}

int size_parse(const char *text, int64_t *bytes_r)
{
	int64_t n = 0;
	int shift;

	if (*text < '0' || *text > '9')
		return -1;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (n > SIZE_MAX_BYTES / 10)
			return -1;
		n = n * 10 + (*text - '0');
	}
	if (unit_shift(text, &shift) != 0 || n > SIZE_MAX_BYTES >> shift)
		return -1;
	*bytes_r = n << shift;
	return 0;
}

char *size_format(int64_t bytes, char text_r[24])
{
	for (size_t i = 0; i + 1 < ARRAY_LEN(size_units); i++) {
		int64_t unit = INT64_C(1) << size_units[i].shift;

		if (bytes >= unit && bytes % unit == 0) {
			snprintf(text_r, 24, "%" PRId64 "%s", bytes / unit, size_units[i].name);
			return text_r;
		}
	}
	snprintf(text_r, 24, "%" PRId64, bytes);
	return text_r;
}

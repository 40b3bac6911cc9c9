/* SPDX-License-Identifier: Apache-2.0 */
/* Durations as people write them in settings, job definitions and requests ("90s", "1.5h", 30), and
 * back. Called by whatever reads those. Never guesses: signs, blanks and unknown units are refused.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/clock.h"

#define DURATION_MS_MAX ((int64_t)3650 * 86400000)

/* Largest first, for duration_format. */
static const struct unit {
	const char *name;
	int64_t ms;
} units[] = { { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } };

static bool unit_find(const char *name, int64_t *ms_r)
{
	if (name[0] == '\0')
		name = "s";
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(units[i].name, name) == 0) {
			*ms_r = units[i].ms;
			return true;
		}
	}
	return false;
}

/* Digits up to any length; a number too large to be a duration stays just that. */
static const char *take_number(const char *at, int64_t *n_r)
{
	int64_t n = 0;

	for (; *at >= '0' && *at <= '9'; at++) {
		if (n <= DURATION_MS_MAX)
			n = n * 10 + (*at - '0');
	}
	*n_r = n;
	return at;
}

/* The fraction in billionths; digits beyond those are dropped. */
static const char *take_fraction(const char *at, int64_t *billionths_r)
{
	int64_t n = 0, unit = 100000000;

	for (; *at >= '0' && *at <= '9'; at++, unit /= 10)
		n += (*at - '0') * unit;
	*billionths_r = n;
	return at;
}

int duration_parse(const char *text, int64_t *ms_r)
{
	const char *end, *start = text;
	int64_t whole, billionths = 0, unit_ms, ms;

	end = take_number(text, &whole);
	if (end == start)
		return -1;
	if (*end == '.') {
		start = end + 1;
		end = take_fraction(start, &billionths);
		if (end == start)
			return -1;
	}
	if (!unit_find(end, &unit_ms) || whole > DURATION_MS_MAX / unit_ms)
		return -1;
	ms = whole * unit_ms + (billionths * unit_ms + 500000000) / 1000000000;
	if (ms > DURATION_MS_MAX)
		return -1;
	*ms_r = ms;
	return 0;
}

char *duration_format(int64_t ms, char text_r[24])
{
	size_t i = 0;

	CHECK(ms >= 0);
	if (ms == 0)
		return memcpy(text_r, "0s", sizeof("0s"));
	while (ms % units[i].ms != 0)
		i++;
	snprintf(text_r, 24, "%lld%s", (long long)(ms / units[i].ms), units[i].name);
	return text_r;
}

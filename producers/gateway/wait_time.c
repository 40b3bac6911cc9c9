/* SPDX-License-Identifier: Apache-2.0 */
/* Reads waiting times out of a request. Pure. */
#include "producers/gateway/wait_time.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"

/* The number of seconds of the preference `wait`, or -1. */
static int64_t preferred_seconds(const char *prefer)
{
	for (const char *p = prefer; *p;) {
		p += strspn(p, " \t,;");
		if (strncasecmp(p, "wait=", 5) == 0) {
			size_t digits = strspn(p + 5, "0123456789");
			int64_t seconds = 0;
			if (digits == 0 || digits > 9 ||
			    (p[5 + digits] && !strchr(" \t,;", p[5 + digits])))
				return -1;
			for (size_t i = 0; i < digits; i++)
				seconds = seconds * 10 + (p[5 + i] - '0');
			return seconds;
		}
		while (*p && *p != ',' && *p != ';') {
			if (*p == '"') {
				const char *end = strchr(p + 1, '"');
				if (!end)
					return -1;
				p = end;
			}
			p++;
		}
	}
	return -1;
}

bool wait_time_parse(const char *query, const char *prefer, int64_t *wait_ms_r, bool *preferred_r)
{
	*wait_ms_r = 0;
	*preferred_r = false;
	if (query)
		return duration_parse(query, wait_ms_r) == 0 && *wait_ms_r <= WAIT_MAX_MS;
	int64_t seconds = prefer ? preferred_seconds(prefer) : -1;
	if (seconds < 0)
		return true;
	*preferred_r = true;
	*wait_ms_r = seconds > WAIT_MAX_MS / 1000 ? WAIT_MAX_MS : seconds * 1000;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Rates as people write them; in definitions and in the API alike. */
#include "common/config/rate.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

int rate_parse(const char *text, double max, double *per_s_r)
{
	char *end;
	double count = isdigit((unsigned char)*text) ? strtod(text, &end) : 0;
	double seconds;

	if (!(count > 0) || end[0] != '/' || strspn(text, "0123456789.") != (size_t)(end - text))
		return -1;
	seconds = !strcmp(end, "/s") ? 1 : !strcmp(end, "/m") ? 60 : !strcmp(end, "/h") ? 3600 : 0;
	if (seconds == 0 || count / seconds > max)
		return -1;
	*per_s_r = count / seconds;
	return 0;
}

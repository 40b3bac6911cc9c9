/* SPDX-License-Identifier: Apache-2.0 */
/* The highest q wins, and among equals the more exact, then the first. */
#include "producers/gateway/graphql_accept.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/check.h"

static const struct range {
	const char *text;
	enum graphql_accept accept;
	int exact;
} ranges[] = {
	{ "application/graphql-response+json", ACCEPT_GRAPHQL, 2 },
	{ "application/json", ACCEPT_JSON, 2 },
	{ "text/event-stream", ACCEPT_EVENTS, 2 },
	{ "application/*", ACCEPT_GRAPHQL, 1 },
	{ "*/*", ACCEPT_GRAPHQL, 0 },
};

static double quality(const char *entry, size_t bytes)
{
	const char *end = entry + bytes;

	for (const char *at = entry; at < end; at++) {
		if (*at != ';')
			continue;
		at += 1 + strspn(at + 1, " \t");
		if (at + 2 < end && (*at == 'q' || *at == 'Q') && at[1] == '=')
			return strtod(at + 2, NULL);
		at--;
	}
	return 1;
}

static const struct range *range_of(const char *entry, size_t bytes)
{
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
		if (strlen(ranges[i].text) == bytes &&
		    strncasecmp(ranges[i].text, entry, bytes) == 0)
			return &ranges[i];
	}
	return NULL;
}

enum graphql_accept graphql_accept_read(const char *header)
{
	const struct range *best = NULL;
	double best_quality = 0;

	if (!header || !header[strspn(header, " \t")])
		return ACCEPT_GRAPHQL;
	while (*header) {
		const struct range *range;
		size_t bytes;
		double q;

		header += strspn(header, " \t,");
		bytes = strcspn(header, ",");
		range = range_of(header, strcspn(header, " \t;,"));
		q = quality(header, bytes);
		if (range && q > 0 &&
		    (!best || q > best_quality ||
		     (q == best_quality && range->exact > best->exact))) {
			best = range;
			best_quality = q;
		}
		header += bytes;
	}
	return best ? best->accept : ACCEPT_NONE;
}

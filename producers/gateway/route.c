/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the row of a request by walking the table; a dozen rows need nothing cleverer. Pure. */
#include "producers/gateway/route.h"

#include <string.h>

static bool pattern_matches(const char *pattern, const struct target *target, const char **part_r)
{
	size_t i = 0;

	*part_r = NULL;
	while (*pattern == '/') {
		const char *name = ++pattern;
		size_t bytes = strcspn(name, "/");
		pattern += bytes;
		if (i == target->segment_count)
			return false;
		const char *segment = target->segments[i++];
		if (name[0] == '{')
			*part_r = segment;
		else if (strlen(segment) != bytes || memcmp(segment, name, bytes) != 0)
			return false;
	}
	return i == target->segment_count;
}

static void add_method(char *allow, const char *method)
{
	size_t bytes = strlen(allow);

	if (strstr(allow, method))
		return;
	if (bytes) {
		memcpy(allow + bytes, ", ", 3);
		bytes += 2;
	}
	if (bytes + strlen(method) < ROUTE_ALLOW_BYTES)
		memcpy(allow + bytes, method, strlen(method) + 1);
}

void route_find(const struct route *routes, size_t count, const char *method,
		const struct target *target, struct route_match *match_r)
{
	const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;

	match_r->route = NULL;
	match_r->part = NULL;
	match_r->allow[0] = 0;
	for (size_t i = 0; i < count; i++) {
		const char *part;
		if (!pattern_matches(routes[i].pattern, target, &part))
			continue;
		add_method(match_r->allow, routes[i].method);
		if (strcmp(routes[i].method, "GET") == 0)
			add_method(match_r->allow, "HEAD");
		if (strcmp(routes[i].method, wanted) == 0 && (!match_r->route || !part)) {
			match_r->route = &routes[i];
			match_r->part = part;
		}
	}
	if (match_r->allow[0])
		add_method(match_r->allow, "OPTIONS");
}

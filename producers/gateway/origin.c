/* SPDX-License-Identifier: Apache-2.0 */
/* Comparisons of Host and Origin. Nothing is ever reflected without being compared byte by byte
 * first. */
#include "producers/gateway/origin.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/arena.h"
#include "common/http/server.h"

struct origin_list {
	char *text;
	const char **origins;
	size_t count;
};

static bool is_origin(const char *text)
{
	const char *host = strstr(text, "://");

	if (!host || (strncmp(text, "https://", 8) != 0 && strncmp(text, "http://", 7) != 0))
		return false;
	host += 3;
	return *host && *host != ':' && strcspn(host, "/?#@ *\\") == strlen(host);
}

struct origin_list *origin_list_parse(const char *text, struct error *err_r)
{
	struct origin_list *list = xcalloc(1, sizeof(*list));
	size_t max = 1;

	for (const char *p = text; *p; p++)
		max += *p == ',';
	list->text = xstrdup(text);
	list->origins = xcalloc(max, sizeof(*list->origins));
	for (char *rest = list->text; rest;) {
		char *origin = strsep(&rest, ",");
		origin += strspn(origin, " \t\n");
		origin[strcspn(origin, " \t\n")] = 0;
		if (*origin == 0)
			continue;
		if (!is_origin(origin)) {
			error_set(
				err_r, ERROR_INVALID,
				"WINDLASS_CORS_ORIGINS: `%s` is not an origin; expected https://host[:port]",
				origin);
			origin_list_free(&list);
			return NULL;
		}
		list->origins[list->count++] = origin;
	}
	return list;
}

void origin_list_free(struct origin_list **list)
{
	if (*list) {
		free((*list)->text);
		free((*list)->origins);
	}
	free(*list);
	*list = NULL;
}

bool origin_list_has(const struct origin_list *list, const char *origin)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->origins[i], origin) == 0)
			return true;
	}
	return false;
}

bool origin_host_is_loopback(const char *host, int port, bool tls)
{
	char with_port[300], name[256], *end;
	int given;
	size_t bytes = strlen(host);

	/* Nearly every request; the rest of this function knows all spellings. */
	if (strncmp(host, "127.0.0.1:", 10) == 0 && strchr("0123456789", host[10]) &&
	    strtol(host + 10, &end, 10) == port && *end == 0)
		return true;
	if (bytes == 0 || bytes > 260)
		return false;
	const char *colon = strrchr(host, ':');
	bool has_port = colon && (host[0] != '[' || colon[-1] == ']');
	memcpy(with_port, host, bytes + 1);
	if (!has_port)
		memcpy(with_port + bytes, tls ? ":443" : ":80", tls ? 5 : 4);
	if (!server_split_address(with_port, name, sizeof(name), &given))
		return false;
	return given == port && server_is_loopback(name);
}

bool origin_is_same(const char *origin, const char *host, bool tls)
{
	const char *scheme = tls ? "https://" : "http://";
	size_t bytes = strlen(scheme);

	return strncmp(origin, scheme, bytes) == 0 && strcasecmp(origin + bytes, host) == 0;
}

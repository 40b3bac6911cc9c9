/* SPDX-License-Identifier: Apache-2.0 */
/* See call_guard.h. What a caller is told names the host that the caller named, never the address
 * behind it or what is there: a refused call must not serve to map the network. */
#include "workers/remote/call_guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/check.h"

static char *part_of(CURLU *url, CURLUPart part)
{
	char *text = NULL;

	return curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) == CURLUE_OK ? text : NULL;
}

const char *call_guard_init(struct call_guard *call_guard, const struct guard *guard, CURLU *url,
			    bool plain_http)
{
	char *scheme = part_of(url, CURLUPART_SCHEME), *port = part_of(url, CURLUPART_PORT);
	const char *fault = NULL;

	*call_guard = (struct call_guard){ .guard = guard, .host = part_of(url, CURLUPART_HOST) };
	if (!scheme || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		fault = "the URL is not one of http or https";
	else if (!port || !call_guard->host || !call_guard->host[0])
		fault = "the URL has no host";
	else if (guard_port_refused(atoi(port)))
		fault = "the URL's port is not one for HTTP";
	else
		call_guard->plain = !plain_http && !strcmp(scheme, "http");
	curl_free(scheme);
	curl_free(port);
	return fault;
}

void call_guard_release(struct call_guard *call_guard)
{
	curl_free(call_guard->host);
	*call_guard = (struct call_guard){ .guard = NULL };
}

static bool judge(struct call_guard *call_guard, const struct sockaddr *address)
{
	enum call_refusal refusal = CALL_LET_THROUGH;

	if (guard_refusal(call_guard->guard, address))
		refusal = CALL_NOT_PUBLIC;
	else if (call_guard->plain && !guard_allows(call_guard->guard, address))
		refusal = CALL_NOT_TLS;
	if (refusal)
		call_guard->last = refusal;
	else
		call_guard->let_through++;
	return !refusal;
}

/* libcurl asks for a socket to exactly this address; it goes on to the next one when it gets none.
 */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
	if (purpose != CURLSOCKTYPE_IPCXN || !judge(ctx, &address->addr))
		return CURL_SOCKET_BAD;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

void call_guard_set(struct call_guard *call_guard, CURL *easy)
{
	CHECK(curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK);
	CHECK(curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call_guard) == CURLE_OK);
	CHECK(curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) == CURLE_OK);
}

bool call_guard_check_peer(struct call_guard *call_guard, const char *peer)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	bool good;

	if (inet_pton(AF_INET, peer, &v4.sin_addr) == 1)
		good = judge(call_guard, (struct sockaddr *)&v4);
	else if (inet_pton(AF_INET6, peer, &v6.sin6_addr) == 1)
		good = judge(call_guard, (struct sockaddr *)&v6);
	else
		good = judge(call_guard, &none);
	if (!good) /* this one was somebody else's, and says nothing of the network */
		call_guard->let_through = 0;
	return good;
}

bool call_guard_refused(const struct call_guard *call_guard, char *text, size_t bytes)
{
	if (!call_guard->last || call_guard->let_through)
		return false;
	if (call_guard->last == CALL_NOT_PUBLIC)
		snprintf(text, bytes, "the address of host %.150s is not public", call_guard->host);
	else
		snprintf(text, bytes, "host %.150s may be called by https only", call_guard->host);
	return true;
}

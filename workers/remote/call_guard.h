/* SPDX-License-Identifier: Apache-2.0 */
/* What stands between one guarded call and the network: its URL is what libcurl will connect to,
 * every address is judged (guard.h) before a socket is made, and the connection's peer once more
 * before the request is written, also when that connection was somebody else's. For remote_call.c;
 * it judges no header and no body. */
#ifndef WORKERS_REMOTE_CALL_GUARD_H
#define WORKERS_REMOTE_CALL_GUARD_H
#include <stdbool.h>

#include <curl/curl.h>

#include "workers/remote/guard.h"

struct call_guard {
	const struct guard *guard; /* NULL: the call is not guarded */
	char *host;                /* of the URL, for the reason */
	bool plain;                /* http:// without leave: only to networks that are allowed */
	enum call_refusal { CALL_LET_THROUGH, CALL_NOT_PUBLIC, CALL_NOT_TLS } last;
	int let_through; /* addresses */
};

/* NULL, or why a guarded call must not go to such a URL at all (static). To be released in both
 * cases. */
const char *call_guard_init(struct call_guard *call_guard, const struct guard *guard, CURLU *url,
			    bool plain_http);
void call_guard_release(struct call_guard *call_guard);
/* call_guard must live as long as easy. */
void call_guard_set(struct call_guard *call_guard, CURL *easy);
/* The connection's other end, as libcurl tells it to the PREREQ function. False: do not send. */
bool call_guard_check_peer(struct call_guard *call_guard, const char *peer);
/* The guard is why nothing was sent: puts the reason into text. A name of which another address was
 * let through and did not answer is the network's fault, not the guard's. */
bool call_guard_refused(const struct call_guard *call_guard, char *text, size_t bytes);

#endif

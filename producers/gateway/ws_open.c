/* SPDX-License-Identifier: Apache-2.0 */
/* How a request becomes a WebSocket: RFC 6455's handshake, where the page comes from, and who. On a
 * server thread. */
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "producers/gateway/exchange.h"
#include "producers/gateway/origin.h"
#include "producers/gateway/ws_impl.h"

#define KEY_TEXT  24
#define KEY_BYTES 16
#define GUID      "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/* ---- the checks; each is true, or has answered */

static bool check_upgrade(struct exchange *exchange)
{
	struct request *request = exchange->request;
	const char *version = request_header(request, "Sec-WebSocket-Version");

	if (request_upgrade_asked(request, "websocket") && version && strcmp(version, "13") == 0)
		return true;
	request_answer_header(request, "Upgrade", "websocket");
	request_answer_header(request, "Sec-WebSocket-Version", "13");
	exchange_refuse(
		exchange, 426, "no-websocket",
		"expected a WebSocket's handshake: Connection: Upgrade, Upgrade: websocket, "
		"Sec-WebSocket-Version: 13");
	return false;
}

static bool check_key(struct exchange *exchange)
{
	struct arena *arena = exchange_arena(exchange);
	const char *key = request_header(exchange->request, "Sec-WebSocket-Key");
	uint8_t digest[SHA1_BYTES];
	void *bytes;
	size_t count;
	char *text;

	if (!key || strlen(key) != KEY_TEXT ||
	    base64_decode(arena, key, KEY_TEXT, &bytes, &count) < 0 || count != KEY_BYTES) {
		exchange_refuse(exchange, 400, "bad-handshake",
				"Sec-WebSocket-Key is 16 bytes in base64");
		return false;
	}
	text = arena_printf(arena, "%s" GUID, key);
	digest_sha1(text, strlen(text), digest);
	request_answer_header(exchange->request, "Sec-WebSocket-Accept",
			      base64_encode(arena, digest, sizeof(digest)));
	return true;
}

/* A browser sends a page's requests for a WebSocket wherever the page wants, and no CORS keeps it
 * from reading the answers: this is the only check. What is no browser sends no Origin. */
static bool check_page(struct exchange *exchange)
{
	struct gateway *gateway = exchange->gateway;
	const char *origin = request_header(exchange->request, "Origin");
	const char *host = request_header(exchange->request, "Host");
	bool tls = *gateway->settings->tls_cert != 0;

	if (!origin || origin_list_has(gateway->origins, origin) ||
	    (host && origin_is_same(origin, host, tls)))
		return true;
	exchange_refuse(exchange, 403, "wrong-origin",
			"this origin is not in WINDLASS_CORS_ORIGINS");
	return false;
}

/* A watch token has no dot and no underscore: it cannot be taken for a key or another token. */
static bool is_watch_token(const char *token)
{
	return !strpbrk(token, "._");
}

static bool check_entry(struct exchange *exchange, const char *authorization)
{
	const struct caller *caller;
	struct admit_refusal refusal;

	if (!authorization)
		return true;
	if (admit(exchange->gateway, authorization, &caller, &refusal)) {
		caller_unref(&caller);
		return true;
	}
	exchange_refuse_entry(exchange, &refusal);
	return false;
}

/* ---- which protocol */

static bool lists(const char *list, const char *name)
{
	size_t bytes = strlen(name);

	while (*list) {
		list += strspn(list, ", \t");
		size_t have = strcspn(list, ", \t");
		if (have == bytes && memcmp(list, name, bytes) == 0)
			return true;
		list += have;
	}
	return false;
}

static const struct ws_protocol *choose(const char *asked, const struct ws_protocol *const *known,
					size_t count)
{
	const struct ws_protocol *plain = NULL;

	for (size_t i = 0; i < count; i++) {
		if (!known[i]->name)
			plain = known[i];
		else if (asked && lists(asked, known[i]->name))
			return known[i];
	}
	return plain;
}

static const struct ws_protocol *
check_protocol(struct exchange *exchange, const struct ws_protocol *const *known, size_t count)
{
	struct request *request = exchange->request;
	const struct ws_protocol *protocol =
		choose(request_header(request, "Sec-WebSocket-Protocol"), known, count);

	if (!protocol)
		exchange_refuse(exchange, 400, "unknown-protocol",
				"none of the protocols in Sec-WebSocket-Protocol is spoken here");
	else if (protocol->name)
		request_answer_header(request, "Sec-WebSocket-Protocol", protocol->name);
	return protocol;
}

/* ---- */

static void upgrade(struct exchange *exchange, const struct ws_protocol *protocol,
		    const char *authorization, const char *watch_token)
{
	struct ws *ws = exchange->gateway->ws;
	struct ws_socket *socket;

	if (atomic_load(&exchange->gateway->draining)) {
		exchange_refuse_busy(exchange, 503, "stopping", "this gateway is being stopped", 1);
		return;
	}
	if (atomic_fetch_add(&ws->count, 1) >= ws->sockets_max) {
		atomic_fetch_sub(&ws->count, 1);
		exchange_refuse_busy(exchange, 503, "too-busy",
				     "this gateway has as many WebSockets as it may", 5);
		return;
	}
	socket = ws_socket_new(ws, protocol);
	socket->authorization = authorization ? xstrdup(authorization) : NULL;
	socket->watch_token = watch_token ? xstrdup(watch_token) : NULL;
	request_upgrade(exchange->request, "websocket", ws_adopt, socket);
}

void ws_take(struct exchange *exchange, const struct ws_protocol *const *protocols, size_t count)
{
	const char *token = target_param(request_target(exchange->request), "token");
	const char *authorization = request_header(exchange->request, "Authorization");
	bool watches = token && is_watch_token(token);
	const struct ws_protocol *protocol;

	if (token && !watches && !authorization)
		authorization = arena_printf(exchange_arena(exchange), "Bearer %s", token);
	if (!check_upgrade(exchange) || !check_page(exchange) ||
	    !check_entry(exchange, authorization))
		return;
	protocol = check_protocol(exchange, protocols, count);
	if (protocol && check_key(exchange))
		upgrade(exchange, protocol, authorization, watches ? token : NULL);
}

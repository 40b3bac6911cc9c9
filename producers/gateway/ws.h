/* SPDX-License-Identifier: Apache-2.0 */
/* All WebSockets of a gateway: one thread, one epoll. Sockets come from the server when it has
 * upgraded them (ws_take in ws_protocol.h). For gateway_main. */
#ifndef PRODUCERS_GATEWAY_WS_H
#define PRODUCERS_GATEWAY_WS_H
#include <stddef.h>

#include "producers/gateway/gateway.h"

struct ws;

/* The gateway's other parts must be there. sockets_max: later ones are refused (503). */
struct ws *ws_start(struct gateway *gateway, size_t sockets_max);
size_t ws_count(const struct ws *ws); /* open sockets; any thread */
/* Each socket is closed (1001) when what it has asked is answered; any thread. */
void ws_drain(struct ws *ws);
/* Cuts off what is left. Inner requests must all be done. NULL-safe. */
void ws_stop(struct ws **ws);

#endif

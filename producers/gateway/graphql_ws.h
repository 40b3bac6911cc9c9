/* SPDX-License-Identifier: Apache-2.0 */
/* The protocol graphql-transport-ws: any number of operations over one WebSocket. */
#ifndef PRODUCERS_GATEWAY_GRAPHQL_WS_H
#define PRODUCERS_GATEWAY_GRAPHQL_WS_H
#include "producers/gateway/ws_protocol.h"

extern const struct ws_protocol graphql_ws_protocol;

#endif

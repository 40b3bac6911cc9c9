/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions over Server-Sent Events. */
#ifndef PRODUCERS_GATEWAY_GRAPHQL_SSE_H
#define PRODUCERS_GATEWAY_GRAPHQL_SSE_H
#include "producers/gateway/exchange.h"
#include "producers/gateway/graphql_subscription.h"

/* Ends the step. The subscription lies in the request's arena. */
void graphql_sse_start(struct exchange *exchange, struct graphql_subscription *subscription);

#endif

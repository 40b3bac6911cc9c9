/* SPDX-License-Identifier: Apache-2.0 */
/* POST and GET /graphql: GraphQL over HTTP. */
#ifndef PRODUCERS_GATEWAY_GRAPHQL_HTTP_H
#define PRODUCERS_GATEWAY_GRAPHQL_HTTP_H
#include "producers/gateway/exchange.h"

struct graphql_request;

void graphql_http_release(struct exchange *exchange); /* when the request ends */

#endif

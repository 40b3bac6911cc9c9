/* SPDX-License-Identifier: Apache-2.0 */
/* Which form of an answer a client takes. Pure. */
#ifndef PRODUCERS_GATEWAY_GRAPHQL_ACCEPT_H
#define PRODUCERS_GATEWAY_GRAPHQL_ACCEPT_H

enum graphql_accept {
	ACCEPT_NONE,    /* none that we have */
	ACCEPT_GRAPHQL, /* application/graphql-response+json; also when nothing is said */
	ACCEPT_JSON,    /* application/json: of older clients */
	ACCEPT_EVENTS,  /* text/event-stream: GraphQL over SSE, in its distinct connections mode */
};

enum graphql_accept graphql_accept_read(const char *header); /* NULL: none was sent */

#endif

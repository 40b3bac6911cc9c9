/* SPDX-License-Identifier: Apache-2.0 */
/* How a call ends: gRPC's code, the sentence, and google.rpc.Status with its details, made out of
 * what the HTTP API says of the same thing. */
#ifndef PRODUCERS_GRPC_GRPC_STATUS_H
#define PRODUCERS_GRPC_GRPC_STATUS_H
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"

enum grpc_code {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_ALREADY_EXISTS = 6,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16,
	GRPC_CODE_COUNT
};

struct grpc_status { /* texts in the arena of the call */
	enum grpc_code code;
	const char *message; /* percent-encoded; NULL: none */
	const char *details; /* base64 of a google.rpc.Status; NULL: none */
};

const char *grpc_code_name(enum grpc_code code); /* "INVALID_ARGUMENT" */

/* Of a problem document (JSON of ours) with its HTTP status; retry_after_s 0: nothing was said. */
void grpc_status_of_problem(struct arena *arena, int http_status, const char *problem, size_t bytes,
			    int retry_after_s, struct grpc_status *status_r);
/* Of what has no counterpart over HTTP. */
void grpc_status_plain(struct arena *arena, enum grpc_code code, const char *message,
		       struct grpc_status *status_r);

#endif

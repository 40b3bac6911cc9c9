/* SPDX-License-Identifier: Apache-2.0 */
/* Who comes in: the caller of an Authorization, or why not, in the words that every door has for
 * it. For the front, and for doors that hold a connection and ask before a request comes. */
#ifndef PRODUCERS_GATEWAY_ADMIT_H
#define PRODUCERS_GATEWAY_ADMIT_H
#include <stdbool.h>

#include "common/http/problem.h"
#include "producers/gateway/caller.h"
#include "producers/gateway/gateway.h"

struct admit_refusal { /* texts that live for ever */
	struct problem problem;
	const char *challenge; /* for WWW-Authenticate, or NULL */
	int retry_after_s;     /* 0: none */
};

/* Everybody, where nobody needs a key. True: *caller_r is a reference. Any thread, does not block.
 */
bool admit(struct gateway *gateway, const char *authorization, const struct caller **caller_r,
	   struct admit_refusal *refusal_r);

#endif

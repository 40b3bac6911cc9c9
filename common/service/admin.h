/* SPDX-License-Identifier: Apache-2.0 */
/* The small listener of a role that was started alone: GET /metrics, /healthz and /readyz, for
 * scrapers and balancers; of a worker also /stoppable. Under `run` only the gateway listens and
 * shows the figures of all. */
#ifndef COMMON_SERVICE_ADMIN_H
#define COMMON_SERVICE_ADMIN_H
#include <stdbool.h>

#include "common/base/error.h"
#include "common/base/strbuf.h"
#include "common/service/metrics.h"
#include "common/service/service.h"

struct admin;

/* Is the role ready? False after appending the reason to why_r (plain text). Called on the
 * listener's thread: must not block. */
typedef bool admin_ready_fn(void *ctx, struct strbuf *why_r);

/* How many jobs are in hand? The same. */
typedef size_t admin_in_hand_fn(void *ctx);

/* For a role that was started alone, where its settings say, else on 127.0.0.1:8081. `what` names
 * it in the log ("worker"). in_hand NULL: nothing is ever in hand. 0: *admin_r listens, or is NULL
 * because the default address is taken (by a gateway on the same machine, say), which is logged;
 * -1: an address that was asked for cannot be had. */
int admin_start_alone(const struct service *service, const char *what, admin_ready_fn *ready,
		      admin_in_hand_fn *in_hand, void *ctx, struct admin **admin_r,
		      struct error *err_r) must_check;
void admin_stop(struct admin **admin); /* NULL-safe; no call of `ready` is under way afterwards */

#endif

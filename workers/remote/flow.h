/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a call on the remote's thread: to its target, perhaps waiting there for room, rate or
 * a token, into libcurl's hands, and out again. For remote.c, on its thread; but for the wake. */
#ifndef WORKERS_REMOTE_FLOW_H
#define WORKERS_REMOTE_FLOW_H
#include "workers/remote/remote_call.h"

struct flow;
struct definitions;
struct metrics;

/* A call's owner was told; for calls that flow_take gave. */
typedef void flow_ended_fn(void *ctx);

struct flow *flow_new(const char *ca_file, flow_ended_fn *ended, void *ctx);
void flow_free(struct flow **flow); /* after flow_abort_all */
void flow_configure(struct flow *flow, const struct definitions *defs);
void flow_observe(struct flow *flow, struct metrics *metrics);
void flow_take(struct flow *flow, struct remote_call *call); /* a new one: taken */
void flow_abort(struct flow *flow, uint64_t handle);
void flow_abort_all(struct flow *flow);
/* Lets everything go on; waits for it at most this long. */
void flow_run(struct flow *flow, int64_t timeout_ms);
void flow_wake(struct flow *flow); /* any thread */
void flow_describe(struct flow *flow, struct strbuf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The methods, an array that can be read, and their handlers, one file for each kind. */
#ifndef PRODUCERS_GRPC_GRPC_METHODS_H
#define PRODUCERS_GRPC_GRPC_METHODS_H
#include "producers/grpc/grpc_call.h"

extern const struct grpc_method grpc_methods[];
extern const size_t grpc_method_count;

const struct grpc_method *grpc_method_find(const char *path); /* NULL: none */

grpc_message_fn grpc_enqueue, grpc_get, grpc_wait, grpc_cancel, grpc_list; /* grpc_jobs.c */
grpc_message_fn grpc_batch_message;                                        /* grpc_batch.c */
grpc_call_fn grpc_batch_finished;
grpc_message_fn grpc_watch; /* grpc_watch.c */
grpc_call_fn grpc_watch_drained, grpc_watch_draining, grpc_watch_closed;
grpc_message_fn grpc_health_check, grpc_health_watch; /* grpc_health.c */
grpc_call_fn grpc_health_draining;
grpc_message_fn grpc_reflect; /* grpc_reflection.c */
grpc_call_fn grpc_reflect_finished;

#endif

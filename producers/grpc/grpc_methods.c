/* SPDX-License-Identifier: Apache-2.0 */
/* The table. What is not in it is refused before its request is read. */
#include "producers/grpc/grpc_methods.h"

#include <string.h>

#define JOBS       "/windlass.v1.Jobs/"
#define HEALTH     "/grpc.health.v1.Health/"
#define REFLECTION ".ServerReflection/ServerReflectionInfo"

const struct grpc_method grpc_methods[] = {
	{ .path = JOBS "Enqueue", .message = grpc_enqueue },
	{ .path = JOBS "EnqueueBatch",
	  .client_streams = true,
	  .batch = true,
	  .message = grpc_batch_message,
	  .finished = grpc_batch_finished },
	{ .path = JOBS "Get", .message = grpc_get },
	{ .path = JOBS "Wait", .message = grpc_wait },
	{ .path = JOBS "Watch",
	  .server_streams = true,
	  .message = grpc_watch,
	  .drained = grpc_watch_drained,
	  .draining = grpc_watch_draining,
	  .closed = grpc_watch_closed },
	{ .path = JOBS "Cancel", .message = grpc_cancel },
	{ .path = JOBS "List", .message = grpc_list },
	{ .path = HEALTH "Check", .message = grpc_health_check },
	{ .path = HEALTH "Watch",
	  .server_streams = true,
	  .message = grpc_health_watch,
	  .draining = grpc_health_draining },
	{ .path = "/grpc.reflection.v1" REFLECTION,
	  .client_streams = true,
	  .server_streams = true,
	  .message = grpc_reflect,
	  .finished = grpc_reflect_finished },
	{ .path = "/grpc.reflection.v1alpha" REFLECTION,
	  .client_streams = true,
	  .server_streams = true,
	  .message = grpc_reflect,
	  .finished = grpc_reflect_finished },
};
const size_t grpc_method_count = ARRAY_LEN(grpc_methods);

const struct grpc_method *grpc_method_find(const char *path)
{
	for (size_t i = 0; i < grpc_method_count; i++) {
		if (strcmp(grpc_methods[i].path, path) == 0)
			return &grpc_methods[i];
	}
	return NULL;
}

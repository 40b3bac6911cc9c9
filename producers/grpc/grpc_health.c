/* SPDX-License-Identifier: Apache-2.0 */
/* grpc.health.v1: serving, until the gateway is being stopped. Whether the store answers is what
 * /readyz is for: a balancer that took every gateway out while the store restarts would turn
 * answers that say so into none. */
#include <string.h>

#include <grpc/health/v1/health.pb-c.h>

#include "producers/grpc/grpc_descriptors.h"
#include "producers/grpc/grpc_methods.h"

static bool is_known(const char *service)
{
	if (!*service)
		return true;
	for (size_t i = 0; i < grpc_service_count; i++) {
		if (strcmp(grpc_services[i], service) == 0)
			return true;
	}
	return false;
}

static void give(struct grpc_call *call,
		 Grpc__Health__V1__HealthCheckResponse__ServingStatus status)
{
	Grpc__Health__V1__HealthCheckResponse response =
		GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	response.status = status;
	grpc_call_give(call, &response.base);
}

static Grpc__Health__V1__HealthCheckResponse__ServingStatus now(const struct grpc_call *call)
{
	bool stopping = call->loop->draining || atomic_load(&call->loop->gateway->draining);

	return stopping ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
			: GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
}

/* NULL: refused. */
static const char *read_service(struct grpc_call *call, const uint8_t *data, size_t bytes)
{
	const Grpc__Health__V1__HealthCheckRequest *request = (const void *)grpc_call_unpack(
		call, &grpc__health__v1__health_check_request__descriptor, data, bytes);

	return request ? request->service : NULL;
}

void grpc_health_check(struct grpc_call *call, const uint8_t *data, size_t bytes)
{
	const char *service = read_service(call, data, bytes);

	if (!service)
		return;
	if (!is_known(service)) {
		grpc_call_end_plain(call, GRPC_NOT_FOUND, "unknown service");
		return;
	}
	give(call, now(call));
	grpc_call_end_ok(call);
}

void grpc_health_watch(struct grpc_call *call, const uint8_t *data, size_t bytes)
{
	const char *service = read_service(call, data, bytes);

	if (!service)
		return;
	grpc_call_idle(call);
	give(call,
	     is_known(service)
		     ? now(call)
		     : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN);
}

void grpc_health_draining(struct grpc_call *call)
{
	if (call->half_closed)
		give(call, now(call));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The table. tests/scenario/test_gateway_openapi.py checks that openapi.json has the same rows. */
#include "producers/gateway/routes.h"

#include "common/base/check.h"

const struct route routes[] = {
	{ "POST", "/v1/jobs", ACCESS_KEY, SCOPE_ENQUEUE, BODY_JOB, post_job },
	{ "GET", "/v1/jobs", ACCESS_KEY, SCOPE_READ, BODY_NONE, list_jobs },
	{ "POST", "/v1/jobs/batch", ACCESS_KEY, SCOPE_ENQUEUE, BODY_BATCH, post_batch },
	{ "POST", "/v1/jobs/redrive", ACCESS_ADMIN, SCOPE_RETRY, BODY_OPTIONAL, redrive_jobs },
	{ "GET", "/v1/jobs/{id}", ACCESS_WATCH, SCOPE_READ, BODY_NONE, get_job },
	{ "GET", "/v1/jobs/{id}/events", ACCESS_WATCH_PARAM, SCOPE_READ, BODY_NONE, watch_job },
	{ "GET", "/v1/events", ACCESS_KEY_PARAM, SCOPE_READ, BODY_NONE, watch_jobs },
	{ "POST", "/v1/jobs/{id}/cancel", ACCESS_KEY, SCOPE_CANCEL, BODY_OPTIONAL, cancel_job },
	{ "POST", "/v1/jobs/{id}/retry", ACCESS_ADMIN, SCOPE_RETRY, BODY_OPTIONAL, retry_job },
	{ "POST", "/v1/jobs/{id}/resolve", ACCESS_ADMIN, SCOPE_RETRY, BODY_JOB, resolve_job },
	{ "POST", "/v1/jobs/{id}/copy", ACCESS_KEY, SCOPE_READ, BODY_OPTIONAL, copy_job },
	{ "GET", "/v1/queues", ACCESS_KEY, SCOPE_READ, BODY_NONE, list_queues },
	{ "POST", "/v1/queues/{name}/pause", ACCESS_OPERATOR, SCOPE_ADMIN, BODY_OPTIONAL,
	  pause_queue },
	{ "POST", "/v1/queues/{name}/resume", ACCESS_OPERATOR, SCOPE_ADMIN, BODY_OPTIONAL,
	  resume_queue },
	{ "GET", "/v1/workers", ACCESS_OPERATOR, SCOPE_ADMIN, BODY_NONE, list_workers },
	{ "PUT", "/v1/workers/{name}", ACCESS_OPERATOR, SCOPE_ADMIN, BODY_JOB, put_workers },
	{ "GET", "/v1/pools", ACCESS_OPERATOR, SCOPE_ADMIN, BODY_NONE, list_pools },
	{ "GET", "/v1/scaling/{name}", ACCESS_OPERATOR, SCOPE_READ, BODY_NONE, get_scaling },
	{ "GET", "/v1/audit", ACCESS_OPERATOR, SCOPE_ADMIN, BODY_NONE, list_audit },
	{ "GET", "/v1/targets", ACCESS_OPERATOR, SCOPE_ADMIN, BODY_NONE, list_targets },
	{ "GET", "/v1/webhooks/disabled", ACCESS_OPERATOR, SCOPE_ADMIN, BODY_NONE,
	  list_disabled_webhooks },
	{ "POST", "/v1/webhooks/enable", ACCESS_OPERATOR, SCOPE_ADMIN, BODY_OPTIONAL,
	  enable_webhook },
	{ "POST", "/graphql", ACCESS_KEY, SCOPE_NONE, BODY_JOB, post_graphql },
	{ "GET", "/graphql", ACCESS_KEY_PARAM, SCOPE_NONE, BODY_NONE, get_graphql },
	{ "GET", "/v1/ws", ACCESS_PUBLIC, SCOPE_NONE, BODY_NONE, open_socket },
	{ "GET", "/asyncapi.json", ACCESS_PUBLIC, SCOPE_NONE, BODY_NONE, get_asyncapi },
	{ "GET", "/openapi.json", ACCESS_PUBLIC, SCOPE_NONE, BODY_NONE, get_openapi },
	{ "GET", "/client.js", ACCESS_PUBLIC, SCOPE_NONE, BODY_NONE, get_client },
	{ "GET", "/pages/{name}", ACCESS_PUBLIC, SCOPE_NONE, BODY_NONE, get_page },
	{ "GET", "/stoppable", ACCESS_OPERATOR, SCOPE_READ, BODY_NONE, get_stoppable },
	{ "GET", "/metrics", ACCESS_OPERATOR, SCOPE_ADMIN, BODY_NONE, get_metrics },
	{ "GET", "/healthz", ACCESS_PUBLIC, SCOPE_NONE, BODY_NONE, get_health },
	{ "GET", "/readyz", ACCESS_PUBLIC, SCOPE_NONE, BODY_NONE, get_ready },
};
const size_t route_count = ARRAY_LEN(routes);

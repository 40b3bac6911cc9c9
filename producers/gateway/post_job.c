/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/jobs: one job. */
#include "producers/gateway/enqueue.h"
#include "producers/gateway/routes.h"

void post_job(struct exchange *exchange)
{
	static const char *const params[] = { "wait" };
	struct json_slice text;

	if (!exchange_check_params(exchange, params, ARRAY_LEN(params)) ||
	    !exchange_parse_wait(exchange) || !exchange_check_body(exchange))
		return;
	text.text = request_body(exchange->request, &text.bytes);
	enqueue_one(exchange, text, exchange->body, text);
}

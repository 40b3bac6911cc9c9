/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/jobs/{id}: one job, at once or when it has ended. */
#include <stdio.h>

#include "producers/gateway/job_json.h"
#include "producers/gateway/routes.h"
#include "producers/gateway/waiting.h"

static void answer_job(struct exchange *exchange)
{
	struct strbuf json;
	char text[32];

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	if (exchange->wait_preferred) {
		snprintf(text, sizeof(text), "wait=%lld", (long long)exchange->wait_ms / 1000);
		request_answer_header(exchange->request, "Preference-Applied", text);
	}
	strbuf_init(&json);
	job_json_write(&json, &exchange->view, exchange->defs);
	exchange_answer(exchange, 200, &json);
}

void get_job(struct exchange *exchange)
{
	static const char *const params[] = { "wait", "watch_token" };

	if (exchange_check_params(exchange, params, ARRAY_LEN(params)) &&
	    exchange_parse_wait(exchange) && exchange_parse_id(exchange))
		waiting_look(exchange, answer_job);
}

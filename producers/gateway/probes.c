/* SPDX-License-Identifier: Apache-2.0 */
/* What machines ask: /healthz, /readyz, /metrics, /openapi.json. None of them asks the store. */
#include "producers/gateway/exchange.h"
#include "producers/gateway/monitor.h"
#include "producers/gateway/routes.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The file beside this one, as it is. */
__asm__(".pushsection .rodata\n"
	".global openapi_json\n"
	"openapi_json:\n"
	".incbin \"producers/gateway/openapi.json\"\n"
	".global openapi_json_end\n"
	"openapi_json_end:\n"
	".byte 0\n"
	".popsection\n");
extern const char openapi_json[], openapi_json_end[];

void get_openapi(struct exchange *exchange)
{
	size_t bytes = (size_t)(openapi_json_end - openapi_json);

	request_answer_static(exchange->request, 200, JSON_CONTENT_TYPE, openapi_json, bytes);
}

void get_metrics(struct exchange *exchange)
{
	struct strbuf text;

	strbuf_init(&text);
	metrics_render(exchange->gateway->metrics, &text);
	request_answer(exchange->request, 200, METRICS_CONTENT_TYPE, &text);
}

void get_health(struct exchange *exchange)
{
	struct strbuf json;

	strbuf_init(&json);
	strbuf_addstr(&json, "{\"status\":\"ok\"}");
	exchange_answer(exchange, 200, &json);
}

void get_ready(struct exchange *exchange)
{
	struct gateway *gateway = exchange->gateway;
	struct strbuf reasons, json;
	bool ready = false;

	strbuf_init(&reasons);
	if (atomic_load(&gateway->draining))
		strbuf_json(&reasons, "this gateway is being stopped");
	else if (!atomic_load(&gateway->listening))
		strbuf_json(&reasons, "this gateway does not listen on all its addresses yet");
	else
		ready = true;
	ready = monitor_ready(gateway->monitor, &reasons) && ready;
	strbuf_init(&json);
	strbuf_addstr(&json,
		      ready ? "{\"ready\":true,\"reasons\":[" : "{\"ready\":false,\"reasons\":[");
	strbuf_add(&json, reasons.data, reasons.len);
	strbuf_addstr(&json, "]}");
	strbuf_release(&reasons);
	exchange_answer(exchange, ready ? 200 : 503, &json);
}

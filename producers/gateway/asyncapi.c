/* SPDX-License-Identifier: Apache-2.0 */
/* GET /asyncapi.json: what is spoken at /v1/ws, for machines. */
#include "producers/gateway/exchange.h"
#include "producers/gateway/routes.h"

/* The file beside this one, as it is. */
__asm__(".pushsection .rodata\n"
	".global asyncapi_json\n"
	"asyncapi_json:\n"
	".incbin \"producers/gateway/asyncapi.json\"\n"
	".global asyncapi_json_end\n"
	"asyncapi_json_end:\n"
	".byte 0\n"
	".popsection\n");
extern const char asyncapi_json[], asyncapi_json_end[];

void get_asyncapi(struct exchange *exchange)
{
	size_t bytes = (size_t)(asyncapi_json_end - asyncapi_json);

	request_answer_static(exchange->request, 200, JSON_CONTENT_TYPE, asyncapi_json, bytes);
}

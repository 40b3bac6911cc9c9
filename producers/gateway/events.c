/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/jobs/{id}/events and GET /v1/events: how a job moves, or those of a filter, as
 * Server-Sent Events. Each event's data is the job as GET shows it. */
#include "producers/gateway/event_stream.h"
#include "producers/gateway/routes.h"

static void write_event(struct strbuf *out, const struct watch_event *event, void *ctx)
{
	(void)ctx;
	strbuf_addstr(out, event->progress ? "event: progress\nid: " : "event: state\nid: ");
	strbuf_addstr(out, event->id);
	strbuf_addch(out, '\n');
	event_stream_data(out, event->json, event->bytes);
}

/* After a job's end there is nothing to say. */
static void write_end(struct strbuf *out, enum watch_end why, void *ctx)
{
	(void)ctx;
	if (why == WATCH_OVER)
		return;
	strbuf_printf(out, "event: end\ndata: {\"reason\":\"%s\"}\n\n", watch_end_name(why));
}

static const struct event_stream_form form = {
	.event = write_event,
	.end = write_end,
	.over_is_204 = true,
};

void watch_job(struct exchange *exchange)
{
	static const char *const params[] = { "watch_token", "token", "last_event_id",
					      "lastEventId" };
	struct watch_filter filter = { .reach = exchange->reach };

	if (!exchange_check_params(exchange, params, ARRAY_LEN(params)) ||
	    !exchange_parse_id(exchange))
		return;
	filter.id = exchange->id;
	event_stream_start(exchange, &filter, event_stream_last_id(exchange), &form, NULL);
}

static bool parse_filter(struct exchange *exchange, struct watch_filter *filter)
{
	const struct target *target = request_target(exchange->request);

	filter->type = target_param(target, "type");
	filter->queue = target_param(target, "queue");
	filter->tag = target_param(target, "tag");
	if ((!filter->type || job_name_valid(filter->type)) &&
	    (!filter->queue || job_name_valid(filter->queue)) &&
	    (!filter->tag || job_name_valid(filter->tag)))
		return true;
	exchange_refuse(exchange, 400, "bad-parameter", "type, queue and tag are names");
	return false;
}

void watch_jobs(struct exchange *exchange)
{
	static const char *const params[] = { "type",  "queue",         "tag",
					      "token", "last_event_id", "lastEventId" };
	struct watch_filter filter = { .reach = exchange->reach };

	if (exchange_check_params(exchange, params, ARRAY_LEN(params)) &&
	    parse_filter(exchange, &filter))
		event_stream_start(exchange, &filter, event_stream_last_id(exchange), &form, NULL);
}

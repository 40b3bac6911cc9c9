/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/jobs/redrive: discarded (or cancelled) jobs that match go back to waiting. */
#include <stdlib.h>
#include <string.h>

#include "common/store/control.h"
#include "producers/gateway/exchange.h"
#include "producers/gateway/routes.h"

#define LIMIT_MAX 100000
#define RATE_MAX  1e6

struct redrive {
	struct job_filter filter;
	double rate_per_s;
	bool dry_run;
	const char *asked; /* the body, for the audit */
	int64_t count;
};

static bool bad(struct exchange *exchange, const char *pointer, const char *detail)
{
	exchange_refuse_at(exchange, 422, "invalid", pointer, detail);
	return false;
}

static bool read_name(struct exchange *exchange, const char *member, const char **name_r)
{
	const json_t *value = json_object_get(exchange->body, member);

	*name_r = value ? json_string_value(value) : NULL;
	if (!value || (*name_r && job_name_valid(*name_r)))
		return true;
	return bad(exchange, arena_printf(exchange_arena(exchange), "/%s", member),
		   "expected a name");
}

static bool read_state(struct exchange *exchange, struct redrive *redrive)
{
	const json_t *value = json_object_get(exchange->body, "state");
	const char *text = json_string_value(value);

	redrive->filter.state = JOB_DISCARDED;
	if (!value)
		return true;
	if (!text || !job_state_parse(text, &redrive->filter.state) ||
	    (redrive->filter.state != JOB_DISCARDED && redrive->filter.state != JOB_CANCELLED))
		return bad(exchange, "/state", "expected discarded or cancelled");
	return true;
}

static bool read_numbers(struct exchange *exchange, struct redrive *redrive)
{
	const json_t *limit = json_object_get(exchange->body, "limit");
	const json_t *rate = json_object_get(exchange->body, "rate");
	const json_t *dry_run = json_object_get(exchange->body, "dry_run");

	if (limit) {
		json_int_t n = json_integer_value(limit);
		if (n < 1 || n > LIMIT_MAX)
			return bad(exchange, "/limit", "expected a number from 1 to 100000");
		redrive->filter.limit = (size_t)n;
	}
	if (rate) {
		redrive->rate_per_s = json_number_value(rate);
		if (!(redrive->rate_per_s > 0) || redrive->rate_per_s > RATE_MAX)
			return bad(exchange, "/rate",
				   "expected jobs a second, more than 0 and at most 1000000");
	}
	if (dry_run && !json_is_boolean(dry_run))
		return bad(exchange, "/dry_run", "expected true or false");
	redrive->dry_run = json_is_true(dry_run);
	return true;
}

static const char *dump_body(struct exchange *exchange)
{
	char *text = exchange->body ? json_dumps(exchange->body, JSON_COMPACT) : NULL;
	const char *copy = text ? arena_strdup(exchange_arena(exchange), text) : NULL;

	free(text);
	return copy;
}

static int ask_redrive(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct redrive *redrive = exchange->own;

	const struct audit *audit =
		exchange_audit(exchange, "jobs.redrive",
			       redrive->filter.queue ? redrive->filter.queue : "", redrive->asked);

	return control_redrive(store, &redrive->filter, redrive->rate_per_s, redrive->dry_run,
			       audit, &redrive->count, err_r);
}

static void redrive_answered(struct exchange *exchange)
{
	const struct redrive *redrive = exchange->own;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	if (!redrive->dry_run)
		bell_ring(exchange->gateway->bell, BELL_READY);
	strbuf_init(&json);
	strbuf_addstr(&json, "{\"count\":");
	strbuf_addi(&json, redrive->count);
	strbuf_addstr(&json, redrive->dry_run ? ",\"dry_run\":true}" : ",\"dry_run\":false}");
	exchange_answer(exchange, 200, &json);
}

void redrive_jobs(struct exchange *exchange)
{
	static const char *const members[] = { "state", "type", "queue",  "tag",
					       "limit", "rate", "dry_run" };
	struct redrive *redrive = ARENA_NEW(exchange_arena(exchange), struct redrive);
	struct job_filter *filter = &redrive->filter;
	size_t bytes;

	exchange->own = redrive;
	filter->reach = exchange->reach;
	request_body(exchange->request, &bytes);
	if (!exchange_check_params(exchange, NULL, 0))
		return;
	if (bytes > 0 && (!exchange_parse_body(exchange) ||
			  !exchange_check_members(exchange, members, ARRAY_LEN(members))))
		return;
	redrive->asked = dump_body(exchange);
	if (read_state(exchange, redrive) && read_name(exchange, "type", &filter->type) &&
	    read_name(exchange, "queue", &filter->queue) &&
	    read_name(exchange, "tag", &filter->tag) && read_numbers(exchange, redrive))
		exchange_ask(exchange, ask_redrive, redrive_answered);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Each event is one execution of the document with the event as its root value. */
#include "producers/gateway/graphql_subscription.h"

#include <stdlib.h>
#include <string.h>

#include "producers/gateway/graphql_shape.h"
#include "producers/graphql/execute.h"

static bool start(const struct graphql_subscription *subscription, struct arena *arena,
		  struct execution *execution)
{
	struct execute_request request = {
		.types = subscription->door->types,
		.arena = arena,
		.document = subscription->prepared.document,
		.operation = subscription->prepared.operation,
		.variables = subscription->variables,
		.hide_suggestions = !subscription->door->introspection,
	};

	return execute_start(execution, &request) && execution->field_count == 1 &&
	       execution->fields[0].elsewhere;
}

static const char *text_of(struct arena *arena, const json_t *args, const char *name)
{
	return arena_strdup(arena, json_string_value(json_object_get(args, name)));
}

/* NULL: it is one. */
static const char *read_filter(struct graphql_subscription *subscription, struct arena *arena,
			       const json_t *args)
{
	struct watch_filter *filter = &subscription->filter;
	const char *id = text_of(arena, args, "id");

	filter->queue = text_of(arena, args, "queue");
	filter->type = text_of(arena, args, "type");
	filter->tag = text_of(arena, args, "tag");
	subscription->last_event_id = text_of(arena, args, "lastEventId");
	if (!id == !(filter->queue || filter->type || filter->tag))
		return "jobEvents takes an id, or some of queue, type and tag";
	if (id && !uuid_parse(id, &filter->id))
		return "there is no such job: the id is not a UUID";
	if ((filter->queue && !job_name_valid(filter->queue)) ||
	    (filter->type && !job_name_valid(filter->type)) ||
	    (filter->tag && !job_name_valid(filter->tag)))
		return "queue, type and tag are names";
	return NULL;
}

bool graphql_subscription_read(struct graphql_subscription *subscription, struct arena *arena,
			       json_t **answer_r)
{
	struct execution execution;
	const char *why;

	*answer_r = NULL;
	if (!start(subscription, arena, &execution)) {
		*answer_r = execute_finish(&execution, subscription->prepared.text);
	} else {
		why = read_filter(subscription, arena, execution.fields[0].args);
		if (why)
			*answer_r = graphql_refusal(why, "bad-parameter");
	}
	execute_release(&execution);
	return !*answer_r;
}

void graphql_subscription_event(const struct graphql_subscription *subscription,
				const struct watch_event *event, struct strbuf *out)
{
	struct arena *arena = arena_new(0);
	struct execution execution;
	/* our own text, which may be nested deeper than what is taken from outside */
	json_t *job = json_loadb(event->json, event->bytes, JSON_ALLOW_NUL, NULL), *answer;
	char *text;

	if (start(subscription, arena, &execution) && !job)
		execute_error(&execution, 0, "the job cannot be shown", NULL);
	else if (execution.field_count == 1)
		execute_value(&execution, 0,
			      json_pack("{s:s,s:o}", "eventId", event->id, "job",
					graphql_shape_job(job)));
	answer = execute_finish(&execution, subscription->prepared.text);
	execute_release(&execution);
	text = json_dumps(answer, JSON_COMPACT);
	strbuf_addstr(out, text);
	free(text);
	json_decref(answer);
	json_decref(job);
	arena_free(&arena);
}

json_t *graphql_subscription_end(enum watch_end why)
{
	switch (why) {
	case WATCH_OVER:
	case WATCH_ON:
		return NULL;
	case WATCH_UNKNOWN:
		return graphql_refusal("there is no such job", "unknown-job");
	case WATCH_GONE:
		return graphql_refusal("what was then is no longer known: look at the jobs anew",
				       "past-retention");
	case WATCH_AWAY:
		return graphql_refusal("the store does not take this now", "store-unavailable");
	case WATCH_OVERRUN:
		return graphql_refusal("events were taken too slowly", "overrun");
	case WATCH_DRAIN:
		return graphql_refusal("this gateway is being stopped: subscribe again",
				       "stopping");
	}
	return NULL;
}

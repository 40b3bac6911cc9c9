/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/jobs/batch: up to 10,000 jobs, all or none. A JSON array, or one job a line. Read on a
 * reader thread: 16 MiB would hold up a server thread's other clients. Read job by job, without a
 * tree: one of 16 MiB of text may take a hundred times that. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/idmap.h"
#include "producers/gateway/enqueue.h"
#include "producers/gateway/job_json.h"
#include "producers/gateway/routes.h"

#define BAD_MAX 100 /* faults told in one answer; behind them nothing is read */

struct batch {
	struct new_job *jobs;
	size_t count, cap;
	struct idmap *seen; /* client-made ids and hashes of unique keys */
	struct problem_place bad[BAD_MAX];
	size_t bad_count;
	struct problem problem; /* status 0: none */
};

static void refuse_batch(struct batch *batch, int status, const char *slug, const char *detail)
{
	batch->problem = (struct problem){ .status = status, .slug = slug, .detail = detail };
}

static void add_bad(struct exchange *exchange, struct batch *batch, const char *pointer,
		    const char *detail)
{
	struct arena *arena = exchange_arena(exchange);

	if (batch->bad_count == BAD_MAX)
		return;
	batch->bad[batch->bad_count++] = (struct problem_place){
		.pointer = arena_printf(arena, "/%zu%s", batch->count, pointer),
		.detail = arena_strdup(arena, detail),
	};
}

static void add_refused(struct exchange *exchange, struct batch *batch,
			const struct job_request_error *error)
{
	struct problem_place places[SCHEMA_FAULTS_MAX];
	size_t count = exchange_places(error, places);

	for (size_t i = 0; i < count && batch->bad_count < BAD_MAX; i++) {
		add_bad(exchange, batch, places[i].pointer, places[i].detail);
		batch->bad[batch->bad_count - 1].keyword = places[i].keyword;
	}
}

/* Within one transaction no two may have the same id or unique key. */
static bool is_twin(struct batch *batch, const struct new_job *job)
{
	static const struct uuid namespace = { { 1 } };
	struct uuid key;
	char *name;

	if (job->client_id && idmap_put(batch->seen, &job->id, batch))
		return true;
	if (!job->unique_key)
		return false;
	size_t type_bytes = strlen(job->type), key_bytes = strlen(job->unique_key);
	name = xmalloc(type_bytes + 1 + key_bytes + 1);
	memcpy(name, job->type, type_bytes + 1);
	memcpy(name + type_bytes + 1, job->unique_key, key_bytes + 1);
	uuid_named(&namespace, name, type_bytes + 1 + key_bytes, &key);
	free(name);
	return idmap_put(batch->seen, &key, batch) != NULL;
}

/* Not longer than a single job may be. */
static bool is_short(const struct exchange *exchange, struct json_slice text)
{
	return text.bytes <= enqueue_context(exchange).payload_bytes_max;
}

/* `bad`, a part of `text`, is where it stops being JSON; a long one is not looked into. */
static void refuse_json(struct exchange *exchange, struct batch *batch, struct json_slice text,
			struct json_slice bad)
{
	struct json_error error = { .line = 1, .column = 1, .message = "malformed JSON" };
	int line, column;

	if (is_short(exchange, bad))
		json_decref(json_text_parse(bad.text, bad.bytes, &error));
	json_text_place(text.text, (size_t)(bad.text - text.text), &line, &column);
	refuse_batch(batch, 400, "malformed-json",
		     arena_strdup(exchange_arena(exchange), error.message));
	batch->problem.line = error.line + line - 1;
	batch->problem.column = error.line == 1 ? error.column + column - 1 : error.column;
}

static void take_job(struct exchange *exchange, struct batch *batch, struct json_slice text)
{
	struct job_request_context context = enqueue_context(exchange);
	struct job_request_error error;
	struct new_job *job = &batch->jobs[batch->count];

	if (!is_short(exchange, text))
		add_bad(exchange, batch, "",
			arena_printf(exchange_arena(exchange), "%zu bytes; expected at most %zu",
				     text.bytes, context.payload_bytes_max));
	else if (job_request_parse(&context, text, NULL, exchange_arena(exchange), job, &error) < 0)
		add_refused(exchange, batch, &error);
	else if (!enqueue_in_scope(exchange, job))
		add_bad(exchange, batch, "/type", ENQUEUE_NOT_IN_SCOPE);
	else if (is_twin(batch, job))
		add_bad(exchange, batch, "",
			"another job of this batch has the same id or unique key");
	else
		job->traceparent = enqueue_traceparent(exchange);
	batch->count++;
}

/* One element or line of `text`. True: go on with the next one. */
static bool add_job(struct exchange *exchange, struct batch *batch, struct json_slice text,
		    struct json_slice one)
{
	if (batch->count == SUBMIT_JOBS_MAX) {
		refuse_batch(batch, 422, "batch-too-large", "a batch has at most 10000 jobs");
		return false;
	}
	if (is_short(exchange, one) && !json_text_check(one.text, one.bytes)) {
		refuse_json(exchange, batch, text, one);
		return false;
	}
	if (batch->count == batch->cap) {
		batch->cap = batch->cap ? batch->cap * 2 : 64;
		batch->jobs = xrealloc(batch->jobs, batch->cap * sizeof(*batch->jobs));
	}
	take_job(exchange, batch, one);
	return batch->bad_count < BAD_MAX;
}

static size_t leading_blanks(struct json_slice text)
{
	size_t n = 0;

	while (n < text.bytes && text.text[n] && strchr(" \t\r\n", text.text[n]))
		n++;
	return n;
}

static struct json_slice behind(struct json_slice text, const char *at)
{
	size_t bytes = text.bytes - (size_t)(at - text.text);
	struct json_slice rest = { .text = at, .bytes = bytes };
	size_t blanks = leading_blanks(rest);

	return (struct json_slice){ .text = at + blanks, .bytes = bytes - blanks };
}

static void read_array(struct exchange *exchange, struct batch *batch, struct json_slice text)
{
	const char *cursor = NULL;
	struct json_slice element, rest;
	int got;

	while ((got = json_slice_element(text, &cursor, &element)) == 1) {
		if (!add_job(exchange, batch, text, element))
			return;
	}
	rest = behind(text, got == 0 ? cursor + 1 : cursor ? cursor : text.text);
	if (got < 0 || rest.bytes > 0)
		refuse_json(exchange, batch, text, is_short(exchange, text) ? text : rest);
}

static void parse_array(struct exchange *exchange, struct batch *batch, struct json_slice text)
{
	size_t blanks = leading_blanks(text);

	if (blanks < text.bytes && text.text[blanks] == '[')
		read_array(exchange, batch, text);
	else if (json_text_check(text.text, text.bytes))
		refuse_batch(batch, 422, "invalid", "expected an array of jobs");
	else
		refuse_json(exchange, batch, text, text);
}

static void parse_lines(struct exchange *exchange, struct batch *batch, struct json_slice text)
{
	const char *end = text.text + text.bytes;

	for (const char *at = text.text; at < end;) {
		const char *feed = memchr(at, '\n', (size_t)(end - at));
		const char *stop = feed ? feed : end;
		struct json_slice line = { .text = at, .bytes = (size_t)(stop - at) };
		if (leading_blanks(line) < line.bytes && !add_job(exchange, batch, text, line))
			return;
		at = stop + 1;
	}
}

static void judge(struct batch *batch)
{
	if (batch->problem.status)
		return;
	if (batch->bad_count) {
		refuse_batch(batch, 422, "invalid",
			     "some jobs of the batch are refused, so none was stored");
		batch->problem.places = batch->bad;
		batch->problem.place_count = batch->bad_count;
	} else if (batch->count == 0) {
		refuse_batch(batch, 422, "invalid", "the batch is empty");
	}
}

static int parse_batch(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct batch *batch = exchange->own;
	const char *type = request_header(exchange->request, "Content-Type");
	struct json_slice text;

	(void)store;
	(void)err_r;
	text.text = request_body(exchange->request, &text.bytes);
	batch->seen = idmap_new();
	if (strncasecmp(type, NDJSON_CONTENT_TYPE, strlen(NDJSON_CONTENT_TYPE)) == 0)
		parse_lines(exchange, batch, text);
	else
		parse_array(exchange, batch, text);
	judge(batch);
	idmap_free(&batch->seen);
	if (batch->jobs) {
		struct new_job *malloced = batch->jobs;
		batch->jobs = arena_dup(exchange_arena(exchange), malloced,
					batch->count * sizeof(*malloced));
		free(malloced);
	}
	return 0;
}

/* Of one that was there before, only for those who may read all of the tenant's. */
static void add_watch_tokens(struct exchange *exchange, struct strbuf *json)
{
	const struct acceptance *acceptance = &exchange->submission.acceptance;
	bool reads_all = caller_reads_all(exchange->caller);
	int64_t now_ms = clock_wall_ms();
	char token[WATCH_TOKEN_TEXT];

	strbuf_addstr(json, ",\"watch_tokens\":[");
	for (size_t i = 0; i < acceptance->job_count; i++) {
		const struct accepted_job *accepted = &acceptance->accepted[i];
		if (accepted->unique_conflict && !reads_all) {
			strbuf_addstr(json, i ? ",null" : "null");
			continue;
		}
		watch_token_make(&exchange->gateway->watch, &accepted->id, now_ms, token);
		strbuf_addstr(json, i ? ",\"" : "\"");
		strbuf_add(json, token, WATCH_TOKEN_TEXT - 1);
		strbuf_addch(json, '"');
	}
	strbuf_addch(json, ']');
}

static void answer_ids(struct exchange *exchange)
{
	const struct acceptance *acceptance = &exchange->submission.acceptance;
	size_t conflicts = 0;
	struct strbuf json;

	strbuf_init(&json);
	strbuf_reserve(&json, acceptance->job_count * (40 + WATCH_TOKEN_TEXT + 2) + 96);
	strbuf_addstr(&json, "{\"ids\":[");
	for (size_t i = 0; i < acceptance->job_count; i++) {
		if (i)
			strbuf_addch(&json, ',');
		job_json_id(&json, &acceptance->accepted[i].id);
	}
	strbuf_addch(&json, ']');
	add_watch_tokens(exchange, &json);
	for (size_t i = 0; i < acceptance->job_count; i++) {
		if (!acceptance->accepted[i].unique_conflict)
			continue;
		strbuf_addstr(&json, conflicts++ ? "," : ",\"unique_conflicts\":[");
		strbuf_addi(&json, (int64_t)i);
	}
	strbuf_addstr(&json, conflicts ? "]}" : "}");
	exchange_answer(exchange, 202, &json);
}

static void batch_accepted(struct exchange *exchange)
{
	if (!enqueue_refused(exchange))
		answer_ids(exchange);
}

static void batch_parsed(struct exchange *exchange)
{
	struct acceptance *acceptance = &exchange->submission.acceptance;
	struct batch *batch = exchange->own;
	struct json_slice text;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	if (batch->problem.status) {
		request_refuse(exchange->request, &batch->problem);
		return;
	}
	text.text = request_body(exchange->request, &text.bytes);
	if (!enqueue_take_key(exchange, text.text, text.bytes))
		return;
	acceptance->jobs = batch->jobs;
	acceptance->job_count = batch->count;
	acceptance->accepted =
		ARENA_ARRAY(exchange_arena(exchange), struct accepted_job, batch->count);
	enqueue_send(exchange, batch_accepted);
}

void post_batch(struct exchange *exchange)
{
	if (!exchange_check_params(exchange, NULL, 0))
		return;
	exchange->own = ARENA_NEW(exchange_arena(exchange), struct batch);
	exchange_compute(exchange, parse_batch, batch_parsed);
}

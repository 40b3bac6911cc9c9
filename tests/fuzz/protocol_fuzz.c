/* SPDX-License-Identifier: Apache-2.0 */
/* What a handler may write on its pipe: any line is either refused with words, or becomes an
 * outcome, a question or progress within every limit. The first byte picks whether the job had been
 * asked to stop. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "workers/pool/host_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const char definitions_text[] =
	"jobs: {a: {sql: SELECT 1}, b: {sql: SELECT 1, payload: {required: [x]}}}\n";
static const struct host_limits limits = { .payload_bytes_max = 1024, .result_bytes_max = 256 };

static struct definitions *definitions(void)
{
	static struct definitions *defs;

	if (!defs)
		defs = definitions_parse(definitions_text, sizeof(definitions_text) - 1, "f.yaml",
					 stderr);
	CHECK(defs);
	return defs;
}

static void check_writes(const struct write_set *writes)
{
	CHECK(writes->statement_count <= WRITE_SET_STATEMENTS_MAX);
	for (size_t i = 0; i < writes->statement_count; i++) {
		const struct sql_statement *statement = &writes->statements[i];

		CHECK(statement->sql && statement->sql[0] && statement->rows >= SQL_ROWS_ANY);
		for (size_t n = 0; n < statement->arg_count; n++)
			CHECK(statement->args[n].kind != SQL_TEXT ||
			      strlen(statement->args[n].data) == statement->args[n].bytes);
	}
	for (size_t i = 0; i < writes->lock_count; i++)
		CHECK(writes->locks[i][0]);
	for (size_t i = 0; i < writes->follow_up_count; i++)
		CHECK(writes->follow_ups[i].type && writes->follow_ups[i].payload &&
		      !uuid_is_nil(&writes->follow_ups[i].id));
}

static void check_same_value(const struct sql_value *a, const struct sql_value *b)
{
	CHECK(a->kind == b->kind && a->i == b->i && a->bytes == b->bytes);
	CHECK(a->kind != SQL_FLOAT || !memcmp(&a->d, &b->d, sizeof(a->d)));
	CHECK(a->kind != SQL_TEXT || !memcmp(a->data, b->data, a->bytes));
}

/* Read without a tree and with one: the same outcome, or the same fault. */
static void compare_ways(const struct host_line *plain, const struct task *task)
{
	struct host_line lines[2] = { *plain, *plain };
	struct task_outcome outcomes[2];

	CHECK(host_line_grow(&lines[1]) == 0);
	int rc = host_line_outcome(&lines[0], task, &limits, &outcomes[0]);

	CHECK(host_line_outcome(&lines[1], task, &limits, &outcomes[1]) == rc);
	CHECK(rc == 0 || !strcmp(lines[0].fault, lines[1].fault));
	host_line_release(&lines[0]);
	host_line_release(&lines[1]);
	if (rc < 0)
		return;
	const struct write_set *a = &outcomes[0].writes, *b = &outcomes[1].writes;

	CHECK(outcomes[0].kind == outcomes[1].kind && a->statement_count == b->statement_count);
	CHECK(!outcomes[0].result == !outcomes[1].result);
	for (size_t i = 0; i < a->statement_count; i++) {
		CHECK(!strcmp(a->statements[i].sql, b->statements[i].sql));
		CHECK(a->statements[i].rows == b->statements[i].rows);
		CHECK(a->statements[i].arg_count == b->statements[i].arg_count);
		for (size_t n = 0; n < a->statements[i].arg_count; n++)
			check_same_value(&a->statements[i].args[n], &b->statements[i].args[n]);
	}
}

static void check_outcome(struct host_line *line, const struct task *task)
{
	struct task_outcome outcome;

	if (!line->root)
		compare_ways(line, task);
	if (host_line_outcome(line, task, &limits, &outcome) < 0) {
		CHECK(line->fault[0]);
		return;
	}
	CHECK(outcome.kind >= OUTCOME_DONE && outcome.kind <= OUTCOME_CANCELLED &&
	      outcome.after_ms >= -1);
	CHECK(outcome.kind != OUTCOME_CANCELLED || task->cancel != TASK_GO_ON);
	CHECK((outcome.kind != OUTCOME_RETRY && outcome.kind != OUTCOME_DISCARD) || outcome.reason);
	if (outcome.result) {
		struct json_error error;
		json_t *result = json_text_parse(outcome.result, strlen(outcome.result), &error);

		CHECK(outcome.kind == OUTCOME_DONE && result &&
		      strlen(outcome.result) <= (size_t)limits.result_bytes_max);
		json_decref(result);
	}
	check_writes(&outcome.writes);
}

static void check_ask(struct host_line *line, struct task *task)
{
	struct task_ask ask;
	const char *refused;

	if (host_line_ask(line, task, &limits, &ask, &refused) < 0) {
		CHECK(line->fault[0]);
		return;
	}
	CHECK(ask.kind >= TASK_ASK_QUERY && ask.kind <= TASK_ASK_STEP && ask.task == task);
	CHECK(ask.kind != TASK_ASK_QUERY || ask.query.sql[0]);
	CHECK(ask.kind != TASK_ASK_CALL ||
	      (ask.call.step && ask.call.url && ask.call.method && ask.call.headers));
	if (ask.kind == TASK_ASK_STEP && !refused) {
		CHECK(ask.step && ask.step_value);
		check_writes(&ask.writes);
	}
}

static void check_line(const char *text, size_t bytes, struct task *task)
{
	struct host_line line;
	double part;
	const char *note;

	if (host_line_parse(text, bytes, &line) < 0) {
		CHECK(line.fault[0]);
		return;
	}
	if (line.kind == HOST_LINE_END)
		check_outcome(&line, task);
	else if (line.kind == HOST_LINE_ASK)
		check_ask(&line, task);
	else if (line.kind == HOST_LINE_PROGRESS && host_line_progress(&line, &part, &note) == 0)
		CHECK(part >= 0 && part <= 1);
	else if (line.kind == HOST_LINE_READY)
		CHECK(line.concurrency >= 1);
	host_line_release(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct arena *arena = arena_new(0);
	struct claimed_job job = { .arena = arena, .tenant = "", .owner = "", .type = "a" };
	struct task task = { .job = &job, .defs = definitions(), .timeout_ms = 1000 };
	char *text;

	if (bytes > 0) {
		uuid_v7(&job.id);
		task.cancel = data[0] & 1 ? TASK_CANCEL_REQUESTED : TASK_GO_ON;
		text = arena_strndup(arena, (const char *)data + 1, bytes - 1);
		check_line(text, bytes - 1, &task);
	}
	arena_free(&arena);
	return 0;
}

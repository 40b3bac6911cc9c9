/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass enqueue TYPE JSON`: hands in one job over the API. The id is made here, so that asking
 * again after a lost answer cannot make a second job. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/strbuf.h"
#include "common/base/uuid.h"
#include "common/json/json_text.h"

#include "cli/api.h"

#define WAIT_DEFAULT      "30s"
#define PAYLOAD_BYTES_MAX (16 * 1024 * 1024)
#define TAGS_MAX          16

struct enqueue {
	const struct command *command;
	const char *type;
	const char *wait; /* NULL: not */
	int64_t wait_ms;
	const char *priority, *queue, *delay, *run_at, *unique;
	const char *tags[TAGS_MAX];
	size_t tag_count;
	bool json;
};

static int read_option(struct enqueue *enqueue, int option)
{
	switch (option) {
	case 'w':
		enqueue->wait = optarg ? optarg : WAIT_DEFAULT;
		if (duration_parse(enqueue->wait, &enqueue->wait_ms) != 0)
			return command_misused(enqueue->command, "--wait=%s: not a duration",
					       enqueue->wait);
		return EX_OK;
	case 'p':
		enqueue->priority = optarg;
		return EX_OK;
	case 'q':
		enqueue->queue = optarg;
		return EX_OK;
	case 'd':
		enqueue->delay = optarg;
		return EX_OK;
	case 'r':
		enqueue->run_at = optarg;
		return EX_OK;
	case 'u':
		enqueue->unique = optarg;
		return EX_OK;
	case 't':
		if (enqueue->tag_count == TAGS_MAX)
			return command_misused(enqueue->command, "at most %d tags", TAGS_MAX);
		enqueue->tags[enqueue->tag_count++] = optarg;
		return EX_OK;
	case 'j':
		enqueue->json = true;
		return EX_OK;
	default:
		return EX_USAGE;
	}
}

static int read_options(struct enqueue *enqueue, int argc, char **argv)
{
	static const struct option options[] = {
		{ "wait", optional_argument, NULL, 'w' },
		{ "priority", required_argument, NULL, 'p' },
		{ "queue", required_argument, NULL, 'q' },
		{ "delay", required_argument, NULL, 'd' },
		{ "run-at", required_argument, NULL, 'r' },
		{ "unique", required_argument, NULL, 'u' },
		{ "tag", required_argument, NULL, 't' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option, code;

	while ((option = command_option(enqueue->command, argc, argv, options)) != -1) {
		code = read_option(enqueue, option);
		if (code != EX_OK)
			return code;
	}
	if (argc - optind < 1 || argc - optind > 2)
		return command_misused(enqueue->command, "expected a type and a payload");
	enqueue->type = argv[optind];
	return EX_OK;
}

static int read_stdin(const struct command *command, struct strbuf *out)
{
	char buffer[16384];
	ssize_t n;

	while ((n = read(STDIN_FILENO, buffer, sizeof(buffer))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return command_failed(command, EX_NOINPUT, "standard input: %s",
					      strerror(errno));
		strbuf_add(out, buffer, (size_t)n);
		if (out->len > PAYLOAD_BYTES_MAX)
			return command_failed(command, EX_DATAERR, "the payload is too large");
	}
	return EX_OK;
}

static int read_payload(const struct command *command, const char *argument, struct strbuf *out)
{
	struct json_error error;
	json_t *parsed;
	int code = EX_OK;

	if (strcmp(argument, "-") == 0)
		code = read_stdin(command, out);
	else
		strbuf_addstr(out, argument);
	if (code != EX_OK)
		return code;
	parsed = json_text_parse(out->data, out->len, &error);
	if (!parsed)
		return command_failed(command, EX_DATAERR, "payload:%d:%d: %s", error.line,
				      error.column, error.message);
	json_decref(parsed);
	return EX_OK;
}

static void add_member(struct strbuf *body, const char *name, const char *value)
{
	if (!value)
		return;
	strbuf_printf(body, ",\"%s\":", name);
	strbuf_json(body, value);
}

static void build_body(const struct enqueue *enqueue, const struct strbuf *payload,
		       struct strbuf *body)
{
	char id_text[UUID_TEXT];
	struct uuid id;

	uuid_v7(&id);
	strbuf_printf(body, "{\"id\":\"%s\",\"type\":", uuid_format(&id, id_text));
	strbuf_json(body, enqueue->type);
	add_member(body, "priority", enqueue->priority);
	add_member(body, "queue", enqueue->queue);
	add_member(body, "delay", enqueue->delay);
	add_member(body, "run_at", enqueue->run_at);
	if (enqueue->unique) {
		strbuf_addstr(body, ",\"unique\":{\"key\":");
		strbuf_json(body, enqueue->unique);
		strbuf_addch(body, '}');
	}
	for (size_t i = 0; i < enqueue->tag_count; i++) {
		strbuf_addstr(body, i ? "," : ",\"tags\":[");
		strbuf_json(body, enqueue->tags[i]);
	}
	strbuf_addstr(body, enqueue->tag_count ? "],\"payload\":" : ",\"payload\":");
	strbuf_add(body, payload->data, payload->len);
	strbuf_addch(body, '}');
}

/* 0 when the job did what it was asked, as far as is known. */
static int report(const struct enqueue *enqueue, const json_t *answer)
{
	const char *state = api_text(answer, "state");
	char *result = api_cell(answer, "result");

	if (enqueue->json)
		api_print_json(answer);
	else
		printf("%s %s\n", api_text(answer, "id"), state);
	if (!enqueue->json && result)
		puts(result);
	if (!enqueue->json && *api_text(answer, "reason"))
		api_print_text(stderr, api_text(answer, "reason"));
	free(result);
	if (!enqueue->wait || strcmp(state, "completed") == 0)
		return EX_OK;
	return strcmp(state, "discarded") == 0 || strcmp(state, "cancelled") == 0 ? EX_DATAERR
										  : EX_TEMPFAIL;
}

static int hand_in(const struct enqueue *enqueue, const char *body)
{
	json_t *answer = NULL;
	struct api api;
	char path[64] = "/v1/jobs";
	int code = api_open(&api, enqueue->command);

	if (enqueue->wait)
		snprintf(path, sizeof(path), "/v1/jobs?wait=%lldms", (long long)enqueue->wait_ms);
	if (code == EX_OK)
		code = api_call(&api, "POST", path, body, enqueue->wait_ms + API_TIMEOUT_MS,
				&answer);
	if (code == EX_OK)
		code = report(enqueue, answer);
	json_decref(answer);
	api_close(&api);
	return code;
}

int command_enqueue(const struct command *command, int argc, char **argv)
{
	struct enqueue enqueue = { .command = command };
	struct strbuf payload, body;
	int code = read_options(&enqueue, argc, argv);

	if (code != EX_OK)
		return code;
	strbuf_init(&payload);
	strbuf_init(&body);
	code = read_payload(command, argc - optind == 2 ? argv[optind + 1] : "{}", &payload);
	if (code == EX_OK) {
		build_body(&enqueue, &payload, &body);
		code = hand_in(&enqueue, body.data);
	}
	strbuf_release(&body);
	strbuf_release(&payload);
	return code;
}

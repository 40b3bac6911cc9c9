/* SPDX-License-Identifier: Apache-2.0 */
/* Begins a batch run and follows it. A file of this machine is sent in parts of which each is
 * stored once, so that what was interrupted goes on with the same --id. */
#include "cli/batch_run.h"

#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/uuid.h"
#include "producers/batch/row_source.h"

#include "cli/api.h"

#define ROWS_A_PART 5000
#define PART_MS     120000
#define LOOK_MS     500
#define AWAY_TRIES  60 /* looks that may fail while the service is away */
#define BAR_CHARS   30

struct run {
	struct api api;
	const char *type, *local; /* local: a file of this machine, or NULL */
	const char *sql, *key, *file, *job, *payload, *queue, *priority, *name;
	const char *on_complete, *on_failure, *id;
	bool no_wait, json;
	int64_t shown_ms, shown_ended; /* of the last bar, for the rate */
	double rate;
};

/* ---- asking for it */

static void set_text(json_t *object, const char *name, const char *text)
{
	if (text)
		json_object_set_new(object, name, json_string(text));
}

static json_t *source_of(const struct run *run)
{
	json_t *source = json_object();

	set_text(source, "sql", run->sql);
	set_text(source, "key", run->key);
	set_text(source, "file", run->file);
	set_text(source, "job", run->job);
	if (!json_object_size(source))
		json_object_set_new(source, "upload", json_true());
	return source;
}

static void set_end(json_t *body, const char *name, const char *type)
{
	json_t *end;

	if (!type)
		return;
	end = json_object();
	set_text(end, "type", type);
	json_object_set_new(body, name, end);
}

/* NULL: the payload is not JSON. */
static char *body_of(const struct run *run)
{
	json_t *body = json_object(), *job = json_object(), *payload = NULL;
	char *text = NULL;

	set_text(body, "id", run->id);
	set_text(body, "name", run->name);
	json_object_set_new(body, "source", source_of(run));
	set_text(job, "type", run->type);
	set_text(job, "queue", run->queue);
	set_text(job, "priority", run->priority);
	if (run->payload)
		payload = json_loads(run->payload, JSON_DECODE_ANY, NULL);
	if (payload)
		json_object_set_new(job, "payload", payload);
	json_object_set_new(body, "job", job);
	set_end(body, "on_complete", run->on_complete);
	set_end(body, "on_failure", run->on_failure);
	if (payload || !run->payload)
		text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	return text;
}

static int begin(struct run *run, json_t **batch_r)
{
	char *body = body_of(run);
	int code;

	if (!body)
		return command_failed(run->api.command, EX_DATAERR, "--payload is not JSON");
	code = api_call(&run->api, "POST", "/v1/batches", body, API_TIMEOUT_MS, batch_r);
	free(body);
	return code;
}

/* ---- the bar */

static int64_t number(const json_t *batch, const char *name)
{
	return json_integer_value(json_object_get(batch, name));
}

static int64_t ended(const json_t *batch)
{
	return number(batch, "done") + number(batch, "failed") + number(batch, "cancelled");
}

static void take_rate(struct run *run, int64_t now_ended)
{
	int64_t now_ms = clock_mono_ms();
	double seconds = (double)(now_ms - run->shown_ms) / 1000;
	double rate = seconds > 0 ? (double)(now_ended - run->shown_ended) / seconds : 0;

	if (run->shown_ms)
		run->rate = run->rate > 0 ? 0.7 * run->rate + 0.3 * rate : rate;
	run->shown_ms = now_ms;
	run->shown_ended = now_ended;
}

static void draw(struct run *run, const json_t *batch)
{
	int64_t total = number(batch, "total"), now_ended = ended(batch);
	bool known = json_is_true(json_object_get(batch, "total_known"));
	char bar[BAR_CHARS + 1];
	int full = total ? (int)(now_ended * BAR_CHARS / total) : 0;

	take_rate(run, now_ended);
	if (!isatty(STDERR_FILENO) || run->json)
		return;
	memset(bar, '.', BAR_CHARS);
	memset(bar, '#', full > BAR_CHARS ? BAR_CHARS : (size_t)full);
	bar[BAR_CHARS] = '\0';
	fprintf(stderr, "\r[%s] %" PRId64 "/%" PRId64 "%s  %.0f/s", bar, now_ended, total,
		known ? "" : "+", run->rate);
	if (known && run->rate > 0)
		fprintf(stderr, "  ETA %.0f s", (double)(total - now_ended) / run->rate);
	if (number(batch, "failed") || number(batch, "rejected"))
		fprintf(stderr, "  failed %" PRId64,
			number(batch, "failed") + number(batch, "rejected"));
	fputs("\033[K", stderr);
	fflush(stderr);
}

/* ---- a file of this machine */

static int send_part(struct run *run, const char *id, int64_t part, const struct row_chunk *chunk,
		     json_t **batch)
{
	struct strbuf path, body;
	int code;

	strbuf_init(&path);
	strbuf_init(&body);
	strbuf_printf(&path, "/v1/batches/%s/rows?part=%" PRId64 "&last=%s&rejected=%" PRId64, id,
		      part, chunk->last ? "true" : "false", chunk->rejected);
	for (size_t i = 0; i < chunk->count; i++) {
		strbuf_addch(&body, i ? ',' : '[');
		strbuf_add(&body, chunk->rows[i].text, chunk->rows[i].bytes);
	}
	strbuf_addstr(&body, chunk->count ? "]" : "[]");
	json_decref(*batch);
	*batch = NULL;
	code = api_call(&run->api, "POST", path.data, body.data, PART_MS, batch);
	strbuf_release(&body);
	strbuf_release(&path);
	return code;
}

/* Parts that were stored before are read over. */
static int send_rows(struct run *run, struct row_source *source, json_t **batch)
{
	char *id = xstrdup(api_text(*batch, "id")), *position = NULL;
	int64_t next = strtoll(api_text(*batch, "position"), NULL, 10);
	struct row_chunk chunk = { 0 };
	int code = EX_OK;

	for (int64_t part = 0; code == EX_OK && !chunk.last; part++) {
		struct arena *arena = arena_new(0);
		struct error error;

		if (row_source_read(source, position, ROWS_A_PART, arena, &chunk, &error) < 0)
			code = command_failed(run->api.command, EX_NOINPUT, "%s", error.message);
		else if (part >= next)
			code = send_part(run, id, part, &chunk, batch);
		free(position);
		position = code == EX_OK && chunk.position ? xstrdup(chunk.position) : NULL;
		arena_free(&arena);
		if (code == EX_OK && part >= next)
			draw(run, *batch);
	}
	free(position);
	free(id);
	return code;
}

static int send_file(struct run *run, json_t **batch)
{
	char *path = realpath(run->local, NULL), *folder = path ? xstrdup(path) : NULL,
	     *name = path ? xstrdup(path) : NULL;
	struct row_source_options options = { .folder = folder ? dirname(folder) : NULL };
	struct batch_definition definition = { .kind = BATCH_FILE };
	struct row_source *source = NULL;
	struct error error = { 0 };
	int code;

	if (path) {
		definition.file = basename(name);
		definition.csv = strlen(path) > 4 && !strcmp(path + strlen(path) - 4, ".csv");
		source = row_source_open(&options, &definition, &error);
	}
	code = source ? send_rows(run, source, batch)
		      : command_failed(run->api.command, EX_NOINPUT, "%s: %s", run->local,
				       path ? error.message : "no such file");
	row_source_close(&source);
	free(folder);
	free(name);
	free(path);
	return code;
}

/* ---- following it */

static bool has_ended(const json_t *batch)
{
	return json_object_get(batch, "finished_at") != NULL;
}

static int follow(struct run *run, json_t **batch)
{
	struct timespec pause = { .tv_nsec = LOOK_MS * 1000000L };
	struct strbuf path;
	int code = EX_OK, away = 0;

	strbuf_init(&path);
	strbuf_printf(&path, "/v1/batches/%s", api_text(*batch, "id"));
	draw(run, *batch);
	while (code == EX_OK && !has_ended(*batch)) {
		json_t *now = NULL;

		nanosleep(&pause, NULL);
		code = api_call(&run->api, "GET", path.data, NULL, API_TIMEOUT_MS, &now);
		if (code == EX_OK) {
			json_decref(*batch);
			*batch = now;
			away = 0;
			draw(run, now);
		} else if (code == EX_UNAVAILABLE && away++ < AWAY_TRIES) {
			code = EX_OK;
		}
	}
	if (isatty(STDERR_FILENO) && !run->json)
		fputc('\n', stderr);
	strbuf_release(&path);
	return code;
}

static int report(const struct run *run, const json_t *batch)
{
	bool good = !strcmp(api_text(batch, "state"), "completed");

	if (run->json) {
		api_print_json(batch);
	} else {
		printf("%s %s: %" PRId64 " jobs, %" PRId64 " done, %" PRId64 " failed, %" PRId64
		       " cancelled, %" PRId64 " rows rejected\n",
		       api_text(batch, "id"), api_text(batch, "state"), number(batch, "total"),
		       number(batch, "done"), number(batch, "failed"), number(batch, "cancelled"),
		       number(batch, "rejected"));
		if (*api_text(batch, "error"))
			api_print_text(stderr, api_text(batch, "error"));
	}
	return run->no_wait || good ? EX_OK : 1;
}

static int run_it(struct run *run)
{
	json_t *batch = NULL;
	int code = begin(run, &batch);

	if (code == EX_OK && !run->json)
		fprintf(stderr, "batch %s\n", api_text(batch, "id"));
	if (code == EX_OK && run->local && !strcmp(api_text(batch, "state"), "feeding"))
		code = send_file(run, &batch);
	if (code == EX_OK && !run->no_wait)
		code = follow(run, &batch);
	if (code == EX_OK)
		code = report(run, batch);
	json_decref(batch);
	return code;
}

/* ---- options */

static bool read_options(struct run *run, const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{ "sql", required_argument, NULL, 's' },
		{ "key", required_argument, NULL, 'k' },
		{ "file", required_argument, NULL, 'f' },
		{ "job", required_argument, NULL, 'o' },
		{ "payload", required_argument, NULL, 'p' },
		{ "queue", required_argument, NULL, 'q' },
		{ "priority", required_argument, NULL, 'r' },
		{ "name", required_argument, NULL, 'n' },
		{ "on-complete", required_argument, NULL, 'c' },
		{ "on-failure", required_argument, NULL, 'x' },
		{ "id", required_argument, NULL, 'i' },
		{ "no-wait", no_argument, NULL, 'w' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const struct {
		int option;
		const char **value;
	} texts[] = {
		{ 's', &run->sql },         { 'k', &run->key },        { 'f', &run->file },
		{ 'o', &run->job },         { 'p', &run->payload },    { 'q', &run->queue },
		{ 'r', &run->priority },    { 'n', &run->name },       { 'i', &run->id },
		{ 'c', &run->on_complete }, { 'x', &run->on_failure },
	};
	int option;

	while ((option = command_option(command, argc, argv, options)) != -1) {
		if (option == '?')
			return false;
		run->no_wait = run->no_wait || option == 'w';
		run->json = run->json || option == 'j';
		for (size_t i = 0; i < ARRAY_LEN(texts); i++)
			if (texts[i].option == option)
				*texts[i].value = optarg;
	}
	run->type = optind < argc ? argv[optind] : NULL;
	run->local = optind + 1 < argc ? argv[optind + 1] : NULL;
	return argc - optind <= 2;
}

int batch_run(const struct command *command, int argc, char **argv)
{
	struct run run = { .no_wait = false };
	int sources, code;

	if (!read_options(&run, command, argc, argv))
		return EX_USAGE;
	sources = !!run.sql + !!run.file + !!run.job + !!run.local;
	if (!run.type || sources != 1 || !run.sql != !run.key)
		return command_misused(command,
				       "expected a job type and one source: FILE, --sql with "
				       "--key, --file or --job");
	code = api_open(&run.api, command);
	if (code == EX_OK)
		code = run_it(&run);
	api_close(&run.api);
	return code;
}

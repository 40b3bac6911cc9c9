/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass schedules`: list, show, set, remove, pause, resume and run schedules, and see when they
 * are next due and what they made. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/base/strbuf.h"
#include "common/job/job.h"
#include "common/json/json_text.h"

#include "cli/api.h"

#define DEFINITION_BYTES_MAX (64 * 1024)

struct given {
	bool json;
	const char *cron, *every, *at, *zone, *missed, *max_late, *job;
	const char *count; /* of next and runs */
};

typedef int verb_fn(struct api *api, const struct given *given, const char *name, const char *text);

static int call(struct api *api, const char *method, const char *name, const char *rest,
		const char *body, json_t **answer_r)
{
	struct strbuf path;
	int code;

	strbuf_init(&path);
	strbuf_printf(&path, "/v1/schedules/%s%s", name, rest); /* a name needs no escapes */
	code = api_call(api, method, path.data, body, API_TIMEOUT_MS, answer_r);
	strbuf_release(&path);
	return code;
}

/* ---- seeing */

/* Its definition's parts as members of the schedule, for the table. */
static void flatten(json_t *item)
{
	const json_t *definition = json_object_get(item, "definition");
	static const char *const kinds[] = { "cron", "every", "at" };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		char *text = api_cell(definition, kinds[i]);

		if (text)
			json_object_set_new(item, "when", json_string(text));
		free(text);
	}
	json_object_set(item, "zone", json_object_get(definition, "zone"));
	json_object_set(item, "job", json_object_get(definition, "job"));
	if (json_is_null(json_object_get(item, "next")))
		json_object_del(item, "next");
	if (json_is_null(json_object_get(item, "last")))
		json_object_del(item, "last");
}

static void print_schedules(json_t *items)
{
	static const char *const headings[] = { "SCHEDULE", "ORIGIN", "PAUSED", "WHEN",
						"ZONE",     "JOB",    "NEXT",   "LAST" };
	static const char *const members[] = { "name", "origin", "paused", "when",
					       "zone", "job",    "next",   "last" };
	json_t *item;
	size_t i;

	json_array_foreach(items, i, item) flatten(item);
	api_print_table(items, headings, members, ARRAY_LEN(headings));
}

/* All pages as one array. */
static int collect(struct api *api, json_t *items)
{
	json_t *page = NULL;
	struct strbuf path;
	const char *cursor = "";
	int code;

	strbuf_init(&path);
	do {
		strbuf_clear(&path);
		strbuf_printf(&path, "/v1/schedules?limit=1000%s%s", *cursor ? "&cursor=" : "",
			      cursor);
		json_decref(page);
		page = NULL;
		code = api_call(api, "GET", path.data, NULL, API_TIMEOUT_MS, &page);
		json_array_extend(items, json_object_get(page, "items"));
		cursor = api_text(page, "next_cursor");
	} while (code == EX_OK && *cursor);
	json_decref(page);
	strbuf_release(&path);
	return code;
}

static int list(struct api *api, const struct given *given, const char *name, const char *text)
{
	json_t *items = json_array();
	int code = collect(api, items);

	(void)name, (void)text;
	if (code == EX_OK && given->json)
		api_print_json(items);
	else if (code == EX_OK)
		print_schedules(items);
	json_decref(items);
	return code;
}

static int show(struct api *api, const struct given *given, const char *name, const char *text)
{
	json_t *answer = NULL;
	int code = call(api, "GET", name, "", NULL, &answer);

	(void)given, (void)text;
	if (code == EX_OK)
		api_print_json(answer);
	json_decref(answer);
	return code;
}

static int next(struct api *api, const struct given *given, const char *name, const char *text)
{
	json_t *answer = NULL, *items, *item;
	char rest[40];
	int code;
	size_t i;

	(void)text;
	snprintf(rest, sizeof(rest), "/next?count=%.10s", given->count ? given->count : "10");
	code = call(api, "GET", name, rest, NULL, &answer);
	items = json_object_get(answer, "items");
	if (code == EX_OK && given->json)
		api_print_json(answer);
	else if (code == EX_OK)
		json_array_foreach(items, i, item) puts(json_string_value(item));
	json_decref(answer);
	return code;
}

static int runs(struct api *api, const struct given *given, const char *name, const char *text)
{
	static const char *const headings[] = { "TICK", "ACCEPTED", "MANUAL", "JOB", "REASON" };
	static const char *const members[] = { "tick", "at", "manual", "job", "reason" };
	json_t *answer = NULL, *items, *item;
	char rest[40];
	int code;
	size_t i;

	(void)text;
	snprintf(rest, sizeof(rest), "/runs?limit=%.10s", given->count ? given->count : "20");
	code = call(api, "GET", name, rest, NULL, &answer);
	items = json_object_get(answer, "items");
	json_array_foreach(items, i, item)
	{
		if (json_is_null(json_object_get(item, "reason")))
			json_object_del(item, "reason");
	}
	if (code == EX_OK && given->json)
		api_print_json(answer);
	else if (code == EX_OK)
		api_print_table(items, headings, members, ARRAY_LEN(headings));
	json_decref(answer);
	return code;
}

/* ---- changing */

/* A whole definition, or the payload beside the options. NULL: said why not. */
static json_t *read_text(const struct command *command, const char *text, char **own_r)
{
	struct json_error error;
	json_t *json;

	*own_r = NULL;
	if (strcmp(text, "-") == 0) {
		char *own = xmalloc(DEFINITION_BYTES_MAX + 1);
		size_t bytes = fread(own, 1, DEFINITION_BYTES_MAX, stdin);

		own[bytes] = '\0';
		text = *own_r = own;
	}
	json = json_text_parse(text, strlen(text), &error);
	if (!json)
		command_failed(command, EX_DATAERR, "%d:%d: %s", error.line, error.column,
			       error.message);
	return json;
}

static json_t *with_options(const struct given *given, json_t *payload)
{
	const struct {
		const char *name, *text;
	} members[] = {
		{ "cron", given->cron },     { "every", given->every },
		{ "at", given->at },         { "zone", given->zone },
		{ "missed", given->missed }, { "max_late", given->max_late },
		{ "job", given->job },
	};
	json_t *definition = json_object();

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		if (members[i].text)
			json_object_set_new(definition, members[i].name,
					    json_string(members[i].text));
	}
	if (payload)
		json_object_set(definition, "payload", payload);
	return definition;
}

static int set(struct api *api, const struct given *given, const char *name, const char *text)
{
	bool whole = !given->cron && !given->every && !given->at && !given->job;
	json_t *json, *definition, *answer = NULL;
	char *own = NULL, *body;
	int code;

	if (whole && !text)
		return command_misused(api->command, "expected --job and one of --cron, --every "
						     "and --at, or a definition as JSON");
	json = text ? read_text(api->command, text, &own) : NULL;
	if (text && !json) {
		free(own);
		return EX_DATAERR;
	}
	definition = whole ? json_incref(json) : with_options(given, json);
	/* What was given whole goes as it was given. */
	body = whole ? xstrdup(own ? own : text) : json_dumps(definition, JSON_COMPACT);
	code = call(api, "PUT", name, "", body, &answer);
	if (code == EX_OK)
		printf("%s: next %s\n", name, api_text(answer, "next"));
	json_decref(answer);
	json_decref(definition);
	json_decref(json);
	free(body);
	free(own);
	return code;
}

static int steer(struct api *api, const char *method, const char *name, const char *rest,
		 const char *done)
{
	json_t *answer = NULL;
	int code = call(api, method, name, rest, NULL, &answer);

	if (code == EX_OK)
		printf("%s %s\n", name, done);
	json_decref(answer);
	return code;
}

static int drop(struct api *api, const struct given *given, const char *name, const char *text)
{
	(void)given, (void)text;
	return steer(api, "DELETE", name, "", "removed");
}

static int pause_one(struct api *api, const struct given *given, const char *name, const char *text)
{
	(void)given, (void)text;
	return steer(api, "POST", name, "/pause", "paused");
}

static int resume(struct api *api, const struct given *given, const char *name, const char *text)
{
	(void)given, (void)text;
	return steer(api, "POST", name, "/resume", "resumed");
}

static int run(struct api *api, const struct given *given, const char *name, const char *text)
{
	json_t *answer = NULL;
	int code = call(api, "POST", name, "/run", NULL, &answer);

	(void)text;
	if (code == EX_OK && given->json)
		api_print_json(answer);
	else if (code == EX_OK)
		puts(api_text(answer, "job"));
	json_decref(answer);
	return code;
}

static const struct verb {
	const char *name;
	verb_fn *run;
	bool named, text;
} verbs[] = {
	{ "list", list, false, false },      { "show", show, true, false },
	{ "set", set, true, true },          { "remove", drop, true, false },
	{ "pause", pause_one, true, false }, { "resume", resume, true, false },
	{ "run", run, true, false },         { "next", next, true, false },
	{ "runs", runs, true, false },
};

static bool read_options(const struct command *command, int argc, char **argv, struct given *given)
{
	static const struct option options[] = {
		{ "cron", required_argument, NULL, 'c' },
		{ "every", required_argument, NULL, 'e' },
		{ "at", required_argument, NULL, 'a' },
		{ "zone", required_argument, NULL, 'z' },
		{ "missed", required_argument, NULL, 'm' },
		{ "max-late", required_argument, NULL, 'l' },
		{ "job", required_argument, NULL, 'J' },
		{ "count", required_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const struct {
		int option;
		const char **text;
	} texts[] = {
		{ 'c', &given->cron }, { 'e', &given->every },  { 'a', &given->at },
		{ 'z', &given->zone }, { 'm', &given->missed }, { 'l', &given->max_late },
		{ 'J', &given->job },  { 'n', &given->count },
	};
	int option;

	while ((option = command_option(command, argc, argv, options)) != -1) {
		if (option == '?')
			return false;
		given->json = given->json || option == 'j';
		for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
			if (texts[i].option == option)
				*texts[i].text = optarg;
		}
	}
	return true;
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	}
	return NULL;
}

int command_schedules(const struct command *command, int argc, char **argv)
{
	struct given given = { .json = false };
	const struct verb *verb;
	struct api api;
	int code, count;

	if (!read_options(command, argc, argv, &given))
		return EX_USAGE;
	verb = find_verb(optind < argc ? argv[optind] : "list");
	if (!verb)
		return command_misused(command,
				       "%s is not one of list, show, set, remove, pause, "
				       "resume, run, next, runs",
				       argv[optind]);
	count = argc - optind;
	if (verb->named ? count < 2 || count > 2 + verb->text : count > 1)
		return command_misused(command, "%s takes %s", verb->name,
				       !verb->named ? "nothing more"
				       : verb->text ? "a name, and JSON perhaps"
						    : "a name");
	if (verb->named && !job_name_valid(argv[optind + 1]))
		return command_failed(command, EX_DATAERR, "%s is not a schedule's name",
				      argv[optind + 1]);
	code = api_open(&api, command);
	if (code == EX_OK)
		code = verb->run(&api, &given, verb->named ? argv[optind + 1] : NULL,
				 count > 2 ? argv[optind + 2] : NULL);
	api_close(&api);
	return code;
}

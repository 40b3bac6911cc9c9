/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass jobs list|show|cancel|retry|resolve`: jobs as the API shows them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/base/strbuf.h"
#include "common/base/uuid.h"

#include "cli/api.h"
#include "cli/table.h"

struct jobs {
	const struct command *command;
	struct strbuf query; /* "?limit=20&state=…" */
	const char *limit, *reason;
	const char *call, *verdict, *status, *answer; /* resolve */
	bool json;
};

static const char **resolve_option(struct jobs *jobs, int option)
{
	return option == 'c'   ? &jobs->call
	       : option == 'v' ? &jobs->verdict
	       : option == 'n' ? &jobs->status
			       : &jobs->answer;
}

static int read_options(struct jobs *jobs, int argc, char **argv)
{
	static const struct option options[] = {
		{ "state", required_argument, NULL, 's' },
		{ "type", required_argument, NULL, 't' },
		{ "queue", required_argument, NULL, 'q' },
		{ "tag", required_argument, NULL, 'g' },
		{ "limit", required_argument, NULL, 'l' },
		{ "reason", required_argument, NULL, 'r' },
		{ "call", required_argument, NULL, 'c' },
		{ "verdict", required_argument, NULL, 'v' },
		{ "status", required_argument, NULL, 'n' },
		{ "body", required_argument, NULL, 'b' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option, index = 0;

	while ((option = command_option(jobs->command, argc, argv, options)) != -1) {
		for (index = 0; options[index].name && options[index].val != option; index++)
			;
		if (option == 'l')
			jobs->limit = optarg;
		else if (option == 'r')
			jobs->reason = optarg;
		else if (strchr("cvnb", option))
			*resolve_option(jobs, option) = optarg;
		else if (option == 'j')
			jobs->json = true;
		else if (options[index].name)
			api_add_parameter(&jobs->query, options[index].name, optarg);
		else
			return EX_USAGE;
	}
	api_add_parameter(&jobs->query, "limit", jobs->limit ? jobs->limit : "20");
	return EX_OK;
}

/* ---- list */

static void print_list(const json_t *items)
{
	static const char *const headings[] = { "ID",      "STATE",   "TYPE",  "QUEUE",
						"ATTEMPT", "CREATED", "REASON" };
	static const char *const members[] = { "id",      "state",      "type",  "queue",
					       "attempt", "created_at", "reason" };

	api_print_table(items, headings, members, ARRAY_LEN(headings));
}

static int list(struct jobs *jobs, struct api *api)
{
	struct strbuf path;
	json_t *answer = NULL;
	int code;

	strbuf_init(&path);
	strbuf_printf(&path, "/v1/jobs%s", jobs->query.data);
	code = api_call(api, "GET", path.data, NULL, API_TIMEOUT_MS, &answer);
	if (code == EX_OK && jobs->json)
		api_print_json(answer);
	else if (code == EX_OK)
		print_list(json_object_get(answer, "items"));
	json_decref(answer);
	strbuf_release(&path);
	return code;
}

/* ---- one job */

static void print_job(json_t *job)
{
	struct table *table = table_new(NULL, 2);
	const char *name;
	json_t *value;

	json_object_foreach(job, name, value)
	{
		char *cell = api_cell(job, name);
		const char *cells[] = { name, cell };

		table_row(table, cells);
		free(cell);
	}
	table_print(&table);
}

static void add_text(struct strbuf *body, const char *name, const char *value)
{
	if (!value)
		return;
	strbuf_printf(body, "%c\"%s\":", body->len ? ',' : '{', name);
	strbuf_json(body, value);
}

static bool is_number(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 6;
}

/* The request's body, empty when it needs none. */
static void add_body(struct strbuf *body, const struct jobs *jobs)
{
	add_text(body, "reason", jobs->reason);
	add_text(body, "call", jobs->call);
	add_text(body, "verdict", jobs->verdict);
	add_text(body, "body", jobs->answer);
	if (jobs->status && is_number(jobs->status))
		strbuf_printf(body, "%c\"status\":%s", body->len ? ',' : '{', jobs->status);
	else
		add_text(body, "status", jobs->status);
	if (body->len)
		strbuf_addch(body, '}');
}

static int one(struct jobs *jobs, struct api *api, const char *verb, const char *id_text)
{
	bool show = strcmp(verb, "show") == 0;
	struct strbuf body;
	json_t *answer = NULL;
	struct uuid id;
	char path[128], text[UUID_TEXT];
	int code;

	if (!uuid_parse(id_text, &id))
		return command_failed(jobs->command, EX_DATAERR, "%s is not a job's id", id_text);
	snprintf(path, sizeof(path), "/v1/jobs/%s%s%s", uuid_format(&id, text), show ? "" : "/",
		 show ? "" : verb);
	strbuf_init(&body);
	add_body(&body, jobs);
	code = api_call(api, show ? "GET" : "POST", path, body.len ? body.data : NULL,
			API_TIMEOUT_MS, &answer);
	if (code == EX_OK && jobs->json)
		api_print_json(answer);
	else if (code == EX_OK && show)
		print_job(answer);
	else if (code == EX_OK)
		printf("%s %s\n", text, api_text(answer, "state"));
	json_decref(answer);
	strbuf_release(&body);
	return code;
}

static int run(struct jobs *jobs, const char *verb, const char *id)
{
	struct api api;
	int code = api_open(&api, jobs->command);

	if (code == EX_OK)
		code = id ? one(jobs, &api, verb, id) : list(jobs, &api);
	api_close(&api);
	return code;
}

int command_jobs(const struct command *command, int argc, char **argv)
{
	static const char *const verbs[] = { "show", "cancel", "retry", "resolve" };
	struct jobs jobs = { .command = command };
	const char *verb;
	int code;

	strbuf_init(&jobs.query);
	code = read_options(&jobs, argc, argv);
	if (code == EX_OK) {
		verb = optind < argc ? argv[optind] : "list";
		code = -1;
		if (strcmp(verb, "list") == 0 && argc - optind <= 1)
			code = run(&jobs, verb, NULL);
		for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
			if (strcmp(verb, verbs[i]) == 0 && argc - optind == 2)
				code = run(&jobs, verb, argv[optind + 1]);
		}
		if (code == -1)
			code = command_misused(
				command,
				"expected list, show ID, cancel ID, retry ID or resolve ID");
	}
	strbuf_release(&jobs.query);
	return code;
}

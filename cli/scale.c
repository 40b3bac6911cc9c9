/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass scale`: the pools of workers; with NAME=N how many there are to be from now on. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/base/strbuf.h"
#include "common/job/job.h"

#include "cli/api.h"

struct scale {
	const struct command *command;
	const char *hosts, *node;
	bool json;
};

static int list(struct api *api, const struct scale *scale)
{
	static const char *const headings[] = { "POOL", "WORKERS", "RUNNING", "LEAVING", "HOSTS",
						"BUSY", "OF",      "BY",      "QUEUES" };
	static const char *const members[] = { "name",          "workers", "running",
					       "leaving",       "hosts",   "busy",
					       "hosts_running", "by",      "queues" };
	json_t *answer = NULL;
	int code = api_call(api, "GET", "/v1/pools", NULL, API_TIMEOUT_MS, &answer);

	if (code == EX_OK && scale->json)
		api_print_json(answer);
	else if (code == EX_OK)
		api_print_table(json_object_get(answer, "items"), headings, members,
				ARRAY_LEN(headings));
	json_decref(answer);
	return code;
}

/* A number, or `file`: null. */
static bool add_count(json_t *body, const char *member, const char *text)
{
	char *end;
	long count = strtol(text, &end, 10);

	if (strcmp(text, "file") == 0)
		return json_object_set_new(body, member, json_null()) == 0;
	if (*text < '0' || *text > '9' || *end || count > 1000000)
		return false;
	return json_object_set_new(body, member, json_integer(count)) == 0;
}

static int put(struct api *api, const struct scale *scale, const char *pool, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);
	json_t *answer = NULL;
	struct strbuf path;
	int code;

	strbuf_init(&path);
	strbuf_printf(&path, "/v1/workers/%s", pool); /* a name needs no escapes */
	code = api_call(api, "PUT", path.data, text, API_TIMEOUT_MS, &answer);
	if (code == EX_OK && scale->json)
		api_print_json(answer);
	else if (code == EX_OK)
		printf("%s: %lld workers with %lld hosts each, by %s\n", pool,
		       json_integer_value(json_object_get(answer, "workers")),
		       json_integer_value(json_object_get(answer, "hosts")),
		       api_text(answer, "by"));
	json_decref(answer);
	strbuf_release(&path);
	free(text);
	return code;
}

/* NAME, NAME=N or NAME=file */
static int scale_one(struct api *api, const struct scale *scale, char *argument)
{
	json_t *body = json_object();
	char *count = strchr(argument, '=');
	int code = EX_OK;

	if (count)
		*count++ = '\0';
	if (!job_name_valid(argument))
		code = command_failed(scale->command, EX_DATAERR, "%s is not a pool's name",
				      argument);
	else if (!count && !scale->hosts)
		code = command_misused(scale->command, "expected %s=N, or --hosts", argument);
	else if (count && !add_count(body, "workers", count))
		code = command_misused(scale->command, "%s is not a number, or file", count);
	else if (scale->hosts && !add_count(body, "hosts", scale->hosts))
		code = command_misused(scale->command, "%s is not a number, or file", scale->hosts);
	if (code == EX_OK && scale->node)
		json_object_set_new(body, "node", json_string(scale->node));
	if (code == EX_OK)
		code = put(api, scale, argument, body);
	json_decref(body);
	return code;
}

static bool read_options(struct scale *scale, int argc, char **argv)
{
	static const struct option options[] = { { "hosts", required_argument, NULL, 'n' },
						 { "node", required_argument, NULL, 'o' },
						 { "json", no_argument, NULL, 'j' },
						 { "help", no_argument, NULL, 'h' },
						 { NULL, 0, NULL, 0 } };
	int option;

	while ((option = command_option(scale->command, argc, argv, options)) != -1) {
		if (option == 'n')
			scale->hosts = optarg;
		else if (option == 'o')
			scale->node = optarg;
		else if (option == 'j')
			scale->json = true;
		else
			return false;
	}
	if (optind == argc && (scale->hosts || scale->node)) {
		command_misused(scale->command, "expected the name of a pool");
		return false;
	}
	return true;
}

int command_scale(const struct command *command, int argc, char **argv)
{
	struct scale scale = { .command = command };
	struct api api;
	int code;

	if (!read_options(&scale, argc, argv))
		return EX_USAGE;
	code = api_open(&api, command);
	if (code == EX_OK && optind == argc)
		code = list(&api, &scale);
	for (int i = optind; code == EX_OK && i < argc; i++)
		code = scale_one(&api, &scale, argv[i]);
	api_close(&api);
	return code;
}

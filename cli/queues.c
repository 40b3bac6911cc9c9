/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass queues`: what waits in each queue; `pause NAME` and `resume NAME` stop and start their
 * being worked on. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "common/base/strbuf.h"
#include "common/job/job.h"

#include "cli/api.h"

static void print_queues(const json_t *items)
{
	static const char *const headings[] = { "QUEUE",     "PAUSED",  "AVAILABLE",
						"SCHEDULED", "WAITING", "PARKED",
						"QUEUED",    "RUNNING", "OLDEST" };
	static const char *const members[] = { "name",      "paused",  "available",
					       "scheduled", "waiting", "parked",
					       "queued",    "running", "oldest_seconds" };

	api_print_table(items, headings, members, ARRAY_LEN(headings));
}

static int list(struct api *api, bool json)
{
	json_t *answer = NULL;
	int code = api_call(api, "GET", "/v1/queues", NULL, API_TIMEOUT_MS, &answer);

	if (code == EX_OK && json)
		api_print_json(answer);
	else if (code == EX_OK)
		print_queues(json_object_get(answer, "items"));
	json_decref(answer);
	return code;
}

static int steer(struct api *api, const char *verb, const char *name)
{
	json_t *answer = NULL;
	struct strbuf path;
	int code;

	if (!job_name_valid(name))
		return command_failed(api->command, EX_DATAERR, "%s is not a queue's name", name);
	strbuf_init(&path);
	strbuf_printf(&path, "/v1/queues/%s/%s", name, verb); /* a name needs no escapes */
	code = api_call(api, "POST", path.data, NULL, API_TIMEOUT_MS, &answer);
	if (code == EX_OK)
		printf("%s %sd\n", name, verb);
	json_decref(answer);
	strbuf_release(&path);
	return code;
}

int command_queues(const struct command *command, int argc, char **argv)
{
	const char *verb;
	struct api api;
	bool json = false;
	int code;

	if (!command_json(command, argc, argv, 2, &json))
		return EX_USAGE;
	verb = optind < argc ? argv[optind] : NULL;
	if (verb &&
	    (argc - optind != 2 || (strcmp(verb, "pause") != 0 && strcmp(verb, "resume") != 0)))
		return command_misused(command, "expected nothing, pause NAME or resume NAME");
	code = api_open(&api, command);
	if (code == EX_OK)
		code = verb ? steer(&api, verb, argv[optind + 1]) : list(&api, json);
	api_close(&api);
	return code;
}

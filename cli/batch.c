/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass batch`: batch runs. `run` begins one, sends it the rows of a file of this machine when
 * it is given one, and shows how it goes until it has ended. */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/base/uuid.h"

#include "cli/api.h"
#include "cli/batch_run.h"

static void print_batches(const json_t *items)
{
	static const char *const headings[] = { "ID",   "STATE",  "TYPE",      "TOTAL",
						"DONE", "FAILED", "CANCELLED", "REJECTED" };
	static const char *const members[] = { "id",   "state",  "type",      "total",
					       "done", "failed", "cancelled", "rejected" };

	api_print_table(items, headings, members, ARRAY_LEN(headings));
}

static int list(struct api *api, bool json)
{
	json_t *answer = NULL;
	int code = api_call(api, "GET", "/v1/batches", NULL, API_TIMEOUT_MS, &answer);

	if (code == EX_OK && json)
		api_print_json(answer);
	else if (code == EX_OK)
		print_batches(json_object_get(answer, "items"));
	json_decref(answer);
	return code;
}

/* show, cancel, retry */
static int one(struct api *api, const char *verb, const char *id, bool json)
{
	bool show = !strcmp(verb, "show");
	json_t *answer = NULL, *batch;
	struct strbuf path;
	struct uuid parsed;
	int code;

	if (!uuid_parse(id, &parsed))
		return command_failed(api->command, EX_DATAERR, "%s is not an id", id);
	strbuf_init(&path);
	strbuf_printf(&path, "/v1/batches/%s%s%s", id, show ? "" : "/", show ? "" : verb);
	code = api_call(api, show ? "GET" : "POST", path.data, NULL, 60000, &answer);
	batch = json_object_get(answer, "batch");
	if (code == EX_OK && (json || show))
		api_print_json(answer);
	else if (code == EX_OK && batch)
		printf("%" JSON_INTEGER_FORMAT " jobs of %s wait again\n",
		       json_integer_value(json_object_get(answer, "count")), id);
	else if (code == EX_OK)
		printf("%s is %s\n", id, api_text(answer, "state"));
	json_decref(answer);
	strbuf_release(&path);
	return code;
}

static int with_api(const struct command *command, int count, char **arguments, bool json)
{
	struct api api;
	int code = api_open(&api, command);

	if (code == EX_OK)
		code = count > 1 ? one(&api, arguments[0], arguments[1], json) : list(&api, json);
	api_close(&api);
	return code;
}

int command_batch(const struct command *command, int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	bool json = false;
	int count;

	if (!strcmp(verb, "run"))
		return batch_run(command, argc - 1, argv + 1);
	if (!command_json(command, argc, argv, 2, &json))
		return EX_USAGE;
	count = argc - optind;
	verb = count ? argv[optind] : "";
	if ((!strcmp(verb, "list") && count == 1) ||
	    ((!strcmp(verb, "show") || !strcmp(verb, "cancel") || !strcmp(verb, "retry")) &&
	     count == 2))
		return with_api(command, count, argv + optind, json);
	return command_misused(command, "expected run, list, show ID, cancel ID or retry ID");
}

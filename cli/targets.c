/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass targets`: the third parties that workers call, and how it goes. */
#include <jansson.h>
#include <sysexits.h>

#include "cli/api.h"

static const char *const headings[] = { "TARGET",  "ORIGIN", "BREAKER", "UNDER WAY",
					"WAITING", "CALLS",  "FAILED",  "HELD",
					"MEAN MS", "FAULT",  "PID",     "HOST" };
static const char *const members[] = { "name",    "origin", "breaker",  "in_flight",
				       "waiting", "calls",  "failures", "held",
				       "mean_ms", "fault",  "pid",      "host" };

/* What is null is an empty cell. */
static void drop_nulls(json_t *items)
{
	json_t *item;
	size_t i;

	json_array_foreach(items, i, item)
	{
		for (size_t k = 0; k < ARRAY_LEN(members); k++) {
			if (json_is_null(json_object_get(item, members[k])))
				json_object_del(item, members[k]);
		}
	}
}

int command_targets(const struct command *command, int argc, char **argv)
{
	json_t *answer = NULL;
	struct api api;
	bool json = false;
	int code;

	if (!command_json(command, argc, argv, 0, &json))
		return EX_USAGE;
	code = api_open(&api, command);
	if (code == EX_OK)
		code = api_call(&api, "GET", "/v1/targets", NULL, API_TIMEOUT_MS, &answer);
	if (code == EX_OK && json) {
		api_print_json(answer);
	} else if (code == EX_OK) {
		drop_nulls(json_object_get(answer, "items"));
		api_print_table(json_object_get(answer, "items"), headings, members,
				ARRAY_LEN(headings));
	}
	json_decref(answer);
	api_close(&api);
	return code;
}

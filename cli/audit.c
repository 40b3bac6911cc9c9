/* SPDX-License-Identifier: Apache-2.0 */
/* `windlass audit`: who changed what while it ran, newest first. */
#include <jansson.h>
#include <sysexits.h>

#include "cli/api.h"

struct audit_options {
	struct strbuf query;
	bool json;
};

static bool read_options(const struct command *command, int argc, char **argv,
			 struct audit_options *given)
{
	static const struct option options[] = { { "who", required_argument, NULL, 'w' },
						 { "action", required_argument, NULL, 'a' },
						 { "object", required_argument, NULL, 'o' },
						 { "limit", required_argument, NULL, 'l' },
						 { "json", no_argument, NULL, 'j' },
						 { "help", no_argument, NULL, 'h' },
						 { NULL, 0, NULL, 0 } };
	int option, index;

	while ((option = command_option(command, argc, argv, options)) != -1) {
		if (option == '?')
			return false;
		for (index = 0; options[index].val != option; index++)
			;
		if (option == 'j')
			given->json = true;
		else
			api_add_parameter(&given->query, options[index].name, optarg);
	}
	if (optind < argc) {
		command_misused(command, "%s is too much", argv[optind]);
		return false;
	}
	return true;
}

static int list(struct api *api, const struct audit_options *given)
{
	static const char *const headings[] = { "AT", "WHO", "ACTION", "OBJECT", "DETAIL" };
	static const char *const members[] = { "at", "who", "action", "object", "detail" };
	json_t *answer = NULL;
	struct strbuf path;
	int code;

	strbuf_init(&path);
	strbuf_printf(&path, "/v1/audit%s", given->query.data);
	code = api_call(api, "GET", path.data, NULL, API_TIMEOUT_MS, &answer);
	if (code == EX_OK && given->json)
		api_print_json(answer);
	else if (code == EX_OK)
		api_print_table(json_object_get(answer, "items"), headings, members,
				ARRAY_LEN(headings));
	json_decref(answer);
	strbuf_release(&path);
	return code;
}

int command_audit(const struct command *command, int argc, char **argv)
{
	struct audit_options given = { .json = false };
	struct api api;
	int code = EX_USAGE;

	strbuf_init(&given.query);
	if (read_options(command, argc, argv, &given)) {
		code = api_open(&api, command);
		if (code == EX_OK)
			code = list(&api, &given);
		api_close(&api);
	}
	strbuf_release(&given.query);
	return code;
}

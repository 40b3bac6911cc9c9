/* SPDX-License-Identifier: Apache-2.0 */
/* One call of the API and what its answer means for the exit code. */
#include "cli/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/base/arena.h"
#include "common/http/client.h"

#include "cli/table.h"

#define ANSWER_BYTES_MAX (64 * 1024 * 1024)

int api_open(struct api *api, const struct command *command)
{
	*api = (struct api){ .command = command };
	return settings_load(&api->settings, stderr) == 0 ? EX_OK : EX_CONFIG;
}

void api_close(struct api *api)
{
	settings_release(&api->settings);
}

static int exit_code(int status)
{
	if (status >= 200 && status < 300)
		return EX_OK;
	if (status == 401 || status == 403)
		return EX_NOPERM;
	return status >= 500 || status == 429 ? EX_UNAVAILABLE : EX_DATAERR;
}

static int refused(struct api *api, const struct client_answer *answer)
{
	struct strbuf text, said;
	int code = exit_code(answer->status);

	strbuf_init(&text);
	strbuf_init(&said);
	client_problem(answer, &said);
	strbuf_shown(&text, said.data);
	strbuf_release(&said);
	if (answer->status == 401)
		strbuf_addstr(&text, "; WINDLASS_API_KEY is the client's key");
	command_failed(api->command, code, "%s", text.data);
	strbuf_release(&text);
	return code;
}

static int take_answer(struct api *api, const struct client_answer *answer, json_t **answer_r)
{
	if (exit_code(answer->status) != EX_OK)
		return refused(api, answer);
	*answer_r = json_loadb(answer->body.data, answer->body.len, JSON_DECODE_ANY, NULL);
	if (!*answer_r)
		return command_failed(api->command, EX_UNAVAILABLE,
				      "%s did not answer in JSON: is it Windlass?",
				      api->settings.url);
	return EX_OK;
}

int api_call(struct api *api, const char *method, const char *path, const char *body,
	     int64_t timeout_ms, json_t **answer_r)
{
	size_t base_bytes = strlen(api->settings.url);
	struct client_answer answer;
	struct strbuf url;
	struct error error;
	int code;

	while (base_bytes && api->settings.url[base_bytes - 1] == '/')
		base_bytes--;
	strbuf_init(&url);
	strbuf_add(&url, api->settings.url, base_bytes);
	strbuf_addstr(&url, path);
	if (client_call(&(struct client_request){ .method = method,
						  .url = url.data,
						  .key = api->settings.api_key,
						  .ca_file = api->settings.url_ca_file,
						  .body = body,
						  .body_bytes = body ? strlen(body) : 0,
						  .timeout_ms = timeout_ms,
						  .answer_bytes_max = ANSWER_BYTES_MAX },
			&answer, &error) == 0)
		code = take_answer(api, &answer, answer_r);
	else
		code = command_failed(api->command,
				      error.code == ERROR_INVALID ? EX_CONFIG : EX_UNAVAILABLE,
				      "%s%s", error.message,
				      error.code == ERROR_UNAVAILABLE
					      ? "; is `windlass run` up? WINDLASS_URL says where"
					      : "");
	strbuf_release(&answer.body);
	strbuf_release(&url);
	return code;
}

void api_print_text(FILE *out, const char *text)
{
	struct strbuf shown;

	strbuf_init(&shown);
	strbuf_shown(&shown, text);
	fprintf(out, "%s\n", shown.data);
	strbuf_release(&shown);
}

void api_add_parameter(struct strbuf *query, const char *name, const char *value)
{
	strbuf_printf(query, "%c%s=", query->len ? '&' : '?', name);
	for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
		if ((*p | 32) >= 'a' && (*p | 32) <= 'z')
			strbuf_addch(query, (char)*p);
		else if ((*p >= '0' && *p <= '9') || strchr("-._~", *p))
			strbuf_addch(query, (char)*p);
		else
			strbuf_printf(query, "%%%02X", *p);
	}
}

/* jansson leaves DEL, C1 and bidi controls as they are; its line ends are never a string's. */
void api_print_json(const json_t *value)
{
	char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY), *rest = text, *line;

	CHECK(text);
	while ((line = strsep(&rest, "\n")))
		api_print_text(stdout, line);
	free(text);
}

const char *api_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

char *api_cell(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);
	char *json = NULL;
	struct strbuf shown;

	if (!value || json_is_null(value))
		return NULL;
	if (!json_is_string(value))
		json = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	strbuf_init(&shown);
	strbuf_shown(&shown, json ? json : json_string_value(value));
	free(json);
	return strbuf_take(&shown);
}

void api_print_table(const json_t *items, const char *const *headings, const char *const *members,
		     size_t count)
{
	struct table *table = table_new(headings, count);
	char **cells = xcalloc(count, sizeof(*cells));
	const json_t *item;
	size_t index;

	json_array_foreach(items, index, item)
	{
		for (size_t i = 0; i < count; i++)
			cells[i] = api_cell(item, members[i]);
		table_row(table, (const char *const *)cells);
		for (size_t i = 0; i < count; i++)
			free(cells[i]);
	}
	free(cells);
	table_print(&table);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP API as the operator's subcommands use it: WINDLASS_URL, WINDLASS_API_KEY, problems as
 * one line and an exit code. */
#ifndef CLI_API_H
#define CLI_API_H
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/check.h"
#include "common/base/strbuf.h"
#include "common/config/settings.h"

#include "cli/command.h"

struct api {
	const struct command *command;
	struct settings settings;
};

/* 0, or 78 after saying why. */
int api_open(struct api *api, const struct command *command) must_check;
void api_close(struct api *api);
/* path: from "/v1". body: JSON text or NULL. 0 and *answer_r (to be released) for 2xx; else the
 * exit code, said why. */
int api_call(struct api *api, const char *method, const char *path, const char *body,
	     int64_t timeout_ms, json_t **answer_r) must_check;
/* Adds "?name=value", or "&name=value" to what is there already; percent-encoded, RFC 3986. */
void api_add_parameter(struct strbuf *query, const char *name, const char *value);
void api_print_json(const json_t *value);
/* A line of outside text, with what a terminal would act on as escapes (strbuf_shown). */
void api_print_text(FILE *out, const char *text);
const char *api_text(const json_t *object, const char *name); /* "" when it is no string */
/* Any value as a cell: strings as a terminal may see them, the rest as JSON; NULL when absent. The
 * caller frees it. */
char *api_cell(const json_t *object, const char *name);

/* The array's objects as a table: a column for each heading, its cells the member of that place. */
void api_print_table(const json_t *items, const char *const *headings, const char *const *members,
		     size_t count);

#define API_TIMEOUT_MS 15000

#endif

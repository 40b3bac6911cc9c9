/* SPDX-License-Identifier: Apache-2.0 */
/* The value of the key `hooks` of a job type: a list of addresses and of the ends that each is told
 * of. Called by definitions_keys.c when it meets the key. */
#include "common/config/definitions_hooks.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "common/config/settings_rows.h"

#define ENV_MAX 16 /* variables in one address */

static const enum job_state ends[] = { JOB_COMPLETED, JOB_DISCARDED, JOB_CANCELLED };

static bool is_member(const char *key)
{
	return strcmp(key, "url") == 0 || strcmp(key, "on") == 0;
}

/* ---- on */

static void read_end(struct key_reader *reader, const struct yaml_node *item, unsigned *on_r)
{
	for (size_t i = 0; item->kind == YAML_SCALAR && i < ARRAY_LEN(ends); i++) {
		if (strcmp(item->text, job_state_name(ends[i])) == 0) {
			*on_r |= 1u << ends[i];
			return;
		}
	}
	problem_add(reader->problems, item->place,
		    "bad entry %s in `on`; expected completed, discarded or cancelled",
		    yaml_describe(item, reader->arena));
}

static unsigned read_ends(struct key_reader *reader, const struct yaml_node *on)
{
	unsigned mask = 0;

	if (!on) {
		for (size_t i = 0; i < ARRAY_LEN(ends); i++)
			mask |= 1u << ends[i];
		return mask;
	}
	if (on->kind != YAML_LIST || !on->count)
		problem_add(
			reader->problems, on->place,
			"bad value %s of `on`; expected a list of completed, discarded, cancelled",
			yaml_describe(on, reader->arena));
	for (size_t i = 0; on->kind == YAML_LIST && i < on->count; i++)
		read_end(reader, on->items[i], &mask);
	return mask;
}

/* ---- url */

/* The name at text, up to its brace, in the arena; NULL: it is none that may be used. */
static const char *variable(struct arena *arena, const char *text, size_t bytes)
{
	const char *name = arena_strndup(arena, text, bytes);
	const struct setting_row *row = setting_find(name);

	if (!bytes || (*text >= '0' && *text <= '9') || (row && row->secret) ||
	    strncmp(name, "WINDLASS_", strlen("WINDLASS_")) == 0)
		return NULL;
	return name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")]
		       ? NULL
		       : name;
}

/* The variables of an address; NULL after saying what is wrong with one. */
static const char *const *variables(struct arena *arena, const char *url, const char **fault_r)
{
	const char **names = ARENA_ARRAY(arena, const char *, ENV_MAX + 1);
	size_t count = 0;

	for (const char *at = strstr(url, "${"); at; at = strstr(at + 2, "${")) {
		const char *end = strchr(at, '}');

		*fault_r = "expected only ${env.NAME} in it, NAME not one of Windlass's own";
		if (!end || strncmp(at, "${env.", strlen("${env.")) != 0)
			return NULL;
		at += strlen("${env.");
		names[count] = variable(arena, at, (size_t)(end - at));
		if (!names[count] || ++count > ENV_MAX - 1)
			return NULL;
	}
	*fault_r = NULL;
	return names;
}

static bool begins(const char *url)
{
	static const char *const starts[] = { "https://", "http://", "${env." };

	for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
		if (strncmp(url, starts[i], strlen(starts[i])) == 0)
			return true;
	}
	return false;
}

static const char *url_fault(struct arena *arena, struct webhook_hook *hook)
{
	const char *fault = NULL;

	if (!begins(hook->url))
		return "expected a URL that begins with https://, http:// or ${env.NAME}";
	if (strlen(hook->url) > WEBHOOK_URL_MAX)
		return "too long; expected at most 2000 bytes";
	for (const char *p = hook->url; *p; p++) {
		if (*p <= 0x20 || *p > 0x7e)
			return "expected printable ASCII; encode everything else with %";
	}
	hook->env = variables(arena, hook->url, &fault);
	return fault;
}

/* ---- the list */

static void read_hook(struct key_reader *reader, const struct yaml_node *node,
		      struct webhook_hook *hook)
{
	const struct yaml_node *url = NULL;
	const char *fault;

	for (size_t i = 0; node->kind == YAML_MAP && i < node->count; i++) {
		if (!is_member(node->keys[i]->text))
			problem_add(reader->problems, node->keys[i]->place,
				    "unknown key %s, expected one of url, on",
				    yaml_describe(node->keys[i], reader->arena));
	}
	url = node->kind == YAML_MAP ? definitions_member(node, "url") : NULL;
	if (!url || url->kind != YAML_SCALAR || yaml_is_null(url)) {
		problem_add(reader->problems, node->place,
			    "`hooks`: expected maps with `url` and, if not all ends, `on`");
		return;
	}
	hook->url = url->text;
	hook->on = read_ends(reader, definitions_member(node, "on"));
	fault = url_fault(reader->arena, hook);
	if (fault)
		problem_add(reader->problems, url->place, "`url`: %s", fault);
}

static bool told_twice(const struct webhook_hook *list, size_t count)
{
	for (size_t i = 0; i + 1 < count; i++) {
		if (list[i].url && list[count - 1].url &&
		    strcmp(list[i].url, list[count - 1].url) == 0)
			return true;
	}
	return false;
}

void definitions_read_hooks(struct key_reader *reader, const struct yaml_node *node,
			    struct webhook_hooks *hooks_r)
{
	struct webhook_hook *list;

	if (node->kind != YAML_LIST || !node->count || node->count > WEBHOOK_HOOKS_MAX) {
		problem_add(reader->problems, node->place,
			    "bad value %s of `hooks`; expected a list of 1 to %d maps",
			    yaml_describe(node, reader->arena), WEBHOOK_HOOKS_MAX);
		return;
	}
	list = ARENA_ARRAY(reader->arena, struct webhook_hook, node->count);
	for (size_t i = 0; i < node->count; i++) {
		read_hook(reader, node->items[i], &list[i]);
		if (told_twice(list, i + 1))
			problem_add(reader->problems, node->items[i]->place,
				    "`hooks`: this `url` is there already; expected one entry "
				    "for each");
	}
	*hooks_r = (struct webhook_hooks){ list, node->count };
}

json_t *definitions_hooks_schema(void)
{
	return json_pack("{s:s, s:i, s:i, s:{s:s, s:b, s:[s], s:{s:{s:s, s:s}, s:{s:s, s:i, s:b,"
			 " s:{s:[s, s, s]}}}}}",
			 "type", "array", "minItems", 1, "maxItems", WEBHOOK_HOOKS_MAX, "items",
			 "type", "object", "additionalProperties", 0, "required", "url",
			 "properties", "url", "type", "string", "pattern",
			 "^(https?://|\\$\\{env\\.)", "on", "type", "array", "minItems", 1,
			 "uniqueItems", 1, "items", "enum", "completed", "discarded", "cancelled");
}

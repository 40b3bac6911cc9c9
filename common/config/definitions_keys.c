/* SPDX-License-Identifier: Apache-2.0 */
/* Reads one map by the table of keys (definitions_rows.c): every value is checked and put in its
 * field, everything that is wrong is said. What keys mean together is checked in definitions.c. */
#include "common/config/definitions_keys.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/strbuf.h"
#include "common/config/definitions_hooks.h"
#include "common/config/rate.h"
#include "common/config/settings_rows.h"
#include "common/config/size.h"
#include "common/config/suggest.h"

#define SECRET_EXPECTED "${env.NAME}; a secret does not stand in this file"

const struct key_row *definitions_key(const struct key_rows *keys, const char *name)
{
	for (size_t i = 0; i < keys->count; i++) {
		if (strcmp(keys->rows[i].name, name) == 0)
			return &keys->rows[i];
	}
	return NULL;
}

const struct yaml_node *definitions_member(const struct yaml_node *map, const char *name)
{
	for (size_t i = 0; map && map->kind == YAML_MAP && i < map->count; i++) {
		if (strcmp(map->keys[i]->text, name) == 0)
			return map->items[i];
	}
	return NULL;
}

void definitions_refuse_key(struct key_reader *reader, const struct key_rows *keys,
			    const struct yaml_node *key)
{
	const struct key_row *row = definitions_key(keys, key->text);
	struct suggest suggest = { .word = key->text };
	struct strbuf expected;

	if (row && row->kind == KEY_LATER) {
		problem_add(reader->problems, key->place, "`%s` is not available in this version",
			    key->text);
		return;
	}
	strbuf_init(&expected);
	for (size_t i = 0; i < keys->count; i++) {
		if (keys->rows[i].kind == KEY_LATER)
			continue;
		strbuf_printf(&expected, "%s%s", expected.len ? ", " : "", keys->rows[i].name);
		suggest_offer(&suggest, keys->rows[i].name);
	}
	if (suggest.best)
		problem_add(reader->problems, key->place,
			    "unknown key %s; did you mean `%s`? Expected one of %s",
			    yaml_describe(key, reader->arena), suggest.best, expected.data);
	else
		problem_add(reader->problems, key->place, "unknown key %s, expected one of %s",
			    yaml_describe(key, reader->arena), expected.data);
	strbuf_release(&expected);
}

/* ---- one value. Each returns what was expected, or NULL when it was put in place. */

static const char *put_integer(const struct key_row *row, const char *text, int64_t *n_r,
			       struct arena *arena)
{
	size_t digits = strspn(text, "0123456789");

	*n_r = digits && digits < 19 && !text[digits] ? strtoll(text, NULL, 10) : -1;
	if (*n_r >= row->min && *n_r <= row->max)
		return NULL;
	return arena_printf(arena, "a whole number of %" PRId64 "..%" PRId64, row->min, row->max);
}

static const char *put_duration(const struct key_row *row, const char *text, int64_t *ms_r,
				struct arena *arena)
{
	char low[24], high[24];
	int64_t ms;

	if (duration_parse(text, &ms) != 0 || ms < row->min || ms > row->max)
		return arena_printf(arena, "a duration of %s..%s, as in 90s, 5m, 1h or seconds",
				    duration_format(row->min, low),
				    duration_format(row->max, high));
	*ms_r = ms;
	return NULL;
}

static const char *put_size(const struct key_row *row, const char *text, int64_t *bytes_r,
			    struct arena *arena)
{
	char low[24], high[24];
	int64_t bytes;

	if (size_parse(text, &bytes) != 0 || bytes < row->min || bytes > row->max)
		return arena_printf(arena, "a size of %s..%s", size_format(row->min, low),
				    size_format(row->max, high));
	*bytes_r = bytes;
	return NULL;
}

/* "true" in quotes is a text. */
static const char *put_flag(const char *text, bool plain, bool *flag_r)
{
	if (!plain || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0))
		return "true or false";
	*flag_r = *text == 't';
	return NULL;
}

static const char *put_choice(const struct key_row *row, const char *text, bool *second_r,
			      struct arena *arena)
{
	for (size_t i = 0; i < ARRAY_LEN(row->words); i++) {
		if (strcmp(text, row->words[i]) == 0) {
			*second_r = i == 1;
			return NULL;
		}
	}
	return arena_printf(arena, "%s or %s", row->words[0], row->words[1]);
}

static bool is_payload_path(const char *text)
{
	const char *at = text + strlen("payload");

	if (strncmp(text, "payload.", strlen("payload.")) != 0)
		return false;
	for (; *at == '.'; at += 1 + strcspn(at + 1, ".")) {
		if (!at[1] || at[1] == '.')
			return false;
	}
	return true;
}

/* The engine's own secrets must not leave it by way of `env`. */
const char *definitions_variable_fault(const char *name)
{
	size_t bytes =
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
	const struct setting_row *row = setting_find(name);

	if (!bytes || name[bytes] || isdigit((unsigned char)*name))
		return "the name of an environment variable";
	if ((row && row->secret) || strncmp(name, "WINDLASS_", 9) == 0)
		return "a variable that is not one of Windlass's own";
	return NULL;
}

static const char *put_rate(const struct key_row *row, const char *text, double *per_s_r)
{
	return rate_parse(text, (double)row->max, per_s_r) == 0
		       ? NULL
		       : "a number a second, minute or hour, as in 50/s, 100/m or 1000/h";
}

static const char *put_part(const char *text, double *part_r)
{
	char *end;
	double part = isdigit((unsigned char)*text) ? strtod(text, &end) : 0;

	if (!(part > 0) || part > 1 || *end || strspn(text, "0123456789.") != strlen(text))
		return "a number more than 0 and at most 1, as in 0.8";
	*part_r = part;
	return NULL;
}

/* The first byte after the `${env.X}` at text, or NULL with what is wrong. */
static const char *after_variable(const char *text, struct arena *arena, const char **expected_r)
{
	const char *name = text + strlen("${env."), *end = strchr(text, '}');

	*expected_r = "${env.NAME} and nothing else in braces; $${ for a plain ${";
	if (strncmp(text, "${env.", strlen("${env.")) != 0 || !end)
		return NULL;
	*expected_r = definitions_variable_fault(arena_strndup(arena, name, (size_t)(end - name)));
	return *expected_r ? NULL : end + 1;
}

static const char *put_template(const char *text, const char **field, struct arena *arena)
{
	const char *expected = "a text";

	for (const char *at = strstr(text, "${"); at; at = strstr(at, "${")) {
		at = at > text && at[-1] == '$' ? at + 2 : after_variable(at, arena, &expected);
		if (!at)
			return expected;
	}
	if (!*text)
		return expected;
	*field = text;
	return NULL;
}

static const char *put_secret(const char *text, const char **field, struct arena *arena)
{
	const char *expected, *end = after_variable(text, arena, &expected);

	if (!end)
		return strncmp(text, "${env.", strlen("${env.")) ? SECRET_EXPECTED : expected;
	if (*end)
		return SECRET_EXPECTED;
	*field = text;
	return NULL;
}

static const char *put_policy(const char *text, enum call_policy *policy_r)
{
	static const char *const words[] = {
		[CALL_RESEND_SAME_KEY] = "resend_same_key",
		[CALL_LOOKUP] = "lookup",
		[CALL_PARK] = "park",
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcmp(text, words[i]) == 0) {
			*policy_r = (enum call_policy)i;
			return NULL;
		}
	}
	return "resend_same_key, lookup or park";
}

static const char *put_scalar(const struct key_row *row, const char *text, bool plain, void *field,
			      struct arena *arena)
{
	const char *expected;
	int64_t n = 0;

	switch (row->kind) {
	case KEY_NAME:
		if (!job_name_valid(text))
			return "a name of " DEFINITIONS_NAME_RULE;
		*(const char **)field = text;
		return NULL;
	case KEY_TEXT:
		if (!*text)
			return "a text";
		*(const char **)field = text;
		return NULL;
	case KEY_INT:
	case KEY_COUNT:
		expected = put_integer(row, plain ? text : "", &n, arena);
		if (!expected && row->kind == KEY_INT)
			*(int *)field = (int)n;
		else if (!expected)
			*(int64_t *)field = n;
		return expected;
	case KEY_DURATION:
		return put_duration(row, text, field, arena);
	case KEY_SIZE:
		return put_size(row, text, field, arena);
	case KEY_PRIORITY:
		return job_priority_parse(text, field) ? NULL : "high, normal or low";
	case KEY_FLAG:
		return put_flag(text, plain, field);
	case KEY_CHOICE:
		return put_choice(row, text, field, arena);
	case KEY_POLICY:
		return put_policy(text, field);
	case KEY_PAYLOAD:
		if (!is_payload_path(text))
			return "payload.NAME, NAME a member or a path of members with dots";
		*(const char **)field = text;
		return NULL;
	case KEY_RATE:
		return put_rate(row, text, field);
	case KEY_PART:
		return put_part(text, field);
	case KEY_TEMPLATE:
		return put_template(text, field, arena);
	case KEY_SECRET:
		return put_secret(text, field, arena);
	case KEY_SCHEMA:
		return *text ? NULL : "the path of a JSON Schema file, or a schema as a map";
	default:
		return row->kind == KEY_MAP || row->kind == KEY_TEXT_MAP ? "a map"
									 : "a list of texts";
	}
}

static const char *text_fault(const struct key_row *row, const struct yaml_node *list, size_t index)
{
	const struct yaml_node *item = list->items[index];

	if (item->kind != YAML_SCALAR || yaml_is_null(item) || !*item->text)
		return "a text";
	/* Only programs' arguments may be repeated. */
	for (size_t i = 0; row->is != HANDLER_EXEC && i < index; i++) {
		if (list->items[i]->kind == YAML_SCALAR &&
		    strcmp(list->items[i]->text, item->text) == 0)
			return "each only once";
	}
	return row->kind == KEY_VARIABLES ? definitions_variable_fault(item->text) : NULL;
}

static void put_list(struct key_reader *reader, const struct key_row *row,
		     const struct yaml_node *list, const char *const **field)
{
	const char **texts;

	if (list->count > (size_t)row->max) {
		problem_add(reader->problems, list->place,
			    "`%s` has %zu entries; expected at most %" PRId64, row->name,
			    list->count, row->max);
		return;
	}
	if (!list->count && row->is) {
		problem_add(reader->problems, list->place,
			    "`%s` is empty; expected a list of texts", row->name);
		return;
	}
	texts = ARENA_ARRAY(reader->arena, const char *, list->count + 1);
	for (size_t i = 0; i < list->count; i++) {
		const char *expected = text_fault(row, list, i);

		if (expected)
			problem_add(reader->problems, list->items[i]->place,
				    "bad entry %s in `%s`; expected %s",
				    yaml_describe(list->items[i], reader->arena), row->name,
				    expected);
		texts[i] = list->items[i]->text ? list->items[i]->text : "";
	}
	*field = texts;
}

static bool is_list(const struct key_row *row)
{
	return row->kind == KEY_TEXTS || row->kind == KEY_VARIABLES || row->kind == KEY_STATUSES;
}

static void put_value(struct key_reader *reader, const struct key_row *row,
		      const struct yaml_node *value, void *target)
{
	void *field = (char *)target + row->offset;
	const char *expected;

	if (row->kind == KEY_MAP && value->kind == YAML_MAP) {
		definitions_read_keys(reader, row->members, value, target);
		return;
	}
	if (row->kind == KEY_SCHEMA && value->kind == YAML_MAP)
		return;
	if (row->kind == KEY_HOOKS) {
		definitions_read_hooks(reader, value, field);
		return;
	}
	if (row->kind == KEY_ANY || (row->kind == KEY_TEXT_MAP && value->kind == YAML_MAP)) {
		*(const struct yaml_node **)field = value;
		return;
	}
	if (is_list(row) && value->kind == YAML_LIST) {
		put_list(reader, row, value, field);
		return;
	}
	if (value->kind == YAML_SCALAR && !yaml_is_null(value))
		expected = put_scalar(row, value->text, value->plain, field, reader->arena);
	else
		expected = put_scalar(row, "", false, NULL, reader->arena);
	if (expected && row->kind == KEY_SECRET) /* not told again: it may be the secret itself */
		problem_add(reader->problems, value->place, "bad value of `%s`; expected %s",
			    row->name, expected);
	else if (expected)
		problem_add(reader->problems, value->place, "bad value %s of `%s`; expected %s",
			    yaml_describe(value, reader->arena), row->name, expected);
}

static void put_defaults(struct key_reader *reader, const struct key_rows *keys, void *target)
{
	static const char *const none[] = { NULL };

	for (size_t i = 0; i < keys->count; i++) {
		const struct key_row *row = &keys->rows[i];
		void *field = (char *)target + row->offset;

		if (row->kind == KEY_MAP)
			put_defaults(reader, row->members, target);
		else if (is_list(row) && !row->is)
			*(const char *const **)field = none;
		else if (row->default_text)
			CHECK(!put_scalar(row, row->default_text, true, field, reader->arena));
	}
}

static void read_members(struct key_reader *reader, const struct key_rows *keys,
			 const struct yaml_node *map, void *target)
{
	for (size_t i = 0; i < map->count; i++) {
		const struct key_row *row = definitions_key(keys, map->keys[i]->text);

		if (row && row->kind != KEY_LATER)
			put_value(reader, row, map->items[i], target);
		else
			definitions_refuse_key(reader, keys, map->keys[i]);
	}
	for (size_t i = 0; i < keys->count; i++) {
		if (keys->rows[i].required && !definitions_member(map, keys->rows[i].name))
			problem_add(reader->problems, map->place, "`%s` is missing",
				    keys->rows[i].name);
	}
}

void definitions_read_keys(struct key_reader *reader, const struct key_rows *keys,
			   const struct yaml_node *map, void *target)
{
	put_defaults(reader, keys, target);
	if (map)
		read_members(reader, keys, map, target);
}

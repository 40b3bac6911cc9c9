/* SPDX-License-Identifier: Apache-2.0 */
/* The table of formats, and those that are neither times nor addresses. */
#include "common/schema/schema_format.h"

#include <ctype.h>
#include <string.h>

#include "common/schema/schema_impl.h"

static bool is_uuid(const char *text, size_t bytes)
{
	if (bytes != 36)
		return false;
	for (size_t i = 0; i < bytes; i++) {
		bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;

		if (hyphen ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
			return false;
	}
	return true;
}

static bool is_json_pointer(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if ((i == 0 && text[i] != '/') ||
		    (text[i] == '~' &&
		     (i + 1 == bytes || (text[i + 1] != '0' && text[i + 1] != '1'))))
			return false;
	}
	return true;
}

/* Levels up, then "#" or a pointer. */
static bool is_relative_json_pointer(const char *text, size_t bytes)
{
	size_t digits = 0;

	while (digits < bytes && isdigit((unsigned char)text[digits]))
		digits++;
	if (!digits || (digits > 1 && *text == '0'))
		return false;
	return (bytes == digits + 1 && text[digits] == '#') ||
	       is_json_pointer(text + digits, bytes - digits);
}

static bool is_regex(const char *text, size_t bytes)
{
	struct arena *arena;
	struct schema_regex *regex;
	const char *why;
	bool good;

	if (memchr(text, '\0', bytes))
		return false;
	arena = arena_new(0);
	regex = schema_regex_compile(arena_strndup(arena, text, bytes), arena, &why);
	good = regex != NULL;
	if (good)
		schema_regex_release(regex);
	arena_free(&arena);
	return good;
}

static const struct {
	const char *name;
	format_fn *check;
} formats[] = {
	{ "date-time", schema_format_date_time },
	{ "date", schema_format_date },
	{ "time", schema_format_time },
	{ "duration", schema_format_duration },
	{ "email", schema_format_email },
	{ "idn-email", schema_format_idn_email },
	{ "hostname", schema_format_hostname },
	{ "ipv4", schema_format_ipv4 },
	{ "ipv6", schema_format_ipv6 },
	{ "uri", schema_format_uri },
	{ "uri-reference", schema_format_uri_reference },
	{ "iri", schema_format_iri },
	{ "iri-reference", schema_format_iri_reference },
	{ "uuid", is_uuid },
	{ "json-pointer", is_json_pointer },
	{ "relative-json-pointer", is_relative_json_pointer },
	{ "regex", is_regex },
};

format_fn *schema_format(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		if (strcmp(formats[i].name, name) == 0)
			return formats[i].check;
	}
	return NULL;
}

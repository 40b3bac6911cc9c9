/* SPDX-License-Identifier: Apache-2.0 */
/* Line by line, with the rules of AWS's own tools: names without regard to case, blanks around "="
 * do not matter, "#" and ";" begin a comment at the start of a line or after a blank, indented
 * lines belong to the setting above them and are none of ours. */
#include "common/broker/sqs_profile.h"

#include <string.h>
#include <strings.h>

#include "common/base/check.h"

struct span {
	const char *text;
	size_t bytes;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct span trim(struct span s)
{
	while (s.bytes && is_blank(s.text[0])) {
		s.text++;
		s.bytes--;
	}
	while (s.bytes && is_blank(s.text[s.bytes - 1]))
		s.bytes--;
	return s;
}

static bool span_is(struct span s, const char *text)
{
	return s.bytes == strlen(text) && !strncasecmp(s.text, text, s.bytes);
}

static struct span next_line(const char **at, const char *end)
{
	const char *stop = memchr(*at, '\n', (size_t)(end - *at));
	struct span line = { *at, (size_t)((stop ? stop : end) - *at) };

	*at = stop ? stop + 1 : end;
	return line;
}

static struct span without_comment(struct span line)
{
	for (size_t i = 0; i < line.bytes; i++) {
		bool mark = line.text[i] == '#' || line.text[i] == ';';

		if (mark && (i == 0 || is_blank(line.text[i - 1])))
			line.bytes = i;
	}
	return line;
}

/* "[name]", "[profile name]" */
static bool is_section(struct span line, const char *name)
{
	static const char word[] = "profile";
	const size_t word_bytes = sizeof(word) - 1;
	const char *stop = memchr(line.text, ']', line.bytes);
	struct span title;

	if (!stop)
		return false;
	title = trim((struct span){ line.text + 1, (size_t)(stop - line.text - 1) });
	if (title.bytes > word_bytes && !strncmp(title.text, word, word_bytes) &&
	    is_blank(title.text[word_bytes]))
		title = trim((struct span){ title.text + word_bytes, title.bytes - word_bytes });
	return title.bytes == strlen(name) && !memcmp(title.text, name, title.bytes);
}

static void keep(char *place, size_t place_bytes, struct span value)
{
	if (*place || value.bytes >= place_bytes)
		return;
	memcpy(place, value.text, value.bytes);
	place[value.bytes] = '\0';
}

static void read_setting(struct span line, struct sqs_profile *profile)
{
	static const char *const indirect[] = { "role_arn", "credential_process", "sso_session",
						"sso_start_url", "web_identity_token_file" };
	const char *equals = memchr(line.text, '=', line.bytes);
	struct span name, value;

	if (!equals)
		return;
	name = trim((struct span){ line.text, (size_t)(equals - line.text) });
	value = trim((struct span){ equals + 1, (size_t)(line.text + line.bytes - equals - 1) });
	if (span_is(name, "aws_access_key_id"))
		keep(profile->key_id, sizeof(profile->key_id), value);
	else if (span_is(name, "aws_secret_access_key"))
		keep(profile->secret, sizeof(profile->secret), value);
	else if (span_is(name, "aws_session_token"))
		keep(profile->token, sizeof(profile->token), value);
	else if (span_is(name, "region"))
		keep(profile->region, sizeof(profile->region), value);
	for (size_t i = 0; i < ARRAY_LEN(indirect); i++)
		profile->indirect |= span_is(name, indirect[i]);
}

void sqs_profile_read(const char *text, size_t bytes, const char *name, struct sqs_profile *profile)
{
	const char *at = text, *end = text + bytes;
	bool inside = false;

	while (at < end) {
		struct span line = without_comment(next_line(&at, end));
		bool indented = line.bytes && is_blank(line.text[0]);

		if (!trim(line).bytes || indented)
			continue;
		if (line.text[0] == '[') {
			inside = is_section(line, name);
			profile->found |= inside;
		} else if (inside) {
			read_setting(line, profile);
		}
	}
}

void sqs_profile_wipe(struct sqs_profile *profile)
{
	explicit_bzero(profile, sizeof(*profile));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Formats of addresses: hosts, mail boxes, URIs. Names are only looked at, never asked for. */
#include <ctype.h>
#include <string.h>

#include <arpa/inet.h>

#include "common/schema/schema_format.h"

#define HOST_MAX  253
#define LABEL_MAX 63
#define LOCAL_MAX 64

/* inet_pton wants a NUL, and takes none inside. */
static bool is_address(int family, const char *text, size_t bytes)
{
	unsigned char address[sizeof(struct in6_addr)];
	char copy[INET6_ADDRSTRLEN];

	if (bytes >= sizeof(copy) || memchr(text, '\0', bytes))
		return false;
	memcpy(copy, text, bytes);
	copy[bytes] = '\0';
	return inet_pton(family, copy, address) == 1;
}

bool schema_format_ipv4(const char *text, size_t bytes)
{
	return is_address(AF_INET, text, bytes);
}

bool schema_format_ipv6(const char *text, size_t bytes)
{
	return is_address(AF_INET6, text, bytes);
}

static bool is_label(const char *text, size_t bytes)
{
	if (!bytes || bytes > LABEL_MAX || text[0] == '-' || text[bytes - 1] == '-')
		return false;
	for (size_t i = 0; i < bytes; i++) {
		if (!isalnum((unsigned char)text[i]) && text[i] != '-')
			return false;
	}
	/* Two hyphens there announce an encoding, of which only xn-- exists. */
	return bytes < 4 || text[2] != '-' || text[3] != '-' ||
	       (bytes > 4 && strncasecmp(text, "xn", 2) == 0);
}

bool schema_format_hostname(const char *text, size_t bytes)
{
	const char *end = text + bytes;

	if (!bytes || bytes > HOST_MAX)
		return false;
	for (;;) {
		const char *dot = memchr(text, '.', (size_t)(end - text));

		if (!is_label(text, (size_t)((dot ? dot : end) - text)))
			return false;
		if (!dot)
			return true;
		text = dot + 1;
	}
}

/* ---- mail boxes, RFC 5321 */

static bool is_atom_char(unsigned char c, bool international)
{
	return isalnum(c) || (c && strchr("!#$%&'*+/=?^_`{|}~-", c)) ||
	       (international && c >= 0x80);
}

static bool is_dot_atom(const char *text, size_t bytes, bool international)
{
	if (!bytes || text[0] == '.' || text[bytes - 1] == '.')
		return false;
	for (size_t i = 0; i < bytes; i++) {
		if (text[i] == '.' ? text[i - 1] == '.'
				   : !is_atom_char((unsigned char)text[i], international))
			return false;
	}
	return true;
}

static bool is_quoted(const char *text, size_t bytes)
{
	if (bytes < 2 || text[0] != '"' || text[bytes - 1] != '"')
		return false;
	for (size_t i = 1; i < bytes - 1; i++) {
		if (text[i] == '\\' && ++i == bytes - 1)
			return false;
		if ((unsigned char)text[i] < 0x20 || (text[i] == '"' && text[i - 1] != '\\'))
			return false;
	}
	return true;
}

static bool is_literal(const char *text, size_t bytes)
{
	if (bytes < 2 || text[0] != '[' || text[bytes - 1] != ']')
		return false;
	if (bytes > 7 && strncasecmp(text + 1, "IPv6:", 5) == 0)
		return schema_format_ipv6(text + 6, bytes - 7);
	return schema_format_ipv4(text + 1, bytes - 2);
}

static bool is_international_host(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if ((unsigned char)text[i] <= 0x20 || text[i] == '@')
			return false;
	}
	return bytes > 0;
}

static bool is_mailbox(const char *text, size_t bytes, bool international)
{
	const char *at = memrchr(text, '@', bytes);
	size_t local = at ? (size_t)(at - text) : 0, host = at ? bytes - local - 1 : 0;

	if (!local || local > LOCAL_MAX)
		return false;
	if (!is_quoted(text, local) && !is_dot_atom(text, local, international))
		return false;
	return schema_format_hostname(at + 1, host) || is_literal(at + 1, host) ||
	       (international && is_international_host(at + 1, host));
}

bool schema_format_email(const char *text, size_t bytes)
{
	return is_mailbox(text, bytes, false);
}

bool schema_format_idn_email(const char *text, size_t bytes)
{
	return is_mailbox(text, bytes, true);
}

/* ---- URIs, RFC 3986 */

/* All of the text is made of these, escapes and what is unreserved. */
static bool is_made_of(const char *text, size_t bytes, const char *others, bool international)
{
	for (size_t i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '%') {
			if (bytes - i < 3 || !isxdigit((unsigned char)text[i + 1]) ||
			    !isxdigit((unsigned char)text[i + 2]))
				return false;
			i += 2;
		} else if (!isalnum(c) && !(c && strchr("-._~!$&'()*+,;=", c)) &&
			   !(c && strchr(others, c)) && !(international && c >= 0x80)) {
			return false;
		}
	}
	return true;
}

static bool is_authority(const char *text, size_t bytes, bool international)
{
	const char *at = memchr(text, '@', bytes), *end = text + bytes, *port;

	if (at && !is_made_of(text, (size_t)(at - text), ":", international))
		return false;
	text = at ? at + 1 : text;
	if (text < end && *text == '[') {
		port = memchr(text, ']', (size_t)(end - text));
		if (!port || !(schema_format_ipv6(text + 1, (size_t)(port - text) - 1) ||
			       ((text[1] == 'v' || text[1] == 'V') &&
				is_made_of(text + 2, (size_t)(port - text) - 2, ":", false))))
			return false;
		port++;
	} else {
		port = memchr(text, ':', (size_t)(end - text));
		port = port ? port : end;
		if (!is_made_of(text, (size_t)(port - text), "", international))
			return false;
	}
	for (const char *p = port; p < end; p++) {
		if (p == port ? *p != ':' : !isdigit((unsigned char)*p))
			return false;
	}
	return true;
}

static size_t count_scheme(const char *text, size_t bytes)
{
	size_t i = 0;

	if (!bytes || !isalpha((unsigned char)*text))
		return 0;
	while (i < bytes &&
	       (isalnum((unsigned char)text[i]) || (text[i] && strchr("+-.", text[i]))))
		i++;
	return i < bytes && text[i] == ':' ? i + 1 : 0;
}

static size_t span_to(const char *text, size_t bytes, const char *stops)
{
	size_t i = 0;

	while (i < bytes && !(text[i] && strchr(stops, text[i])))
		i++;
	return i;
}

static bool is_reference(const char *text, size_t bytes, bool absolute, bool international)
{
	size_t part = count_scheme(text, bytes);
	bool scheme = part > 0;

	if (absolute && !scheme)
		return false;
	text += part;
	bytes -= part;
	if (bytes >= 2 && text[0] == '/' && text[1] == '/') {
		part = 2 + span_to(text + 2, bytes - 2, "/?#");
		if (!is_authority(text + 2, part - 2, international))
			return false;
		text += part;
		bytes -= part;
	}
	part = span_to(text, bytes, "?#");
	if (!is_made_of(text, part, "/:@", international) ||
	    (!scheme && memchr(text, ':', span_to(text, part, "/"))))
		return false;
	text += part;
	bytes -= part;
	part = span_to(text, bytes, "#");
	if (part && !is_made_of(text + 1, part - 1, "/:@?", international))
		return false;
	return part == bytes ||
	       is_made_of(text + part + 1, bytes - part - 1, "/:@?", international);
}

bool schema_format_uri(const char *text, size_t bytes)
{
	return is_reference(text, bytes, true, false);
}

bool schema_format_uri_reference(const char *text, size_t bytes)
{
	return is_reference(text, bytes, false, false);
}

bool schema_format_iri(const char *text, size_t bytes)
{
	return is_reference(text, bytes, true, true);
}

bool schema_format_iri_reference(const char *text, size_t bytes)
{
	return is_reference(text, bytes, false, true);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The five parts of a URI, taken apart and put together again as RFC 3986 says. */
#include "common/schema/schema_uri.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/strbuf.h"

struct part { /* NULL: not there; else maybe empty */
	const char *text;
	size_t bytes;
};

struct uri {
	struct part scheme, authority, path, query;
};

static struct part part_of(const char *text, size_t bytes)
{
	return (struct part){ .text = text, .bytes = bytes };
}

static struct uri take_apart(const char *text)
{
	struct uri uri = { 0 };
	size_t bytes = strcspn(text, ":/?#");

	if (bytes && text[bytes] == ':' && isalpha((unsigned char)*text)) {
		uri.scheme = part_of(text, bytes);
		text += bytes + 1;
	}
	if (text[0] == '/' && text[1] == '/') {
		uri.authority = part_of(text + 2, strcspn(text + 2, "/?#"));
		text = uri.authority.text + uri.authority.bytes;
	}
	uri.path = part_of(text, strcspn(text, "?#"));
	text += uri.path.bytes;
	if (*text == '?')
		uri.query = part_of(text + 1, strcspn(text + 1, "#"));
	return uri;
}

/* The memory of an empty buffer is not its own. */
static void cut(struct strbuf *out, size_t bytes)
{
	if (bytes == out->len)
		return;
	out->len = bytes;
	out->data[bytes] = '\0';
}

/* Appends the path without its "." and ".." segments. */
static void add_clean(struct strbuf *out, const char *path, size_t bytes)
{
	size_t start = out->len;
	const char *end = path + bytes;

	while (path < end) {
		const char *slash = memchr(path + 1, '/', (size_t)(end - path) - 1);
		const char *segment = path + (*path == '/');
		const char *stop = slash ? slash : end;
		size_t length = (size_t)(stop - segment);
		bool up = length == 2 && memcmp(segment, "..", 2) == 0;

		if (up) {
			size_t left = out->len;

			while (left > start && out->data[left - 1] != '/')
				left--;
			cut(out, left - (left > start));
		}
		if (!up && !(length == 1 && *segment == '.'))
			strbuf_add(out, path, (size_t)(stop - path));
		else if (!slash && (*path == '/' || out->len > start))
			strbuf_addch(out, '/');
		path = stop;
	}
}

/* The base's path up to its last slash, and the reference's. */
static void add_merged(struct strbuf *out, const struct uri *base, struct part path)
{
	struct strbuf merged;
	size_t bytes = base->path.bytes;

	while (bytes && base->path.text[bytes - 1] != '/')
		bytes--;
	strbuf_init(&merged);
	if (base->authority.text && !base->path.bytes)
		strbuf_addch(&merged, '/');
	strbuf_add(&merged, base->path.text, bytes);
	strbuf_add(&merged, path.text, path.bytes);
	add_clean(out, merged.data, merged.len);
	strbuf_release(&merged);
}

static void add_part(struct strbuf *out, const char *before, struct part part, const char *behind)
{
	if (!part.text)
		return;
	strbuf_addstr(out, before);
	strbuf_add(out, part.text, part.bytes);
	strbuf_addstr(out, behind);
}

const char *schema_uri_resolve(const char *base_text, const char *reference, struct arena *arena)
{
	struct uri base = take_apart(base_text), uri = take_apart(reference);
	bool own_place = uri.scheme.text || uri.authority.text;
	const char *text;
	struct strbuf out;

	strbuf_init(&out);
	add_part(&out, "", uri.scheme.text ? uri.scheme : base.scheme, ":");
	add_part(&out, "//", own_place ? uri.authority : base.authority, "");
	if (uri.scheme.text && !uri.authority.text)
		strbuf_add(&out, uri.path.text, uri.path.bytes); /* urn:…: has no segments */
	else if (own_place || *uri.path.text == '/')
		add_clean(&out, uri.path.text, uri.path.bytes);
	else if (!uri.path.bytes)
		strbuf_add(&out, base.path.text, base.path.bytes);
	else
		add_merged(&out, &base, uri.path);
	add_part(&out, "?", own_place || uri.path.bytes || uri.query.text ? uri.query : base.query,
		 "");
	text = arena_strndup(arena, out.data, out.len);
	strbuf_release(&out);
	return text;
}

static int hex_of(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : (c | 0x20) - 'a' + 10;
}

const char *schema_uri_fragment(const char *reference, struct arena *arena)
{
	const char *mark = strchr(reference, '#');
	char *text, *out;

	if (!mark)
		return "";
	text = out = arena_strdup(arena, mark + 1);
	for (const char *at = text; *at; at++) {
		if (*at == '%') {
			if (!isxdigit((unsigned char)at[1]) || !isxdigit((unsigned char)at[2]))
				return NULL;
			*out++ = (char)(hex_of(at[1]) << 4 | hex_of(at[2]));
			at += 2;
		} else {
			*out++ = *at;
		}
	}
	*out = '\0';
	return text;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Fills in `http:` templates. Where a value stands decides how it is written, so that no payload
 * can leave its place: percent-encoded in a URL, as JSON in a body, without control characters in a
 * header. Called by the engine on its loop thread. */
#include "workers/handlers/http_handler.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/json/json_text.h"
#include "workers/handlers/payload_member.h"

struct filling {
	const struct claimed_job *job;
	const char *key;
	json_t *payload; /* NULL: not parsed, nothing asks for it */
	struct error *err;
};

/* What a piece stands for: a text, or something else as JSON; neither: it is not there. */
struct value {
	const char *text;
	json_t *json; /* borrowed */
	size_t bytes; /* of the text */
	char room[UUID_TEXT];
};

static void set_text(struct value *value, const char *text)
{
	value->text = text;
	value->bytes = text ? strlen(text) : 0;
}

static int value_of(const struct filling *f, const struct text_piece *piece, struct value *value_r)
{
	*value_r = (struct value){ 0 };
	switch (piece->source) {
	case TEXT_LITERAL:
		value_r->text = piece->text;
		value_r->bytes = piece->bytes;
		break;
	case TEXT_ENV:
		set_text(value_r, getenv(piece->text));
		if (!value_r->text)
			return error_set(f->err, ERROR_UNAVAILABLE,
					 "%s is not set in the worker's environment", piece->text);
		break;
	case TEXT_PAYLOAD:
		value_r->json = piece->text ? payload_member(f->payload, piece->text) : f->payload;
		break;
	case TEXT_JOB_ID:
		set_text(value_r, uuid_format(&f->job->id, value_r->room));
		break;
	case TEXT_JOB_TYPE:
		set_text(value_r, f->job->type);
		break;
	case TEXT_JOB_ATTEMPT:
		snprintf(value_r->room, sizeof(value_r->room), "%d", f->job->attempt);
		set_text(value_r, value_r->room);
		break;
	case TEXT_CALL_KEY:
		set_text(value_r, f->key);
		break;
	}
	if (json_is_string(value_r->json)) {
		value_r->text = json_string_value(value_r->json);
		value_r->bytes = json_string_length(value_r->json);
	}
	return 0;
}

static void add_json(struct strbuf *out, const struct filling *f, const struct text_piece *piece,
		     const struct value *value)
{
	char *dump;

	if (piece->source == TEXT_PAYLOAD && !piece->text) {
		strbuf_add(out, f->job->payload, f->job->payload_bytes);
	} else if (piece->source == TEXT_JOB_ATTEMPT) {
		strbuf_add(out, value->text, value->bytes);
	} else if (value->text) {
		strbuf_json_n(out, value->text, value->bytes);
	} else if (value->json) {
		dump = json_dumps(value->json, JSON_COMPACT | JSON_ENCODE_ANY);
		CHECK(dump);
		strbuf_addstr(out, dump);
		free(dump);
	} else {
		strbuf_addstr(out, "null");
	}
}

static void add_encoded(struct strbuf *out, const char *text, size_t bytes)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~";

	for (size_t i = 0; i < bytes; i++) {
		if (text[i] && strchr(plain, text[i]))
			strbuf_addch(out, text[i]);
		else
			strbuf_printf(out, "%%%02X", (unsigned char)text[i]);
	}
}

static int refuse(const struct filling *f, const struct text_piece *piece, const char *why)
{
	return error_set(f->err, ERROR_INVALID, "payload%s%s: %s", piece->text ? "." : "",
			 piece->text ? piece->text : "", why);
}

/* A text where only some are good. */
static int add_text(struct strbuf *out, const struct filling *f, const struct text_piece *piece,
		    const char *text, size_t bytes)
{
	struct strbuf quoted;

	switch (piece->form) {
	case TEXT_IN_PATH:
		if (!bytes || (*text == '.' && bytes == strspn(text, ".") && bytes <= 2))
			return refuse(f, piece, "no part of a path can be empty, `.` or `..`");
		add_encoded(out, text, bytes);
		return 0;
	case TEXT_IN_QUERY:
		add_encoded(out, text, bytes);
		return 0;
	case TEXT_IN_STRING:
		strbuf_init(&quoted);
		strbuf_json_n(&quoted, text, bytes);
		strbuf_add(out, quoted.data + 1, quoted.len - 2);
		strbuf_release(&quoted);
		return 0;
	default:
		for (size_t i = 0; i < bytes; i++)
			if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
				return refuse(f, piece, "it has a control character");
		strbuf_add(out, text, bytes);
		return 0;
	}
}

static int add_piece(struct strbuf *out, const struct filling *f, const struct text_piece *piece)
{
	struct value value;
	char *dump;
	int rc;

	if (value_of(f, piece, &value) < 0)
		return -1;
	if (piece->source == TEXT_LITERAL) {
		strbuf_add(out, value.text, value.bytes);
		return 0;
	}
	if (piece->form == TEXT_JSON) {
		add_json(out, f, piece, &value);
		return 0;
	}
	if (value.text)
		return add_text(out, f, piece, value.text, value.bytes);
	if (!value.json || json_is_null(value.json))
		return piece->form == TEXT_IN_STRING ? 0 : refuse(f, piece, "it is missing");
	dump = json_dumps(value.json, JSON_COMPACT | JSON_ENCODE_ANY);
	CHECK(dump);
	rc = add_text(out, f, piece, dump, strlen(dump));
	free(dump);
	return rc;
}

/* The text, in the job's arena; NULL: error. */
static char *fill(const struct filling *f, const struct text_template *template, size_t *bytes_r)
{
	struct strbuf out;
	char *text = NULL;
	int rc = 0;

	strbuf_init(&out);
	for (size_t i = 0; rc == 0 && i < template->count; i++)
		rc = add_piece(&out, f, &template->pieces[i]);
	if (rc == 0) {
		text = arena_strndup(f->job->arena, out.data, out.len);
		if (bytes_r)
			*bytes_r = out.len;
	}
	strbuf_release(&out);
	return text;
}

static const char *const *fill_headers(const struct filling *f, const struct http_header *headers,
				       size_t count)
{
	const char **lines = ARENA_ARRAY(f->job->arena, const char *, count + 1);

	for (size_t i = 0; i < count; i++) {
		const char *value = fill(f, &headers[i].value, NULL);

		if (!value)
			return NULL;
		lines[i] = arena_printf(f->job->arena, "%s: %s", headers[i].name, value);
	}
	return lines;
}

static bool asks_payload(const struct text_template *template)
{
	for (size_t i = 0; i < template->count; i++) {
		const struct text_piece *piece = &template->pieces[i];

		if (piece->source == TEXT_PAYLOAD && (piece->text || piece->form != TEXT_JSON))
			return true;
	}
	return false;
}

static bool any_asks_payload(const struct http_definition *http)
{
	bool asks = asks_payload(&http->url) || asks_payload(&http->body) ||
		    asks_payload(&http->lookup_url);

	for (size_t i = 0; i < http->header_count; i++)
		asks = asks || asks_payload(&http->headers[i].value);
	for (size_t i = 0; i < http->lookup_header_count; i++)
		asks = asks || asks_payload(&http->lookup_headers[i].value);
	return asks;
}

static int fill_parts(const struct filling *f, const struct http_definition *http,
		      struct http_parts *parts_r)
{
	parts_r->url = fill(f, &http->url, NULL);
	parts_r->headers = fill_headers(f, http->headers, http->header_count);
	if (!parts_r->url || !parts_r->headers)
		return -1;
	if (http->has_body) {
		parts_r->body = fill(f, &http->body, &parts_r->body_bytes);
		if (!parts_r->body)
			return -1;
	}
	if (!http->lookup_url.count)
		return 0;
	parts_r->lookup_url = fill(f, &http->lookup_url, NULL);
	parts_r->lookup_headers = fill_headers(f, http->lookup_headers, http->lookup_header_count);
	return parts_r->lookup_url && parts_r->lookup_headers ? 0 : -1;
}

int http_handler_parts(const struct http_definition *http, const struct claimed_job *job,
		       const char *key, struct http_parts *parts_r, struct error *err_r)
{
	struct filling f = { .job = job, .key = key, .err = err_r };
	struct json_error error;
	int rc;

	*parts_r = (struct http_parts){ 0 };
	if (any_asks_payload(http)) {
		f.payload = json_text_parse(job->payload, job->payload_bytes, &error);
		if (!f.payload)
			return error_set(err_r, ERROR_INVALID, "payload %d:%d: %s", error.line,
					 error.column, error.message);
	}
	rc = fill_parts(&f, http, parts_r);
	json_decref(f.payload);
	return rc;
}

const char *http_handler_text(const struct text_template *template, const struct claimed_job *job,
			      const char *key, struct error *err_r)
{
	struct http_definition http = { .url = *template };
	struct http_parts parts;

	return http_handler_parts(&http, job, key, &parts, err_r) < 0 ? NULL : parts.url;
}

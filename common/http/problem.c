/* SPDX-License-Identifier: Apache-2.0 */
/* Writes problem documents. Called by the server for its own refusals and by the gateway for
 * everything else; never decides what is refused. */
#include "common/http/problem.h"

#include "common/base/check.h"

static const struct {
	int status;
	const char *title;
} titles[] = {
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 421, "Misdirected Request" },
	{ 422, "Unprocessable Content" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" },
	{ 507, "Insufficient Storage" },
};

const char *problem_status_title(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(titles); i++) {
		if (titles[i].status == status)
			return titles[i].title;
	}
	return "Error";
}

static void add_member(struct strbuf *out, const char *name, const char *text)
{
	if (!text)
		return;
	strbuf_addstr(out, ",\"");
	strbuf_addstr(out, name);
	strbuf_addstr(out, "\":");
	strbuf_json(out, text);
}

static void add_number(struct strbuf *out, const char *name, int number)
{
	if (number == 0)
		return;
	strbuf_addstr(out, ",\"");
	strbuf_addstr(out, name);
	strbuf_addstr(out, "\":");
	strbuf_addi(out, number);
}

static void add_places(struct strbuf *out, const struct problem_place *places, size_t count)
{
	if (count == 0)
		return;
	strbuf_addstr(out, ",\"errors\":[");
	for (size_t i = 0; i < count; i++) {
		strbuf_addstr(out, i ? ",{\"pointer\":" : "{\"pointer\":");
		strbuf_json(out, places[i].pointer ? places[i].pointer : "");
		add_member(out, "keyword", places[i].keyword);
		add_member(out, "detail", places[i].detail);
		strbuf_addch(out, '}');
	}
	strbuf_addch(out, ']');
}

void problem_write(const struct problem *problem, struct strbuf *out)
{
	CHECK(problem->status >= 400 && problem->status < 600);
	strbuf_addstr(out, "{\"type\":\"");
	strbuf_addstr(out, problem->slug ? "urn:windlass:problem:" : "about:blank");
	strbuf_addstr(out, problem->slug ? problem->slug : "");
	strbuf_addch(out, '"');
	add_member(out, "title",
		   problem->title ? problem->title : problem_status_title(problem->status));
	add_number(out, "status", problem->status);
	add_member(out, "detail", problem->detail);
	add_member(out, "instance", problem->instance);
	add_places(out, problem->places, problem->place_count);
	add_number(out, "more_errors", (int)problem->places_more);
	add_number(out, "line", problem->line);
	add_number(out, "column", problem->column);
	strbuf_addstr(out, "}\n");
}

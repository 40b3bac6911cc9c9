/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts texts into literals and references, and finds out where in a URL a reference stands: what
 * comes from a job must not choose the host that is called. Called while a definitions file is
 * read. */
#include "common/config/text_template.h"

#include <stdio.h>
#include <string.h>

void text_builder_init(struct text_builder *builder, struct arena *arena)
{
	*builder = (struct text_builder){ .arena = arena };
	strbuf_init(&builder->literal);
}

static void add_piece(struct text_builder *builder, struct text_piece piece)
{
	if (builder->count == builder->room) {
		size_t room = builder->room ? 2 * builder->room : 8;
		struct text_piece *more = ARENA_ARRAY(builder->arena, struct text_piece, room);

		if (builder->count)
			memcpy(more, builder->pieces, builder->count * sizeof(*more));
		builder->pieces = more;
		builder->room = room;
	}
	builder->pieces[builder->count++] = piece;
}

static void end_literal(struct text_builder *builder)
{
	struct strbuf *literal = &builder->literal;

	if (!literal->len)
		return;
	add_piece(builder, (struct text_piece){ .source = TEXT_LITERAL,
						.text = arena_strndup(builder->arena, literal->data,
								      literal->len),
						.bytes = literal->len });
	strbuf_clear(literal);
}

static struct text_piece piece_of(const char *source, enum text_form form)
{
	struct text_piece piece = { .form = form };

	if (!strncmp(source, "env.", 4)) {
		piece.source = TEXT_ENV;
		piece.text = source + 4;
		if (form == TEXT_IN_PATH || form == TEXT_IN_QUERY)
			piece.form = TEXT_AS_IS;
	} else if (!strncmp(source, "payload", 7)) {
		piece.source = TEXT_PAYLOAD;
		piece.text = source[7] ? source + 8 : NULL;
	} else if (!strcmp(source, "job.id")) {
		piece.source = TEXT_JOB_ID;
	} else if (!strcmp(source, "job.type")) {
		piece.source = TEXT_JOB_TYPE;
	} else if (!strcmp(source, "job.attempt")) {
		piece.source = TEXT_JOB_ATTEMPT;
	} else {
		CHECK(!strcmp(source, "call.key"));
		piece.source = TEXT_CALL_KEY;
	}
	return piece;
}

/* One character of the text itself; inside a JSON string a quote has its backslash. */
static void add_literal(struct text_builder *builder, const char *text, size_t bytes,
			enum text_form form)
{
	struct strbuf quoted;

	if (form != TEXT_IN_STRING) {
		strbuf_add(&builder->literal, text, bytes);
		return;
	}
	strbuf_init(&quoted);
	strbuf_json_n(&quoted, text, bytes);
	strbuf_add(&builder->literal, quoted.data + 1, quoted.len - 2);
	strbuf_release(&quoted);
}

int text_builder_add(struct text_builder *builder, const char *text, enum text_form form,
		     const struct substitution_rules *rules, struct substitution_problem *problem_r)
{
	size_t at = 0;

	while (text[at]) {
		size_t plain = strcspn(text + at, "$");
		const char *source;

		add_literal(builder, text + at, plain, form);
		at += plain;
		if (!strncmp(text + at, SUBSTITUTION_ESCAPE, 3)) {
			add_literal(builder, "${", 2, form);
			at += 3;
		} else if (!strncmp(text + at, "${", 2)) {
			if (substitution_take(text, at, rules, builder->arena, &source, &at,
					      problem_r) != 0)
				return -1;
			end_literal(builder);
			add_piece(builder, piece_of(source, form));
		} else if (text[at]) {
			add_literal(builder, text + at++, 1, form);
		}
	}
	return 0;
}

void text_builder_end(struct text_builder *builder, struct text_template *template_r)
{
	end_literal(builder);
	strbuf_release(&builder->literal);
	if (template_r)
		*template_r = (struct text_template){ .pieces = builder->pieces,
						      .count = builder->count };
}

/* ---- URLs */

size_t text_template_authority(const char *url)
{
	size_t at = 0;

	if (!strncmp(url, "https://", 8) || !strncmp(url, "http://", 7))
		at = (size_t)(strstr(url, "//") - url) + 2;
	while (url[at] && !strchr("/?#", url[at])) {
		if (!strncmp(url + at, "${", 2))
			at += strcspn(url + at, "}\n");
		else if (!strncmp(url + at, "://", 3))
			at += 3;
		else
			at++;
	}
	return at;
}

static int refuse(struct substitution_problem *problem, size_t offset, const char *message)
{
	problem->offset = offset;
	snprintf(problem->message, sizeof(problem->message), "%s", message);
	return -1;
}

/* Scheme and host, path, query: each with the form that its values have. */
static int add_url(struct text_builder *builder, const char *text, bool open,
		   const struct substitution_rules *rules, struct substitution_problem *problem_r)
{
	size_t first = text_template_authority(text), second = first + strcspn(text + first, "?#");
	const struct {
		size_t from, to;
		enum text_form form;
	} parts[] = {
		{ 0, first, TEXT_AS_IS },
		{ first, second, TEXT_IN_PATH },
		{ second, strlen(text), TEXT_IN_QUERY },
	};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		char *part = arena_strndup(builder->arena, text + parts[i].from,
					   parts[i].to - parts[i].from);

		if (text_builder_add(builder, part, parts[i].form, rules, problem_r) != 0) {
			problem_r->offset += parts[i].from;
			return -1;
		}
		for (size_t n = 0; i == 0 && !open && n < builder->count; n++)
			if (builder->pieces[n].source != TEXT_LITERAL &&
			    builder->pieces[n].source != TEXT_ENV)
				return refuse(
					problem_r, 0,
					"what comes from a job cannot stand in front of the path; say `url_from_payload: true` if it shall choose whom to call");
	}
	return 0;
}

static int check_scheme(const char *text, bool open, struct substitution_problem *problem_r)
{
	if (!strncmp(text, "https://", 8) || !strncmp(text, "http://", 7) ||
	    !strncmp(text, "${env.", 6) || (open && !strncmp(text, "${", 2)))
		return 0;
	return refuse(problem_r, 0,
		      "expected a URL that begins with https://, http:// or ${env.NAME}");
}

int text_template_parse(const char *text, enum text_place place,
			const struct substitution_rules *rules, struct arena *arena,
			struct text_template *template_r, struct substitution_problem *problem_r)
{
	struct text_builder builder;
	int rc;

	text_builder_init(&builder, arena);
	if (place == TEXT_URL || place == TEXT_OPEN_URL) {
		rc = check_scheme(text, place == TEXT_OPEN_URL, problem_r);
		if (rc == 0)
			rc = add_url(&builder, text, place == TEXT_OPEN_URL, rules, problem_r);
	} else {
		rc = text_builder_add(&builder, text, place == TEXT_BODY ? TEXT_JSON : TEXT_AS_IS,
				      rules, problem_r);
	}
	text_builder_end(&builder, rc == 0 ? template_r : NULL);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Texts with references (substitution.h), cut into pieces when the definitions file is read: a URL,
 * a header value, a body. Each piece knows how its value is written where it stands. Filled in for
 * a job by workers/handlers/http_handler.c. */
#ifndef COMMON_CONFIG_TEXT_TEMPLATE_H
#define COMMON_CONFIG_TEXT_TEMPLATE_H
#include "common/base/arena.h"
#include "common/base/strbuf.h"
#include "common/config/substitution.h"

enum text_source {
	TEXT_LITERAL = 1, /* `text` itself */
	TEXT_ENV,         /* `text`: its name */
	TEXT_PAYLOAD,     /* `text`: "a.b", or NULL: all of it */
	TEXT_JOB_ID,
	TEXT_JOB_TYPE,
	TEXT_JOB_ATTEMPT,
	TEXT_CALL_KEY,
};

enum text_form {
	TEXT_AS_IS,
	TEXT_IN_PATH,   /* percent-encoded; not empty, no "." and ".." */
	TEXT_IN_QUERY,  /* percent-encoded */
	TEXT_JSON,      /* the value as JSON */
	TEXT_IN_STRING, /* inside the quotes of a JSON string */
};

struct text_piece {
	enum text_source source;
	enum text_form form;
	const char *text;
	size_t bytes; /* of a literal */
};

struct text_template { /* all zero: none */
	const struct text_piece *pieces;
	size_t count;
};

enum text_place {
	TEXT_HEADER,
	/* scheme, host and port are the template's own or ${env.X}'s */
	TEXT_URL,
	/* values of a job may stand in front of the path, and are the URL's as they are there */
	TEXT_OPEN_URL,
	TEXT_BODY, /* values are written as JSON */
};

/* Cuts it up; strings live in the arena. 0, or -1 with *problem_r. */
int text_template_parse(const char *text, enum text_place place,
			const struct substitution_rules *rules, struct arena *arena,
			struct text_template *template_r,
			struct substitution_problem *problem_r) must_check;

/* The offset at which scheme, host and port of a URL are over. */
size_t text_template_authority(const char *url);

/* A template made in parts: pieces and literals are added in order. */
struct text_builder {
	struct arena *arena;
	struct strbuf literal; /* not a piece yet */
	struct text_piece *pieces;
	size_t count, room;
};
void text_builder_init(struct text_builder *builder, struct arena *arena);
/* Appends what stands in `text`, its references in this form. */
int text_builder_add(struct text_builder *builder, const char *text, enum text_form form,
		     const struct substitution_rules *rules,
		     struct substitution_problem *problem_r) must_check;
/* The template, and the builder is released; NULL drops it. */
void text_builder_end(struct text_builder *builder, struct text_template *template_r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* `http:` of a job type: statuses become sets, texts become templates, and what could not be sent
 * is refused with its place. Values are the job's, later. Called by definitions.c. */
#include "common/config/definitions_keys.h"

#include <string.h>
#include <strings.h>

#include "common/base/strbuf.h"
#include "common/json/json_text.h"

struct compiling {
	struct key_reader *reader;
	const char *source;
	const struct yaml_node *map;
	struct job_type *type;
};

static struct yaml_place place_of(const struct compiling *c, const char *key)
{
	const struct yaml_node *node = definitions_member(c->map, key);

	return node ? node->place : c->map->place;
}

/* ---- statuses */

static void set_add(struct status_set *set, int from, int to)
{
	for (int status = from; status <= to; status++)
		set->bits[(status - 100) / 64] |= UINT64_C(1) << ((status - 100) % 64);
}

static bool add_status(const char *text, struct status_set *set, bool *network)
{
	bool digits = strlen(text) == 3 && *text >= '1' && *text <= '5';

	if (digits && !strcmp(text + 1, "xx")) {
		set_add(set, (*text - '0') * 100, (*text - '0') * 100 + 99);
	} else if (digits && strspn(text, "0123456789") == 3) {
		int status = (*text - '0') * 100 + (text[1] - '0') * 10 + text[2] - '0';

		set_add(set, status, status);
	} else if (network && !strcmp(text, "network")) {
		*network = true;
	} else {
		return false;
	}
	return true;
}

/* `network` NULL: not a word of this list. */
static void read_statuses(struct compiling *c, const char *key, const char *const *texts,
			  struct status_set *set, bool *network)
{
	static const char *const ok[] = { "2xx", NULL }, *const retry_on[] = { "408",     "425",
									       "429",     "5xx",
									       "network", NULL };

	if (!definitions_member(c->map, key))
		texts = network ? retry_on : ok;
	for (; *texts; texts++) {
		if (!add_status(*texts, set, network))
			problem_add(c->reader->problems, place_of(c, key),
				    "bad entry `%.40s` in `%s`; expected a status as 404, or 5xx%s",
				    *texts, key, network ? ", or network" : "");
	}
}

/* ---- texts */

static void refuse_text(struct compiling *c, const char *key, const struct yaml_node *scalar,
			const struct substitution_problem *problem)
{
	problem_add(c->reader->problems, yaml_place_within(c->source, scalar, problem->offset),
		    "`%s`: %s", key, problem->message);
}

static void compile_text(struct compiling *c, const char *key, const struct yaml_node *scalar,
			 enum text_place place, const struct substitution_rules *rules,
			 struct text_template *template_r)
{
	struct substitution_problem problem;

	if (text_template_parse(scalar->text, place, rules, c->reader->arena, template_r,
				&problem) != 0)
		refuse_text(c, key, scalar, &problem);
}

static const char *header_fault(const char *name, const struct yaml_node *value)
{
	static const char *const ours[] = { "Content-Length", "Transfer-Encoding", "Expect", "Host",
					    "Connection" };
	static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	if (!*name || name[strspn(name, token)] || strlen(name) > 200)
		return "expected the name of a header";
	for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
		if (!strcasecmp(name, ours[i]))
			return "it is not a definition's to set";
	}
	if (value->kind != YAML_SCALAR || yaml_is_null(value))
		return "expected a text";
	for (const char *at = value->text; *at; at++) {
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			return "its value has a control character";
	}
	return NULL;
}

static void compile_headers(struct compiling *c, const struct yaml_node *map,
			    const struct substitution_rules *rules,
			    const struct http_header **headers_r, size_t *count_r)
{
	struct http_header *headers =
		ARENA_ARRAY(c->reader->arena, struct http_header, map ? map->count + 1 : 1);

	*headers_r = headers;
	for (size_t i = 0; map && i < map->count; i++) {
		const char *fault = header_fault(map->keys[i]->text, map->items[i]);

		if (fault) {
			problem_add(c->reader->problems, map->keys[i]->place, "header %s: %s",
				    yaml_describe(map->keys[i], c->reader->arena), fault);
			continue;
		}
		headers[*count_r].name = map->keys[i]->text;
		compile_text(c, "headers", map->items[i], TEXT_HEADER, rules,
			     &headers[(*count_r)++].value);
	}
}

/* ---- the body: YAML that is sent as JSON */

struct body {
	struct compiling *c;
	const struct substitution_rules *rules;
	struct text_builder builder;
};

static bool is_one_reference(const char *text)
{
	return !strncmp(text, "${", 2) && text[strcspn(text, "}")] && !text[strcspn(text, "}") + 1];
}

static void add_text(struct body *body, const struct yaml_node *scalar)
{
	struct strbuf *literal = &body->builder.literal;
	bool whole = is_one_reference(scalar->text);
	struct substitution_problem problem;

	if (!whole)
		strbuf_addch(literal, '"');
	if (text_builder_add(&body->builder, scalar->text, whole ? TEXT_JSON : TEXT_IN_STRING,
			     body->rules, &problem) != 0)
		refuse_text(body->c, "body", scalar, &problem);
	if (!whole)
		strbuf_addch(literal, '"');
}

/* The reader bounds the depth. */
static void add_node(struct body *body, const struct yaml_node *node)
{
	struct strbuf *literal = &body->builder.literal;
	bool map = node->kind == YAML_MAP;

	if (node->kind == YAML_SCALAR) {
		if (yaml_is_null(node))
			strbuf_addstr(literal, "null");
		else if (node->plain && json_text_check(node->text, strlen(node->text)))
			strbuf_addstr(literal, node->text);
		else
			add_text(body, node);
		return;
	}
	strbuf_addch(literal, map ? '{' : '[');
	for (size_t i = 0; i < node->count; i++) {
		if (i)
			strbuf_addch(literal, ',');
		if (map) {
			strbuf_json(literal, node->keys[i]->text);
			strbuf_addch(literal, ':');
		}
		add_node(body, node->items[i]);
	}
	strbuf_addch(literal, map ? '}' : ']');
}

static void compile_body(struct compiling *c, const struct substitution_rules *rules)
{
	struct http_definition *http = &c->type->http;
	struct body body = { .c = c, .rules = rules };

	if (!http->body_node || yaml_is_null(http->body_node))
		return;
	http->has_body = true;
	if (http->body_node->kind == YAML_SCALAR) {
		compile_text(c, "body", http->body_node, TEXT_BODY, rules, &http->body);
		return;
	}
	text_builder_init(&body.builder, c->reader->arena);
	add_node(&body, http->body_node);
	text_builder_end(&body.builder, &http->body);
}

/* ---- the whole */

static void check_method(struct compiling *c)
{
	static const char *const known[] = { "GET",   "HEAD",   "POST",   "PUT",
					     "PATCH", "DELETE", "OPTIONS" };

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (!strcmp(c->type->http.method, known[i]))
			return;
	}
	problem_add(
		c->reader->problems, place_of(c, "method"),
		"bad value `%.40s` of `method`; expected GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS",
		c->type->http.method);
}

/* A request that changes nothing may be repeated at will, and is. */
static void check_park(struct compiling *c)
{
	const char *method = c->type->http.method;

	if (c->type->http.rules.ambiguous == CALL_PARK &&
	    (!strcmp(method, "GET") || !strcmp(method, "HEAD")))
		problem_add(c->reader->problems, place_of(c, "ambiguous"),
			    "`ambiguous: park` has no meaning with `method: %s`", method);
}

static void compile_lookup(struct compiling *c)
{
	const struct substitution_rules rules = { .call_key = true };
	struct http_definition *http = &c->type->http;
	const struct yaml_node *lookup = definitions_member(c->map, "lookup");
	bool wanted = http->rules.ambiguous == CALL_LOOKUP;

	if (wanted != (lookup != NULL)) {
		problem_add(c->reader->problems, place_of(c, wanted ? "ambiguous" : "lookup"),
			    wanted ? "`ambiguous: lookup` needs `lookup`"
				   : "`lookup` has no meaning without `ambiguous: lookup`");
		return;
	}
	if (!http->lookup_url_text)
		return;
	compile_text(c, "lookup", definitions_member(lookup, "url"),
		     http->url_from_payload ? TEXT_OPEN_URL : TEXT_URL, &rules, &http->lookup_url);
	compile_headers(c, http->lookup_header_map ? http->lookup_header_map : http->header_map,
			&rules, &http->lookup_headers, &http->lookup_header_count);
}

void definitions_compile_http(struct key_reader *reader, const char *source,
			      const struct yaml_node *map, struct job_type *type)
{
	const struct substitution_rules rules = { .call_key = true };
	struct compiling c = { .reader = reader, .source = source, .map = map, .type = type };
	struct http_definition *http = &type->http;

	if (map->kind != YAML_MAP)
		return; /* it was refused as a value already */
	check_method(&c);
	check_park(&c);
	read_statuses(&c, "ok", http->ok, &http->rules.ok, NULL);
	read_statuses(&c, "retry_on", http->retry_on, &http->rules.retry,
		      &http->rules.retry_network);
	if (http->url_text)
		compile_text(&c, "url", definitions_member(map, "url"),
			     http->url_from_payload ? TEXT_OPEN_URL : TEXT_URL, &rules, &http->url);
	compile_headers(&c, http->header_map, &rules, &http->headers, &http->header_count);
	compile_body(&c, &rules);
	compile_lookup(&c);
}

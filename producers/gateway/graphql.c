/* SPDX-License-Identifier: Apache-2.0 */
/* The schema is read once, at the start. The limits are looked at before the rules, so that no
 * document costs more than they allow. */
#include "producers/gateway/graphql.h"

#include <stdlib.h>
#include <string.h>

#include "producers/gateway/graphql_documents.h"
#include "producers/graphql/parser.h"
#include "producers/graphql/validate.h"

/* The file in the other folder, as it is. */
__asm__(".pushsection .rodata\n"
	"graphql_schema:\n"
	".incbin \"producers/graphql/schema.graphql\"\n"
	"graphql_schema_end:\n"
	".byte 0\n"
	".popsection\n");
extern const char graphql_schema[] __attribute__((visibility("hidden")));
extern const char graphql_schema_end[] __attribute__((visibility("hidden")));

/* ---- life */

/* 1: on, 0: off, -1: neither. */
static int introspection_of(const char *text, bool open)
{
	if (strcmp(text, "auto") == 0)
		return open;
	if (strcmp(text, "on") == 0)
		return 1;
	return strcmp(text, "off") == 0 ? 0 : -1;
}

struct graphql *graphql_open(const struct settings *settings, bool open, struct error *err_r)
{
	struct graphql *door = xcalloc(1, sizeof(*door));
	int introspection = introspection_of(settings->graphql_introspection, open);

	door->limits = (struct limits){
		.depth = settings->graphql_depth_max,
		.nodes = settings->graphql_nodes_max,
		.aliases = settings->graphql_aliases_max,
	};
	door->tokens_max = (size_t)settings->graphql_tokens_max;
	door->introspection = introspection > 0;
	if (introspection < 0) {
		error_set(err_r, ERROR_INVALID,
			  "WINDLASS_GRAPHQL_INTROSPECTION: not auto, on or off");
	} else {
		door->types = types_build(graphql_schema,
					  (size_t)(graphql_schema_end - graphql_schema), err_r);
		if (door->types && (!*settings->graphql_documents ||
				    (door->documents = graphql_documents_load(
					     settings->graphql_documents, err_r))))
			return door;
	}
	graphql_close(&door);
	return NULL;
}

void graphql_close(struct graphql **door_)
{
	struct graphql *door = *door_;

	*door_ = NULL;
	if (!door)
		return;
	types_free(&door->types);
	graphql_documents_free(&door->documents);
	free(door);
}

/* ---- calls */

json_t *graphql_refusal(const char *message, const char *code)
{
	if (!code)
		return json_pack("{s:[{s:s}]}", "errors", "message", message);
	return json_pack("{s:[{s:s,s:{s:s}}]}", "errors", "message", message, "extensions", "code",
			 code);
}

static bool is_text_or_none(const json_t *value)
{
	return !value || json_is_null(value) || json_is_string(value);
}

static bool is_object_or_none(const json_t *value)
{
	return !value || json_is_null(value) || json_is_object(value);
}

const char *graphql_call_read(const json_t *body, struct graphql_call *call_r)
{
	const json_t *query = json_object_get(body, "query");
	const json_t *name = json_object_get(body, "operationName");
	const json_t *id = json_object_get(body, "documentId");
	const json_t *extensions = json_object_get(body, "extensions");
	const json_t *persisted = json_object_get(extensions, "persistedQuery");
	json_t *variables = json_object_get(body, "variables");

	if (!json_is_object(body))
		return "One request is an object; several in one are not taken.";
	if (!is_text_or_none(query) || !is_text_or_none(name) || !is_text_or_none(id))
		return "`query`, `operationName` and `documentId` are strings.";
	if (!is_object_or_none(variables) || !is_object_or_none(extensions))
		return "`variables` and `extensions` are objects.";
	*call_r = (struct graphql_call){
		.query = json_string_value(query),
		.operation_name = json_string_value(name),
		.document_id = json_string_value(id),
		.variables = json_is_object(variables) ? variables : NULL,
	};
	if (!call_r->document_id)
		call_r->document_id = json_string_value(json_object_get(persisted, "sha256Hash"));
	return NULL;
}

/* ---- documents */

static const char *find_text(const struct graphql *door, const struct graphql_call *call,
			     json_t **answer_r)
{
	const char *text = call->query;

	if (!text && !call->document_id)
		*answer_r = graphql_refusal("Must provide query string.", NULL);
	else if (!door->documents && !text)
		*answer_r = graphql_refusal("No documents are stored here: send the query itself.",
					    "PERSISTED_QUERY_NOT_SUPPORTED");
	if (*answer_r || !door->documents)
		return text;
	text = graphql_documents_find(door->documents, call->query, call->document_id);
	if (!text)
		*answer_r =
			graphql_refusal("This document is not among those that may be run here.",
					"PERSISTED_QUERY_NOT_FOUND");
	return text;
}

static json_t *refuse_faults(const struct faults *faults, const char *text)
{
	return json_pack("{s:o}", "errors", faults_json(faults, text));
}

bool graphql_prepare(const struct graphql *door, struct arena *arena,
		     const struct graphql_call *call, struct graphql_prepared *prepared_r,
		     json_t **answer_r)
{
	struct validate_options options = { .introspection = door->introspection,
					    .hide_suggestions = !door->introspection };
	const char *why, *code, *text;
	struct node *document;
	struct faults faults;

	*answer_r = NULL;
	text = find_text(door, call, answer_r);
	if (*answer_r)
		return false;
	faults_init(&faults, arena, FAULTS_VALIDATION_MAX);
	document = parser_document(arena, text, strlen(text), door->tokens_max, &faults);
	if (document && (why = limits_exceeded(&door->limits, arena, document, &code))) {
		*answer_r = graphql_refusal(why, code);
		return false;
	}
	if (document)
		validate(door->types, document, &options, &faults);
	if (faults.count > 0) {
		*answer_r = refuse_faults(&faults, text);
		return false;
	}
	prepared_r->text = text;
	prepared_r->document = document;
	prepared_r->operation = document_operation(arena, document, call->operation_name, &why);
	if (!prepared_r->operation)
		*answer_r = graphql_refusal(why, NULL);
	return prepared_r->operation != NULL;
}

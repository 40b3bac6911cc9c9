/* SPDX-License-Identifier: Apache-2.0 */
/* A table in the file's own JSON; digests are compared in lower case. */
#include "producers/gateway/graphql_documents.h"

#include <ctype.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/arena.h"
#include "common/base/digest.h"

#define DIGEST_TEXT (2 * SHA256_BYTES + 1)
#define PREFIX      "sha256:"

struct graphql_documents {
	json_t *by_digest;
};

static void digest_text(const char *text, char digest_r[DIGEST_TEXT])
{
	uint8_t digest[SHA256_BYTES];

	digest_sha256(text, strlen(text), digest);
	digest_hex(digest, sizeof(digest), digest_r);
}

static int add_document(struct graphql_documents *documents, const char *name, const json_t *text,
			const char *path, struct error *err_r)
{
	char digest[DIGEST_TEXT];

	if (!json_is_string(text))
		return error_set(err_r, ERROR_INVALID, "%s: %s is not a text", path, name);
	digest_text(json_string_value(text), digest);
	if (strcasecmp(digest, name) != 0)
		return error_set(err_r, ERROR_INVALID, "%s: the digest of %s is %s", path, name,
				 digest);
	json_object_set(documents->by_digest, digest, (json_t *)(uintptr_t)text);
	return 0;
}

struct graphql_documents *graphql_documents_load(const char *path, struct error *err_r)
{
	struct graphql_documents *documents = xcalloc(1, sizeof(*documents));
	json_error_t error;
	json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES, &error), *text;
	const char *name;
	int rc = 0;

	documents->by_digest = json_object();
	if (!json_is_object(file))
		rc = error_set(err_r, ERROR_INVALID, "%s: %s", path,
			       file ? "not an object" : error.text);
	json_object_foreach(file, name, text)
	{
		if (rc == 0)
			rc = add_document(documents, name, text, path, err_r);
	}
	json_decref(file);
	if (rc < 0)
		graphql_documents_free(&documents);
	return documents;
}

void graphql_documents_free(struct graphql_documents **documents_)
{
	struct graphql_documents *documents = *documents_;

	*documents_ = NULL;
	if (!documents)
		return;
	json_decref(documents->by_digest);
	free(documents);
}

const char *graphql_documents_find(const struct graphql_documents *documents, const char *text,
				   const char *id)
{
	char digest[DIGEST_TEXT], wanted[DIGEST_TEXT];

	if (text)
		digest_text(text, digest);
	if (id && strncmp(id, PREFIX, strlen(PREFIX)) == 0)
		id += strlen(PREFIX);
	if (id && strlen(id) != DIGEST_TEXT - 1)
		return NULL;
	for (size_t i = 0; id && i < DIGEST_TEXT; i++)
		wanted[i] = (char)tolower((unsigned char)id[i]);
	if (id && text && strcmp(digest, wanted) != 0)
		return NULL;
	return json_string_value(json_object_get(documents->by_digest, id ? wanted : digest));
}

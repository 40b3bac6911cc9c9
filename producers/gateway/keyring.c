/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the key list and finds callers. Called by gateway_main once and by the front for each
 * request. Never keeps or logs a secret. */
#include "producers/gateway/keyring.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/job/job.h"

#define TOKEN_BYTES_MAX 512
#define KEYS_PER_ID_MAX 2

struct key {
	struct caller caller;
	uint8_t hash[SHA256_BYTES];
	int64_t expires_ms; /* 0: never */
};

struct keyring {
	struct arena *arena;
	struct key *keys;
	size_t count;
};

/* ---- reading */

static int parse_scope(struct key *key, const char *scope, struct error *err_r)
{
	struct caller *caller = &key->caller;

	if (strcmp(scope, "read") == 0)
		caller->scopes |= SCOPE_READ;
	else if (strcmp(scope, "cancel") == 0)
		caller->scopes |= SCOPE_CANCEL;
	else if (strcmp(scope, "admin") == 0)
		caller->scopes |= SCOPE_ADMIN;
	else if (strncmp(scope, "enqueue:", 8) == 0 && scope[8] &&
		 caller->glob_count < CALLER_GLOBS_MAX) {
		caller->scopes |= SCOPE_ENQUEUE;
		caller->globs[caller->glob_count++] = scope + 8;
	} else {
		return error_set(
			err_r, ERROR_INVALID,
			"unknown scope `%s`; expected enqueue:<type pattern>, read, cancel or admin",
			scope);
	}
	return 0;
}

static int parse_scopes(struct key *key, char *list, struct error *err_r)
{
	char *next = list;

	while (next) {
		if (parse_scope(key, strsep(&next, ","), err_r) < 0)
			return -1;
	}
	return 0;
}

static int parse_field(struct key *key, char *name, char *value, struct error *err_r)
{
	if (strcmp(name, "id") == 0) {
		if (!job_name_valid(value) || strchr(value, '_'))
			return error_set(err_r, ERROR_INVALID,
					 "id `%s` is not a name of letters, digits and . : -",
					 value);
		key->caller.id = value;
	} else if (strcmp(name, "tenant") == 0) {
		if (!job_name_valid(value))
			return error_set(err_r, ERROR_INVALID, "tenant `%s` is not a name", value);
		key->caller.tenant = value;
	} else if (strcmp(name, "hash") == 0) {
		if (strlen(value) != 2 * SHA256_BYTES ||
		    !digest_unhex(value, 2 * SHA256_BYTES, key->hash))
			return error_set(
				err_r, ERROR_INVALID,
				"hash is not 64 hex digits (the SHA-256 of the whole key)");
	} else if (strcmp(name, "expires") == 0) {
		if (clock_parse(value, &key->expires_ms) < 0)
			return error_set(err_r, ERROR_INVALID, "expires=%s is not an RFC 3339 time",
					 value);
	} else if (strcmp(name, "scopes") == 0) {
		return parse_scopes(key, value, err_r);
	} else {
		return error_set(err_r, ERROR_INVALID,
				 "unknown field `%s`; expected id, hash, tenant, scopes, expires",
				 name);
	}
	return 0;
}

static int parse_key(struct key *key, char *line, struct error *err_r)
{
	bool has_hash = false;
	char *word;

	key->caller.tenant = "";
	while ((word = strsep(&line, " \t\r"))) {
		char *value = strchr(word, '=');
		if (*word == 0)
			continue;
		if (!value)
			return error_set(err_r, ERROR_INVALID, "expected name=value");
		*value++ = 0;
		has_hash |= strcmp(word, "hash") == 0;
		if (parse_field(key, word, value, err_r) < 0)
			return -1;
	}
	if (!key->caller.id || !has_hash || key->caller.scopes == 0)
		return error_set(err_r, ERROR_INVALID, "id, hash and scopes are needed");
	key->caller.everywhere = (key->caller.scopes & SCOPE_ADMIN) && key->caller.tenant[0] == 0;
	return 0;
}

static size_t same_id(const struct keyring *ring, const char *id)
{
	size_t n = 0;

	for (size_t i = 0; i < ring->count; i++)
		n += strcmp(ring->keys[i].caller.id, id) == 0;
	return n;
}

static bool is_blank(const char *line)
{
	line += strspn(line, " \t\r");
	return *line == 0 || *line == '#';
}

static int parse_lines(struct keyring *ring, char *text, struct error *err_r)
{
	for (int number = 1; text; number++) {
		char *line = strsep(&text, "\n;");
		if (is_blank(line))
			continue;
		struct key *key = &ring->keys[ring->count];
		if (parse_key(key, line, err_r) < 0)
			return error_wrap(err_r, "WINDLASS_API_KEYS: key %d", number);
		if (same_id(ring, key->caller.id) >= KEYS_PER_ID_MAX)
			return error_set(err_r, ERROR_INVALID,
					 "WINDLASS_API_KEYS: key %d: id `%s` has more than %d keys",
					 number, key->caller.id, KEYS_PER_ID_MAX);
		ring->count++;
	}
	return 0;
}

struct keyring *keyring_parse(const char *text, struct error *err_r)
{
	struct keyring *ring = xcalloc(1, sizeof(*ring));
	size_t lines = 1;

	for (const char *p = text; *p; p++)
		lines += *p == '\n' || *p == ';';
	ring->arena = arena_new(0);
	ring->keys = ARENA_ARRAY(ring->arena, struct key, lines);
	if (parse_lines(ring, arena_strdup(ring->arena, text), err_r) < 0)
		keyring_free(&ring);
	return ring;
}

void keyring_free(struct keyring **ring)
{
	if (*ring)
		arena_free(&(*ring)->arena);
	free(*ring);
	*ring = NULL;
}

bool keyring_empty(const struct keyring *ring)
{
	return ring->count == 0;
}

/* ---- finding */

/* "Bearer wl_<id>_<secret>" -> the token and the length of its id. */
static const char *token_of(const char *authorization, size_t *id_bytes_r)
{
	const char *token, *end;

	if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0)
		return NULL;
	token = authorization + 7 + strspn(authorization + 7, " ");
	if (strncmp(token, "wl_", 3) != 0 || strlen(token) > TOKEN_BYTES_MAX)
		return NULL;
	end = strchr(token + 3, '_');
	if (!end || end == token + 3 || !end[1])
		return NULL;
	*id_bytes_r = (size_t)(end - token - 3);
	return token;
}

const struct caller *keyring_find(const struct keyring *ring, const char *authorization,
				  int64_t now_ms)
{
	static const uint8_t nobody[SHA256_BYTES];
	const struct caller *found = NULL;
	uint8_t hash[SHA256_BYTES];
	size_t id_bytes, compared = 0;
	const char *token = token_of(authorization, &id_bytes);

	if (!token)
		return NULL;
	digest_sha256(token, strlen(token), hash);
	for (size_t i = 0; i < ring->count; i++) {
		const struct key *key = &ring->keys[i];
		if (strlen(key->caller.id) != id_bytes ||
		    memcmp(key->caller.id, token + 3, id_bytes) != 0)
			continue;
		bool live = key->expires_ms == 0 || now_ms < key->expires_ms;
		compared++;
		if (digest_equal(key->hash, hash, SHA256_BYTES) && live)
			found = &key->caller;
	}
	for (; compared < KEYS_PER_ID_MAX; compared++) {
		if (digest_equal(nobody, hash, SHA256_BYTES))
			return NULL;
	}
	return found;
}

const struct caller *keyring_anybody(void)
{
	static const struct caller anybody = {
		.id = "local",
		.tenant = "",
		.scopes = SCOPE_ADMIN,
		.everywhere = true,
	};
	return &anybody;
}

bool caller_may(const struct caller *caller, enum scope scope)
{
	return scope == SCOPE_NONE || (caller->scopes & (SCOPE_ADMIN | (unsigned)scope));
}

bool caller_may_enqueue(const struct caller *caller, const char *type)
{
	if (caller->scopes & SCOPE_ADMIN)
		return true;
	for (size_t i = 0; i < caller->glob_count; i++) {
		if (fnmatch(caller->globs[i], type, FNM_NOESCAPE) == 0)
			return true;
	}
	return false;
}

const char *caller_view(const struct caller *caller)
{
	return caller->everywhere ? NULL : caller->tenant;
}

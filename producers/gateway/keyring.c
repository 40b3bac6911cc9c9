/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the key list and finds callers. Called by access.c. Never keeps or logs a secret. */
#include "producers/gateway/keyring.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/job/job.h"

#define TOKEN_BYTES_MAX 512
#define KEYS_PER_ID_MAX 2
#define RATE_MAX        1e6
#define WAITING_MAX     100000000

struct key {
	struct caller *caller;
	uint8_t hash[SHA256_BYTES];
	bool has_hash;
	int64_t expires_ms; /* 0: never */
};

struct keyring {
	struct arena *arena;
	struct key *keys;
	size_t count;
	size_t lines; /* entries of keys */
};

/* ---- reading */

static int parse_scopes(struct key *key, char *list, struct error *err_r)
{
	char *next = list;

	while (next) {
		const char *scope = strsep(&next, ",");
		int rc = caller_grant(key->caller, scope, err_r);
		if (rc > 0)
			return error_set(
				err_r, ERROR_INVALID,
				"unknown scope `%s`; expected enqueue, read, cancel, retry or admin, as in enqueue:order.*",
				scope);
		if (rc < 0)
			return error_wrap(err_r, "scope `%s`", scope);
	}
	return 0;
}

bool keyring_rate(const char *text, double *per_s_r)
{
	char *end;
	double n = strtod(text, &end);

	if (*text < '0' || *text > '9' || end[0] != '/' || (end[1] != 's' && end[1] != 'm') ||
	    end[2])
		return false;
	*per_s_r = end[1] == 'm' ? n / 60 : n;
	return *per_s_r > 0 && *per_s_r <= RATE_MAX;
}

static int parse_whole(const char *name, const char *text, int64_t max, int64_t *n_r,
		       struct error *err_r)
{
	char *end;

	*n_r = strtoll(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || *n_r < 1 || *n_r > max)
		return error_set(err_r, ERROR_INVALID,
				 "%s=%s is not a whole number of 1 to %" PRId64, name, text, max);
	return 0;
}

static int parse_limit(struct key *key, const char *name, const char *value, struct error *err_r)
{
	struct caller_limits *limits = &key->caller->limits;
	int64_t n = 0;

	if (strcmp(name, "rate") == 0)
		return keyring_rate(value, &limits->rate_per_s)
			       ? 0
			       : error_set(err_r, ERROR_INVALID,
					   "rate=%s is not a rate; expected 100/s or 100/m", value);
	if (strcmp(name, "waiting") == 0)
		return parse_whole(name, value, WAITING_MAX, &limits->waiting_max, err_r);
	if (parse_whole(name, value, (int64_t)RATE_MAX, &n, err_r) < 0)
		return -1;
	limits->burst = (double)n;
	return 0;
}

static int parse_name(struct key *key, const char *name, const char *value, struct error *err_r)
{
	bool is_id = strcmp(name, "id") == 0;

	if (!job_name_valid(value) || (is_id && strchr(value, '_')))
		return error_set(err_r, ERROR_INVALID,
				 is_id ? "id `%s` is not a name of letters, digits and . : -"
				       : "tenant `%s` is not a name",
				 value);
	if (is_id)
		key->caller->id = arena_strdup(key->caller->arena, value);
	else
		key->caller->tenant = arena_strdup(key->caller->arena, value);
	return 0;
}

static int parse_field(struct key *key, const char *name, char *value, struct error *err_r)
{
	if (strcmp(name, "id") == 0 || strcmp(name, "tenant") == 0)
		return parse_name(key, name, value, err_r);
	if (strcmp(name, "scopes") == 0)
		return parse_scopes(key, value, err_r);
	if (strcmp(name, "rate") == 0 || strcmp(name, "burst") == 0 || strcmp(name, "waiting") == 0)
		return parse_limit(key, name, value, err_r);
	if (strcmp(name, "hash") == 0) {
		key->has_hash = strlen(value) == 2 * SHA256_BYTES &&
				digest_unhex(value, 2 * SHA256_BYTES, key->hash);
		return key->has_hash
			       ? 0
			       : error_set(
					 err_r, ERROR_INVALID,
					 "hash is not 64 hex digits (the SHA-256 of the whole key)");
	}
	if (strcmp(name, "expires") == 0)
		return clock_parse(value, &key->expires_ms) == 0
			       ? 0
			       : error_set(err_r, ERROR_INVALID,
					   "expires=%s is not an RFC 3339 time", value);
	return error_set(
		err_r, ERROR_INVALID,
		"unknown field `%s`; expected id, hash, tenant, scopes, expires, rate, burst, waiting",
		name);
}

static int parse_key(struct key *key, char *line, struct error *err_r)
{
	struct caller *caller = key->caller;
	char *word;

	while ((word = strsep(&line, " \t\r"))) {
		char *value = strchr(word, '=');
		if (*word == 0)
			continue;
		if (!value)
			return error_set(err_r, ERROR_INVALID, "expected name=value");
		*value++ = 0;
		if (parse_field(key, word, value, err_r) < 0)
			return -1;
	}
	if (!caller->id || !key->has_hash || caller->scopes == 0)
		return error_set(err_r, ERROR_INVALID, "id, hash and scopes are needed");
	if (caller->limits.burst > 0 && !(caller->limits.rate_per_s > 0))
		return error_set(err_r, ERROR_INVALID, "burst= needs rate=");
	caller->everywhere = (caller->scopes & SCOPE_ADMIN) && caller->tenant[0] == 0;
	caller_seal(caller);
	return 0;
}

static size_t same_id(const struct keyring *ring, const char *id)
{
	size_t n = 0;

	for (size_t i = 0; i < ring->count; i++)
		n += strcmp(ring->keys[i].caller->id, id) == 0;
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
		key->caller = caller_new();
		if (parse_key(key, line, err_r) < 0)
			return error_wrap(err_r, "WINDLASS_API_KEYS: key %d", number);
		if (same_id(ring, key->caller->id) >= KEYS_PER_ID_MAX)
			return error_set(err_r, ERROR_INVALID,
					 "WINDLASS_API_KEYS: key %d: id `%s` has more than %d keys",
					 number, key->caller->id, KEYS_PER_ID_MAX);
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
	ring->lines = lines;
	if (parse_lines(ring, arena_strdup(ring->arena, text), err_r) < 0)
		keyring_free(&ring);
	return ring;
}

void keyring_free(struct keyring **ring)
{
	struct keyring *old = *ring;

	*ring = NULL;
	if (!old)
		return;
	/* up to and with the one that was refused while it was read */
	for (size_t i = 0; i < old->lines && old->keys[i].caller; i++)
		caller_unref((const struct caller **)&old->keys[i].caller);
	arena_free(&old->arena);
	free(old);
}

bool keyring_empty(const struct keyring *ring)
{
	return ring->count == 0;
}

bool keyring_has(const struct keyring *ring, const char *id)
{
	return same_id(ring, id) > 0;
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
		if (strlen(key->caller->id) != id_bytes ||
		    memcmp(key->caller->id, token + 3, id_bytes) != 0)
			continue;
		bool live = key->expires_ms == 0 || now_ms < key->expires_ms;
		compared++;
		if (digest_equal(key->hash, hash, SHA256_BYTES) && live)
			found = key->caller;
	}
	for (; compared < KEYS_PER_ID_MAX; compared++) {
		if (digest_equal(nobody, hash, SHA256_BYTES))
			return NULL;
	}
	return found;
}

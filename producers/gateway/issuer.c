/* SPDX-License-Identifier: Apache-2.0 */
/* Claims to callers, and the table of tokens that were good: one slot for each value of a few bits
 * of a token's hash, so its size is fixed and a newer token simply takes the place. An entry counts
 * as long as the set of keys that it was checked with is the one in use. */
#include "producers/gateway/issuer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/http/key_source.h"
#include "common/job/job.h"
#include "producers/gateway/keyring.h"

#define SUB_BYTES_MAX   255
#define SCOPE_BYTES_MAX 256

struct slot {
	uint8_t hash[SHA256_BYTES];
	const struct caller *caller; /* NULL: empty */
	int64_t until_ms;
	uint64_t version;
};

struct issuer {
	struct jwt_policy policy;
	const char *tenant_claim;
	struct caller_limits limits;
	struct key_source *keys;
	pthread_mutex_t lock; /* guards slots */
	struct slot slots[ISSUER_CACHE];
};

/* ---- claims */

/* Owners that are not people: what came from a broker, by SQL, or while no keys were set. */
static bool sub_fits(const char *sub)
{
	static const char *const reserved[] = { "sql", "local" };
	size_t bytes = sub ? strlen(sub) : 0;

	if (bytes == 0 || bytes > SUB_BYTES_MAX || strncmp(sub, "source:", 7) == 0)
		return false;
	for (size_t i = 0; i < bytes; i++) {
		if ((unsigned char)sub[i] < 0x20 || sub[i] == 0x7f)
			return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
		if (strcmp(sub, reserved[i]) == 0)
			return false;
	}
	return true;
}

/* Scopes of others are others' business, and so are those that we would write otherwise. */
static void grant(struct caller *caller, const char *text, size_t bytes)
{
	struct error ignored;
	char scope[SCOPE_BYTES_MAX];

	if (bytes == 0 || bytes >= sizeof(scope))
		return;
	memcpy(scope, text, bytes);
	scope[bytes] = 0;
	if (caller_grant(caller, scope, &ignored) != 0)
		return;
}

static void grant_words(struct caller *caller, const char *text)
{
	while (text && *text) {
		size_t bytes = strcspn(text, " ");
		grant(caller, text, bytes);
		text += bytes + (text[bytes] == ' ');
	}
}

static void grant_all(struct caller *caller, const json_t *value)
{
	grant_words(caller, json_string_value(value));
	for (size_t i = 0; i < json_array_size(value); i++) {
		const json_t *one = json_array_get(value, i);
		if (json_is_string(one))
			grant(caller, json_string_value(one), json_string_length(one));
	}
}

const struct caller *issuer_caller(const json_t *claims, const char *tenant_claim,
				   const struct caller_limits *limits, const char **why_r)
{
	const char *sub = json_string_value(json_object_get(claims, "sub"));
	const json_t *tenant = json_object_get(claims, tenant_claim);
	struct caller *caller;

	*why_r = "the token's sub cannot own jobs";
	if (!sub_fits(sub))
		return NULL;
	*why_r = "the token's tenant is not a name";
	if (tenant && (!json_is_string(tenant) || !job_name_valid(json_string_value(tenant))))
		return NULL;
	caller = caller_new();
	caller->id = arena_strdup(caller->arena, sub);
	if (tenant)
		caller->tenant = arena_strdup(caller->arena, json_string_value(tenant));
	grant_all(caller, json_object_get(claims, "scope"));
	grant_all(caller, json_object_get(claims, "scp"));
	/* Never `everywhere`: what concerns all tenants is done with a key. */
	caller->own_only = !(caller->scopes & SCOPE_ADMIN);
	caller->limits = *limits;
	caller_seal(caller);
	return caller;
}

/* ---- tokens that were good */

static struct slot *slot_of(struct issuer *issuer, const uint8_t hash[SHA256_BYTES])
{
	return &issuer->slots[(hash[0] << 8 | hash[1]) % ISSUER_CACHE];
}

static const struct caller *recall(struct issuer *issuer, const uint8_t hash[SHA256_BYTES],
				   uint64_t version, int64_t now_ms)
{
	struct slot *slot = slot_of(issuer, hash);
	const struct caller *caller = NULL;

	pthread_mutex_lock(&issuer->lock);
	if (slot->caller && slot->version == version && now_ms < slot->until_ms &&
	    digest_equal(slot->hash, hash, SHA256_BYTES))
		caller = caller_ref(slot->caller);
	pthread_mutex_unlock(&issuer->lock);
	return caller;
}

static void remember(struct issuer *issuer, const uint8_t hash[SHA256_BYTES], uint64_t version,
		     int64_t until_ms, const struct caller *caller)
{
	struct slot *slot = slot_of(issuer, hash);
	const struct caller *old;

	pthread_mutex_lock(&issuer->lock);
	old = slot->caller;
	*slot = (struct slot){ .caller = caller_ref(caller),
			       .until_ms = until_ms,
			       .version = version };
	memcpy(slot->hash, hash, SHA256_BYTES);
	pthread_mutex_unlock(&issuer->lock);
	caller_unref(&old);
}

static enum issuer_verdict check(struct issuer *issuer, const struct jws_keys *keys,
				 const char *token, int64_t now_ms, int64_t *until_ms_r,
				 const struct caller **caller_r, const char **why_r)
{
	json_t *claims;

	switch (jwt_check(&issuer->policy, keys, token, now_ms, &claims, until_ms_r, why_r)) {
	case JWT_GOOD:
		*caller_r = issuer_caller(claims, issuer->tenant_claim, &issuer->limits, why_r);
		json_decref(claims);
		return *caller_r ? ISSUER_GOOD : ISSUER_REFUSED;
	case JWT_UNKNOWN_KEY:
		key_source_unknown(issuer->keys);
		break;
	case JWT_REFUSED:
		break;
	}
	return ISSUER_REFUSED;
}

enum issuer_verdict issuer_find(struct issuer *issuer, const char *token, int64_t now_ms,
				const struct caller **caller_r, const char **why_r)
{
	enum issuer_verdict verdict = ISSUER_GOOD;
	uint8_t hash[SHA256_BYTES];
	const struct jws_keys *keys;
	uint64_t version;
	int64_t until_ms;

	*caller_r = NULL;
	*why_r = NULL;
	digest_sha256(token, strnlen(token, JWT_BYTES_MAX + 1), hash);
	keys = key_source_lock(issuer->keys, &version);
	if (keys)
		*caller_r = recall(issuer, hash, version, now_ms);
	else
		verdict = ISSUER_AWAY;
	if (keys && !*caller_r) {
		verdict = check(issuer, keys, token, now_ms, &until_ms, caller_r, why_r);
		if (verdict == ISSUER_GOOD)
			remember(issuer, hash, version, until_ms, *caller_r);
	}
	key_source_unlock(issuer->keys);
	return verdict;
}

/* ---- life */

static int read_limits(const struct settings *settings, struct caller_limits *limits,
		       struct error *err_r)
{
	limits->waiting_max = settings->jwt_waiting_max;
	if (*settings->jwt_rate && !keyring_rate(settings->jwt_rate, &limits->rate_per_s))
		return error_set(err_r, ERROR_INVALID,
				 "WINDLASS_JWT_RATE=%s: not a rate; expected 100/s or 100/m",
				 settings->jwt_rate);
	return 0;
}

int issuer_check(const struct settings *settings, struct error *err_r)
{
	struct caller_limits limits = { 0 };

	if (!*settings->jwt_issuer || !*settings->jwt_audience || !*settings->jwt_jwks)
		return error_set(
			err_r, ERROR_INVALID,
			"WINDLASS_JWT_ISSUER, WINDLASS_JWT_AUDIENCE and WINDLASS_JWT_JWKS go together");
	return read_limits(settings, &limits, err_r);
}

struct issuer *issuer_start(const struct settings *settings, struct error *err_r)
{
	struct issuer *issuer = xcalloc(1, sizeof(*issuer));

	pthread_mutex_init(&issuer->lock, NULL);
	issuer->policy.issuer = settings->jwt_issuer;
	issuer->policy.audience = settings->jwt_audience;
	issuer->tenant_claim = settings->jwt_tenant_claim;
	if (issuer_check(settings, err_r) < 0 ||
	    read_limits(settings, &issuer->limits, err_r) < 0) {
		issuer_stop(&issuer);
		return NULL;
	}
	issuer->keys = key_source_start(settings->jwt_jwks, settings->remote_ca_file, err_r);
	if (!issuer->keys) {
		error_wrap(err_r, "WINDLASS_JWT_JWKS");
		issuer_stop(&issuer);
	}
	return issuer;
}

void issuer_stop(struct issuer **issuer_)
{
	struct issuer *issuer = *issuer_;

	*issuer_ = NULL;
	if (!issuer)
		return;
	key_source_stop(&issuer->keys);
	for (size_t i = 0; i < ISSUER_CACHE; i++)
		caller_unref(&issuer->slots[i].caller);
	pthread_mutex_destroy(&issuer->lock);
	free(issuer);
}

void issuer_look(struct issuer *issuer)
{
	key_source_look(issuer->keys);
}

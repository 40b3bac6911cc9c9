/* SPDX-License-Identifier: Apache-2.0 */
/* See access.h. A caller that was found is a reference of its own, so keys may go while it is used.
 */
#include "producers/gateway/access.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/fair_lock.h"
#include "common/http/jwt.h"
#include "producers/gateway/issuer.h"
#include "producers/gateway/keyring.h"

struct access {
	pthread_rwlock_t lock; /* guards keys */
	struct keyring *keys;
	struct issuer *issuer; /* NULL: no tokens */
	bool open;             /* stays so: a reload neither begins nor ends it */
};

static bool has_issuer(const struct settings *settings)
{
	return *settings->jwt_issuer || *settings->jwt_audience || *settings->jwt_jwks;
}

int access_check(const struct settings *settings, bool *open_r, struct error *err_r)
{
	struct keyring *keys = keyring_parse(settings->api_keys, err_r);

	if (!keys)
		return -1;
	*open_r = keyring_empty(keys) && !has_issuer(settings);
	keyring_free(&keys);
	return has_issuer(settings) ? issuer_check(settings, err_r) : 0;
}

struct access *access_new(const struct settings *settings, struct error *err_r)
{
	struct access *access = xcalloc(1, sizeof(*access));

	fair_lock_init(&access->lock);
	access->keys = keyring_parse(settings->api_keys, err_r);
	if (access->keys && has_issuer(settings))
		access->issuer = issuer_start(settings, err_r);
	if (!access->keys || (has_issuer(settings) && !access->issuer))
		access_free(&access);
	if (access)
		access->open = !access->issuer && keyring_empty(access->keys);
	return access;
}

void access_free(struct access **access_)
{
	struct access *access = *access_;

	*access_ = NULL;
	if (!access)
		return;
	issuer_stop(&access->issuer);
	keyring_free(&access->keys);
	pthread_rwlock_destroy(&access->lock);
	free(access);
}

bool access_open(const struct access *access)
{
	return access->open;
}

static const struct caller *find_key(struct access *access, const char *authorization,
				     int64_t now_ms)
{
	const struct caller *caller;

	pthread_rwlock_rdlock(&access->lock);
	caller = keyring_find(access->keys, authorization, now_ms);
	if (caller)
		caller_ref(caller);
	pthread_rwlock_unlock(&access->lock);
	return caller;
}

/* Two kinds of callers, one kind of owner: a token must not be taken for a key. */
static bool is_name_of_key(struct access *access, const char *id)
{
	pthread_rwlock_rdlock(&access->lock);
	bool has = keyring_has(access->keys, id);
	pthread_rwlock_unlock(&access->lock);
	return has;
}

static enum access_verdict find_token(struct access *access, const char *token, int64_t now_ms,
				      const struct caller **caller_r, const char **why_r)
{
	switch (issuer_find(access->issuer, token, now_ms, caller_r, why_r)) {
	case ISSUER_AWAY:
		return ACCESS_AWAY;
	case ISSUER_REFUSED:
		return ACCESS_BAD_TOKEN;
	case ISSUER_GOOD:
		break;
	}
	if (!is_name_of_key(access, (*caller_r)->id))
		return ACCESS_GRANTED;
	caller_unref(caller_r);
	*why_r = "the token's sub is the id of an API key";
	return ACCESS_BAD_TOKEN;
}

enum access_verdict access_find(struct access *access, const char *authorization, int64_t now_ms,
				const struct caller **caller_r, const char **why_r)
{
	const char *token;

	*why_r = NULL;
	*caller_r = NULL;
	if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0)
		return ACCESS_NO_KEY;
	token = authorization + 7 + strspn(authorization + 7, " ");
	if (access->issuer && strncmp(token, "wl_", 3) != 0 && jwt_looks_like_one(token))
		return find_token(access, token, now_ms, caller_r, why_r);
	*caller_r = find_key(access, authorization, now_ms);
	return *caller_r ? ACCESS_GRANTED : ACCESS_NO_KEY;
}

void access_look(struct access *access)
{
	if (access->issuer)
		issuer_look(access->issuer);
}

int access_reload(struct access *access, const char *api_keys, struct error *err_r)
{
	struct keyring *fresh = keyring_parse(api_keys, err_r), *old;

	if (!fresh)
		return -1;
	if (!access->issuer && keyring_empty(fresh) != access->open) {
		keyring_free(&fresh);
		return error_set(err_r, ERROR_INVALID,
				 "WINDLASS_API_KEYS: to begin or end asking for keys, start again");
	}
	pthread_rwlock_wrlock(&access->lock);
	old = access->keys;
	access->keys = fresh;
	pthread_rwlock_unlock(&access->lock);
	keyring_free(&old);
	return 0;
}

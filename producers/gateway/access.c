/* SPDX-License-Identifier: Apache-2.0 */
/* See access.h. A caller that was found is a reference of its own, so keys may go while it is used.
 */
#include "producers/gateway/access.h"

#include <pthread.h>
#include <stdlib.h>

#include "producers/gateway/keyring.h"

struct access {
	pthread_rwlock_t lock; /* guards keys */
	struct keyring *keys;
};

struct access *access_new(const struct settings *settings, struct error *err_r)
{
	struct access *access = xcalloc(1, sizeof(*access));

	pthread_rwlock_init(&access->lock, NULL);
	access->keys = keyring_parse(settings->api_keys, err_r);
	if (!access->keys)
		access_free(&access);
	return access;
}

void access_free(struct access **access_)
{
	struct access *access = *access_;

	*access_ = NULL;
	if (!access)
		return;
	keyring_free(&access->keys);
	pthread_rwlock_destroy(&access->lock);
	free(access);
}

bool access_open(const struct access *access)
{
	return keyring_empty(access->keys);
}

enum access_verdict access_find(struct access *access, const char *authorization, int64_t now_ms,
				const struct caller **caller_r, const char **why_r)
{
	*why_r = NULL;
	pthread_rwlock_rdlock(&access->lock);
	*caller_r = keyring_find(access->keys, authorization, now_ms);
	if (*caller_r)
		caller_ref(*caller_r);
	pthread_rwlock_unlock(&access->lock);
	return *caller_r ? ACCESS_GRANTED : ACCESS_NO_KEY;
}

int access_reload(struct access *access, const char *api_keys, struct error *err_r)
{
	struct keyring *fresh = keyring_parse(api_keys, err_r), *old;

	if (!fresh)
		return -1;
	if (keyring_empty(fresh) != keyring_empty(access->keys)) {
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

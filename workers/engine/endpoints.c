/* SPDX-License-Identifier: Apache-2.0 */
/* A list under a lock: it is short, and looked at once a webhook. */
#include "workers/engine/endpoints.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/check.h"

struct endpoints {
	pthread_mutex_t lock; /* guards what follows */
	struct arena *arena;  /* of the texts */
	const char *urls[ENDPOINTS_DISABLED_MAX];
	size_t count;
};

struct endpoints *endpoints_new(void)
{
	struct endpoints *endpoints = xcalloc(1, sizeof(*endpoints));

	CHECK(pthread_mutex_init(&endpoints->lock, NULL) == 0);
	endpoints->arena = arena_new(0);
	return endpoints;
}

void endpoints_free(struct endpoints **endpoints)
{
	if (!*endpoints)
		return;
	arena_free(&(*endpoints)->arena);
	pthread_mutex_destroy(&(*endpoints)->lock);
	free(*endpoints);
	*endpoints = NULL;
}

void endpoints_set(struct endpoints *endpoints, const struct endpoint_view *views, size_t count)
{
	struct arena *arena = arena_new(0), *old;

	pthread_mutex_lock(&endpoints->lock);
	old = endpoints->arena;
	endpoints->arena = arena;
	endpoints->count = count < ENDPOINTS_DISABLED_MAX ? count : ENDPOINTS_DISABLED_MAX;
	for (size_t i = 0; i < endpoints->count; i++)
		endpoints->urls[i] = arena_strdup(arena, views[i].url);
	pthread_mutex_unlock(&endpoints->lock);
	arena_free(&old);
}

static bool has(const struct endpoints *endpoints, const char *url)
{
	for (size_t i = 0; i < endpoints->count; i++) {
		if (strcmp(endpoints->urls[i], url) == 0)
			return true;
	}
	return false;
}

void endpoints_add(struct endpoints *endpoints, const char *url)
{
	pthread_mutex_lock(&endpoints->lock);
	if (!has(endpoints, url) && endpoints->count < ENDPOINTS_DISABLED_MAX)
		endpoints->urls[endpoints->count++] = arena_strdup(endpoints->arena, url);
	pthread_mutex_unlock(&endpoints->lock);
}

bool endpoints_disabled(struct endpoints *endpoints, const char *url)
{
	bool disabled;

	pthread_mutex_lock(&endpoints->lock);
	disabled = has(endpoints, url);
	pthread_mutex_unlock(&endpoints->lock);
	return disabled;
}

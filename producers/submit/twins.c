/* SPDX-License-Identifier: Apache-2.0 */
/* A set of 64-bit hashes with generations, so that clearing costs nothing. Used by the submitter's
 * thread only. */
#include "producers/submit/twins.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 1024u

struct slot {
	uint64_t hash;
	uint32_t generation; /* the set's when taken */
};

struct twins {
	struct slot *slots;
	size_t slot_count; /* a power of two */
	size_t used;
	uint32_t generation;
};

struct twins *twins_new(void)
{
	struct twins *twins = xcalloc(1, sizeof(*twins));

	twins->slot_count = SLOTS_MIN;
	twins->slots = xcalloc(twins->slot_count, sizeof(*twins->slots));
	twins->generation = 1;
	return twins;
}

void twins_free(struct twins **twins_)
{
	struct twins *twins = *twins_;

	*twins_ = NULL;
	if (!twins)
		return;
	free(twins->slots);
	free(twins);
}

void twins_clear(struct twins *twins)
{
	twins->used = 0;
	if (++twins->generation == 0) {
		memset(twins->slots, 0, twins->slot_count * sizeof(*twins->slots));
		twins->generation = 1;
	}
}

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t bytes)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < bytes; i++)
		hash = (hash ^ p[i]) * 0x100000001b3u;
	return hash;
}

/* The NUL goes in too, so that "ab","c" differs from "a","bc". */
static uint64_t hash_texts(char kind, const char *a, const char *b, const char *c)
{
	uint64_t hash = hash_bytes(0xcbf29ce484222325u, &kind, 1);

	hash = hash_bytes(hash, a, strlen(a) + 1);
	hash = hash_bytes(hash, b, strlen(b) + 1);
	return hash_bytes(hash, c, strlen(c) + 1);
}

static struct slot *find(const struct twins *twins, uint64_t hash)
{
	size_t mask = twins->slot_count - 1;
	size_t at = (size_t)(hash ^ hash >> 32) & mask;

	while (twins->slots[at].generation == twins->generation && twins->slots[at].hash != hash)
		at = (at + 1) & mask;
	return &twins->slots[at];
}

static bool has(const struct twins *twins, uint64_t hash)
{
	return find(twins, hash)->generation == twins->generation;
}

static void grow(struct twins *twins)
{
	struct twins bigger = *twins;

	bigger.slot_count *= 2;
	bigger.slots = xcalloc(bigger.slot_count, sizeof(*bigger.slots));
	for (size_t i = 0; i < twins->slot_count; i++) {
		if (twins->slots[i].generation == twins->generation)
			*find(&bigger, twins->slots[i].hash) = twins->slots[i];
	}
	free(twins->slots);
	*twins = bigger;
}

static void put(struct twins *twins, uint64_t hash)
{
	if ((twins->used + 1) * 2 > twins->slot_count)
		grow(twins);
	*find(twins, hash) = (struct slot){ .hash = hash, .generation = twins->generation };
	twins->used++;
}

/* The i-th thing of a request that must be alone in a commit; 0 hash: nothing. 0: its key; then two
 * for each job. */
static uint64_t identity(const struct acceptance *request, size_t i)
{
	const struct new_job *job = i ? &request->jobs[(i - 1) / 2] : NULL;

	if (!job)
		return request->idempotency_key ? hash_texts('k', request->idempotency_scope,
							     request->idempotency_key, "")
						: 0;
	if (i % 2)
		return job->client_id ? hash_bytes(hash_texts('i', "", "", ""), job->id.b,
						   sizeof(job->id.b))
				      : 0;
	return job->unique_key ? hash_texts('u', job->tenant, job->type, job->unique_key) : 0;
}

bool twins_add(struct twins *twins, const struct acceptance *request)
{
	size_t count = 1 + 2 * request->job_count;

	for (size_t i = 0; i < count; i++) {
		uint64_t hash = identity(request, i);
		if (hash && has(twins, hash))
			return false;
	}
	for (size_t i = 0; i < count; i++) {
		uint64_t hash = identity(request, i);
		if (hash && !has(twins, hash))
			put(twins, hash);
	}
	return true;
}

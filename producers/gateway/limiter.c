/* SPDX-License-Identifier: Apache-2.0 */
/* Two tables under one lock, which is held for a look-up and a few numbers. */
#include "producers/gateway/limiter.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/base/idmap.h"
#include "common/base/list.h"

#define EVICTION_TRIES 8

struct account {
	struct uuid id;
	struct list link; /* in `accounts`, the latest last */
	double tokens;
	int64_t at_ns; /* when tokens was right */
	int64_t unfinished;
};

struct limiter {
	pthread_mutex_t lock; /* guards everything */
	struct idmap *by_id;  /* account -> struct account */
	struct idmap *jobs;   /* job -> struct account */
	struct list accounts;
	size_t next; /* of limiter_next */
};

struct limiter *limiter_new(void)
{
	struct limiter *limiter = xcalloc(1, sizeof(*limiter));

	pthread_mutex_init(&limiter->lock, NULL);
	limiter->by_id = idmap_new();
	limiter->jobs = idmap_new();
	list_init(&limiter->accounts);
	return limiter;
}

void limiter_free(struct limiter **limiter_)
{
	struct limiter *limiter = *limiter_;

	*limiter_ = NULL;
	if (!limiter)
		return;
	while (!list_empty(&limiter->accounts)) {
		struct account *account = list_first(&limiter->accounts, struct account, link);
		list_remove(&account->link);
		free(account);
	}
	idmap_free(&limiter->by_id);
	idmap_free(&limiter->jobs);
	pthread_mutex_destroy(&limiter->lock);
	free(limiter);
}

/* ---- accounts; lock held */

/* The one that was quiet longest; those with jobs are passed by. */
static void evict(struct limiter *limiter)
{
	for (int i = 0; i < EVICTION_TRIES; i++) {
		struct account *oldest = list_first(&limiter->accounts, struct account, link);
		list_remove(&oldest->link);
		if (oldest->unfinished == 0) {
			idmap_take(limiter->by_id, &oldest->id);
			free(oldest);
			return;
		}
		list_append(&limiter->accounts, &oldest->link);
	}
}

static struct account *account_of(struct limiter *limiter, const struct caller *caller)
{
	struct account *account = idmap_get(limiter->by_id, &caller->account);

	if (account) {
		list_remove(&account->link);
	} else {
		if (idmap_count(limiter->by_id) >= LIMITER_ACCOUNTS)
			evict(limiter);
		account = xcalloc(1, sizeof(*account));
		account->id = caller->account;
		account->at_ns = INT64_MIN;
		idmap_put(limiter->by_id, &account->id, account);
	}
	list_append(&limiter->accounts, &account->link);
	return account;
}

/* ---- requests */

static double burst_of(const struct caller_limits *limits)
{
	if (limits->burst > 0)
		return limits->burst;
	return limits->rate_per_s > 1 ? limits->rate_per_s : 1;
}

static void refill(struct account *account, const struct caller_limits *limits, int64_t now_ns)
{
	double burst = burst_of(limits);

	if (account->at_ns == INT64_MIN)
		account->tokens = burst;
	else if (now_ns > account->at_ns)
		account->tokens += (double)(now_ns - account->at_ns) / 1e9 * limits->rate_per_s;
	if (account->tokens > burst)
		account->tokens = burst;
	if (now_ns > account->at_ns)
		account->at_ns = now_ns;
}

bool limiter_take(struct limiter *limiter, const struct caller *caller, int64_t now_ns,
		  struct limiter_room *room_r)
{
	const struct caller_limits *limits = &caller->limits;
	struct account *account;
	bool taken;

	CHECK(limits->rate_per_s > 0);
	pthread_mutex_lock(&limiter->lock);
	account = account_of(limiter, caller);
	refill(account, limits, now_ns);
	taken = account->tokens >= 1;
	if (taken)
		account->tokens -= 1;
	*room_r = (struct limiter_room){
		.limit = (int64_t)burst_of(limits),
		.remaining = (int64_t)account->tokens,
		.reset_s = (int64_t)ceil((burst_of(limits) - account->tokens) / limits->rate_per_s),
		.retry_after_s = (int64_t)ceil((1 - account->tokens) / limits->rate_per_s),
	};
	pthread_mutex_unlock(&limiter->lock);
	if (room_r->retry_after_s < 1)
		room_r->retry_after_s = 1;
	return taken;
}

/* ---- jobs */

bool limiter_has_room(struct limiter *limiter, const struct caller *caller, size_t count)
{
	const struct account *account;
	int64_t unfinished;

	pthread_mutex_lock(&limiter->lock);
	account = idmap_get(limiter->by_id, &caller->account);
	unfinished = account ? account->unfinished : 0;
	pthread_mutex_unlock(&limiter->lock);
	return unfinished + (int64_t)count <= caller->limits.waiting_max;
}

void limiter_accepted(struct limiter *limiter, const struct caller *caller, const struct uuid *id)
{
	pthread_mutex_lock(&limiter->lock);
	if (idmap_count(limiter->jobs) < LIMITER_JOBS && !idmap_get(limiter->jobs, id)) {
		struct account *account = account_of(limiter, caller);
		account->unfinished++;
		idmap_put(limiter->jobs, id, account);
	}
	pthread_mutex_unlock(&limiter->lock);
}

void limiter_ended(struct limiter *limiter, const struct uuid *ids, size_t count)
{
	pthread_mutex_lock(&limiter->lock);
	for (size_t i = 0; i < count && idmap_count(limiter->jobs) > 0; i++) {
		struct account *account = idmap_take(limiter->jobs, &ids[i]);
		if (account)
			account->unfinished--;
	}
	pthread_mutex_unlock(&limiter->lock);
}

size_t limiter_next(struct limiter *limiter, struct uuid *ids_r, size_t max)
{
	size_t count = 0;
	void *account;

	pthread_mutex_lock(&limiter->lock);
	while (count < max && idmap_next(limiter->jobs, &limiter->next, &ids_r[count], &account))
		count++;
	if (count < max)
		limiter->next = 0;
	pthread_mutex_unlock(&limiter->lock);
	return count;
}

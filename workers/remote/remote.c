/* SPDX-License-Identifier: Apache-2.0 */
/* The remote's thread. Others put calls and aborts into two boxes under one lock and wake it; it
 * takes them and lets them flow (flow.c). Policy of a single call is in remote_call.c, of its
 * target in target.c. */
#include "workers/remote/remote.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/config/definitions_slot.h"
#include "workers/remote/flow.h"
#include "workers/remote/guard.h"

#define CALLS_MAX    4096
#define ABORTS_MAX   4096
#define POLL_MS      1000
#define DESCRIBE_MS  1000
#define FILES_WANTED 16384

struct remote {
	struct flow *flow; /* the thread's own, but for the wake */
	char *ca_file;     /* or NULL */
	struct guard *guard;
	pthread_t thread;
	struct definitions_slot definitions;

	pthread_mutex_t lock; /* guards what follows */
	struct list arrived;
	size_t count; /* calls that have not been finished */
	uint64_t last_handle;
	uint64_t aborts[ABORTS_MAX];
	size_t abort_count;
	struct metrics *metrics; /* new ones; or NULL */
	struct strbuf described;
	bool stop;
};

/* ---- anybody's side */

void remote_start(struct remote *remote, const struct remote_request *request, remote_done_fn *done,
		  void *ctx, uint64_t *handle_r)
{
	struct remote_call *call = remote_call_new(request, remote->ca_file, remote->guard);

	call->done = done;
	call->ctx = ctx;
	pthread_mutex_lock(&remote->lock);
	if (remote->count++ >= CALLS_MAX)
		remote_call_refuse(call, "too many calls are under way");
	call->handle = ++remote->last_handle;
	*handle_r = call->handle;
	list_append(&remote->arrived, &call->link);
	pthread_mutex_unlock(&remote->lock);
	flow_wake(remote->flow);
}

void remote_abort(struct remote *remote, uint64_t handle)
{
	pthread_mutex_lock(&remote->lock);
	if (remote->abort_count < ABORTS_MAX) /* else its own time-out ends it */
		remote->aborts[remote->abort_count++] = handle;
	pthread_mutex_unlock(&remote->lock);
	flow_wake(remote->flow);
}

void remote_configure(struct remote *remote, struct definitions *defs)
{
	definitions_slot_put(&remote->definitions, defs);
	flow_wake(remote->flow);
}

void remote_observe(struct remote *remote, struct metrics *metrics)
{
	pthread_mutex_lock(&remote->lock);
	remote->metrics = metrics;
	pthread_mutex_unlock(&remote->lock);
	flow_wake(remote->flow);
}

void remote_describe(struct remote *remote, struct strbuf *out)
{
	pthread_mutex_lock(&remote->lock);
	strbuf_add(out, remote->described.data, remote->described.len);
	pthread_mutex_unlock(&remote->lock);
}

/* ---- the thread's side */

static void on_ended(void *ctx)
{
	struct remote *remote = ctx;

	pthread_mutex_lock(&remote->lock);
	remote->count--;
	pthread_mutex_unlock(&remote->lock);
}

struct taken { /* what has come in */
	struct list calls;
	uint64_t aborts[64];
	size_t abort_count;
	struct metrics *metrics;
	bool stop;
};

static void take(struct remote *remote, struct taken *taken)
{
	size_t count;

	list_init(&taken->calls);
	pthread_mutex_lock(&remote->lock);
	while (!list_empty(&remote->arrived)) {
		struct list *first = remote->arrived.next;

		list_remove(first);
		list_append(&taken->calls, first);
	}
	count = remote->abort_count < ARRAY_LEN(taken->aborts) ? remote->abort_count
							       : ARRAY_LEN(taken->aborts);
	remote->abort_count -= count;
	memcpy(taken->aborts, remote->aborts + remote->abort_count,
	       count * sizeof(taken->aborts[0]));
	taken->abort_count = count;
	if (remote->abort_count) /* the rest at once: no wake follows for it */
		flow_wake(remote->flow);
	taken->metrics = remote->metrics;
	remote->metrics = NULL;
	taken->stop = remote->stop;
	pthread_mutex_unlock(&remote->lock);
}

static void learn(struct remote *remote, struct taken *taken)
{
	struct definitions *defs = definitions_slot_take(&remote->definitions);

	if (taken->metrics)
		flow_observe(remote->flow, taken->metrics);
	if (!defs)
		return;
	flow_configure(remote->flow, defs);
	definitions_unref(&defs);
}

/* False: stop. */
static bool take_in(struct remote *remote)
{
	struct taken taken;

	take(remote, &taken);
	learn(remote, &taken);
	while (!list_empty(&taken.calls)) {
		struct remote_call *call = list_first(&taken.calls, struct remote_call, link);

		list_remove(&call->link);
		flow_take(remote->flow, call);
	}
	for (size_t i = 0; i < taken.abort_count; i++)
		flow_abort(remote->flow, taken.aborts[i]);
	return !taken.stop;
}

static void describe(struct remote *remote, int64_t *due_ms)
{
	struct strbuf text;

	if (clock_mono_ms() < *due_ms)
		return;
	*due_ms = clock_mono_ms() + DESCRIBE_MS;
	strbuf_init(&text);
	flow_describe(remote->flow, &text);
	pthread_mutex_lock(&remote->lock);
	strbuf_release(&remote->described);
	remote->described = text;
	pthread_mutex_unlock(&remote->lock);
}

static void *remote_main(void *arg)
{
	struct remote *remote = arg;
	int64_t describe_ms = 0;

	while (take_in(remote)) {
		describe(remote, &describe_ms);
		flow_run(remote->flow, POLL_MS);
	}
	flow_abort_all(remote->flow);
	return NULL;
}

/* Thousands of connections need as many descriptors; the soft limit is for programs that select. */
static void raise_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= FILES_WANTED)
		return;
	files.rlim_cur = files.rlim_max < FILES_WANTED ? files.rlim_max : FILES_WANTED;
	(void)setrlimit(RLIMIT_NOFILE, &files);
}

struct remote *remote_new(const char *ca_file, struct error *err_r)
{
	struct remote *remote;

	if (ca_file && access(ca_file, R_OK) < 0) {
		error_set(err_r, ERROR_INVALID, "cannot read the CA file %s", ca_file);
		return NULL;
	}
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		error_set(err_r, ERROR_INTERNAL, "libcurl does not start");
		return NULL;
	}
	remote = xcalloc(1, sizeof(*remote));
	remote->ca_file = ca_file ? xstrdup(ca_file) : NULL;
	remote->guard = guard_new("", err_r);
	list_init(&remote->arrived);
	strbuf_init(&remote->described);
	strbuf_addstr(&remote->described, "[]");
	raise_files();
	remote->flow = flow_new(ca_file, on_ended, remote);
	CHECK(pthread_mutex_init(&remote->lock, NULL) == 0);
	CHECK(pthread_create(&remote->thread, NULL, remote_main, remote) == 0);
	return remote;
}

int remote_allow(struct remote *remote, const char *networks, struct error *err_r)
{
	struct guard *guard = guard_new(networks, err_r);

	if (!guard)
		return -1;
	guard_free(&remote->guard);
	remote->guard = guard;
	return 0;
}

void remote_free(struct remote **remote)
{
	struct remote *r = *remote;

	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_mutex_unlock(&r->lock);
	flow_wake(r->flow);
	CHECK(pthread_join(r->thread, NULL) == 0);
	flow_free(&r->flow);
	definitions_slot_release(&r->definitions);
	strbuf_release(&r->described);
	pthread_mutex_destroy(&r->lock);
	guard_free(&r->guard);
	free(r->ca_file);
	free(r);
	curl_global_cleanup();
	*remote = NULL;
}

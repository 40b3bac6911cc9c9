/* SPDX-License-Identifier: Apache-2.0 */
/* The remote's thread: a curl_multi loop. Others put calls and aborts into two boxes under one lock
 * and wake it; it takes them, lets libcurl work, and tells each call's owner how it ended. Policy
 * of a single call is in remote_call.c. */
#include "workers/remote/remote.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "workers/remote/remote_call.h"

#define CALLS_MAX  4096
#define ABORTS_MAX 4096
#define CACHED_MAX 64L /* idle connections kept */
#define POLL_MS    1000

struct remote {
	CURLM *multi;
	char *ca_file; /* or NULL */
	struct guard *guard;
	pthread_t thread;
	struct list active; /* in the multi handle; the thread's own */

	pthread_mutex_t lock; /* guards what follows */
	struct list arrived;
	size_t count; /* calls that have not been finished */
	uint64_t last_handle;
	uint64_t aborts[ABORTS_MAX];
	size_t abort_count;
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
	curl_multi_wakeup(remote->multi);
}

void remote_abort(struct remote *remote, uint64_t handle)
{
	pthread_mutex_lock(&remote->lock);
	if (remote->abort_count < ABORTS_MAX) /* else its own time-out ends it */
		remote->aborts[remote->abort_count++] = handle;
	pthread_mutex_unlock(&remote->lock);
	curl_multi_wakeup(remote->multi);
}

/* ---- the thread's side */

static void finish(struct remote *remote, struct remote_call *call, CURLcode result)
{
	list_remove(&call->link);
	if (call->easy)
		curl_multi_remove_handle(remote->multi, call->easy);
	remote_call_finish(&call, result);
	pthread_mutex_lock(&remote->lock);
	remote->count--;
	pthread_mutex_unlock(&remote->lock);
}

static void begin(struct remote *remote, struct remote_call *call)
{
	list_append(&remote->active, &call->link);
	if (!call->easy) {
		finish(remote, call, CURLE_URL_MALFORMAT);
	} else if (curl_multi_add_handle(remote->multi, call->easy) != CURLM_OK) {
		remote_call_refuse(call, "libcurl refused the call");
		finish(remote, call, CURLE_FAILED_INIT);
	}
}

static void abort_one(struct remote *remote, uint64_t handle)
{
	for (struct list *at = remote->active.next; at != &remote->active; at = at->next) {
		struct remote_call *call = list_entry(at, struct remote_call, link);

		if (call->handle == handle) {
			finish(remote, call, CURLE_ABORTED_BY_CALLBACK);
			return;
		}
	}
}

/* Takes what has come in. False: stop. */
static bool take(struct remote *remote)
{
	uint64_t aborts[64];
	size_t abort_count;
	struct list arrived;
	bool stop;

	list_init(&arrived);
	pthread_mutex_lock(&remote->lock);
	while (!list_empty(&remote->arrived)) {
		struct list *first = remote->arrived.next;

		list_remove(first);
		list_append(&arrived, first);
	}
	abort_count =
		remote->abort_count < ARRAY_LEN(aborts) ? remote->abort_count : ARRAY_LEN(aborts);
	remote->abort_count -= abort_count;
	memcpy(aborts, remote->aborts + remote->abort_count, abort_count * sizeof(aborts[0]));
	stop = remote->stop;
	pthread_mutex_unlock(&remote->lock);
	while (!list_empty(&arrived)) {
		struct remote_call *call = list_first(&arrived, struct remote_call, link);

		list_remove(&call->link);
		begin(remote, call);
	}
	for (size_t i = 0; i < abort_count; i++)
		abort_one(remote, aborts[i]);
	return !stop;
}

static void collect(struct remote *remote)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(remote->multi, &left))) {
		char *call = NULL;
		CURLcode result = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		CHECK(curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call) ==
			      CURLE_OK &&
		      call);
		finish(remote, (struct remote_call *)(void *)call, result);
	}
}

static void *remote_main(void *arg)
{
	struct remote *remote = arg;
	int running;

	while (take(remote)) {
		CHECK(curl_multi_perform(remote->multi, &running) == CURLM_OK);
		collect(remote);
		CHECK(curl_multi_poll(remote->multi, NULL, 0, POLL_MS, NULL) == CURLM_OK);
	}
	while (!list_empty(&remote->active))
		finish(remote, list_first(&remote->active, struct remote_call, link),
		       CURLE_ABORTED_BY_CALLBACK);
	return NULL;
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
	list_init(&remote->active);
	list_init(&remote->arrived);
	remote->multi = curl_multi_init();
	CHECK(remote->multi);
	CHECK(curl_multi_setopt(remote->multi, CURLMOPT_MAXCONNECTS, CACHED_MAX) == CURLM_OK);
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
	curl_multi_wakeup(r->multi);
	CHECK(pthread_join(r->thread, NULL) == 0);
	curl_multi_cleanup(r->multi);
	pthread_mutex_destroy(&r->lock);
	guard_free(&r->guard);
	free(r->ca_file);
	free(r);
	curl_global_cleanup();
	*remote = NULL;
}

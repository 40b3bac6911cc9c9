/* SPDX-License-Identifier: Apache-2.0 */
/* One call on its way: its libcurl handle with every option that safety needs, what came back, and
 * what that says about its fate. For remote.c alone; all but remote_call_new on the remote's
 * thread. */
#ifndef WORKERS_REMOTE_REMOTE_CALL_H
#define WORKERS_REMOTE_REMOTE_CALL_H
#include <curl/curl.h>

#include "common/base/list.h"
#include "common/base/strbuf.h"
#include "workers/remote/call_guard.h"
#include "workers/remote/remote.h"

struct remote_call {
	struct list link;
	uint64_t handle;
	remote_done_fn *done;
	void *ctx;
	CURL *easy; /* NULL: refused, see error */
	struct curl_slist *headers;
	struct strbuf reply;
	size_t reply_bytes_max, header_bytes;
	struct call_guard guard;
	bool refused;   /* for what it says, not for the weather */
	bool connected; /* TLS included: from here on the request may have been sent */
	bool answering; /* the first line of the answer is there */
	char error[CURL_ERROR_SIZE];
};

/* Copies the request. A request that is refused gives a call without `easy`. The guard is asked
 * when the request is guarded, and must outlive the call. */
struct remote_call *remote_call_new(const struct remote_request *request, const char *ca_file,
				    const struct guard *guard);
/* A call that must not be made gets this reason. */
void remote_call_refuse(struct remote_call *call, const char *why);
/* Tells its owner how it ended, and frees it. The handle must not be in a multi handle any more. */
void remote_call_finish(struct remote_call **call, CURLcode result);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One call on its way: its libcurl handle with every option that safety needs, what came back, and
 * what that says about its fate. For remote.c and flow.c; all but remote_call_new on the remote's
 * thread. */
#ifndef WORKERS_REMOTE_REMOTE_CALL_H
#define WORKERS_REMOTE_REMOTE_CALL_H
#include <curl/curl.h>

#include "common/base/list.h"
#include "common/base/strbuf.h"
#include "workers/remote/call_guard.h"
#include "workers/remote/remote.h"

struct target;

struct remote_call {
	struct list link;  /* where it waits: a box, its target, its token; or on its own */
	struct list every; /* all that the flow has */
	uint64_t handle;
	remote_done_fn *done;
	void *ctx;
	CURL *easy; /* NULL: refused, see error */
	CURLU *url; /* what the handle connects to, read once */
	struct curl_slist *headers;
	struct curl_slist authorization; /* in front of them, when its target has one */
	struct strbuf reply;
	size_t reply_bytes_max, header_bytes;
	struct call_guard guard;
	bool refused;   /* for what it says, not for the weather */
	bool connected; /* TLS included: from here on the request may have been sent */
	bool answering; /* the first line of the answer is there */
	bool reusable;  /* may go over a connection that is kept */
	bool own_authorization, again;
	bool stranger;     /* guarded even at a declared target, and without its credentials */
	char *target_name; /* or NULL */
	int timeout_ms;
	int64_t deadline_ns; /* of all of it, waiting included; set when it is taken */
	int64_t retry_after_ms;
	int64_t hold_ms; /* > 0: held, and for how long */
	int encodings;   /* of the answer's body */
	/* the flow's */
	struct target *target; /* under way there, when `begun_ns` */
	int64_t begun_ns;
	bool probe, in_loop, tried_again;
	int place;                /* in the loop */
	uint64_t token_number;    /* of the token that it carries */
	char *bearer;             /* its own copy of that token's header */
	struct target *fetch_for; /* it asks for this one's token; it has no target of its own */
	char error[CURL_ERROR_SIZE];
};

/* Copies the request. A request that is refused gives a call without `easy`. The guard is asked
 * when the request is guarded, and must outlive the call. */
struct remote_call *remote_call_new(const struct remote_request *request, const char *ca_file,
				    const struct guard *guard);
/* Just before it goes: what its target gives it, and the time that is left (> 0). authorization: a
 * whole header line that lives as long as the call is under way, or NULL. */
struct remote_call_terms {
	const char *ca, *cert, *key, *authorization;
	int64_t left_ms, connect_ms; /* connect_ms 0: the default */
	bool http2;
	bool multiplexed; /* it is known to speak HTTP/2 */
	bool declared;    /* the definitions have it: not guarded, but for strangers */
	CURLSH *share;
};
void remote_call_prepare(struct remote_call *call, const struct remote_call_terms *terms);
/* Its answer counts for nothing: it is made ready to go once more. */
void remote_call_rewind(struct remote_call *call);
/* A call that must not be made gets this reason. */
void remote_call_refuse(struct remote_call *call, const char *why);
bool remote_call_multiplexed(const struct remote_call *call); /* its answer came over HTTP/2 */
int remote_call_status(const struct remote_call *call);       /* of its answer */
/* We stopped listening: its body, its headers or one of them grew too large. */
bool remote_call_cut_off(const struct remote_call *call, CURLcode result);
/* Tells its owner how it ended, and frees it. The handle must not be in a multi handle any more. */
void remote_call_finish(struct remote_call **call, CURLcode result);

#endif

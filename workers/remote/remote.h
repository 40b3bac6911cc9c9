/* SPDX-License-Identifier: Apache-2.0 */
/* Third-party calls: one thread with a curl_multi loop an engine. TLS verified, time-outs always,
 * sizes capped, no redirects, no proxies, CR/LF refused; a request is never sent twice by itself: a
 * POST (or any call that is not GET or HEAD) gets a fresh connection that is not used again unless
 * it carries an idempotency key, and then a dead reused connection is the only thing that may send
 * it again. Every call belongs to a target: a declared one (`targets:` of the definitions) or one
 * made for its scheme, host and port. A target has its own rate, concurrency (bulkhead), breaker,
 * retry budget, credentials and TLS identity. */
#ifndef WORKERS_REMOTE_REMOTE_H
#define WORKERS_REMOTE_REMOTE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/check.h"
#include "common/base/error.h"

struct remote;

struct definitions;
struct metrics;
struct strbuf;

/* UNKNOWN: sent (perhaps in part), no answer */
enum remote_fate { REMOTE_ANSWERED = 1, REMOTE_NOT_SENT, REMOTE_UNKNOWN };

struct remote_request {
	const char *method, *url;   /* final: substitution is the caller's (call_template.h) */
	const char *const *headers; /* "Name: value", NULL-terminated */
	const char *body;
	size_t body_bytes;
	const char *idempotency_key; /* sent as Idempotency-Key; NULL: none */
	int timeout_ms;              /* > 0; waiting for its target's rate and room included */
	const char *target;          /* name of a declared one, or NULL: by the URL's origin */
	/* scheme, host or port came from a payload: the guard looks at the resolved address before
	 * each connect and again on a reused connection (guard.h) */
	bool guarded;
	bool plain_http; /* guarded: http:// will do; else only to what remote_allow names */
	/* guarded, and no target is named: a URL below a declared target's is as good as one of the
	 * definitions. For what a handler wrote; a payload's own URL stays guarded there, and gets
	 * the target's limits but none of its credentials */
	bool trusts_targets;
	/* an earlier attempt of the job has sent this call already: it takes from the target's
	 * retry budget, and is held when that is empty */
	bool again;
	size_t response_bytes_max;
};

struct remote_reply { /* owned by remote until the callback returns */
	enum remote_fate fate;
	int status;
	const char *body; /* NUL-terminated as well; never NULL */
	size_t body_bytes;
	const char *error; /* never NULL */
	/* NOT_SENT for what the request itself says (not a URL, a control character, an address
	 * that the guard refuses): it would be refused again, so there is no use in another try */
	bool refused;
	/* of Retry-After (RFC 9110 section 10.2.3, seconds or date), capped at 1 h; -1: none. When
	 * held: when to come again */
	int64_t retry_after_ms;
	/* NOT_SENT because its target has no room, no rate, an open breaker or no retry budget
	 * left: nobody's fault, not an attempt */
	bool held;
};

/* Called on the remote's thread, exactly once per remote_start. */
typedef void remote_done_fn(void *ctx, const struct remote_reply *reply);

struct remote *remote_new(const char *ca_file /* NULL: the system's */, struct error *err_r);
/* Networks that guarded calls may go to although they are not public (WINDLASS_REMOTE_ALLOW,
 * common/base/cidr.h). Before the first call. 0, or -1 with ERROR_INVALID. */
int remote_allow(struct remote *remote, const char *networks, struct error *err_r) must_check;
/* From now on the targets of these definitions; the state of those that are as they were goes on.
 * Any thread. */
void remote_configure(struct remote *remote, struct definitions *defs);
/* Counts into these. Before the first call. */
void remote_observe(struct remote *remote, struct metrics *metrics);
/* The targets as a JSON array, as they were within the last second. Any thread. */
void remote_describe(struct remote *remote, struct strbuf *out);
/* Does this URL belong to a target with that one? As calls find theirs: the same scheme, host and
 * port, whole segments of the path. *prefix_bytes_r: the longest wins. Any thread. */
bool remote_is_below(const char *url, const char *target_url, size_t *prefix_bytes_r);
void remote_free(struct remote **remote); /* aborts what is under way (fate UNKNOWN) */
/* Copies what it needs. Any thread, never blocks. *handle_r may be passed to remote_abort. At most
 * 4,096 at once, then the fate is NOT_SENT. */
void remote_start(struct remote *remote, const struct remote_request *request, remote_done_fn *done,
		  void *ctx, uint64_t *handle_r);
/* any thread; the callback still comes */
void remote_abort(struct remote *remote, uint64_t handle);

#endif

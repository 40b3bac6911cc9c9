/* SPDX-License-Identifier: Apache-2.0 */
/* One third party as calls see it: how many may be under way and how fast they may start, whether
 * it is left alone because it fails, how much may be tried again. The limits are pure: time is an
 * input, monotonic. The remote's thread only. */
#ifndef WORKERS_REMOTE_TARGET_H
#define WORKERS_REMOTE_TARGET_H
#include "common/base/list.h"
#include "common/base/strbuf.h"
#include "workers/remote/breaker.h"
#include "workers/remote/token.h"

struct metric_series;

struct target_limits {
	double rate_per_s; /* 0: none */
	int concurrency, waiting_max, retry_percent;
	struct breaker_limits breaker;
};

/* what an ended call says about the target */
enum target_outcome {
	TARGET_ANSWERED = 1, /* below 500 */
	TARGET_FAILED,       /* no connection, a time-out, a broken answer, 5xx */
	TARGET_SILENT,       /* nothing: aborted, or never sent by our own doing */
};

struct target_series { /* NULL while nobody looks */
	struct metric_series *answered, *failed, *silent, *held, *in_flight, *breaker, *seconds;
};

struct target {
	struct list link;  /* the table's */
	char *name;        /* of a declared one; NULL: made for its origin */
	char *origin;      /* scheme://host:port, lower case */
	char *prefix;      /* of the path: "" or "/…" without a slash at its end */
	char *fault;       /* why no call can be made (a variable is not set); or NULL */
	char *fingerprint; /* of its definition: the same means that nothing changed */
	bool own;          /* of one type: found by its name only */
	bool gone;         /* not declared any more; freed with its last call */
	/* what each call gets */
	int64_t timeout_ms, connect_timeout_ms; /* 0: the call's own, the default */
	char *ca, *cert, *key;                  /* files, or NULL */
	char *authorization;                    /* value of the header; or NULL */
	struct token_source *token;             /* OAuth 2; or NULL */
	bool http2, multiplexed;                /* offered; spoken when it last answered */
	/* state */
	struct target_limits limits;
	struct breaker breaker;
	int in_flight;
	struct list waiting; /* struct remote_call, first come first served */
	int waiting_count;
	struct list queue_link; /* among those that have somebody waiting */
	int64_t wake_ns;        /* when somebody who waits may go, or is too late */
	int64_t late_ns;        /* nobody who waits is too late before */
	bool pumping;           /* the queue is being looked through */
	double start_tokens;    /* of the rate */
	int64_t start_ns;       /* when they were counted */
	double retry_tokens;    /* of the retry budget */
	int64_t retry_ns;
	int retries_held;               /* for it, since one was answered; up to a limit */
	double mean_ns;                 /* how long calls take, smoothed; 0: not known yet */
	uint64_t calls, failures, held; /* since it exists, for people */
	struct target_series series;
};

enum target_verdict { TARGET_GO = 1, TARGET_WAIT, TARGET_HOLD };

struct target *target_new(const char *origin, const char *prefix,
			  const struct target_limits *limits, int64_t now_ns);
void target_free(struct target **target); /* nothing of it may be under way */

/* HOLD: it must not be called now, come again after *wait_ns_r. Else GO. Takes no token. */
enum target_verdict target_gate(struct target *target, bool again, int64_t now_ns,
				int64_t *wait_ns_r);
/* After target_gate said GO. GO: the call is under way until target_end; *probe_r goes back there.
 * WAIT: no room (until a call ends) or no rate: *wait_ns_r, INT64_MAX when only an end helps. */
enum target_verdict target_take(struct target *target, bool again, int64_t now_ns, bool *probe_r,
				int64_t *wait_ns_r);
void target_end(struct target *target, enum target_outcome outcome, bool again, bool probe,
		int64_t took_ns, int64_t now_ns);
/* How long one more in the queue would wait, by what is known. */
int64_t target_queue_ns(const struct target *target);
/* When to come again after there was no room: between 0.2 and 30 s, spread. */
int64_t target_again_ms(const struct target *target);
/* Nothing of it is under way and nobody waits. */
bool target_idle(const struct target *target);
/* One JSON object: its state for people. */
void target_describe(const struct target *target, int64_t now_ns, struct strbuf *out);

#endif

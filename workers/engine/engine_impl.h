/* SPDX-License-Identifier: Apache-2.0 */
/* Between the engine's own files: what it holds, and the way of a job through it. arrivals.c:
 * claimed job → hand → pool; endings.c: pool → settled → effects → gone; asks.c: a running
 * handler's questions; calls.c: those that go to third parties; detach.c: jobs that a broker would
 * not wait for. All of it on the loop thread, except where a comment says so. */
#ifndef WORKERS_ENGINE_ENGINE_IMPL_H
#define WORKERS_ENGINE_ENGINE_IMPL_H
#include "common/base/mailbox.h"
#include "common/base/strbuf.h"
#include "common/broker/inflight.h"
#include "workers/effects/effects.h"
#include "workers/engine/engine.h"
#include "workers/engine/figures.h"
#include "workers/engine/keeper.h"
#include "workers/engine/listener.h"
#include "workers/engine/outcome_log.h"
#include "workers/engine/readers.h"
#include "workers/pool/pool.h"

#define HAND_MAX         3000      /* jobs in hand: in the pool, being committed, being taken */
#define ANSWER_BYTES_MAX (1 << 20) /* rows of a query, body of a reply */
#define ANSWERS_MAX      8192      /* questions under way; more are refused at once */

enum engine_phase { ENGINE_RUNNING = 1, ENGINE_DRAINING, ENGINE_ABORTING };

/* A job in hand: lives in the job's arena, and is the value in the in-flight table. */
struct hand {
	struct task task;
	struct effect end; /* how its end travels */
	struct list asks;  /* open_ask: not answered yet */
	/* the attempt is over; it waits for open asks and for an adoption under way */
	bool ended;
	bool cancel_asked;
	bool lost;     /* somebody else has the job: nothing is stored of it */
	bool lent;     /* its message is open; in the engine's list of these */
	bool adopting; /* `adopt` is with the effects thread: the job's lease is about to change */
	struct list lent_link;
	struct effect adopt;
	struct completion *adoption; /* the same; NULL while there was none */
	const char *forbidden;       /* what its type does not allow and it asked for; or NULL */
	/* why the job is parked: a call of it that must not be sent twice has an unknown fate */
	const char *park;
	struct list http_link; /* HTTP: in the engine's list of these while its call is under way */
	bool silent;           /* no outcome line */
	bool twin;             /* of one that is in hand already; not in the in-flight table */
	int refusals;          /* ends that the store did not take */
	int64_t after_ms;      /* of its release on arrival */
	int64_t wait_ms;       /* from due to taken */
};

struct http_call;

/* A handler's question under way, or the call that is a whole job; in the job's arena. */
struct open_ask {
	struct list link; /* the hand's asks */
	struct hand *hand;
	struct task_ask *ask;
	const struct http_call *http; /* the job is this call; or NULL */
	/* STEP, or a CALL whose intent goes first: through the effects thread, one of a job at a
	 * time */
	bool stored;
	enum call_policy policy;                /* CALL */
	const struct target_definition *target; /* whose policy that is; or NULL */
	bool started;                  /* with the effects thread, or refused before that */
	bool called;                   /* CALL: no other of its step may begin */
	bool asking;                   /* CALL: what is under way is the look-up */
	uint64_t call;                 /* CALL: remote's handle; 0: nothing is under way */
	struct effect effect;          /* if `stored` */
	struct completion *completion; /* made when it goes there */
};

/* An answer on its way to the loop; malloc'ed with its texts. */
struct answer {
	struct open_ask *open;
	struct strbuf members; /* QUERY; anything that failed */
	enum remote_fate fate; /* CALL that was made; else 0 */
	int status;
	char *body;
	size_t body_bytes;
	char *error;            /* or NULL */
	int64_t retry_after_ms; /* of the reply; -1: none */
	bool held, refused;     /* of the reply */
	bool found;             /* not of the call itself: a receipt, or looked up; it was done */
};

struct engine {
	struct engine_options o;
	struct definitions *defs; /* the current ones */
	struct loop *loop;
	struct pool *pool;
	struct effects *effects;
	struct readers *readers;
	struct keeper *keeper;
	struct endpoints *endpoints; /* that are disabled */
	struct listener *listener;
	struct outcome_log *log;
	struct inflight *inflight;
	struct mailbox *answers; /* struct answer, from any thread */
	size_t asks_open;        /* each will have one answer there */
	struct mailbox *cancels; /* struct cancel_found, from the keeper */
	int cancel_fd;           /* eventfd: the bell said that a cancel was asked */
	struct list submits;     /* effects for the end of this page */
	size_t submit_count;
	struct list endings;          /* tasks whose attempts ended in this page */
	uint64_t received;            /* jobs claimed so far */
	double sql_share, http_share; /* of the jobs that come in: those that need no host */
	struct list https;            /* hands whose attempts are calls that are under way */
	size_t http_count;
	_Atomic enum engine_phase phase; /* read by the admin listener too */
	char node[SERVICE_NODE_BYTES];
	struct figures figures;
	int64_t deadline_ns; /* of the phase; 0: it has none */
	int64_t urge_ns;     /* draining: when running handlers are told; 0: not, or they were */
	struct list lent;    /* hands that wait for being adopted, in the order of arrival */
	int64_t detach_least_ns; /* no type's time is shorter */
	int64_t detach_ns;       /* when `detach` goes off, 0: not */
	struct loop_timer *detach;
	struct loop_watch *watches[5];
	struct loop_timer *tick;
	struct metric_series *in_flight;
	bool done;
};

static inline struct hand *hand_of(struct task *task)
{
	return (struct hand *)(void *)((char *)task - offsetof(struct hand, task));
}

/* arrivals.c */
void arrivals_take(struct engine *engine, struct claimed_job **jobs, size_t count);
void arrivals_run(struct engine *engine, struct hand *hand); /* first time or again */
size_t arrivals_room(const struct engine *engine);           /* jobs that may be claimed now */

/* endings.c */
void endings_add(struct engine *engine, struct task *task); /* the attempt is over */
void endings_page(struct engine *engine);                   /* settles what has ended */
/* One thing fewer that an ended hand waits for. */
void endings_go_on(struct engine *engine, struct hand *hand);
/* An end is back from the effects thread. */
void endings_back(struct engine *engine, struct effect *effect);
void endings_drop(struct engine *engine); /* at exit: frees all that is in hand */

/* asks.c */
void asks_open(struct engine *engine, struct task_ask *ask);
/* A step is back from the effects thread. */
void asks_step_back(struct engine *engine, struct effect *effect);
/* The hand's adoption is back: steps go on, or fail. */
void asks_adopted(struct engine *engine, struct hand *hand, const struct completion *adoption);
/* Its handler, or its call, is told to stop; nothing when it has ended. */
void asks_cancel(struct engine *engine, struct hand *hand);
/* Its attempt is over: calls stop, answers will be dropped. */
void asks_abort(struct engine *engine, struct hand *hand);
void asks_page(struct engine *engine); /* passes on the answers that have come in */
/* Any thread: the answer to this question is an error. */
void asks_fail(struct engine *engine, struct open_ask *open, const char *message);
void asks_query_done(void *engine, void *open, const char *text, size_t bytes,
		     const struct error *error); /* readers' */

/* detach.c */
void detach_learn(struct engine *engine); /* the times of the current definitions */
void detach_watch(struct engine *engine, struct hand *hand); /* if a broker has delivered it */
void detach_now(struct engine *engine, struct hand *hand);   /* it is lent: becomes ours */
void detach_due(void *engine);                               /* the timer's */
/* An adoption is back from the effects thread. */
void detach_back(struct engine *engine, struct effect *effect);

/* The same for a call that is made by itself: counted, not started. */
struct open_ask *asks_add(struct engine *engine, struct task_ask *ask);
/* What has to be stored first may go now, if it is its turn. */
void asks_start_next(struct engine *engine, struct hand *hand);

/* calls.c */
/* The idempotency key of a step of a job; in the arena. */
const char *calls_key(struct arena *arena, const struct uuid *job, const char *step);
void calls_start(struct engine *engine, struct open_ask *open);
void calls_add_intent(struct open_ask *open); /* to what the job's next transaction stores */
/* What the store does not know yet goes with this transaction of the job; */
void calls_receipts_taken(struct task *task, struct completion *completion);
/* and is stored now, or goes with the next one. */
void calls_receipts_back(struct task *task, bool committed);
/* Its intent is committed, or is not: it is sent, or answered. */
void calls_intent_back(struct engine *engine, struct open_ask *open);
/* The reply to a look-up has come. True: the call is sent after all, and its answer follows; false:
 * *answer is now the call's own. */
bool calls_looked_up(struct engine *engine, struct open_ask *open, struct answer *answer);
/* Appends a body: a JSON text, or {"base64":"…"} when it is not UTF-8. */
void calls_add_body(struct strbuf *out, const char *body, size_t bytes);
/* The reply has come: keeps what is to be kept of it, parks the job if it must be, and makes the
 * members of the answer. */
void calls_answered(struct hand *hand, const struct open_ask *open, const struct answer *answer,
		    struct strbuf *members);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the SQLite store share: the connection, statements, the write transaction with
 * its leases and figures, the ledger rows, handler SQL, and the file that processes share. SQLite's
 * types are seen in this folder alone. */
#ifndef COMMON_STORE_SQLITE_SQLITE_IMPL_H
#define COMMON_STORE_SQLITE_SQLITE_IMPL_H
#include <sqlite3.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/strbuf.h"
#include "common/store/store_impl.h"

#define SQLITE_STATEMENTS_MAX     256 /* of our own; a power of two */
#define SQLITE_GUESTS_MAX         64  /* handler statements kept prepared */
#define SQLITE_STATEMENT_LIMIT_MS 5000
#define SQLITE_LOCK_LIMIT_MS      5000 /* for the shared mutex */
#define SQLITE_FOREIGN_LIMIT_MS   2000 /* for a writer that is not Windlass */
#define SQLITE_PATH_BYTES         4096
/* of files that are not there: payloads are nobody else's business */
#define SQLITE_NEW_MODE 0600

struct sqlite_tally {
	char *queue;
	int64_t available, scheduled, running; /* changes of this transaction */
};

/* One lease as this transaction has read and changed it. */
struct sqlite_lease {
	struct uuid batch;
	bool found;   /* the row exists */
	bool changed; /* ids were removed: written back at the end */
	bool brokers; /* valid until a time */
	bool limited; /* its jobs came from queues with limits */
	size_t count, hint;
	struct uuid *ids;
	int *attempts;
	bool *settled; /* this transaction has ended that job, or put it back */
	bool *removed;
};

struct sqlite_tx {
	bool open;
	int64_t now_ms;
	int64_t seq; /* last one drawn; -1: not read yet */
	bool seq_drawn;
	struct arena *arena; /* for what lives as long as the transaction */
	struct sqlite_tally *tallies;
	size_t tally_count, tally_cap;
	struct sqlite_tally *marked; /* copy at the last mark */
	size_t marked_count;
	struct sqlite_lease **leases;
	size_t lease_count, lease_cap;
};

struct sqlite_guest {
	char *sql;
	uint64_t hash, used;
	sqlite3_stmt *stmt;
};

struct bell_file;

struct sqlite_store {
	struct store base;
	char path[SQLITE_PATH_BYTES];
	sqlite3 *db;         /* NULL: the next operation opens it */
	bool broken;         /* the next operation closes it first */
	bool full;           /* the disk was, in this transaction */
	bool guest;          /* a handler's statement is being prepared or run */
	bool relaxed;        /* synchronous=NORMAL now */
	int64_t deadline_ns; /* of the statement that runs; 0: none */
	int64_t changed;     /* rows the last sqlite_run touched */
	struct bell_file *shared;
	struct {
		const char *sql; /* the literal's address is the key */
		sqlite3_stmt *stmt;
	} statements[SQLITE_STATEMENTS_MAX];
	size_t statement_count;
	struct sqlite_guest guests[SQLITE_GUESTS_MAX];
	uint64_t guest_clock;
	struct sqlite_tx tx;
	struct ration *ration; /* whose turn it is; NULL: no limited queue was claimed from */
	size_t turn;           /* where the next claim starts among its queues */
	struct uuid unique_seen, done_seen; /* how far housekeeping has walked */
};

/* ---- connection.c */
int sqlite_path(const char *url, char path_r[SQLITE_PATH_BYTES], struct error *err_r) must_check;
/* Opens the file when it is not open. Every operation begins with it. */
int sqlite_ensure(struct sqlite_store *store, struct error *err_r) must_check;
void sqlite_disconnect(struct sqlite_store *store);
/* Fills *err_r from the connection's last failure; marks the connection as broken when it is not to
 * be trusted. Returns -1. */
int sqlite_fail(struct sqlite_store *store, struct error *err_r, const char *what);
int sqlite_migrate(struct store *base, int *applied_r, struct error *err_r) must_check;
int sqlite_schema(struct store *base, int *have_r, int *want_r, struct error *err_r) must_check;
int sqlite_sync_types(struct store *base, const struct store_type *types, size_t count,
		      struct error *err_r) must_check;
int sqlite_sync_queues(struct store *base, const struct store_queue *queues, size_t count,
		       struct error *err_r) must_check;

/* ---- statement.c: our own statements, prepared once a connection. kinds, a letter a parameter: i
 * int64_t, d double, s text or NULL, u const struct uuid *, U the same or NULL when nil, b const
 * void * and size_t, t the same for text. Values are borrowed until the next bind. */
sqlite3_stmt *sqlite_bind(struct sqlite_store *store, struct error *err_r, const char *sql,
			  const char *kinds, ...) must_check;
/* 1: a row; 0: no more, statement reset; -1: failed, statement reset. */
int sqlite_next(struct sqlite_store *store, sqlite3_stmt *stmt, struct error *err_r) must_check;
void sqlite_done(sqlite3_stmt *stmt); /* before the last row was seen */
/* Runs to the end; store->changed says how many rows were touched. */
int sqlite_run(struct sqlite_store *store, struct error *err_r, const char *sql, const char *kinds,
	       ...) must_check;
/* The first row's first column. 1, 0 when there is none, -1. */
int sqlite_number(struct sqlite_store *store, struct error *err_r, int64_t *value_r,
		  const char *sql, const char *kinds, ...) must_check;
void sqlite_statements_free(struct sqlite_store *store);
bool sqlite_column_uuid(sqlite3_stmt *stmt, int column,
			struct uuid *id_r); /* false and nil: no uuid */
char *sqlite_column_dup(sqlite3_stmt *stmt, int column, struct arena *arena); /* NULL for NULL */

/* ---- transaction.c: the write transaction, inside the mutex of all processes. */
enum sqlite_durability {
	SQLITE_DURABLE,
	SQLITE_RELAXED /* may be lost with the machine's power, never torn */
};
int sqlite_begin(struct sqlite_store *store, enum sqlite_durability durability,
		 struct error *err_r) must_check;
/* Flushes and commits. On failure everything is rolled back; ERROR_UNKNOWN: the disk failed during
 * the commit. */
int sqlite_commit(struct sqlite_store *store, struct error *err_r) must_check;
void sqlite_rollback(struct sqlite_store *store);
int sqlite_seq(struct sqlite_store *store, int64_t *seq_r, struct error *err_r) must_check;
void sqlite_count(struct sqlite_store *store, const char *queue, int available, int scheduled,
		  int running);
void sqlite_count_mark(struct sqlite_store *store);
void sqlite_count_back(struct sqlite_store *store); /* to the mark: what the savepoint undid */

/* ---- lease.c: leases as the transaction sees them. */
int sqlite_lease(struct sqlite_store *store, const struct uuid *batch,
		 struct sqlite_lease **lease_r, struct error *err_r) must_check;
/* Its place in the lease, or -1. */
int sqlite_lease_find(struct sqlite_lease *lease, const struct uuid *id, int attempt);
/* Deletes it, or keeps what nobody has settled: a job must not vanish because its holder believed
 * that it was done. */
int sqlite_lease_finish(struct sqlite_store *store, const struct uuid *batch,
			struct error *err_r) must_check;
int sqlite_lease_flush(struct sqlite_store *store, struct error *err_r) must_check;
struct sqlite_new_lease {
	struct uuid batch, owner;
	const struct uuid *ids;
	const int *attempts;
	size_t count;
	const char *queue; /* of a broker's; else NULL */
	int64_t until_ms;  /* of a broker's; else 0 */
	const char *slots; /* what its jobs hold of limits (ration.h); NULL: none has any */
};
int sqlite_lease_add(struct sqlite_store *store, const struct sqlite_new_lease *lease,
		     struct error *err_r) must_check;
/* Its unfinished jobs go back to ready, or end as cancelled when that was asked; the row goes.
 * *released_r grows. */
int sqlite_lease_release(struct sqlite_store *store, const struct uuid *batch, int64_t *released_r,
			 struct error *err_r) must_check;
int sqlite_lease_decode(sqlite3_stmt *stmt, int ids_column, struct arena *arena,
			struct uuid **ids_r, int **attempts_r, size_t *count_r);

/* `due` of a parked job. */
#define SQLITE_NEVER     INT64_MAX
#define SQLITE_NEVER_SQL "9223372036854775807"

/* ---- ledger.c: rows of jobs, ready and done. */
int sqlite_enlist(struct sqlite_store *store, const struct new_job *job, bool again,
		  struct accepted_job *accepted_r, struct error *err_r) must_check;
struct sqlite_waiting {
	const char *queue;
	int priority, attempt;
	int64_t due_ms; /* 0, or in the past: available now; SQLITE_NEVER: parked */
	/* Of a job with an order key: the key, and its place at acceptance, which it keeps when its
	 * queue is ordered. */
	const char *order_key;
	int64_t seq;
	bool keep_place; /* it never left: it waits where it waited (seq is set) */
	/* A new job: fair_key is its fair key; that of others is looked up. */
	bool fresh;
	const char *fair_key;
};
int sqlite_wait(struct sqlite_store *store, const struct uuid *id,
		const struct sqlite_waiting *waiting, struct error *err_r) must_check;
/* The job is in somebody's hands: no other of its key is handed out, if its queue is ordered. */
int sqlite_open_key(struct sqlite_store *store, const char *queue, const char *key,
		    const struct uuid *id, struct error *err_r) must_check;
/* The job is not handed out any more: the next one of its key may be. */
int sqlite_close_key(struct sqlite_store *store, const struct uuid *id,
		     struct error *err_r) must_check;
/* Inserts a row of jobs. */
int sqlite_insert_job(struct sqlite_store *store, const struct new_job *job, bool unchecked,
		      int64_t seq, struct error *err_r) must_check;
/* Takes a job out of ready. 1, or 0 when it was not there; *attempt_r may be NULL. */
int sqlite_unwait(struct sqlite_store *store, const struct uuid *id, int *attempt_r,
		  struct error *err_r) must_check;
int sqlite_state(struct sqlite_store *store, const struct uuid *id, enum job_state *state_r,
		 struct error *err_r) must_check;
int sqlite_history(struct sqlite_store *store, const struct uuid *id, int attempt, int outcome,
		   bool counts, const struct uuid *lease, const char *reason,
		   struct error *err_r) must_check;
/* Ends a waiting job (1), or returns 0 when it does not wait. reason NULL: the one given when it
 * was asked to stop. */
int sqlite_cancel_waiting(struct sqlite_store *store, const struct uuid *id, const char *reason,
			  struct error *err_r) must_check;
/* The same for one that is on a broker. */
int sqlite_cancel_queued(struct sqlite_store *store, const struct uuid *id, const char *reason,
			 struct error *err_r) must_check;
/* Of the ended job d: its steps were undone. Said by a mark of its own, which is kept as long as
 * it: the job that undid them is forgotten earlier. */
#define COMPENSATED_SQL                                                                 \
	"EXISTS (SELECT 1 FROM windlass_attempt m WHERE m.id = d.id AND m.outcome = 0 " \
	"AND m.reason = 'compensated')"
/* Enqueues the on_discard job of one that has just ended, when steps were committed and its type
 * has one. */
int sqlite_compensate(struct sqlite_store *store, const struct uuid *id, int attempt,
		      enum job_state state, const char *reason, struct error *err_r) must_check;
/* {"reserve": value} in the arena, or NULL when no step was committed. */
int sqlite_steps(struct sqlite_store *store, const struct uuid *id, struct arena *arena,
		 char **steps_r, struct error *err_r) must_check;

/* ---- reach.c */
/* Condition on the columns of a job (with their table: json_each has a type, too), of three
 * arguments (kinds "sss") whose places are a to c: tenant, owner, and the rules as
 * sqlite_reach_rules gives them. */
#define REACH_SQL(tenant, owner, type, queue, a, b, c)                                   \
	"(?" a " IS NULL OR " tenant " = ?" a ") AND (?" b " IS NULL OR " owner " = ?" b \
	") AND (?" c " IS NULL OR EXISTS (SELECT 1 FROM json_each(?" c ") f WHERE " type \
	" GLOB f.value ->> 0 AND " queue " GLOB f.value ->> 1)) "
/* NULL: there are none; else to be freed. */
char *sqlite_reach_rules(const struct reach *reach);

/* ---- webhooks.c: what follows from the end of a job that was not completed: its on_discard job,
 * and webhooks. */
int sqlite_on_end(struct sqlite_store *store, const struct uuid *id, int attempt,
		  enum job_state state, const char *reason, struct error *err_r) must_check;

/* ---- chain.c: jobs that wait for others. */
/* Stores the edges of one that was enlisted just now, and the jobs of its `then`. */
int sqlite_add_chain(struct sqlite_store *store, const struct new_job *job,
		     struct error *err_r) must_check;
/* Sets the verdict of a request whose jobs wait for jobs that are not there, or for each other. */
int sqlite_check_chains(struct sqlite_store *store, struct acceptance *request,
			struct error *err_r) must_check;
/* A job that has ended is to wait again. 1: for others, as before; 0; -1. */
int sqlite_chain_again(struct sqlite_store *store, const struct uuid *id,
		       struct error *err_r) must_check;

/* ---- batch.c */
/* 1; 0: the chunk is stale. */
int sqlite_take_chunk(struct sqlite_store *store, const struct batch_chunk *chunk, size_t jobs,
		      struct error *err_r) must_check;
/* One more, or one less, of the batch's jobs is in this end. */
int sqlite_tally_run(struct sqlite_store *store, const struct uuid *run, enum job_state state,
		     int change, struct error *err_r) must_check;
/* The same by a job that may have no batch. */
int sqlite_tally_job(struct sqlite_store *store, const struct uuid *id, enum job_state state,
		     int change, struct error *err_r) must_check;
/* ---- control.c: a discarded or cancelled job waits again. 1; 0: it has not ended so any more, or
 * it was compensated. */
int sqlite_revive(struct sqlite_store *store, const struct uuid *id, int64_t due_ms,
		  struct error *err_r) must_check;

/* ---- claim.c */
/* lease_ms > 0: not for a session but for a broker (request->session is its owner, and there is one
 * queue); the lease ends by itself after so long. */
int sqlite_claim(struct sqlite_store *store, const struct claim_request *request, int64_t lease_ms,
		 struct arena *arena, struct claim *claim_r, struct error *err_r) must_check;
/* Who claims asks often: whether anything waits is read before the writers' mutex is taken. 1, 0,
 * -1. */
int sqlite_claimable(struct sqlite_store *store, const struct claim_request *request,
		     struct error *err_r) must_check;
struct sqlite_hand_out {
	struct uuid id;
	int64_t seq, since;
	int attempt;
};
/* A job as a handler gets it, with its history, in an arena of its own. */
int sqlite_handed_out(struct sqlite_store *store, const struct sqlite_hand_out *out,
		      const struct uuid *batch, struct claimed_job **job_r,
		      struct error *err_r) must_check;
void sqlite_claim_drop(struct claim *claim); /* frees the jobs of a claim that was not committed */

/* A queue that may give something. */
struct sqlite_source {
	const char *queue;
	bool ordered;
	int managed; /* 1: it has limits; 2: and its keys take turns */
};

/* ---- limited_claim.c: from queues with limits. */
struct sqlite_limited {
	const struct sqlite_source *sources;
	size_t count, max;
	/* what was taken, in order; none of it waits any more, all of it is counted as running */
	struct sqlite_hand_out *picked;
	size_t picked_count;
	const char *slots; /* for the lease */
	int64_t retry_ms;  /* struct claim */
};
int sqlite_limited_pick(struct sqlite_store *store, struct sqlite_limited *limited,
			struct error *err_r) must_check;
/* Six columns from `column` on, as windlass_limits has them; texts are lent. */
void sqlite_limits_row(sqlite3_stmt *stmt, int column, struct limits *limits_r);

/* ---- guest.c: statements of handlers. */
int sqlite_authorise(void *store, int action, const char *a, const char *b, const char *database,
		     const char *trigger);
/* 0, with the number of rows that it touched or returned; -1: ERROR_SQL, or weather when the
 * transaction itself is gone. */
int sqlite_guest_run(struct sqlite_store *store, const struct sql_statement *statement,
		     int64_t *rows_r, struct error *err_r) must_check;
void sqlite_guests_free(struct sqlite_store *store);

/* ---- bell_file.c: <file>-bell, mapped by every process: the writers' mutex, events, the ring of
 * ended ids. */
int sqlite_bell_path(const char *path, char bell_path_r[SQLITE_PATH_BYTES],
		     struct error *err_r) must_check;
struct bell_file *bell_file_open(const char *path,
				 struct error *err_r) must_check; /* path of the database */
void bell_file_close(struct bell_file **file);
int bell_file_lock(struct bell_file *file, int timeout_ms, struct error *err_r) must_check;
void bell_file_unlock(struct bell_file *file);

/* ---- endpoint.c. Inside a write transaction. */
int sqlite_disable_endpoint(struct sqlite_store *store, const char *url, const struct uuid *job,
			    struct error *err_r) must_check;

/* ---- audit.c: what the open write transaction does; NULL: nothing is noted. */
int sqlite_audit(struct sqlite_store *store, const struct audit *audit,
		 struct error *err_r) must_check;

/* ---- schedule.c, schedule_fire.c */
extern const struct schedule_ops sqlite_schedule_ops;
int sqlite_schedule_fire(struct store *, struct schedule_fire *const *, size_t, struct error *);

/* ---- the operations that store_ops lists and other files hold */
int sqlite_limits_sync(struct store *, const struct limits_row *, size_t, struct error *);
int sqlite_limits_set(struct store *, const struct limits_row *, const struct audit *,
		      struct error *);
int sqlite_limits_list(struct store *, struct arena *, struct limits_view **, size_t *,
		       struct error *);
int sqlite_acceptance_commit(struct store *, struct acceptance *const *, size_t, struct error *);
int sqlite_acceptance_probe(struct store *, struct acceptance *const *, size_t, bool *,
			    struct error *);
int sqlite_claim_take(struct store *, const struct claim_request *, struct arena *, struct claim *,
		      struct error *);
int sqlite_completion_commit(struct store *, const struct completion_batch *, struct arena *,
			     struct claim *, struct error *);
int sqlite_progress_save(struct store *, const struct progress *, size_t, struct error *);
int sqlite_reader_query(struct store *, const struct sql_statement *, size_t, struct strbuf *,
			struct error *);
int sqlite_share_secret(struct store *, const char *, uint8_t[STORE_SECRET_BYTES], struct error *);
int sqlite_control_cancel(struct store *, const struct reach *, const struct uuid *, const char *,
			  enum job_state *, struct error *);
int sqlite_control_retry(struct store *, const struct reach *, const struct uuid *,
			 enum job_state *, struct error *);
int sqlite_control_resolve(struct store *, const struct reach *, const struct uuid *,
			   const struct call_verdict *, enum job_state *, struct error *);
int sqlite_control_redrive(struct store *, const struct job_filter *, double, bool,
			   const struct audit *, int64_t *, struct error *);
int sqlite_control_pause(struct store *, const char *, bool, const struct audit *, struct error *);
int sqlite_control_cancels(struct store *, const struct uuid *, size_t, bool *, struct error *);
int sqlite_query_job(struct store *, const struct reach *, const struct uuid *, struct arena *,
		     struct job_view *, struct error *);
int sqlite_query_jobs(struct store *, const struct job_filter *, struct arena *, struct job_view **,
		      size_t *, struct error *);
int sqlite_query_finished(struct store *, const struct uuid *, size_t, struct arena *, bool *,
			  struct job_view *, struct error *);
int sqlite_query_views(struct store *, const struct uuid *, size_t, struct arena *, bool *,
		       struct job_view *, int64_t *, struct error *);
int sqlite_query_moved(struct store *, const struct moved_filter *, struct uuid *, size_t *,
		       struct error *);
int sqlite_query_queues(struct store *, struct arena *, struct queue_view **, size_t *,
			struct error *);
int sqlite_query_depth(struct store *, const char *, int64_t *, struct error *);
int sqlite_query_sessions(struct store *, bool, int64_t *, struct error *);
int sqlite_query_workers(struct store *, struct arena *, struct worker_view **, size_t *,
			 struct error *);
int sqlite_session_report(struct store *, const struct uuid *, const char *, struct error *);
int sqlite_session_renew(struct store *, const struct session_info *, bool *, struct error *);
int sqlite_session_end(struct store *, const struct uuid *, int64_t *, struct error *);
int sqlite_session_sweep(struct store *, const struct uuid *, const struct uuid *, size_t,
			 int64_t *, struct error *);
int sqlite_session_release_batch(struct store *, const struct uuid *, struct error *);
int sqlite_admission_check(struct store *, struct admission *, size_t, int64_t, struct error *);
int sqlite_dispatch_take(struct store *, const struct dispatch_request *, struct arena *,
			 struct claim *, struct error *);
int sqlite_dispatch_return(struct store *, const struct uuid *, const struct uuid *, size_t,
			   struct error *);
int sqlite_dispatch_survey(struct store *, const struct uuid *, struct arena *,
			   struct dispatch_view **, size_t *, struct error *);
int sqlite_outbox_read(struct store *, const struct outbox_request *, struct arena *,
		       struct outbox_item **, size_t *, bool *, struct error *);
int sqlite_outbox_delete(struct store *, const int64_t *, size_t, struct error *);
int sqlite_outbox_depth(struct store *, int64_t *, struct error *);
int sqlite_endpoint_disabled(struct store *, struct arena *, struct endpoint_view **, size_t *,
			     struct error *);
int sqlite_endpoint_enable(struct store *, const char *, const struct audit *, struct error *);
int sqlite_pool_scale(struct store *, const struct pool_scale *, const struct audit *,
		      struct error *);
int sqlite_pool_list(struct store *, struct arena *, struct pool_row **, size_t *, struct error *);
int sqlite_pool_turn(struct store *, const char *, int64_t, struct pool_turn *, struct error *);
int sqlite_pool_decide(struct store *, const char *, bool, int, const struct audit *,
		       struct error *);
int sqlite_session_figure(struct store *, const struct uuid *, const struct session_figures *,
			  struct error *);
int sqlite_audit_list(struct store *, const struct audit_filter *, struct arena *,
		      struct audit_view **, size_t *, struct error *);
int sqlite_position_load(struct store *, struct position *, size_t, struct error *);
int sqlite_position_save(struct store *, const struct position *, size_t, struct error *);
/* Inside a write transaction. */
int sqlite_keep_positions(struct sqlite_store *store, const struct position *positions,
			  size_t count, struct error *err_r) must_check;
int sqlite_batch_begin(struct store *store, const struct batch_new *batch,
		       const struct audit *audit, struct uuid *id_r, bool *new_r,
		       struct error *err_r);
int sqlite_batch_take(struct store *store, const struct uuid *feeder, int64_t lease_ms,
		      struct arena *arena, struct batch_work *work_r, struct error *err_r);
int sqlite_batch_leave(struct store *store, const struct uuid *id, const struct uuid *feeder,
		       struct error *err_r);
int sqlite_batch_list(struct store *store, const struct batch_filter *filter, struct arena *arena,
		      struct batch_view **views_r, size_t *count_r, struct error *err_r);
int sqlite_batch_get(struct store *store, const struct reach *reach, const struct uuid *id,
		     struct arena *arena, struct batch_view *view_r, struct error *err_r);
int sqlite_batch_cancel(struct store *store, const struct reach *reach, const struct uuid *id,
			const struct audit *audit, struct error *err_r);
int sqlite_batch_retry(struct store *store, const struct reach *reach, const struct uuid *id,
		       const struct audit *audit, int64_t *count_r, struct error *err_r);
int sqlite_batch_sweep(struct store *store, struct arena *arena, struct batch_swept *swept_r,
		       struct error *err_r);
int sqlite_chain_sweep(struct store *, const struct uuid *, size_t, struct arena *,
		       struct chain_swept *, struct error *);
int sqlite_maintenance_promote(struct store *, int64_t *, int64_t *, struct error *);
int sqlite_maintenance_release(struct store *, int64_t *, struct error *);
int sqlite_maintenance_fold(struct store *, struct error *);
int sqlite_maintenance_retention(struct store *, int64_t, int64_t, struct error *);

static inline struct sqlite_store *sqlite_of(struct store *base)
{
	return (struct sqlite_store *)base;
}

#endif

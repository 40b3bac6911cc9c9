/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the PostgreSQL store share: one connection that is opened again when it broke,
 * statements that are built argument by argument, and flights: statements that are sent together
 * (libpq pipeline mode) and answered together. */
#ifndef COMMON_STORE_POSTGRES_POSTGRES_IMPL_H
#define COMMON_STORE_POSTGRES_POSTGRES_IMPL_H
#include <libpq-fe.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"
#include "common/store/store_impl.h"

#define STATEMENT_ARGS_MAX  24
#define STATEMENT_CACHE_MAX 256 /* prepared statements a connection */
/* short operations repeat themselves that often on ERROR_CONTENTION */
#define CONTENTION_TRIES   6
#define RELEASE_LEASES_MAX 200 /* leases released in one transaction */

/* The state of a job from its rows of done (d) and ready (r), both outer joined. In a lease: queued
 * if that is a broker's and nothing is known of a worker. */
#define JOB_STATE_SQL(id)                                                                      \
	" coalesce(d.state, CASE WHEN r.id IS NOT NULL THEN CASE WHEN r.due IS NULL THEN 2"    \
	" WHEN r.due = 'infinity' THEN CASE WHEN r.attempt = 0 THEN 6 ELSE 7 END"              \
	" WHEN r.attempt = 0 THEN 1 ELSE 5 END WHEN EXISTS (SELECT FROM windlass.lease b"      \
	" WHERE b.until IS NOT NULL AND " id " = ANY (b.ids) AND NOT EXISTS (SELECT FROM"      \
	" windlass.progress g WHERE g.id = " id " AND g.attempt >= b.attempts[array_position(" \
	"b.ids, " id ")])) THEN 3 ELSE 4 END)::int2"

/* The place in the order of a job that goes back to waiting: where its queue keeps the order of its
 * key, the first one, `seq`; else a new one. */
#define NEXT_SEQ_SQL(seq, queue, key)                                                      \
	" CASE WHEN " key " IS NOT NULL AND EXISTS (SELECT FROM windlass.queue o WHERE"    \
	" o.name = " queue " AND o.ordered) THEN " seq " ELSE nextval('windlass.job_seq')" \
	" END"

/* Two parts of a WITH for jobs that leave their leases, which `gone` (id) lists: `cut` takes them
 * out of the leases that `which` says (of lease h), `closed` lets the next ones of their keys go.
 */
#define CUT_SQL(gone, which)                                                                   \
	" cut AS (UPDATE windlass.lease l SET ids = x.ids, attempts = x.attempts FROM (SELECT" \
	" h.batch, coalesce(array_agg(u.id ORDER BY u.n) FILTER (WHERE u.id NOT IN (SELECT id" \
	" FROM " gone ")), '{}') AS ids, coalesce(array_agg(u.attempt ORDER BY u.n) FILTER"    \
	" (WHERE u.id NOT IN (SELECT id FROM " gone ")), '{}') AS attempts FROM"               \
	" windlass.lease h CROSS JOIN LATERAL unnest(h.ids, h.attempts) WITH ORDINALITY AS"    \
	" u(id, attempt, n) WHERE " which " GROUP BY h.batch) x WHERE l.batch = x.batch)"
#define CLOSED_SQL(gone) \
	" closed AS (DELETE FROM windlass.order_open WHERE id IN (SELECT id FROM " gone "))"

/* of the ended job d: its steps were undone. Said by a mark of its own, which is kept as long as
 * it: the job that undid them is forgotten earlier. */
#define COMPENSATED_SQL                                                               \
	" EXISTS (SELECT FROM windlass.attempt m WHERE m.id = d.id AND m.outcome = 0" \
	" AND m.reason = 'compensated')"

/* types of array elements, and what results are */
enum {
	TYPE_BOOL = 16,
	TYPE_BYTEA = 17,
	TYPE_INT8 = 20,
	TYPE_INT2 = 21,
	TYPE_INT4 = 23,
	TYPE_TEXT = 25,
	TYPE_FLOAT4 = 700,
	TYPE_FLOAT8 = 701,
	TYPE_INT4_ARRAY = 1007,
	TYPE_TEXT_ARRAY = 1009,
	TYPE_INT8_ARRAY = 1016,
	TYPE_UUID = 2950,
	TYPE_UUID_ARRAY = 2951,
};

/* An array argument in binary format, built element by element. */
struct array {
	struct strbuf bytes;
	Oid element;
	int32_t count;
	bool nulls;
};

/* The statement that is being built: one at a time on a connection. */
struct statement {
	const char *sql;
	int count;
	const char *values[STATEMENT_ARGS_MAX];
	int lengths[STATEMENT_ARGS_MAX];
	int formats[STATEMENT_ARGS_MAX];
	struct array *of[STATEMENT_ARGS_MAX]; /* the array behind the value, or NULL */
	struct array arrays[STATEMENT_ARGS_MAX];
	uint8_t fixed[STATEMENT_ARGS_MAX][16]; /* scalars in network order */
};

/* A prepared statement. Lives in the cache of its connection. */
struct prepared {
	char *sql;
	uint64_t hash;
	uint64_t used; /* the cache's clock at the last use */
	char name[24];
	bool sure;      /* the server has confirmed it */
	bool described; /* the fields below are filled in */
	int arg_count;
	/* of each argument: the type of an array of its type; arg_count is 0 when one has none */
	Oid *arrays;
};

struct answer {
	/* the answer to a Parse message, otherwise to the statement itself */
	bool prepare;
	struct prepared *prepared; /* what it prepared, or NULL */
	bool deallocate;
	bool keep;    /* result is kept for the caller; else only rows is */
	int64_t rows; /* touched or returned */
	PGresult *result;
};

/* What is known of queues (queue_kinds.c). */
struct queue_kinds {
	int64_t known_ms; /* as of; monotonic; 0: not known */
	bool ordered;     /* there are such */
	char **managed;   /* the names of those with limits */
	size_t managed_count;
	size_t place; /* in the flight, of what asks for news; SIZE_MAX: it does not */
};

struct postgres {
	struct store base;
	char *url, *role;
	PGconn *conn;        /* NULL: to be opened */
	bool in_transaction; /* BEGIN was sent, neither COMMIT nor ROLLBACK was */
	int pid;             /* server process of the connection */
	int lost_pid;        /* server process of the last COMMIT that was not answered, or 0 */
	bool commit_sent;    /* in this flight */
	const char *commit_failpoint; /* or NULL: between the sending of COMMIT and its answer */
	struct statement statement;
	struct prepared *cache[STATEMENT_CACHE_MAX];
	size_t cache_count;
	uint64_t cache_clock;
	uint64_t names;         /* given out */
	bool cache_unsure;      /* a flight that failed had a DEALLOCATE: start anew */
	bool flown;             /* the answers are there; the next statement begins a new flight */
	struct answer *answers; /* of the flight */
	size_t answer_count, answer_cap;
	/* gets foreign rows one by one; false: enough. NULL: they are counted */
	bool (*row)(void *context, const PGresult *result);
	void *row_context;
	bool overrun; /* `row` has said enough */
	struct queue_kinds kinds;
	struct ration *ration; /* whose turn it is; NULL: no limited queue was claimed from */
	/* tenant, type, key: where maintenance_fold looks next; NULL: from the start */
	char *unique_walk[3];
	struct uuid chain_walk; /* where chain_sweep looks next */
	size_t failed_at;       /* place of the first statement that failed in the last flight */
	struct arena *scratch;  /* of the operation that runs */
};

static inline struct postgres *postgres_of(struct store *store)
{
	return (struct postgres *)(void *)store;
}

/* ---- connection.c */
int postgres_open(const char *url, enum store_use use, const char *role, struct store **store_r,
		  struct error *err_r);
void postgres_close(struct store *store);
int postgres_ping(struct store *store, struct error *err_r);
/* A blocking connection outside the pipeline mode with our time-outs, for migrations and the bell;
 * NULL: ERROR_UNAVAILABLE. */
PGconn *postgres_connect(const char *url, const char *role, const char *what, struct error *err_r);
/* Notices are dropped instead of printed; postgres_connect has done it. NULL allowed. */
void postgres_mute(PGconn *conn);
/* Keywords and values for PQconnectdbParams and PQconnectStartParams; `url` may be any libpq URL.
 */
struct connect_params {
	const char *keywords[16], *values[16];
	char name[80];
};
void postgres_connect_params(const char *url, const char *role, const char *what,
			     struct connect_params *params_r);
/* Makes the connection usable and starts a new operation: an empty flight, an empty scratch arena.
 */
int postgres_enter(struct postgres *pg, struct error *err_r) must_check;
/* Drops the connection; the next operation opens it again. */
void postgres_drop(struct postgres *pg);
/* Undoes the open transaction, if there is one. */
void postgres_rollback(struct postgres *pg);
/* err_r from a result of libpq; connection losses are ERROR_UNAVAILABLE. Returns -1. */
int postgres_error(const PGconn *conn, const PGresult *result, struct error *err_r);

/* ---- flight.c. Places are counted from 0 in each flight. */
void postgres_begin(struct postgres *pg);
void postgres_commit(struct postgres *pg);
/* Queues a statement without arguments that is not prepared. */
size_t postgres_plain(struct postgres *pg, const char *sql);
void postgres_deallocate(struct postgres *pg, const char *name);
/* Queues the statement that was built; its result is kept. */
size_t postgres_send(struct postgres *pg);
/* Queues a statement of somebody else: arguments in text format, only the number of rows is kept.
 * `arrays`: its argument types, or NULL. */
size_t postgres_send_foreign(struct postgres *pg, const char *sql, int count,
			     const char *const *values, const int *lengths, const int *formats,
			     const Oid *types);
/* Queues the description of a statement's arguments. */
size_t postgres_describe(struct postgres *pg, const char *sql);
/* Sends what is queued and waits for all answers. -1: *err_r is about the first failure and
 * failed_at its place; a connection that was lost is ERROR_UNAVAILABLE, or ERROR_UNKNOWN when the
 * flight had a COMMIT. The transaction, if open, is left to postgres_rollback. */
int postgres_fly(struct postgres *pg, struct error *err_r) must_check;
/* COMMIT as the flight's last; a transaction that fails is undone. */
int postgres_commit_fly(struct postgres *pg, struct error *err_r) must_check;
/* The kept result at this place; valid until the next statement is queued. */
const PGresult *postgres_result(const struct postgres *pg, size_t place);
int64_t postgres_rows(const struct postgres *pg, size_t place);
void postgres_flight_clear(struct postgres *pg);

/* ---- statement.c */
/* begins a statement; sql must live until postgres_send */
void postgres_say(struct postgres *pg, const char *sql);
void postgres_arg_uuid(struct postgres *pg, const struct uuid *id); /* NULL: SQL NULL */
void postgres_arg_text(struct postgres *pg, const char *text);
/* text or bytea */
void postgres_arg_bytes(struct postgres *pg, const void *data, size_t bytes);
void postgres_arg_i64(struct postgres *pg, int64_t n);
void postgres_arg_i32(struct postgres *pg, int32_t n);
void postgres_arg_i16(struct postgres *pg, int16_t n);
void postgres_arg_f64(struct postgres *pg, double d);
void postgres_arg_bool(struct postgres *pg, bool b);
struct array *postgres_arg_array(struct postgres *pg, Oid element);
/* NULL: a NULL element; the same for text and bytes */
void array_uuid(struct array *array, const struct uuid *id);
void array_text(struct array *array, const char *text);
void array_bytes(struct array *array, const void *data, size_t bytes);
/* written as wide as the element type is: INT2, INT4, INT8 */
void array_i64(struct array *array, int64_t n);
void array_f64(struct array *array, double d);
void array_bool(struct array *array, bool b);
void array_null(struct array *array);
/* An array outside of a statement. `array` is zeros at first; its bytes are the caller's to
 * release.
 */
void array_begin(struct array *array, Oid element);
size_t array_end(struct array *array); /* its length: it is ready to be sent */
/* ---- reach.c */
/* Condition on the columns of a job, of four arguments whose places are a to d. */
#define REACH_SQL(tenant, owner, type, queue, a, b, c, d)                                          \
	" ($" a "::text IS NULL OR " tenant " = $" a ") AND ($" b "::text IS NULL OR " owner       \
	" = $" b ") AND ($" c "::text[] IS NULL OR EXISTS (SELECT FROM unnest($" c "::text[], $" d \
	"::text[]) AS f(t, q) WHERE " type " LIKE f.t AND " queue " LIKE f.q))"
/* NULL: all */
void postgres_arg_reach(struct postgres *pg, const struct reach *reach);

/* Completes the arrays: values and lengths are ready to be sent. */
void postgres_statement_seal(struct postgres *pg);

struct prepared *prepared_find(struct postgres *pg, const char *sql);
/* Puts a new one in the cache; the least recently used one makes place (its DEALLOCATE is queued).
 */
struct prepared *prepared_add(struct postgres *pg, const char *sql);
void prepared_forget(struct postgres *pg, struct prepared *prepared);
void prepared_forget_all(struct postgres *pg); /* of a connection that is gone */

/* ---- columns.c: rows as arguments. A column of which all rows have the same value is sent as that
 * value, the others as arrays. Columns change their form group by group: that bounds the number of
 * statements a connection prepares. */
#define COLUMN_EACH_ITS_OWN 0 /* the group that is always arrays */

/* NULL data: SQL NULL. */
struct cell {
	bool number;
	int64_t n;
	const void *data; /* of what is no number; lent */
	size_t bytes;
};
struct columns {
	const struct column_facts {
		const char *name, *type;
		Oid element; /* `type` itself: INT2, INT4 or INT8 for numbers */
		unsigned group;
	} * facts;
	size_t count;
	struct cell (*cell)(const void *rows, size_t row, size_t column);
	const void *rows;
	size_t row_count; /* at least 1 */
};
struct cell cell_bytes(const void *data, size_t bytes);
struct cell cell_text(const char *text);
struct cell cell_number(int64_t n);
struct cell cell_uuid(const struct uuid *id);
/* Which groups differ from row to row, a bit each. */
unsigned columns_differ(const struct columns *columns);
/* Appends "SELECT ... FROM unnest(...)" whose rows have the columns by their names; columns are
 * arguments $1, $2, ... */
void columns_select(struct strbuf *sql, const struct columns *columns, unsigned arrays);
/* Their arguments. */
void columns_args(struct postgres *pg, const struct columns *columns, unsigned arrays);

/* ---- result.c: binary results. NULL gives 0, false, NULL, nil. */
bool result_null(const PGresult *result, int row, int column);
int64_t result_i64(const PGresult *result, int row, int column); /* any width */
double result_f64(const PGresult *result, int row, int column);
bool result_bool(const PGresult *result, int row, int column);
struct uuid result_uuid(const PGresult *result, int row, int column);
int64_t result_ms(const PGresult *result, int row, int column);       /* a timestamptz as Unix ms */
const char *result_text(const PGresult *result, int row, int column); /* lent */
char *result_dup(const PGresult *result, int row, int column, struct arena *arena);
size_t result_bytes(const PGresult *result, int row, int column);

/* ---- jobs shared by acceptance, completion and control */
/* Queues the insertion of jobs with their ready rows and tallies. `skip_known`: ids that exist are
 * left alone (follow-ups have ids that are stable over attempts); otherwise they are an error. The
 * result lists the ids that are due later. */
size_t postgres_insert_jobs(struct postgres *pg, struct new_job *const *jobs, size_t count,
			    bool skip_known);
/* Takes the unique keys of `jobs` (each has one), as a flight of its own inside the open
 * transaction. conflict_r[i]: another job has it, and accepted_r[i] names it with its state;
 * `replace` has cancelled a waiting one and taken its place. */
int postgres_take_unique(struct postgres *pg, struct new_job *const *jobs, size_t count,
			 struct accepted_job *const *accepted_r, struct error *err_r) must_check;
/* Ends waiting jobs (they have a ready row) as cancelled, with on_discard jobs, inside the open
 * transaction; ended_r[i] says which. */
int postgres_cancel_waiting(struct postgres *pg, const struct uuid *ids, size_t count,
			    const char *reason, bool *ended_r, struct error *err_r) must_check;
/* The same for a job in a broker's lease; the worker that may have taken it finds the fence. */
int postgres_cancel_queued(struct postgres *pg, const struct uuid *id, const char *reason,
			   bool *ended_r, struct error *err_r) must_check;
/* Jobs that ended discarded or cancelled in the open transaction: enqueues the on_discard jobs of
 * those with committed steps, and the webhooks of those that ask for them. */
struct ended_job {
	struct uuid id;
	int attempt;
	enum job_state state;
	const char *reason;
};
int postgres_on_end(struct postgres *pg, const struct ended_job *ended, size_t count,
		    struct error *err_r) must_check;
/* The same for jobs whose cancel is in the table of requests, each with the reason noted there. */
int postgres_cancel_asked(struct postgres *pg, const struct uuid *ids, size_t count,
			  struct error *err_r) must_check;
/* Cancels, in a transaction of its own, waiting jobs whose cancel request raced with a retry. */
int postgres_cancel_raced(struct postgres *pg, struct error *err_r) must_check;

/* ---- chain.c */
/* Queues the question which jobs are waited for and are not there: a row has the number of a job
 * and that of its edge. A job that is NULL has none, nor does a nil id count. */
size_t chain_send_unknown(struct postgres *pg, const struct new_job *const *jobs, size_t count);
/* Queues the insertion of the edges of jobs, some of which have some. */
void chain_send_edges(struct postgres *pg, struct new_job *const *jobs, size_t count);

/* ---- batch.c, batch_sweep.c */
/* Queues the position of a chunk; no row is touched when it is stale. */
size_t batch_send_chunk(struct postgres *pg, const struct batch_chunk *chunk, size_t jobs);
/* Queues what the ends of these items are to their batches, if they have some. */
void batch_send_tallies(struct postgres *pg, struct completion *const *items, size_t count);
/* A part of a WITH: of the jobs that `ended` (id) lists, those that belong to batches are tallied
 * as these. */
#define BATCH_TALLY_SQL(ended, done, failed, cancelled)                                      \
	" told_batch AS (INSERT INTO windlass.batch_tally SELECT j.batch, " done ", " failed \
	", " cancelled " FROM " ended " x JOIN windlass.jobs j ON j.id = x.id WHERE"         \
	" j.batch IS NOT NULL GROUP BY j.batch)"

/* ---- control.c: discarded or cancelled jobs wait again, in the open transaction; *moved_r: how
 * many of them could. */
int postgres_send_back(struct postgres *pg, const struct uuid *ids, size_t count, double rate_per_s,
		       int64_t *moved_r, struct error *err_r) must_check;

/* ---- history.c: what earlier attempts of jobs left. Results have the job's number in column 0,
 * ordered. */
/* uuid[] and int4[]: ids and their numbers */
void history_args(struct postgres *pg, const struct uuid *ids, size_t count);
size_t history_send_steps(struct postgres *pg, const struct uuid *ids, size_t count);
size_t history_send_calls(struct postgres *pg, const struct uuid *ids, size_t count);
/* JSON object texts of job `n`; NULL: none. */
char *history_steps(const PGresult *steps, size_t n, struct arena *arena);
char *history_calls(const PGresult *calls, size_t n, struct arena *arena);
struct receipt *history_receipts(const PGresult *calls, size_t n, struct arena *arena,
				 size_t *count_r);

/* ---- claimed.c: what claimed_read reads, of t (id, attempt, since) and its jobs row j. */
#define CLAIMED_SQL(seq)                                                                                \
	" t.id, " seq ", t.attempt, t.since, j.priority, j.queue, j.tenant, j.owner, j.type,"           \
	" j.payload, j.max_attempts, j.timeout_ms, j.tags, j.order_key, j.fair_key,"                    \
	" j.traceparent, j.callback, j.created, j.unchecked, (SELECT c.id FROM windlass.cancel c WHERE" \
	" c.id = t.id) IS NOT NULL, j.batch"
#define CLAIMED_COLUMNS 21
struct claimed_job *claimed_read(const PGresult *result, int row, const struct uuid *batch);
/* Reads the history of those that were handed out before, by another flight, and drops those that
 * have ended. -1: weather; the jobs are not whole. */
int claimed_add_past(struct postgres *pg, struct claim *claim, struct error *err_r) must_check;
/* Frees its jobs. */
void claimed_forget(struct claim *claim);

/* ---- claim.c */
/* Queues the claim that rides in a completion: from queues without limits. SIZE_MAX: there are
 * none.
 */
size_t postgres_claim_send(struct postgres *pg, const struct claim_request *request);
/* After the COMMIT: reads it, and claims what else there is (from queues with limits; from before
 * the cursor) in transactions of its own. Weather there costs only that part. */
void postgres_claim_end(struct postgres *pg, size_t place, const struct claim_request *request,
			struct arena *arena, struct claim *claim_r);

/* ---- limited_claim.c: from queues with limits, alone. lease_ms as in dispatch_take; 0: the lease
 * lives as long as the session. */
struct ration;
int postgres_limited_claim(struct postgres *pg, const struct claim_request *request,
			   int64_t lease_ms, struct arena *arena, struct claim *claim_r,
			   struct error *err_r) must_check;

/* ---- queue_kinds.c */
void queue_kinds_forget(struct postgres *pg);
void queue_kinds_send(struct postgres *pg); /* when it is time */
void queue_kinds_read(struct postgres *pg); /* after that flight */
/* when nothing is known */
int queue_kinds_learn(struct postgres *pg, struct error *err_r) must_check;
bool queue_kinds_managed(const struct postgres *pg, const char *queue);

/* ---- limits.c */
/* Six columns from `column` on, as windlass.limits has them; texts are lent. */
void limits_read_row(const PGresult *result, int row, int column, struct limits *limits_r);

/* ---- fence.c: who may still end or change a job. Items are sorted by id. */
struct fence {
	/* places in the flight; SIZE_MAX: not sent */
	size_t foreign, done, later, adopt, step;
	bool rivals;
};
/* Queues the rows that fence the items and everything of them but their write sets and follow-ups.
 * `rivals`: an item that somebody else has ended loses its fence; otherwise the statement fails
 * then, which is cheaper as long as there is nobody else. `session` owns what is adopted. */
void fence_send(struct postgres *pg, struct completion *const *items, size_t count,
		const struct uuid *session, bool rivals, struct fence *fence_r);
/* Did the flight fail because there are rivals after all? */
bool fence_rivalled(const struct postgres *pg, const struct fence *fence, const struct error *err);
/* Queues the items' receipts alone, if there are any: they are true whatever became of the write
 * sets. */
void fence_send_receipts(struct postgres *pg, struct completion *const *items, size_t count);
/* Reads the answers that came before the flight failed, if it did: sets the fate of items that are
 * out of the race (LOST, or a STEP that is there already). Returns how many. */
size_t fence_read(struct postgres *pg, const struct fence *fence, struct completion *const *items,
		  size_t count, struct arena *arena);
/* Of LOST items: those whose rows are our own, from a COMMIT that was not answered, become
 * COMMITTED. */
int fence_recognise(struct postgres *pg, struct completion *const *items, size_t count,
		    struct error *err_r) must_check;

/* ---- write_set.c, fold.c */
/* One statement as it is sent: of one job, or of many whose equal INSERTs are folded. */
struct write_group {
	const char *sql;
	size_t count, cap;
	struct write_member {
		struct completion *item;
		size_t index; /* of the statement in its write set */
		size_t place; /* in the flight; the same for all members when they are folded */
	} * members;
	const char *folded; /* the statement over arrays; NULL: sent one by one */
	const Oid *arrays;  /* its argument types */
	int level;          /* a job's statements are on ascending levels */
};
struct write_plan {
	struct write_group *groups;
	size_t count, cap;
	struct write_text {
		const char *sql;
		size_t arg_count;
		char *folded; /* NULL: it cannot be */
	} * texts;            /* those that were looked at; room for PLAN_TEXTS_MAX */
	size_t text_count;
	size_t first, last; /* places of the plan in its flight */
};
/* Orders the write sets of the items as groups, in the scratch arena: first those that consist of
 * plain INSERTs, folded; then the others, one job after the other, as if each had a transaction of
 * its own. The order inside a job is kept. */
struct write_plan *write_plan_new(struct postgres *pg, struct completion *const *items,
				  size_t count, bool fold);
/* Learns the argument types of texts that will be folded, outside of any transaction. What cannot
 * be learnt is not folded. */
int write_plan_learn(struct postgres *pg, struct write_plan *plan, struct error *err_r) must_check;
void write_plan_send(struct postgres *pg, struct write_plan *plan);
/* After the flight: row expectations. -1: ERROR_CONFLICT, the item at fault is UNMET when it is
 * known. */
int write_plan_check(const struct postgres *pg, const struct write_plan *plan,
		     struct error *err_r) must_check;
/* After a flight that failed at `place`: marks the item at fault as FAILED when it is known. True:
 * the place was the plan's. */
bool write_plan_blame(const struct write_plan *plan, size_t place, const struct error *err);
/* "INSERT INTO t(a,b) VALUES ($1,$2)" as "INSERT INTO t(a,b) SELECT r.c1,r.c2 FROM unnest($1,$2) AS
 * r(c1,c2)", or NULL when it is not a plain one-row INSERT of arguments and constants. */
char *fold_insert(struct arena *arena, const char *sql, size_t arg_count);
/* Argument `n` of all members as a binary array, which is what the server reads fastest. False: not
 * all of them are plainly of the type `array_type` (of an array). */
bool fold_binary(struct arena *arena, const struct write_group *group, size_t n, Oid array_type,
		 struct array *array_r);
/* Argument `n` of all members as an array literal. */
char *fold_literal(struct arena *arena, const struct write_group *group, size_t n);
/* A value as PostgreSQL reads it; NULL: SQL NULL. */
const char *write_value_text(struct arena *arena, const struct sql_value *value);

/* ---- follow_ups.c */
/* Does its write set count? */
static inline bool completion_writes(const struct completion *item)
{
	return item->kind == COMPLETION_STEP ||
	       (item->kind == COMPLETION_FINISH && item->state == JOB_COMPLETED);
}
/* Queues the insertion of the items' follow-up jobs without a unique key. */
void follow_ups_send(struct postgres *pg, struct completion *const *items, size_t count);
/* Stores those with a unique key that may be, in flights of its own: all items have won. Where
 * another job has the key, the parent is completed all the same. */
int follow_ups_unique(struct postgres *pg, struct completion *const *items, size_t count,
		      struct error *err_r) must_check;

/* ---- foreign.c, which fence.c calls. Their results list the ids that have won. */
/* Is its row of jobs to be inserted, which is its fence then? */
static inline bool completion_stores(const struct completion *item)
{
	return item->job->source && item->kind != COMPLETION_STEP &&
	       !(item->kind == COMPLETION_FINISH && item->state == JOB_COMPLETED);
}
/* Queues the rows of those items, with what LATER and ADOPT mean for them. */
size_t foreign_send(struct postgres *pg, struct completion *const *items, size_t count,
		    const struct uuid *session);
/* Queues the change of hands of items that a broker's lease holds, which are locked. */
size_t adopt_send(struct postgres *pg, struct completion *const *items, size_t count,
		  const struct uuid *session);

/* ---- endpoint.c: rows that ride in the end of a webhook job, if there are any */
void endpoint_send(struct postgres *pg, struct completion *const *items, size_t count);

/* ---- audit.c: queues the row of what the open transaction, or the flight, does; NULL: none */
void postgres_audit(struct postgres *pg, const struct audit *audit);

/* ---- outbox.c, position.c: rows that ride in a completion, if there are any */
void outbox_send(struct postgres *pg, struct completion *const *items, size_t count);
void positions_send(struct postgres *pg, const struct position *positions, size_t count);

/* ---- schedule.c, schedule_fire.c */
extern const struct schedule_ops postgres_schedule_ops;
int postgres_schedule_fire(struct store *store, struct schedule_fire *const *fires, size_t count,
			   struct error *err_r);

/* ---- the operations, one file per noun */
int postgres_migrate(struct store *store, int *applied_r, struct error *err_r);
int postgres_schema(struct store *store, int *have_r, int *want_r, struct error *err_r);
int postgres_sync_types(struct store *store, const struct store_type *types, size_t count,
			struct error *err_r);
int postgres_acceptance_commit(struct store *store, struct acceptance *const *requests,
			       size_t count, struct error *err_r);
int postgres_acceptance_probe(struct store *store, struct acceptance *const *requests, size_t count,
			      bool *stored_r, struct error *err_r);
int postgres_claim_take(struct store *store, const struct claim_request *request,
			struct arena *arena, struct claim *claim_r, struct error *err_r);
int postgres_completion_commit(struct store *store, const struct completion_batch *batch,
			       struct arena *arena, struct claim *claim_r, struct error *err_r);
int postgres_limits_sync(struct store *store, const struct limits_row *rows, size_t count,
			 struct error *err_r);
int postgres_limits_set(struct store *store, const struct limits_row *row,
			const struct audit *audit, struct error *err_r);
int postgres_limits_list(struct store *store, struct arena *arena, struct limits_view **views_r,
			 size_t *count_r, struct error *err_r);
int postgres_sync_queues(struct store *store, const struct store_queue *queues, size_t count,
			 struct error *err_r);
int postgres_admission_check(struct store *store, struct admission *items, size_t count,
			     int64_t keep_ms, struct error *err_r);
int postgres_dispatch_take(struct store *store, const struct dispatch_request *request,
			   struct arena *arena, struct claim *claim_r, struct error *err_r);
int postgres_dispatch_return(struct store *store, const struct uuid *batch, const struct uuid *ids,
			     size_t count, struct error *err_r);
int postgres_dispatch_survey(struct store *store, const struct uuid *owner, struct arena *arena,
			     struct dispatch_view **views_r, size_t *count_r, struct error *err_r);
int postgres_outbox_read(struct store *store, const struct outbox_request *request,
			 struct arena *arena, struct outbox_item **items_r, size_t *count_r,
			 bool *held_r, struct error *err_r);
int postgres_outbox_delete(struct store *store, const int64_t *rows, size_t count,
			   struct error *err_r);
int postgres_outbox_depth(struct store *store, int64_t *depth_r, struct error *err_r);
int postgres_endpoint_disabled(struct store *store, struct arena *arena,
			       struct endpoint_view **views_r, size_t *count_r,
			       struct error *err_r);
int postgres_endpoint_enable(struct store *store, const char *url, const struct audit *audit,
			     struct error *err_r);
int postgres_audit_list(struct store *store, const struct audit_filter *filter, struct arena *arena,
			struct audit_view **views_r, size_t *count_r, struct error *err_r);
int postgres_pool_scale(struct store *, const struct pool_scale *, const struct audit *,
			struct error *);
int postgres_pool_list(struct store *, struct arena *, struct pool_row **, size_t *,
		       struct error *);
int postgres_pool_turn(struct store *, const char *, int64_t, struct pool_turn *, struct error *);
int postgres_pool_decide(struct store *, const char *, bool, int, const struct audit *,
			 struct error *);
int postgres_session_figure(struct store *, const struct uuid *, const struct session_figures *,
			    struct error *);
int postgres_position_load(struct store *store, struct position *positions, size_t count,
			   struct error *err_r);
int postgres_position_save(struct store *store, const struct position *positions, size_t count,
			   struct error *err_r);
int postgres_progress_save(struct store *store, const struct progress *items, size_t count,
			   struct error *err_r);
int postgres_reader_query(struct store *store, const struct sql_statement *statement,
			  size_t bytes_max, struct strbuf *out_r, struct error *err_r);
int postgres_share_secret(struct store *store, const char *name, uint8_t secret[STORE_SECRET_BYTES],
			  struct error *err_r);
int postgres_control_cancel(struct store *store, const struct reach *reach, const struct uuid *id,
			    const char *reason, enum job_state *state_r, struct error *err_r);
int postgres_control_resolve(struct store *store, const struct reach *reach, const struct uuid *id,
			     const struct call_verdict *verdict, enum job_state *state_r,
			     struct error *err_r);
int postgres_control_retry(struct store *store, const struct reach *reach, const struct uuid *id,
			   enum job_state *state_r, struct error *err_r);
int postgres_control_redrive(struct store *store, const struct job_filter *filter,
			     double rate_per_s, bool dry_run, const struct audit *audit,
			     int64_t *count_r, struct error *err_r);
int postgres_control_pause(struct store *store, const char *queue, bool paused,
			   const struct audit *audit, struct error *err_r);
int postgres_control_cancels(struct store *store, const struct uuid *ids, size_t count,
			     bool *asked_r, struct error *err_r);
int postgres_query_job(struct store *store, const struct reach *reach, const struct uuid *id,
		       struct arena *arena, struct job_view *view_r, struct error *err_r);
int postgres_query_jobs(struct store *store, const struct job_filter *filter, struct arena *arena,
			struct job_view **views_r, size_t *count_r, struct error *err_r);
int postgres_query_finished(struct store *store, const struct uuid *ids, size_t count,
			    struct arena *arena, bool *found_r, struct job_view *views_r,
			    struct error *err_r);
int postgres_query_views(struct store *store, const struct uuid *ids, size_t count,
			 struct arena *arena, bool *found_r, struct job_view *views_r,
			 int64_t *now_ms_r, struct error *err_r);
int postgres_query_moved(struct store *store, const struct moved_filter *filter, struct uuid *ids_r,
			 size_t *count_r, struct error *err_r);
int postgres_query_queues(struct store *store, struct arena *arena, struct queue_view **queues_r,
			  size_t *count_r, struct error *err_r);
int postgres_query_depth(struct store *store, const char *queue, int64_t *depth_r,
			 struct error *err_r);
int postgres_query_sessions(struct store *store, bool broker, int64_t *count_r,
			    struct error *err_r);
int postgres_query_workers(struct store *store, struct arena *arena, struct worker_view **workers_r,
			   size_t *count_r, struct error *err_r);
int postgres_session_report(struct store *store, const struct uuid *session, const char *targets,
			    struct error *err_r);
int postgres_session_renew(struct store *store, const struct session_info *info, bool *fresh_r,
			   struct error *err_r);
int postgres_session_end(struct store *store, const struct uuid *session, int64_t *released_r,
			 struct error *err_r);
int postgres_session_sweep(struct store *store, const struct uuid *session,
			   const struct uuid *known, size_t known_count, int64_t *released_r,
			   struct error *err_r);
int postgres_session_release_batch(struct store *store, const struct uuid *batch,
				   struct error *err_r);
int postgres_batch_begin(struct store *store, const struct batch_new *batch,
			 const struct audit *audit, struct uuid *id_r, bool *new_r,
			 struct error *err_r);
int postgres_batch_take(struct store *store, const struct uuid *feeder, int64_t lease_ms,
			struct arena *arena, struct batch_work *work_r, struct error *err_r);
int postgres_batch_leave(struct store *store, const struct uuid *id, const struct uuid *feeder,
			 struct error *err_r);
int postgres_batch_list(struct store *store, const struct batch_filter *filter, struct arena *arena,
			struct batch_view **views_r, size_t *count_r, struct error *err_r);
int postgres_batch_get(struct store *store, const struct reach *reach, const struct uuid *id,
		       struct arena *arena, struct batch_view *view_r, struct error *err_r);
int postgres_batch_cancel(struct store *store, const struct reach *reach, const struct uuid *id,
			  const struct audit *audit, struct error *err_r);
int postgres_batch_retry(struct store *store, const struct reach *reach, const struct uuid *id,
			 const struct audit *audit, int64_t *count_r, struct error *err_r);
int postgres_batch_sweep(struct store *store, struct arena *arena, struct batch_swept *swept_r,
			 struct error *err_r);
int postgres_chain_sweep(struct store *store, const struct uuid *ended, size_t count,
			 struct arena *arena, struct chain_swept *swept_r, struct error *err_r);
int postgres_maintenance_promote(struct store *store, int64_t *promoted_r, int64_t *next_ms_r,
				 struct error *err_r);
int postgres_maintenance_release(struct store *store, int64_t *released_r, struct error *err_r);
int postgres_maintenance_fold(struct store *store, struct error *err_r);
int postgres_maintenance_retention(struct store *store, int64_t keep_ms, int64_t keep_dead_ms,
				   struct error *err_r);

#endif

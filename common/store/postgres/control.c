/* SPDX-License-Identifier: Apache-2.0 */
/* What clients and operators do to jobs after acceptance. A job may change hands while we look at
 * it; then we look again. */
#include <string.h>

#include "common/store/postgres/postgres_impl.h"

#define RACES_MAX   10
#define REDRIVE_MAX 10000

/* ---- one job, in the open transaction */

static const char state_of[] = "SELECT" JOB_STATE_SQL(
	"j.id") " FROM windlass.jobs j LEFT JOIN windlass.done d ON d.id = j.id AND d.state <> 0 LEFT JOIN"
		" windlass.ready r ON r.id = j.id"
		" WHERE j.id = $1::uuid AND" REACH_SQL("j.tenant", "j.owner", "j.type", "j.queue",
						       "2", "3", "4", "5");

static int look(struct postgres *pg, const struct reach *reach, const struct uuid *id,
		enum job_state *state_r, struct error *err_r)
{
	postgres_say(pg, state_of);
	postgres_arg_uuid(pg, id);
	postgres_arg_reach(pg, reach);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	if (!postgres_rows(pg, place))
		return error_set(err_r, ERROR_NOT_FOUND, "no such job");
	*state_r = (enum job_state)result_i64(postgres_result(pg, place), 0, 0);
	return 0;
}

/* What is done to one job: 1 done, 0 it has changed meanwhile, -1. */
typedef int change_fn(struct postgres *pg, const struct uuid *id, const void *arg,
		      enum job_state *state, struct error *err_r);

static int change_once(struct postgres *pg, const struct reach *reach, const struct uuid *id,
		       const void *arg, change_fn *change, enum job_state *state_r,
		       struct error *err_r)
{
	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_begin(pg);
	int rc = look(pg, reach, id, state_r, err_r);

	if (rc == 0)
		rc = change(pg, id, arg, state_r, err_r);
	if (rc == 1) {
		postgres_commit(pg);
		rc = postgres_fly(pg, err_r) < 0 ? -1 : 1;
	}
	postgres_rollback(pg);
	return rc;
}

static int change_job(struct postgres *pg, const struct reach *reach, const struct uuid *id,
		      const void *arg, change_fn *change, enum job_state *state_r,
		      struct error *err_r)
{
	error_clear(err_r);
	for (int tries = 0; tries < RACES_MAX; tries++) {
		int rc = change_once(pg, reach, id, arg, change, state_r, err_r);

		if (rc == 1)
			return 0;
		if (rc < 0 && err_r->code != ERROR_CONTENTION)
			return -1;
	}
	return err_r->code == ERROR_CONTENTION
		       ? -1
		       : error_set(err_r, ERROR_CONTENTION, "the job keeps changing hands");
}

/* ---- cancel */

static const char ask[] =
	"INSERT INTO windlass.cancel (id, at, reason) VALUES ($1::uuid, now(), $2::text) ON"
	" CONFLICT (id) DO NOTHING";

static int cancel(struct postgres *pg, const struct uuid *id, const void *arg,
		  enum job_state *state, struct error *err_r)
{
	const char *reason = arg;
	bool ended = false;

	if (job_state_terminal(*state))
		return error_set(err_r, ERROR_CONFLICT, "the job is %s", job_state_name(*state));
	if (*state == JOB_RUNNING) {
		postgres_say(pg, ask);
		postgres_arg_uuid(pg, id);
		postgres_arg_text(pg, reason);
		postgres_send(pg);
		return postgres_fly(pg, err_r) < 0 ? -1 : 1;
	}
	if (*state == JOB_QUEUED ? postgres_cancel_queued(pg, id, reason, &ended, err_r) < 0
				 : postgres_cancel_waiting(pg, id, 1, reason, &ended, err_r) < 0)
		return -1;
	*state = JOB_CANCELLED;
	return ended;
}

int postgres_control_cancel(struct store *store, const struct reach *reach, const struct uuid *id,
			    const char *reason, enum job_state *state_r, struct error *err_r)
{
	return change_job(postgres_of(store), reach, id, reason, cancel, state_r, err_r);
}

/* ---- retry */

static const char run_now[] =
	"WITH up AS (UPDATE windlass.ready r SET due = NULL, since = now(), seq =" NEXT_SEQ_SQL(
		"r.seq", "r.queue",
		"r.order_key") " WHERE id = $1::uuid AND due IS NOT NULL RETURNING queue),"
			       " counted AS (INSERT INTO windlass.tally SELECT queue, 1, -1 FROM up) SELECT FROM up";

/* The completion row goes, and with it the fence: the job may end once more. Attempts go on
 * counting, failures start anew behind the mark. The lease that the job ended in may still name it:
 * it must not give the job back a second time when its session ends. */
static const char back_to_waiting[] =
	"WITH gone AS (DELETE FROM windlass.done d USING unnest($1::uuid[]) AS i(id)"
	" WHERE d.id = i.id AND d.state IN (9, 10) AND NOT" COMPENSATED_SQL
	" RETURNING d.id, d.attempt, d.state),"
	" spread AS (SELECT id, attempt, CASE WHEN $2::float8 > 0 THEN (row_number() OVER (ORDER"
	" BY id) - 1) / $2 ELSE 0 END AS s FROM gone), back AS (INSERT INTO windlass.ready (id,"
	" seq, due, since, attempt, priority, queue, order_key, fair_key) "
	" SELECT s.id," NEXT_SEQ_SQL(
		"j.seq", "j.queue",
		"j.order_key") ", CASE WHEN EXISTS (SELECT FROM windlass.edge e WHERE e.id = s.id) THEN 'infinity'"
			       " WHEN s.s > 0 THEN now() + s.s * interval '1 s' END, now() + s.s *"
			       " interval '1 s', s.attempt, j.priority, j.queue,   j.order_key, j.fair_key"
			       " FROM spread s JOIN windlass.jobs j ON j.id = s.id ORDER BY s.s"
			       " RETURNING queue, due), noted AS (INSERT INTO windlass.attempt (id, at, attempt, outcome,"
			       " counts, reason)  SELECT id, now(), attempt, 0, false, 'redriven'"
			       " FROM gone), waits AS (UPDATE windlass.edge e SET state = NULL, result = NULL, reason = NULL WHERE e.id IN (SELECT id FROM"
			       " gone) AND EXISTS (SELECT FROM windlass.jobs j WHERE j.id = e.before))," BATCH_TALLY_SQL(
				       "gone", "0", "-count(*) FILTER (WHERE x.state = 9)",
				       "-count(*) FILTER (WHERE x.state = 10)") ","
										" unasked AS (DELETE FROM windlass.cancel WHERE id IN (SELECT id"
										" FROM gone))," CUT_SQL(
											"gone",
											"h.ids && ARRAY(SELECT id FROM gone)") ","
															       " counted AS (INSERT INTO windlass.tally"
															       " SELECT queue, count(*) FILTER (WHERE due IS NULL),  count(*) FILTER (WHERE due IS NOT"
															       " NULL) FROM back GROUP BY queue) SELECT id FROM gone";

int postgres_send_back(struct postgres *pg, const struct uuid *ids, size_t count, double rate_per_s,
		       int64_t *moved_r, struct error *err_r)
{
	postgres_say(pg, back_to_waiting);
	struct array *a = postgres_arg_array(pg, TYPE_UUID);

	for (size_t i = 0; i < count; i++)
		array_uuid(a, &ids[i]);
	postgres_arg_f64(pg, rate_per_s);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	*moved_r = postgres_rows(pg, place);
	return 0;
}

static const char is_compensated[] =
	"SELECT FROM windlass.done d WHERE d.id = $1::uuid AND" COMPENSATED_SQL;

/* 1; 0: it has changed meanwhile; -1, among others because its steps were undone. */
static int revive(struct postgres *pg, const struct uuid *id, struct error *err_r)
{
	int64_t moved = 0;

	if (postgres_send_back(pg, id, 1, 0, &moved, err_r) < 0)
		return -1;
	if (moved)
		return 1;
	postgres_say(pg, is_compensated);
	postgres_arg_uuid(pg, id);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	return postgres_rows(pg, place) ? error_set(err_r, ERROR_CONFLICT, CONTROL_COMPENSATED) : 0;
}

/* It may be one that waits for others, as before. */
static int back_in(struct postgres *pg, const struct uuid *id, enum job_state *state_r,
		   struct error *err_r)
{
	postgres_say(pg, "SELECT FROM windlass.edge WHERE id = $1::uuid LIMIT 1");
	postgres_arg_uuid(pg, id);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	*state_r = postgres_rows(pg, place) ? JOB_WAITING : JOB_AVAILABLE;
	return 0;
}

static int retry(struct postgres *pg, const struct uuid *id, const void *arg, enum job_state *state,
		 struct error *err_r)
{
	int moved;

	(void)arg;
	if (*state == JOB_AVAILABLE)
		return 1;
	if (*state == JOB_DISCARDED || *state == JOB_CANCELLED) {
		moved = revive(pg, id, err_r);
		return moved < 0 || back_in(pg, id, state, err_r) < 0 ? -1 : moved;
	} else if (*state == JOB_SCHEDULED || *state == JOB_RETRYABLE) {
		postgres_say(pg, run_now);
		postgres_arg_uuid(pg, id);
		size_t place = postgres_send(pg);

		if (postgres_fly(pg, err_r) < 0)
			return -1;
		moved = postgres_rows(pg, place) > 0;
	} else {
		return error_set(err_r, ERROR_CONFLICT, "the job is %s", job_state_name(*state));
	}
	*state = JOB_AVAILABLE;
	return moved;
}

int postgres_control_retry(struct store *store, const struct reach *reach, const struct uuid *id,
			   enum job_state *state_r, struct error *err_r)
{
	return change_job(postgres_of(store), reach, id, NULL, retry, state_r, err_r);
}

/* ---- resolve */

static const char decide[] =
	"UPDATE windlass.call SET status = $3::int4, body = $4::bytea, at = now()"
	" WHERE id = $1::uuid AND step = $2::text AND status = 0";
/* Unless more of its calls wait for a decision. */
static const char run_again[] =
	"WITH up AS (UPDATE windlass.ready r SET due = NULL, since = now(), seq =" NEXT_SEQ_SQL(
		"r.seq", "r.queue",
		"r.order_key") " WHERE id = $1::uuid AND due = 'infinity' AND NOT EXISTS (SELECT FROM"
			       " windlass.call c WHERE c.id = $1::uuid AND c.status = 0) RETURNING"
			       " queue),"
			       " counted AS (INSERT INTO windlass.tally SELECT queue, 1, -1 FROM up) SELECT FROM up";

static int resolve(struct postgres *pg, const struct uuid *id, const void *arg,
		   enum job_state *state, struct error *err_r)
{
	const struct call_verdict *verdict = arg;

	if (*state != JOB_PARKED)
		return error_set(err_r, ERROR_CONFLICT, "the job is %s", job_state_name(*state));
	postgres_say(pg, decide);
	postgres_arg_uuid(pg, id);
	postgres_arg_text(pg, verdict->step);
	postgres_arg_i32(pg, verdict->status);
	postgres_arg_bytes(pg, verdict->body ? verdict->body : "", verdict->body_bytes);
	size_t decided = postgres_send(pg);

	postgres_say(pg, run_again);
	postgres_arg_uuid(pg, id);
	size_t again = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	if (!postgres_rows(pg, decided))
		return error_set(err_r, ERROR_INVALID, "no call of that step waits for a decision");
	if (postgres_rows(pg, again))
		*state = JOB_AVAILABLE;
	return 1;
}

int postgres_control_resolve(struct store *store, const struct reach *reach, const struct uuid *id,
			     const struct call_verdict *verdict, enum job_state *state_r,
			     struct error *err_r)
{
	return change_job(postgres_of(store), reach, id, verdict, resolve, state_r, err_r);
}

/* ---- redrive */

/* The state is written out so that the index of the few that did not complete is used. */
#define DEAD_JOBS(state)                                                                                 \
	"SELECT d.id FROM windlass.done d JOIN windlass.jobs j ON j.id = d.id WHERE d.state ="           \
	" " state " AND" REACH_SQL(                                                                      \
		"j.tenant", "j.owner", "j.type", "j.queue", "1", "2", "3",                               \
		"4") " AND ($5::text IS NULL OR j.type = $5) AND ($6::text IS NULL OR j.queue = $6)"     \
		     " AND ($7::text IS NULL OR j.tags::jsonb ? $7) AND ($8::uuid IS NULL OR d.id < $8)" \
		     " AND NOT" COMPENSATED_SQL " ORDER BY d.id LIMIT $9::int4"

static const char discarded_jobs[] = DEAD_JOBS("9");
static const char cancelled_jobs[] = DEAD_JOBS("10");

static int find_dead(struct postgres *pg, const struct job_filter *filter, struct uuid **ids_r,
		     size_t *count_r, struct error *err_r)
{
	postgres_say(pg, filter->state == JOB_CANCELLED ? cancelled_jobs : discarded_jobs);
	postgres_arg_reach(pg, &filter->reach);
	postgres_arg_text(pg, filter->type);
	postgres_arg_text(pg, filter->queue);
	postgres_arg_text(pg, filter->tag);
	postgres_arg_uuid(pg, uuid_is_nil(&filter->before) ? NULL : &filter->before);
	postgres_arg_i32(pg, filter->limit && filter->limit < REDRIVE_MAX ? (int32_t)filter->limit
									  : REDRIVE_MAX);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	*count_r = (size_t)postgres_rows(pg, place);
	*ids_r = ARENA_ARRAY(pg->scratch, struct uuid, *count_r);
	for (size_t i = 0; i < *count_r; i++)
		(*ids_r)[i] = result_uuid(postgres_result(pg, place), (int)i, 0);
	return 0;
}

static int send_back_noted(struct postgres *pg, const struct uuid *ids, size_t count,
			   double rate_per_s, const struct audit *audit, int64_t *count_r,
			   struct error *err_r)
{
	postgres_begin(pg);
	int rc = postgres_send_back(pg, ids, count, rate_per_s, count_r, err_r);

	if (rc == 0) {
		postgres_audit(pg, audit);
		rc = postgres_commit_fly(pg, err_r);
	}
	postgres_rollback(pg);
	return rc;
}

static int redrive_once(struct postgres *pg, const struct job_filter *filter, double rate_per_s,
			bool dry_run, const struct audit *audit, int64_t *count_r,
			struct error *err_r)
{
	struct uuid *ids;
	size_t count;

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	if (find_dead(pg, filter, &ids, &count, err_r) < 0)
		return -1;
	*count_r = (int64_t)count;
	if (dry_run || !count)
		return 0;
	return send_back_noted(pg, ids, count, rate_per_s, audit, count_r, err_r);
}

int postgres_control_redrive(struct store *store, const struct job_filter *filter,
			     double rate_per_s, bool dry_run, const struct audit *audit,
			     int64_t *count_r, struct error *err_r)
{
	int rc = -1;

	for (int tries = 0; tries < CONTENTION_TRIES && rc < 0; tries++) {
		rc = redrive_once(postgres_of(store), filter, rate_per_s, dry_run, audit, count_r,
				  err_r);
		if (rc < 0 && err_r->code != ERROR_CONTENTION)
			break;
	}
	return rc;
}

/* ---- queues and requests */

int postgres_control_pause(struct store *store, const char *queue, bool paused,
			   const struct audit *audit, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, "INSERT INTO windlass.queue (name, paused) VALUES ($1::text, $2::bool)"
			 " ON CONFLICT (name) DO UPDATE SET paused = excluded.paused");
	postgres_arg_text(pg, queue);
	postgres_arg_bool(pg, paused);
	postgres_send(pg);
	postgres_audit(pg, audit);
	return postgres_fly(pg, err_r);
}

int postgres_control_cancels(struct store *store, const struct uuid *ids, size_t count,
			     bool *asked_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(
		pg,
		"SELECT i.n FROM unnest($1::uuid[], $2::int4[]) AS i(id, n) JOIN windlass.cancel c"
		" ON c.id = i.id");
	history_args(pg, ids, count);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	for (int row = 0; row < (int)postgres_rows(pg, place); row++)
		asked_r[result_i64(postgres_result(pg, place), row, 0)] = true;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Acceptance: many requests in one transaction. Without keys that is one round trip; client-made
 * ids, idempotency keys and unique keys are settled first, each kind by one more. Every request is
 * all or nothing by itself. */
#include <string.h>

#include "common/base/failpoint.h"
#include "common/base/idmap.h"
#include "common/job/chain.h"
#include "common/store/postgres/postgres_impl.h"

/* One transaction's work. */
struct round {
	struct postgres *pg;
	struct acceptance *const *requests;
	size_t count;
	struct entry {
		struct acceptance *request;
		size_t index;
		bool known; /* a client-made id that is stored already, with the same fingerprint */
	} * entries;        /* every job of every request */
	size_t entry_count;
	bool chains; /* some wait for others, or have a `then` */
};

static const struct new_job *job_of(const struct entry *entry)
{
	return &entry->request->jobs[entry->index];
}

static struct accepted_job *answer_of(const struct entry *entry)
{
	return &entry->request->accepted[entry->index];
}

static void round_init(struct round *round)
{
	for (size_t i = 0; i < round->count; i++)
		round->entry_count += round->requests[i]->job_count;
	round->entries = ARENA_ARRAY(round->pg->scratch, struct entry, round->entry_count);
	size_t n = 0;

	for (size_t i = 0; i < round->count; i++) {
		struct acceptance *request = round->requests[i];

		request->verdict = 0;
		error_clear(&request->error);
		for (size_t k = 0; k < request->job_count; k++) {
			round->chains = round->chains || request->jobs[k].after_count ||
					request->jobs[k].then_count;
			round->entries[n++] = (struct entry){ .request = request, .index = k };
			request->accepted[k] = (struct accepted_job){ .id = request->jobs[k].id,
								      .state = JOB_AVAILABLE };
		}
	}
}

/* ---- client-made ids */

static const char known_ids[] = "SELECT i.n, j.tenant, j.owner, j.fingerprint," JOB_STATE_SQL(
	"j.id") " FROM unnest($1::uuid[], $2::int4[]) AS i(id, n) JOIN windlass.jobs j ON j.id = i.id"
		" LEFT JOIN windlass.done d ON d.id = j.id LEFT JOIN windlass.ready r ON r.id = j.id";

static void known_row(struct round *round, const PGresult *result, int row)
{
	struct entry *entry = &round->entries[result_i64(result, row, 0)];
	const struct new_job *job = job_of(entry);
	bool same = !strcmp(result_text(result, row, 1), job->tenant) &&
		    !strcmp(result_text(result, row, 2), job->owner) &&
		    result_bytes(result, row, 3) == sizeof(job->fingerprint) &&
		    !memcmp(PQgetvalue(result, row, 3), job->fingerprint, sizeof(job->fingerprint));

	if (same) {
		entry->known = true;
		answer_of(entry)->state = (enum job_state)result_i64(result, row, 4);
	} else if (!entry->request->verdict) {
		entry->request->verdict = ACCEPTANCE_ID_TAKEN;
		entry->request->bad_index = entry->index;
	}
}

/* A request all of whose jobs are known was accepted before. */
static void replay_known(struct round *round)
{
	for (size_t i = 0; i < round->entry_count;) {
		struct acceptance *request = round->entries[i].request;
		bool all = true;

		for (size_t k = 0; k < request->job_count; k++)
			all = all && round->entries[i + k].known;
		if (all && !request->verdict)
			request->verdict = ACCEPTANCE_REPLAYED;
		i += request->job_count;
	}
}

static int settle_ids(struct round *round, struct error *err_r)
{
	struct postgres *pg = round->pg;

	postgres_say(pg, known_ids);
	struct array *ids = postgres_arg_array(pg, TYPE_UUID),
		     *numbers = postgres_arg_array(pg, TYPE_INT4);

	for (size_t i = 0; i < round->entry_count; i++) {
		if (!job_of(&round->entries[i])->client_id)
			continue;
		array_uuid(ids, &job_of(&round->entries[i])->id);
		array_i64(numbers, (int64_t)i);
	}
	if (!ids->count)
		return 0;
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	for (int row = 0; row < PQntuples(result); row++)
		known_row(round, result, row);
	replay_known(round);
	return 0;
}

/* ---- jobs that wait for others */

static bool is_new(const struct entry *entry)
{
	return !entry->known && !entry->request->verdict;
}

/* The jobs with those edges only that lead out of the request, the others with a nil id. What has a
 * unique key may not be stored at all, so it does not count as being there. */
static const struct new_job **outward(struct round *round)
{
	const struct new_job **jobs =
		ARENA_ARRAY(round->pg->scratch, const struct new_job *, round->entry_count);
	struct idmap *own = idmap_new();

	for (size_t i = 0; i < round->entry_count; i++)
		if (is_new(&round->entries[i]) && !job_of(&round->entries[i])->unique_key)
			idmap_put(own, &job_of(&round->entries[i])->id, round->entries[i].request);
	for (size_t i = 0; i < round->entry_count; i++) {
		const struct entry *entry = &round->entries[i];
		const struct new_job *job = job_of(entry);
		struct job_after *after;
		struct new_job *asked;

		if (!job->after_count || !is_new(entry))
			continue;
		asked = arena_dup(round->pg->scratch, job, sizeof(*job));
		after = ARENA_ARRAY(round->pg->scratch, struct job_after, job->after_count);
		asked->after = after;
		for (size_t k = 0; k < job->after_count; k++) {
			bool here = idmap_get(own, &job->after[k].id) == entry->request;

			after[k].id = here ? (struct uuid){ 0 } : job->after[k].id;
		}
		jobs[i] = asked;
	}
	idmap_free(&own);
	return jobs;
}

static void refuse_circles(struct round *round)
{
	for (size_t i = 0; i < round->count; i++) {
		struct acceptance *request = round->requests[i];

		if (!request->verdict &&
		    chain_has_cycle(request->jobs, request->job_count, &request->bad_index))
			request->verdict = ACCEPTANCE_CIRCLE;
	}
}

/* ---- chunks of batches */

static int settle_chunks(struct round *round, struct error *err_r)
{
	for (size_t i = 0; i < round->count; i++) {
		struct acceptance *request = round->requests[i];

		if (!request->chunk || request->verdict)
			continue;
		size_t place = batch_send_chunk(round->pg, request->chunk, request->job_count);

		if (postgres_fly(round->pg, err_r) < 0)
			return -1;
		if (!postgres_rows(round->pg, place))
			request->verdict = ACCEPTANCE_STALE;
	}
	return 0;
}

static int settle_after(struct round *round, struct error *err_r)
{
	if (!round->chains)
		return 0;
	refuse_circles(round);
	size_t place = chain_send_unknown(round->pg, outward(round), round->entry_count);

	if (postgres_fly(round->pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(round->pg, place);

	for (int row = 0; row < PQntuples(result); row++) {
		const struct entry *entry = &round->entries[result_i64(result, row, 0)];

		if (entry->request->verdict)
			continue;
		entry->request->verdict = ACCEPTANCE_NO_SUCH_JOB;
		entry->request->bad_index = entry->index;
		entry->request->bad_after = (size_t)result_i64(result, row, 1);
	}
	return 0;
}

/* ---- idempotency keys */

static const char take_keys[] =
	"INSERT INTO windlass.idempotency AS k (scope, key, created, fingerprint, ids)"
	" SELECT scope, key, now(), fingerprint, ids::uuid[] FROM unnest($1::text[], $2::text[],"
	" $3::bytea[], $4::text[])"
	" AS i(scope, key, fingerprint, ids) ORDER BY scope, key"
	" ON CONFLICT (scope, key) DO UPDATE SET created = excluded.created, fingerprint ="
	" excluded.fingerprint, ids = excluded.ids"
	" WHERE k.created <= now() - interval '24 hours'"
	" RETURNING scope, key";
static const char used_keys[] = "SELECT i.n, k.fingerprint, u.id, j.owner," JOB_STATE_SQL(
	"u.id") " FROM unnest($1::text[], $2::text[], $3::int4[]) AS i(scope, key, n)"
		" JOIN windlass.idempotency k ON k.scope = i.scope AND k.key = i.key"
		" CROSS JOIN LATERAL unnest(k.ids) WITH ORDINALITY AS u(id, place)"
		" LEFT JOIN windlass.jobs j ON j.id = u.id"
		" LEFT JOIN windlass.done d ON d.id = u.id LEFT JOIN windlass.ready r ON r.id = u.id"
		" ORDER BY i.n, u.place";
static const char correct_key[] =
	"UPDATE windlass.idempotency SET ids = $3::uuid[] WHERE scope = $1::text AND key ="
	" $2::text";

static bool wants_key(const struct acceptance *request)
{
	return request->idempotency_key && !request->verdict;
}

static char *ids_literal(struct arena *arena, const struct acceptance *request)
{
	char *text = arena_alloc(arena, request->job_count * UUID_TEXT + 3), *p = text;

	*p++ = '{';
	for (size_t i = 0; i < request->job_count; i++) {
		uuid_format(&request->jobs[i].id, p);
		p += UUID_TEXT - 1;
		*p++ = i + 1 < request->job_count ? ',' : '}';
	}
	*p = '\0';
	return text;
}

static size_t send_take(struct round *round, size_t *wanted_r)
{
	struct postgres *pg = round->pg;
	struct array *a[4];

	postgres_say(pg, take_keys);
	for (size_t i = 0; i < 4; i++)
		a[i] = postgres_arg_array(pg, i == 2 ? TYPE_BYTEA : TYPE_TEXT);
	for (size_t i = 0; i < round->count; i++) {
		const struct acceptance *request = round->requests[i];

		if (!wants_key(request))
			continue;
		array_text(a[0], request->idempotency_scope);
		array_text(a[1], request->idempotency_key);
		array_bytes(a[2], request->fingerprint, sizeof(request->fingerprint));
		array_text(a[3], ids_literal(pg->scratch, request));
	}
	*wanted_r = (size_t)a[0]->count;
	return *wanted_r ? postgres_send(pg) : 0;
}

static bool took_key(const PGresult *result, const struct acceptance *request)
{
	for (int row = 0; row < PQntuples(result); row++)
		if (!strcmp(result_text(result, row, 1), request->idempotency_key) &&
		    !strcmp(result_text(result, row, 0), request->idempotency_scope))
			return true;
	return false;
}

/* Rows of one key follow each other, one for each job that was answered. */
static void replay_keys(struct round *round, const PGresult *result)
{
	int64_t before = -1;
	size_t place = 0;

	for (int row = 0; row < PQntuples(result); row++) {
		int64_t n = result_i64(result, row, 0);
		struct acceptance *request = round->requests[n];
		bool same = result_bytes(result, row, 1) == sizeof(request->fingerprint) &&
			    !memcmp(PQgetvalue(result, row, 1), request->fingerprint,
				    sizeof(request->fingerprint));

		place = n == before ? place + 1 : 0;
		before = n;
		request->verdict = same ? ACCEPTANCE_REPLAYED : ACCEPTANCE_KEY_REUSED;
		if (!same || place >= request->job_count)
			continue;
		request->accepted[place].id = result_uuid(result, row, 2);
		request->accepted[place].state = (enum job_state)result_i64(result, row, 4);
		/* a request stores jobs of its own owner only: this was another's before */
		request->accepted[place].unique_conflict =
			!result_null(result, row, 3) &&
			strcmp(result_text(result, row, 3), request->jobs[place].owner) != 0;
	}
}

static int settle_keys(struct round *round, struct error *err_r)
{
	struct postgres *pg = round->pg;
	size_t wanted, place = send_take(round, &wanted);

	if (!wanted)
		return 0;
	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	postgres_say(pg, used_keys);
	struct array *scopes = postgres_arg_array(pg, TYPE_TEXT),
		     *keys = postgres_arg_array(pg, TYPE_TEXT);
	struct array *numbers = postgres_arg_array(pg, TYPE_INT4);

	for (size_t i = 0; i < round->count && (size_t)PQntuples(result) < wanted; i++) {
		if (!wants_key(round->requests[i]) || took_key(result, round->requests[i]))
			continue;
		array_text(scopes, round->requests[i]->idempotency_scope);
		array_text(keys, round->requests[i]->idempotency_key);
		array_i64(numbers, (int64_t)i);
	}
	if (!scopes->count)
		return 0;
	place = postgres_send(pg);
	if (postgres_fly(pg, err_r) < 0)
		return -1;
	replay_keys(round, postgres_result(pg, place));
	return 0;
}

/* ---- unique keys */

/* A replay answers what was answered the first time, so the key's row names the other job where
 * there was a conflict. */
static void correct_keys(struct round *round)
{
	for (size_t i = 0; i < round->count; i++) {
		const struct acceptance *request = round->requests[i];
		bool differs = false;

		for (size_t k = 0; k < request->job_count; k++)
			differs = differs || request->accepted[k].unique_conflict;
		if (!wants_key(request) || !differs)
			continue;
		postgres_say(round->pg, correct_key);
		postgres_arg_text(round->pg, request->idempotency_scope);
		postgres_arg_text(round->pg, request->idempotency_key);
		struct array *ids = postgres_arg_array(round->pg, TYPE_UUID);

		for (size_t k = 0; k < request->job_count; k++)
			array_uuid(ids, &request->accepted[k].id);
		postgres_send(round->pg);
	}
}

static int settle_unique(struct round *round, struct error *err_r)
{
	struct arena *arena = round->pg->scratch;
	struct new_job **jobs = NULL;
	struct accepted_job **answers = NULL;
	size_t n = 0;

	for (size_t i = 0; i < round->entry_count; i++) {
		struct entry *entry = &round->entries[i];

		if (!job_of(entry)->unique_key || entry->known || entry->request->verdict)
			continue;
		if (!jobs) {
			jobs = ARENA_ARRAY(arena, struct new_job *, round->entry_count);
			answers = ARENA_ARRAY(arena, struct accepted_job *, round->entry_count);
		}
		jobs[n] = &entry->request->jobs[entry->index];
		answers[n++] = answer_of(entry);
	}
	if (!n)
		return 0;
	if (postgres_take_unique(round->pg, jobs, n, answers, err_r) < 0)
		return -1;
	correct_keys(round);
	return 0;
}

/* ---- storing */

static size_t with_then(const struct new_job *job)
{
	size_t n = 1;

	for (size_t i = 0; i < job->then_count; i++)
		n += with_then(&job->then[i]);
	return n;
}

static size_t add_with_then(struct new_job *job, struct new_job **list)
{
	size_t n = 1;

	list[0] = job;
	for (size_t i = 0; i < job->then_count; i++)
		n += add_with_then(&job->then[i], list + n);
	return n;
}

static size_t collect(struct round *round, struct new_job ***jobs_r)
{
	size_t n = 0, most = round->entry_count;

	for (size_t i = 0; round->chains && i < round->entry_count; i++)
		most += with_then(job_of(&round->entries[i])) - 1;
	*jobs_r = ARENA_ARRAY(round->pg->scratch, struct new_job *, most);
	for (size_t i = 0; i < round->entry_count; i++) {
		struct entry *entry = &round->entries[i];

		if (!entry->request->verdict && !entry->known && !answer_of(entry)->unique_conflict)
			n += add_with_then(&entry->request->jobs[entry->index], *jobs_r + n);
	}
	return n;
}

static void mark_scheduled(struct round *round, const PGresult *result)
{
	if (!PQntuples(result))
		return;
	struct idmap *later = idmap_new();

	for (int row = 0; row < PQntuples(result); row++) {
		struct uuid id = result_uuid(result, row, 0);

		idmap_put(later, &id, round);
	}
	for (size_t i = 0; i < round->entry_count; i++)
		if (idmap_get(later, &job_of(&round->entries[i])->id) &&
		    !answer_of(&round->entries[i])->unique_conflict)
			answer_of(&round->entries[i])->state =
				job_of(&round->entries[i])->after_count ? JOB_WAITING
									: JOB_SCHEDULED;
	idmap_free(&later);
}

static int store(struct round *round, struct error *err_r)
{
	struct postgres *pg = round->pg;
	struct new_job **jobs;
	size_t count = collect(round, &jobs);
	size_t place = count ? postgres_insert_jobs(pg, jobs, count, false) : 0;

	if (count && round->chains)
		chain_send_edges(pg, jobs, count);
	/* Before the COMMIT, so that acceptance_probe knows what should be there. */
	for (size_t i = 0; i < round->count; i++)
		if (!round->requests[i]->verdict)
			round->requests[i]->verdict = ACCEPTANCE_ACCEPTED;
	if (FAILPOINT("accept_before_commit")) {
		postgres_drop(pg);
		return error_set(err_r, ERROR_UNAVAILABLE, "failpoint");
	}
	postgres_commit(pg);
	if (postgres_fly(pg, err_r) < 0)
		return -1;
	if (FAILPOINT("accept_after_commit"))
		return error_set(err_r, ERROR_UNKNOWN, "failpoint");
	if (count)
		mark_scheduled(round, postgres_result(pg, place));
	return 0;
}

static int run(struct postgres *pg, struct acceptance *const *requests, size_t count,
	       struct error *err_r)
{
	struct round round = { .pg = pg, .requests = requests, .count = count };

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	round_init(&round);
	postgres_begin(pg);
	int rc = settle_ids(&round, err_r) < 0 || settle_after(&round, err_r) < 0 ||
		 settle_chunks(&round, err_r) < 0 || settle_keys(&round, err_r) < 0 ||
		 settle_unique(&round, err_r) < 0 || store(&round, err_r) < 0;

	if (rc)
		postgres_rollback(pg);
	return rc ? -1 : 0;
}

/* Repeats on contention, and when another transaction stored the same client-made id at the same
 * moment. */
static int run_patiently(struct postgres *pg, struct acceptance *const *requests, size_t count,
			 struct error *err_r)
{
	int rc = -1;

	for (int tries = 0; tries < CONTENTION_TRIES && rc < 0; tries++) {
		rc = run(pg, requests, count, err_r);
		if (rc < 0 && err_r->code != ERROR_CONTENTION &&
		    strcmp(err_r->sqlstate, "23505") != 0)
			return -1;
	}
	return rc;
}

static bool weather(const struct error *err)
{
	return err->code == ERROR_UNAVAILABLE || err->code == ERROR_UNKNOWN ||
	       err->code == ERROR_FULL || err->code == ERROR_TIMEOUT;
}

int postgres_acceptance_commit(struct store *base, struct acceptance *const *requests, size_t count,
			       struct error *err_r)
{
	struct postgres *pg = postgres_of(base);

	if (run_patiently(pg, requests, count, err_r) == 0)
		return 0;
	if (weather(err_r)) {
		if (err_r->code != ERROR_UNKNOWN)
			err_r->code = ERROR_UNAVAILABLE;
		return -1;
	}
	for (size_t i = 0; i < count; i++) {
		struct error *err = &requests[i]->error;

		if (run_patiently(pg, &requests[i], 1, err) < 0)
			requests[i]->verdict = ACCEPTANCE_FAILED;
	}
	return 0;
}

/* ---- after a COMMIT without an answer */

/* The old backend may still have our COMMIT in its socket: it must be gone before a missing row
 * means anything. */
static const char end_backend[] =
	"SELECT coalesce(bool_and(pg_terminate_backend(pid, 2000)), true) FROM pg_stat_activity"
	" WHERE pid = $1::int4 AND application_name = $2::text AND usename = current_user";
static const char missing[] = "SELECT count(*) FROM unnest($1::uuid[]) AS i(id)"
			      " WHERE NOT EXISTS (SELECT FROM windlass.jobs j WHERE j.id = i.id)";

static void add_stored_ids(struct array *ids, const struct acceptance *request)
{
	if (request->verdict != ACCEPTANCE_ACCEPTED)
		return;
	for (size_t k = 0; k < request->job_count; k++)
		if (!request->accepted[k].unique_conflict)
			array_uuid(ids, &request->jobs[k].id);
}

int postgres_acceptance_probe(struct store *base, struct acceptance *const *requests, size_t count,
			      bool *stored_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(base);
	struct connect_params params;

	*stored_r = false;
	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_connect_params(pg->url, pg->role, "", &params);
	postgres_say(pg, end_backend);
	postgres_arg_i32(pg, pg->lost_pid);
	postgres_arg_text(pg, params.name);
	size_t ended = postgres_send(pg);

	postgres_say(pg, missing);
	struct array *ids = postgres_arg_array(pg, TYPE_UUID);

	for (size_t i = 0; i < count; i++)
		add_stored_ids(ids, requests[i]);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	if (!result_bool(postgres_result(pg, ended), 0, 0))
		return error_set(err_r, ERROR_UNKNOWN,
				 "the connection that sent the COMMIT is still alive");
	*stored_r = result_i64(postgres_result(pg, place), 0, 0) == 0;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The seam between the program and its stores: chooses the implementation by the URL's scheme and
 * hands every operation on. Contracts are in the noun headers; nothing is decided here but that the
 * caller kept his side. */
#include "common/store/store.h"

#include <string.h>

#include "common/store/store_impl.h"

static const struct {
	const char *scheme;
	const struct store_ops *store;
	const struct bell_ops *bell;
} kinds[] = {
	{ "sqlite:", &sqlite_store_ops, &sqlite_bell_ops },
	{ "postgresql:", &postgres_store_ops, &postgres_bell_ops },
	{ "postgres:", &postgres_store_ops, &postgres_bell_ops },
};

/* -1: no store has this scheme; *err_r names those there are. */
static int kind_of(const char *url, struct error *err_r)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (!strncmp(url, kinds[i].scheme, strlen(kinds[i].scheme)))
			return (int)i;
	return error_set(err_r, ERROR_INVALID,
			 "a store's URL is \"sqlite:PATH\" or \"postgresql://…\"");
}

/* ---- the store itself */

int store_open(const char *url, enum store_use use, const char *role, struct store **store_r,
	       struct error *err_r)
{
	CHECK(url && role && store_r);
	int kind = kind_of(url, err_r);

	*store_r = NULL;
	if (kind < 0)
		return -1;
	int rc = kinds[kind].store->open(url, use, role, store_r, err_r);

	CHECK((rc == 0) == (*store_r != NULL));
	return rc;
}

void store_close(struct store **store)
{
	if (!*store)
		return;
	(*store)->ops->close(*store);
	*store = NULL;
}

int store_ping(struct store *store, struct error *err_r)
{
	return store->ops->ping(store, err_r);
}

bool store_is_sqlite(const struct store *store)
{
	return store->ops == &sqlite_store_ops;
}

const char *store_label(const struct store *store)
{
	return store->label;
}

int store_migrate(struct store *store, int *applied_r, struct error *err_r)
{
	int have, want;

	CHECK(store->use == STORE_WRITE);
	*applied_r = 0;
	if (store->ops->schema(store, &have, &want, err_r) < 0)
		return -1;
	if (have > want)
		return error_set(err_r, ERROR_INVALID,
				 "%s has schema %d, made by a newer Windlass; this one knows %d",
				 store->label, have, want);
	return store->ops->migrate(store, applied_r, err_r);
}

int store_schema(struct store *store, int *have_r, int *want_r, struct error *err_r)
{
	return store->ops->schema(store, have_r, want_r, err_r);
}

int store_sync_types(struct store *store, const struct store_type *types, size_t count,
		     struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return count ? store->ops->sync_types(store, types, count, err_r) : 0;
}

int store_sync_queues(struct store *store, const struct store_queue *queues, size_t count,
		      struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return count ? store->ops->sync_queues(store, queues, count, err_r) : 0;
}

int limits_sync(struct store *store, const struct limits_row *rows, size_t count,
		struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return count ? store->ops->limits_sync(store, rows, count, err_r) : 0;
}

int limits_set(struct store *store, const struct limits_row *row, const struct audit *audit,
	       struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return store->ops->limits_set(store, row, audit, err_r);
}

int limits_list(struct store *store, struct arena *arena, struct limits_view **views_r,
		size_t *count_r, struct error *err_r)
{
	*views_r = NULL;
	*count_r = 0;
	return store->ops->limits_list(store, arena, views_r, count_r, err_r);
}

int store_share_secret(struct store *store, const char *name, uint8_t secret[STORE_SECRET_BYTES],
		       struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return store->ops->share_secret(store, name, secret, err_r);
}

/* ---- acceptance, claim, completion */

int acceptance_commit(struct store *store, struct acceptance *const *requests, size_t count,
		      struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	for (size_t i = 0; i < count; i++) {
		CHECK((requests[i]->job_count > 0 && requests[i]->accepted) || requests[i]->chunk);
		CHECK(!requests[i]->idempotency_key || requests[i]->idempotency_scope);
	}
	int rc = count ? store->ops->acceptance_commit(store, requests, count, err_r) : 0;

	for (size_t i = 0; rc == 0 && i < count; i++)
		CHECK(requests[i]->verdict >= ACCEPTANCE_ACCEPTED &&
		      requests[i]->verdict <= ACCEPTANCE_FAILED);
	return rc;
}

int acceptance_probe(struct store *store, struct acceptance *const *requests, size_t count,
		     bool *stored_r, struct error *err_r)
{
	CHECK(count > 0);
	return store->ops->acceptance_probe(store, requests, count, stored_r, err_r);
}

static void claim_check(const struct claim_request *request)
{
	CHECK(request->max >= 1 && request->max <= 1000);
	CHECK(!uuid_is_nil(&request->session) && !uuid_is_nil(&request->batch));
}

int claim_take(struct store *store, const struct claim_request *request, struct arena *arena,
	       struct claim *claim_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	claim_check(request);
	*claim_r = (struct claim){ 0 };
	if (!request->queue_count)
		return 0;
	int rc = store->ops->claim_take(store, request, arena, claim_r, err_r);

	CHECK(claim_r->count <= request->max);
	return rc;
}

int completion_commit(struct store *store, const struct completion_batch *batch,
		      struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	CHECK(batch->mode == COMPLETION_OPTIMISTIC || batch->count <= 50);
	for (size_t i = 0; i < batch->count; i++) {
		const struct completion *item = batch->items[i];

		CHECK(item->job && item->writes.statement_count <= WRITE_SET_STATEMENTS_MAX);
		CHECK(item->kind != COMPLETION_FINISH || job_state_terminal(item->state));
		CHECK(item->kind != COMPLETION_STEP ||
		      (!item->step == !item->step_value && !item->job->source));
		CHECK(item->delay_ms >= 0 ||
		      (item->kind == COMPLETION_LATER && !item->job->source));
		CHECK(item->kind != COMPLETION_ADOPT ||
		      (!uuid_is_nil(&item->adopted) && !uuid_is_nil(&batch->session)));
		CHECK(item->kind != COMPLETION_NOTHING);
		CHECK(!item->target || (item->target->topic && item->target->key));
	}
	if (batch->claim)
		claim_check(batch->claim);
	*claim_r = (struct claim){ 0 };
	int rc = store->ops->completion_commit(store, batch, arena, claim_r, err_r);

	for (size_t i = 0; rc == 0 && i < batch->count; i++)
		CHECK(batch->items[i]->fate >= COMPLETION_COMMITTED &&
		      batch->items[i]->fate <= COMPLETION_FAILED);
	return rc;
}

int progress_save(struct store *store, const struct progress *items, size_t count,
		  struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return count ? store->ops->progress_save(store, items, count, err_r) : 0;
}

int reader_query(struct store *store, const struct sql_statement *statement, size_t bytes_max,
		 struct strbuf *out_r, struct error *err_r)
{
	CHECK(store->use == STORE_READ);
	return store->ops->reader_query(store, statement, bytes_max, out_r, err_r);
}

/* ---- brokers */

int admission_check(struct store *store, struct admission *items, size_t count, int64_t keep_ms,
		    struct error *err_r)
{
	for (size_t i = 0; i < count; i++) {
		items[i].verdict = 0;
		items[i].job = NULL;
	}
	int rc = count ? store->ops->admission_check(store, items, count, keep_ms, err_r) : 0;

	for (size_t i = 0; rc == 0 && i < count; i++) {
		bool dispatched = !uuid_is_nil(&items[i].batch);

		CHECK(items[i].verdict >= ADMISSION_RUN && items[i].verdict <= ADMISSION_BEHIND);
		CHECK((items[i].job != NULL) == (dispatched && items[i].verdict == ADMISSION_RUN));
	}
	return rc;
}

int dispatch_take(struct store *store, const struct dispatch_request *request, struct arena *arena,
		  struct claim *claim_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE && request->lease_ms > 0);
	CHECK(request->max >= 1 && request->max <= 1000);
	CHECK(!uuid_is_nil(&request->owner) && !uuid_is_nil(&request->batch));
	*claim_r = (struct claim){ 0 };
	return store->ops->dispatch_take(store, request, arena, claim_r, err_r);
}

int dispatch_return(struct store *store, const struct uuid *batch, const struct uuid *ids,
		    size_t count, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return count ? store->ops->dispatch_return(store, batch, ids, count, err_r) : 0;
}

int dispatch_survey(struct store *store, const struct uuid *owner, struct arena *arena,
		    struct dispatch_view **views_r, size_t *count_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	*views_r = NULL;
	*count_r = 0;
	return store->ops->dispatch_survey(store, owner, arena, views_r, count_r, err_r);
}

int outbox_read(struct store *store, const struct outbox_request *request, struct arena *arena,
		struct outbox_item **items_r, size_t *count_r, bool *held_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE && !uuid_is_nil(&request->holder));
	CHECK(request->hold_ms > 0 && request->max > 0);
	*items_r = NULL;
	*count_r = 0;
	*held_r = false;
	return store->ops->outbox_read(store, request, arena, items_r, count_r, held_r, err_r);
}

int outbox_delete(struct store *store, const int64_t *rows, size_t count, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return count ? store->ops->outbox_delete(store, rows, count, err_r) : 0;
}

int outbox_depth(struct store *store, int64_t *depth_r, struct error *err_r)
{
	*depth_r = 0;
	return store->ops->outbox_depth(store, depth_r, err_r);
}

int position_load(struct store *store, struct position *positions, size_t count,
		  struct error *err_r)
{
	for (size_t i = 0; i < count; i++)
		positions[i].offset = -1;
	return count ? store->ops->position_load(store, positions, count, err_r) : 0;
}

int position_save(struct store *store, const struct position *positions, size_t count,
		  struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return count ? store->ops->position_save(store, positions, count, err_r) : 0;
}

/* ---- control */

int control_cancel(struct store *store, const struct reach *reach, const struct uuid *id,
		   const char *reason, enum job_state *state_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return store->ops->control_cancel(store, reach, id, reason, state_r, err_r);
}

int control_resolve(struct store *store, const struct reach *reach, const struct uuid *id,
		    const struct call_verdict *verdict, enum job_state *state_r,
		    struct error *err_r)
{
	CHECK(store->use == STORE_WRITE && verdict->step);
	CHECK(verdict->status == RECEIPT_NOT_SENT ||
	      (verdict->status >= 100 && verdict->status < 600));
	return store->ops->control_resolve(store, reach, id, verdict, state_r, err_r);
}

int control_retry(struct store *store, const struct reach *reach, const struct uuid *id,
		  enum job_state *state_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return store->ops->control_retry(store, reach, id, state_r, err_r);
}

int control_redrive(struct store *store, const struct job_filter *filter, double rate_per_s,
		    bool dry_run, const struct audit *audit, int64_t *count_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	CHECK(!filter->state || filter->state == JOB_DISCARDED || filter->state == JOB_CANCELLED);
	*count_r = 0;
	return store->ops->control_redrive(store, filter, rate_per_s, dry_run, audit, count_r,
					   err_r);
}

int control_pause(struct store *store, const char *queue, bool paused, const struct audit *audit,
		  struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return store->ops->control_pause(store, queue, paused, audit, err_r);
}

int control_cancels(struct store *store, const struct uuid *ids, size_t count, bool *asked_r,
		    struct error *err_r)
{
	memset(asked_r, 0, count * sizeof(*asked_r));
	return count ? store->ops->control_cancels(store, ids, count, asked_r, err_r) : 0;
}

/* ---- queries */

int query_job(struct store *store, const struct reach *reach, const struct uuid *id,
	      struct arena *arena, struct job_view *view_r, struct error *err_r)
{
	return store->ops->query_job(store, reach, id, arena, view_r, err_r);
}

int query_jobs(struct store *store, const struct job_filter *filter, struct arena *arena,
	       struct job_view **views_r, size_t *count_r, struct error *err_r)
{
	CHECK(filter->limit >= 1 && filter->limit <= 1000);
	*count_r = 0;
	return store->ops->query_jobs(store, filter, arena, views_r, count_r, err_r);
}

int query_finished(struct store *store, const struct uuid *ids, size_t count, struct arena *arena,
		   bool *found_r, struct job_view *views_r, struct error *err_r)
{
	memset(found_r, 0, count * sizeof(*found_r));
	return count ? store->ops->query_finished(store, ids, count, arena, found_r, views_r, err_r)
		     : 0;
}

int query_views(struct store *store, const struct uuid *ids, size_t count, struct arena *arena,
		bool *found_r, struct job_view *views_r, int64_t *now_ms_r, struct error *err_r)
{
	CHECK(count > 0 && count <= 1000);
	memset(found_r, 0, count * sizeof(*found_r));
	return store->ops->query_views(store, ids, count, arena, found_r, views_r, now_ms_r, err_r);
}

int query_moved(struct store *store, const struct moved_filter *filter, struct uuid *ids_r,
		size_t *count_r, struct error *err_r)
{
	CHECK(filter->limit > 0 && filter->limit <= 10000);
	*count_r = 0;
	return store->ops->query_moved(store, filter, ids_r, count_r, err_r);
}

/* ---- endpoints */

int endpoint_disabled(struct store *store, struct arena *arena, struct endpoint_view **views_r,
		      size_t *count_r, struct error *err_r)
{
	*count_r = 0;
	return store->ops->endpoint_disabled(store, arena, views_r, count_r, err_r);
}

int endpoint_enable(struct store *store, const char *url, const struct audit *audit,
		    struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return store->ops->endpoint_enable(store, url, audit, err_r);
}

/* ---- pools */

static bool good_count(int n, int max)
{
	return n >= POOL_KEEP && n <= max;
}

int pool_scale(struct store *store, const struct pool_scale *scale, const struct audit *audit,
	       struct error *err_r)
{
	CHECK(store->use == STORE_WRITE && good_count(scale->workers, POOL_WORKERS_MAX) &&
	      good_count(scale->hosts, POOL_HOSTS_MAX));
	return store->ops->pool_scale(store, scale, audit, err_r);
}

int pool_list(struct store *store, struct arena *arena, struct pool_row **rows_r, size_t *count_r,
	      struct error *err_r)
{
	*count_r = 0;
	return store->ops->pool_list(store, arena, rows_r, count_r, err_r);
}

int pool_turn(struct store *store, const char *pool, int64_t every_ms, struct pool_turn *turn_r,
	      struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	*turn_r = (struct pool_turn){ .calm_ms = -1 };
	return store->ops->pool_turn(store, pool, every_ms, turn_r, err_r);
}

int pool_decide(struct store *store, const char *pool, bool calm, int workers,
		const struct audit *audit, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE && good_count(workers, POOL_WORKERS_MAX));
	return store->ops->pool_decide(store, pool, calm, workers, audit, err_r);
}

/* ---- audit */

int audit_list(struct store *store, const struct audit_filter *filter, struct arena *arena,
	       struct audit_view **views_r, size_t *count_r, struct error *err_r)
{
	CHECK(filter->limit >= 1 && filter->limit <= AUDIT_LIMIT_MAX);
	*count_r = 0;
	return store->ops->audit_list(store, filter, arena, views_r, count_r, err_r);
}

int query_queues(struct store *store, struct arena *arena, struct queue_view **queues_r,
		 size_t *count_r, struct error *err_r)
{
	*count_r = 0;
	return store->ops->query_queues(store, arena, queues_r, count_r, err_r);
}

int query_depth(struct store *store, const char *queue, int64_t *depth_r, struct error *err_r)
{
	*depth_r = 0;
	return store->ops->query_depth(store, queue, depth_r, err_r);
}

int query_sessions(struct store *store, bool broker, int64_t *count_r, struct error *err_r)
{
	*count_r = 0;
	return store->ops->query_sessions(store, broker, count_r, err_r);
}

int query_workers(struct store *store, struct arena *arena, struct worker_view **workers_r,
		  size_t *count_r, struct error *err_r)
{
	*count_r = 0;
	return store->ops->query_workers(store, arena, workers_r, count_r, err_r);
}

/* ---- sessions */

int session_renew(struct store *store, const struct session_info *info, bool *fresh_r,
		  struct error *err_r)
{
	CHECK(store->use == STORE_WRITE && info->host && info->lease_ms > 0 &&
	      !uuid_is_nil(&info->id));
	return store->ops->session_renew(store, info, fresh_r, err_r);
}

int session_report(struct store *store, const struct uuid *session, const char *targets,
		   struct error *err_r)
{
	CHECK(store->use == STORE_WRITE && targets);
	return store->ops->session_report(store, session, targets, err_r);
}

int session_figure(struct store *store, const struct uuid *session,
		   const struct session_figures *figures, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return store->ops->session_figure(store, session, figures, err_r);
}

int session_end(struct store *store, const struct uuid *session, int64_t *released_r,
		struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	*released_r = 0;
	return store->ops->session_end(store, session, released_r, err_r);
}

int session_sweep(struct store *store, const struct uuid *session, const struct uuid *known,
		  size_t known_count, int64_t *released_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	*released_r = 0;
	return store->ops->session_sweep(store, session, known, known_count, released_r, err_r);
}

int session_release_batch(struct store *store, const struct uuid *batch, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return store->ops->session_release_batch(store, batch, err_r);
}

/* ---- batch runs */

int batch_begin(struct store *store, const struct batch_new *batch, const struct audit *audit,
		struct uuid *id_r, bool *new_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE && batch->tenant && batch->owner && batch->definition);
	return store->ops->batch_begin(store, batch, audit, id_r, new_r, err_r);
}

int batch_take(struct store *store, const struct uuid *feeder, int64_t lease_ms,
	       struct arena *arena, struct batch_work *work_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE && lease_ms > 0);
	return store->ops->batch_take(store, feeder, lease_ms, arena, work_r, err_r);
}

int batch_leave(struct store *store, const struct uuid *id, const struct uuid *feeder,
		struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return store->ops->batch_leave(store, id, feeder, err_r);
}

int batch_list(struct store *store, const struct batch_filter *filter, struct arena *arena,
	       struct batch_view **views_r, size_t *count_r, struct error *err_r)
{
	CHECK(filter->limit > 0 && filter->limit <= BATCH_LIST_MAX);
	*count_r = 0;
	return store->ops->batch_list(store, filter, arena, views_r, count_r, err_r);
}

int batch_get(struct store *store, const struct reach *reach, const struct uuid *id,
	      struct arena *arena, struct batch_view *view_r, struct error *err_r)
{
	return store->ops->batch_get(store, reach, id, arena, view_r, err_r);
}

int batch_cancel(struct store *store, const struct reach *reach, const struct uuid *id,
		 const struct audit *audit, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return store->ops->batch_cancel(store, reach, id, audit, err_r);
}

int batch_retry(struct store *store, const struct reach *reach, const struct uuid *id,
		const struct audit *audit, int64_t *count_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	*count_r = 0;
	return store->ops->batch_retry(store, reach, id, audit, count_r, err_r);
}

int batch_sweep(struct store *store, struct arena *arena, struct batch_swept *swept_r,
		struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	*swept_r = (struct batch_swept){ 0 };
	return store->ops->batch_sweep(store, arena, swept_r, err_r);
}

/* ---- maintenance */

int chain_sweep(struct store *store, const struct uuid *ended, size_t count, struct arena *arena,
		struct chain_swept *swept_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE && count <= CHAIN_HINTS_MAX);
	*swept_r = (struct chain_swept){ 0 };
	return store->ops->chain_sweep(store, ended, count, arena, swept_r, err_r);
}

int maintenance_promote(struct store *store, int64_t *promoted_r, int64_t *next_ms_r,
			struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	*promoted_r = 0;
	*next_ms_r = -1;
	return store->ops->maintenance_promote(store, promoted_r, next_ms_r, err_r);
}

int maintenance_release(struct store *store, int64_t *released_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	*released_r = 0;
	return store->ops->maintenance_release(store, released_r, err_r);
}

int maintenance_fold(struct store *store, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return store->ops->maintenance_fold(store, err_r);
}

int maintenance_retention(struct store *store, int64_t keep_ms, int64_t keep_dead_ms,
			  struct error *err_r)
{
	CHECK(store->use == STORE_WRITE && keep_ms > 0 && keep_dead_ms >= keep_ms);
	return store->ops->maintenance_retention(store, keep_ms, keep_dead_ms, err_r);
}

/* ---- the bell */

struct bell *bell_open(const char *url, unsigned listen, struct error *err_r)
{
	int kind = kind_of(url, err_r);

	return kind < 0 ? NULL : kinds[kind].bell->open(url, listen, err_r);
}

void bell_close(struct bell **bell)
{
	if (!*bell)
		return;
	(*bell)->ops->close(*bell);
	*bell = NULL;
}

int bell_wait(struct bell *bell, int timeout_ms, struct bell_event *event_r)
{
	*event_r = (struct bell_event){ 0 };
	return bell->ops->wait(bell, timeout_ms, event_r);
}

void bell_wake(struct bell *bell)
{
	bell->ops->wake(bell);
}

#define BELL_PLAIN (BELL_READY | BELL_ENDED | BELL_CANCEL | BELL_PAUSE | BELL_SCALE)

void bell_ring(struct bell *bell, unsigned what)
{
	CHECK(what && !(what & ~(unsigned)BELL_PLAIN));
	bell->ops->ring(bell, what);
}

void bell_ring_ended(struct bell *bell, const struct uuid *ids, size_t count)
{
	if (count)
		bell->ops->ring_ids(bell, BELL_ENDED, ids, count);
}

void bell_ring_moved(struct bell *bell, const struct uuid *ids, size_t count)
{
	if (count && bell->ops->watched(bell))
		bell->ops->ring_ids(bell, BELL_MOVED, ids, count);
}

void bell_watch(struct bell *bell)
{
	bell->ops->watch(bell);
}

bool bell_watched(const struct bell *bell)
{
	return bell->ops->watched(bell);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* For implementers of a store only: the ops that store.c dispatches to. Contracts are in the noun
 * headers. */
#ifndef COMMON_STORE_STORE_IMPL_H
#define COMMON_STORE_STORE_IMPL_H
#include "common/store/acceptance.h"
#include "common/store/admission.h"
#include "common/store/audit.h"
#include "common/store/batch.h"
#include "common/store/bell.h"
#include "common/store/chain.h"
#include "common/store/claim.h"
#include "common/store/completion.h"
#include "common/store/control.h"
#include "common/store/dispatch.h"
#include "common/store/endpoint.h"
#include "common/store/limits.h"
#include "common/store/maintenance.h"
#include "common/store/outbox.h"
#include "common/store/pool.h"
#include "common/store/position.h"
#include "common/store/query.h"
#include "common/store/schedule.h"
#include "common/store/session.h"
#include "common/store/store.h"

/* schedule.h */
struct schedule_ops {
	int (*clock)(struct store *, int64_t *, struct error *);
	int (*find)(struct store *, const char *tenant, const char *name, struct arena *,
		    struct schedule_view *, struct error *);
	int (*list)(struct store *, const char *tenant, const char *after, size_t, struct arena *,
		    struct schedule_view **, size_t *, struct error *);
	int (*put)(struct store *, const struct schedule_new *, bool create, const struct audit *,
		   bool *created_r, struct error *);
	int (*remove)(struct store *, const char *, const struct audit *, struct error *);
	int (*pause)(struct store *, const char *, int64_t version, bool paused, int64_t next_ms,
		     const struct audit *, struct error *);
	int (*sync)(struct store *, const struct schedule_new *, size_t, size_t *changed_r,
		    struct error *);
	int (*due)(struct store *, const struct schedule_due *, struct arena *,
		   struct schedule_view **, size_t *, int64_t *now_ms_r, int64_t *soonest_ms_r,
		   struct error *);
	int (*fire)(struct store *, struct schedule_fire *const *, size_t, struct error *);
	int (*runs)(struct store *, const char *, int64_t before_ms, size_t, struct arena *,
		    struct schedule_run_view **, size_t *, struct error *);
};

struct store_ops {
	const char *scheme; /* "sqlite", "postgresql" */
	int (*open)(const char *url, enum store_use use, const char *role, struct store **store_r,
		    struct error *err_r);
	void (*close)(struct store *store);
	int (*ping)(struct store *, struct error *);
	int (*migrate)(struct store *, int *applied_r, struct error *);
	int (*schema)(struct store *, int *have_r, int *want_r, struct error *);
	int (*sync_types)(struct store *, const struct store_type *, size_t, struct error *);
	int (*sync_queues)(struct store *, const struct store_queue *, size_t, struct error *);
	int (*limits_sync)(struct store *, const struct limits_row *, size_t, struct error *);
	int (*limits_set)(struct store *, const struct limits_row *, const struct audit *,
			  struct error *);
	int (*limits_list)(struct store *, struct arena *, struct limits_view **, size_t *,
			   struct error *);
	int (*share_secret)(struct store *, const char *, uint8_t[STORE_SECRET_BYTES],
			    struct error *);

	int (*acceptance_commit)(struct store *, struct acceptance *const *, size_t,
				 struct error *);
	int (*acceptance_probe)(struct store *, struct acceptance *const *, size_t, bool *,
				struct error *);
	int (*claim_take)(struct store *, const struct claim_request *, struct arena *,
			  struct claim *, struct error *);
	int (*completion_commit)(struct store *, const struct completion_batch *, struct arena *,
				 struct claim *, struct error *);
	int (*progress_save)(struct store *, const struct progress *, size_t, struct error *);
	int (*reader_query)(struct store *, const struct sql_statement *, size_t, struct strbuf *,
			    struct error *);

	int (*admission_check)(struct store *, struct admission *, size_t, int64_t, struct error *);
	int (*dispatch_take)(struct store *, const struct dispatch_request *, struct arena *,
			     struct claim *, struct error *);
	int (*dispatch_return)(struct store *, const struct uuid *, const struct uuid *, size_t,
			       struct error *);
	int (*dispatch_survey)(struct store *, const struct uuid *, struct arena *,
			       struct dispatch_view **, size_t *, struct error *);
	int (*outbox_read)(struct store *, const struct outbox_request *, struct arena *,
			   struct outbox_item **, size_t *, bool *, struct error *);
	int (*outbox_delete)(struct store *, const int64_t *, size_t, struct error *);
	int (*outbox_depth)(struct store *, int64_t *, struct error *);
	int (*endpoint_disabled)(struct store *, struct arena *, struct endpoint_view **, size_t *,
				 struct error *);
	int (*endpoint_enable)(struct store *, const char *, const struct audit *, struct error *);
	int (*audit_list)(struct store *, const struct audit_filter *, struct arena *,
			  struct audit_view **, size_t *, struct error *);
	int (*pool_scale)(struct store *, const struct pool_scale *, const struct audit *,
			  struct error *);
	int (*pool_list)(struct store *, struct arena *, struct pool_row **, size_t *,
			 struct error *);
	int (*pool_turn)(struct store *, const char *, int64_t, struct pool_turn *, struct error *);
	int (*pool_decide)(struct store *, const char *, bool, int, const struct audit *,
			   struct error *);
	int (*position_load)(struct store *, struct position *, size_t, struct error *);
	int (*position_save)(struct store *, const struct position *, size_t, struct error *);

	int (*control_cancel)(struct store *, const struct reach *, const struct uuid *,
			      const char *, enum job_state *, struct error *);
	int (*control_retry)(struct store *, const struct reach *, const struct uuid *,
			     enum job_state *, struct error *);
	int (*control_resolve)(struct store *, const struct reach *, const struct uuid *,
			       const struct call_verdict *, enum job_state *, struct error *);
	int (*control_redrive)(struct store *, const struct job_filter *, double, bool,
			       const struct audit *, int64_t *, struct error *);
	int (*control_pause)(struct store *, const char *, bool, const struct audit *,
			     struct error *);
	int (*control_cancels)(struct store *, const struct uuid *, size_t, bool *, struct error *);

	int (*query_job)(struct store *, const struct reach *, const struct uuid *, struct arena *,
			 struct job_view *, struct error *);
	int (*query_jobs)(struct store *, const struct job_filter *, struct arena *,
			  struct job_view **, size_t *, struct error *);
	int (*query_finished)(struct store *, const struct uuid *, size_t, struct arena *, bool *,
			      struct job_view *, struct error *);
	int (*query_views)(struct store *, const struct uuid *, size_t, struct arena *, bool *,
			   struct job_view *, int64_t *, struct error *);
	int (*query_moved)(struct store *, const struct moved_filter *, struct uuid *, size_t *,
			   struct error *);
	int (*query_queues)(struct store *, struct arena *, struct queue_view **, size_t *,
			    struct error *);
	int (*query_depth)(struct store *, const char *, int64_t *, struct error *);
	int (*query_sessions)(struct store *, bool, int64_t *, struct error *);
	int (*query_workers)(struct store *, struct arena *, struct worker_view **, size_t *,
			     struct error *);

	int (*session_renew)(struct store *, const struct session_info *, bool *, struct error *);
	int (*session_report)(struct store *, const struct uuid *, const char *, struct error *);
	int (*session_figure)(struct store *, const struct uuid *, const struct session_figures *,
			      struct error *);
	int (*session_end)(struct store *, const struct uuid *, int64_t *, struct error *);
	int (*session_sweep)(struct store *, const struct uuid *, const struct uuid *, size_t,
			     int64_t *, struct error *);
	int (*session_release_batch)(struct store *, const struct uuid *, struct error *);

	int (*batch_begin)(struct store *, const struct batch_new *, const struct audit *,
			   struct uuid *, bool *, struct error *);
	int (*batch_take)(struct store *, const struct uuid *, int64_t, struct arena *,
			  struct batch_work *, struct error *);
	int (*batch_leave)(struct store *, const struct uuid *, const struct uuid *,
			   struct error *);
	int (*batch_list)(struct store *, const struct batch_filter *, struct arena *,
			  struct batch_view **, size_t *, struct error *);
	int (*batch_get)(struct store *, const struct reach *, const struct uuid *, struct arena *,
			 struct batch_view *, struct error *);
	int (*batch_cancel)(struct store *, const struct reach *, const struct uuid *,
			    const struct audit *, struct error *);
	int (*batch_retry)(struct store *, const struct reach *, const struct uuid *,
			   const struct audit *, int64_t *, struct error *);
	int (*batch_sweep)(struct store *, struct arena *, struct batch_swept *, struct error *);
	int (*chain_sweep)(struct store *, const struct uuid *, size_t, struct arena *,
			   struct chain_swept *, struct error *);
	const struct schedule_ops *schedule;

	int (*maintenance_promote)(struct store *, int64_t *, int64_t *, struct error *);
	int (*maintenance_release)(struct store *, int64_t *, struct error *);
	int (*maintenance_fold)(struct store *, struct error *);
	int (*maintenance_retention)(struct store *, int64_t, int64_t, struct error *);
};

struct bell_ops {
	const char *scheme;
	struct bell *(*open)(const char *url, unsigned listen, struct error *err_r);
	void (*close)(struct bell *);
	int (*wait)(struct bell *, int timeout_ms, struct bell_event *);
	void (*wake)(struct bell *);
	void (*ring)(struct bell *, unsigned what);
	void (*ring_ids)(struct bell *, unsigned what, const struct uuid *, size_t);
	void (*watch)(struct bell *);
	bool (*watched)(const struct bell *);
};

/* Every implementation's struct begins with these. */
struct store {
	const struct store_ops *ops;
	enum store_use use;
	char label[256];
};
struct bell {
	const struct bell_ops *ops;
};

extern const struct store_ops postgres_store_ops, sqlite_store_ops;
extern const struct bell_ops postgres_bell_ops, sqlite_bell_ops;

#endif

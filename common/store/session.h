/* SPDX-License-Identifier: Apache-2.0 */
/* Worker sessions: who holds leases. A session is alive while it is renewed; the leases of one that
 * is not are released by anybody's maintenance. The database's clock decides. */
#ifndef COMMON_STORE_SESSION_H
#define COMMON_STORE_SESSION_H
#include "common/base/uuid.h"
#include "common/store/store.h"

struct session_info {
	struct uuid id;
	const char *host;
	int pid;
	int64_t lease_ms;
	bool broker;             /* it takes its jobs from a broker, not from the store */
	const char *pool, *node; /* whose it is, and where; NULL: none */
};
/* Makes or renews it: until = now + lease_ms. *fresh_r: it had to be made (at the start, or because
 * it had run out and its leases were released meanwhile). */
int session_renew(struct store *store, const struct session_info *info, bool *fresh_r,
		  struct error *err_r) must_check;
/* What it says of itself, for people: its targets as a JSON array. Nothing happens to a session
 * that is gone. */
int session_report(struct store *store, const struct uuid *session, const char *targets,
		   struct error *err_r) must_check;
/* How it goes, for autoscalers and people. */
struct session_figures {
	int hosts;         /* that it may have */
	int busy;          /* of these */
	double rate_per_s; /* jobs that have ended here lately */
	bool leaving;      /* it takes no more */
};
int session_figure(struct store *store, const struct uuid *session,
		   const struct session_figures *figures, struct error *err_r) must_check;
/* Ends it: the jobs of its leases that have no completion row go back to ready (hand-out counted in
 * attempt, not as a failure). Also for a predecessor that died. Repeating is harmless. */
int session_end(struct store *store, const struct uuid *session, int64_t *released_r,
		struct error *err_r) must_check;
/* Releases those leases of the session that are not among `known` and older than 10 s by the
 * store's clock: orphans of a claim whose COMMIT got lost. */
int session_sweep(struct store *store, const struct uuid *session, const struct uuid *known,
		  size_t known_count, int64_t *released_r, struct error *err_r) must_check;
/* Releases one lease at once (a claim whose COMMIT was not answered). */
int session_release_batch(struct store *store, const struct uuid *batch,
			  struct error *err_r) must_check;

#endif

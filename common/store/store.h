/* SPDX-License-Identifier: Apache-2.0 */
/* The store: PostgreSQL or SQLite, the single source of truth. A `struct store` is one connection;
 * it belongs to one thread at a time and every call blocks. What can be asked of it is in one small
 * header per noun: acceptance.h admission.h audit.h claim.h completion.h control.h dispatch.h
 * outbox.h pool.h position.h endpoint.h schedule.h session.h maintenance.h query.h; the
 * implementations are joined by store_impl.h.
 *
 * A connection that broke is opened again by the next operation. An operation that could not reach
 * the store fails with ERROR_UNAVAILABLE (nothing was done, for certain) or, when a COMMIT was sent
 * and not answered, with ERROR_UNKNOWN. Every operation here may be repeated after ERROR_UNKNOWN:
 * it is idempotent by ids, completion rows or leases, as its comment says. */
#ifndef COMMON_STORE_STORE_H
#define COMMON_STORE_STORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

struct store;

enum store_use {
	STORE_WRITE, /* the engine's own operations */
	STORE_READ,  /* handler reads: the connection is read only, whatever the SQL says */
};

/* Opens url ("sqlite:PATH" or "postgresql://…"). `role` becomes application_name. Connect time-out
 * 5 s; PostgreSQL: tcp_user_timeout and keepalives detect a dead peer within 15 s;
 * statement_timeout 5 s, lock_timeout 100 ms, search_path pinned, plans pinned. 0, or -1:
 * ERROR_INVALID (bad URL), ERROR_UNAVAILABLE. The schema is not checked: see store_schema. */
int store_open(const char *url, enum store_use use, const char *role, struct store **store_r,
	       struct error *err_r) must_check;
void store_close(struct store **store); /* NULL-safe */
int store_ping(struct store *store, struct error *err_r) must_check;
bool store_is_sqlite(const struct store *store);
/* "postgresql://user@host:5432/db" or "sqlite:path", without password or query string, for logs.
 * Static per store. */
const char *store_label(const struct store *store);

/* Applies the numbered migrations that are missing, each in a transaction, all under a lock
 * (advisory lock; SQLite: the shared mutex), so any number of processes may call it at once.
 * *applied_r: how many. ERROR_INVALID: a newer Windlass has been at it, nothing is touched. */
int store_migrate(struct store *store, int *applied_r, struct error *err_r) must_check;
/* *have_r and *want_r: schema number found (0: none) and needed. */
int store_schema(struct store *store, int *have_r, int *want_r, struct error *err_r) must_check;

/* The registry of job types, for windlass.enqueue() in SQL and for on_discard inside the store's
 * transactions. */
struct store_type {
	const char *name;
	const char *queue;
	int priority;           /* enum job_priority */
	const char *on_discard; /* type name, or NULL */
	const char *hooks;      /* webhook_hooks_text, or NULL */
};
/* Inserts or updates these types (never removes: another version may still serve the others). */
int store_sync_types(struct store *store, const struct store_type *types, size_t count,
		     struct error *err_r) must_check;
/* What the store has to know of queues: which are ordered (order: key). A queue is a name, so those
 * that are not told are not ordered. Inserts or updates these; whether a queue is paused stays. */
struct store_queue {
	const char *name;
	/* at most one job of an order_key at a time, in the order of acceptance */
	bool ordered;
};
int store_sync_queues(struct store *store, const struct store_queue *queues, size_t count,
		      struct error *err_r) must_check;

#define STORE_SECRET_BYTES 32
/* Makes this the secret of that name, unless the store has one: then that one is put in its place.
 * So all processes that ask get the same. */
int store_share_secret(struct store *store, const char *name, uint8_t secret[STORE_SECRET_BYTES],
		       struct error *err_r) must_check;

#endif

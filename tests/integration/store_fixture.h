/* SPDX-License-Identifier: Apache-2.0 */
/* What the store suites share: a fresh, migrated store for every case on every kind of store there
 * is (a new SQLite file; PostgreSQL when TEST_POSTGRES_URL is set, where the schema windlass and
 * the table effects are dropped first), and short words for what workers and clients do. A word
 * without a failure in its name fails the case when the store fails. */
#ifndef TESTS_INTEGRATION_STORE_FIXTURE_H
#define TESTS_INTEGRATION_STORE_FIXTURE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/strbuf.h"
#include "common/store/acceptance.h"
#include "common/store/bell.h"
#include "common/store/claim.h"
#include "common/store/completion.h"
#include "common/store/control.h"
#include "common/store/maintenance.h"
#include "common/store/query.h"
#include "common/store/session.h"
#include "common/store/store.h"
#include "tests/integration/pause.h"

struct fixture {
	const char *url;
	char folder[64], file_url[128]; /* SQLite's */
	struct store *store, *other; /* two connections: two workers, or a worker and a gateway */
	struct store *reader;
	struct arena *arena;
	struct uuid session, rival; /* live sessions */
	struct error error;
	struct claimed_job **held; /* freed at the end */
	size_t held_count;
	void (*run)(struct fixture *fx); /* the case */
};

/* Runs every case on every store, under the names case.sqlite and case.postgresql. */
struct store_case {
	const char *name;
	void (*run)(struct fixture *fx);
};
int store_cases_run(const char *suite, const struct store_case *cases, size_t count);
int sqlite_cases_run(const char *suite, const struct store_case *cases,
		     size_t count); /* on SQLite only */
int postgres_cases_run(const char *suite, const struct store_case *cases,
		       size_t count); /* on PostgreSQL only */

/* A job with its own id, queue "q", priority normal, payload {}. */
struct new_job a_job(const char *type);
struct acceptance a_request(struct fixture *fx, struct new_job *jobs, size_t count);
struct accepted_job accept_job(struct fixture *fx, struct new_job job);
/* Commits one request and returns its verdict. */
enum acceptance_verdict accept_request(struct fixture *fx, struct acceptance *request);

struct claim claim_as(struct fixture *fx, struct store *store, const struct uuid *session,
		      const char *queue, size_t max);
struct claim claim_some(struct fixture *fx, size_t max); /* from "q", for fx->session */
struct claimed_job *claim_one(struct fixture *fx);       /* there must be one */
struct claimed_job *claim_this(struct fixture *fx,
			       const struct uuid *id); /* exactly this one must come */
void renew(struct fixture *fx, const struct uuid *session, int64_t lease_ms);
void hold(struct fixture *fx,
	  const struct claim *claim); /* frees its jobs at the end of the case */

struct completion a_finish(const struct claimed_job *job, enum job_state state);
struct completion a_retry(const struct claimed_job *job, int64_t delay_ms);
struct completion a_step(const struct claimed_job *job, const char *step, const char *value);
/* One statement as the write set of a completion; lives in fx->arena. NULL arguments end the list
 * of texts. */
void with_write(struct fixture *fx, struct completion *item, int64_t rows, const char *sql,
		const char *arg1, const char *arg2);
/* "INSERT INTO effects VALUES (<job's id>, <what>)" */
void with_effect(struct fixture *fx, struct completion *item, const char *what);

/* Commits these items; rc is the store's, the error is in fx->error. */
int commit_items(struct fixture *fx, struct store *store, enum completion_mode mode,
		 struct completion *items, size_t count);
/* One item in optimistic mode; returns its fate. */
enum completion_fate commit_one(struct fixture *fx, struct completion *item);
void finish_job(struct fixture *fx, const struct claimed_job *job,
		enum job_state state); /* must be COMMITTED */

enum job_state state_of(struct fixture *fx, const struct uuid *id);
struct job_view view_of(struct fixture *fx, const struct uuid *id);
struct queue_view queue_of(struct fixture *fx, const char *name);
/* The first column of the first row, as JSON text: "3", "\"abc\"", "null". In fx->arena. */
const char *read_value(struct fixture *fx, const char *sql);
int64_t effects(struct fixture *fx,
		const char *what); /* rows of effects with this text; NULL: all */
void promote(struct fixture *fx, int64_t want);

#define check_store(fx, rc)                                                               \
	do {                                                                              \
		if (rc)                                                                   \
			fail_msg("%s:%d: %s: %s", __FILE__, __LINE__,                     \
				 error_code_name((fx)->error.code), (fx)->error.message); \
	} while (0)
#define assert_uuid(got, want)                                                                     \
	do {                                                                                       \
		char got_text[UUID_TEXT], want_text[UUID_TEXT];                                    \
		assert_string_equal(uuid_format((got), got_text), uuid_format((want), want_text)); \
	} while (0)

#endif

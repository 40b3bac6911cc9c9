/* SPDX-License-Identifier: Apache-2.0 */
/* Short words for what dispatchers and workers of a broker do to a store; the suites about brokers
 * share them. A word fails the case when the store fails. */
#ifndef TESTS_INTEGRATION_STORE_BROKER_WORDS_H
#define TESTS_INTEGRATION_STORE_BROKER_WORDS_H
#include "common/store/admission.h"
#include "common/store/dispatch.h"
#include "tests/integration/store_fixture.h"

#define KEEP_MS (7 * 24 * 3600 * 1000LL)

extern const struct uuid broker; /* owner of its leases */

struct claim dispatch_some(struct fixture *fx, const char *queue, size_t max, int64_t lease_ms);
struct claimed_job *dispatch_one(struct fixture *fx);   /* of "q"; there must be one */
struct claimed_job *dispatched_job(struct fixture *fx); /* a new one */
int64_t jobs_out(struct fixture *fx, const char *queue);

void admit_all(struct fixture *fx, struct admission *items, size_t count);
enum admission_verdict admit_one(struct fixture *fx, struct admission item);
enum admission_verdict admit_foreign(struct fixture *fx, const struct uuid *id);
struct admission delivery(const struct claimed_job *job); /* of a dispatched one */

/* A message of somebody else, as a subscriber makes a job of it; every take has a batch id. */
struct claimed_job *a_message(struct fixture *fx, const struct uuid *id);
struct claimed_job *new_message(struct fixture *fx);

struct completion an_adoption(const struct claimed_job *job);
/* As commit_one, for fx->session. */
enum completion_fate adopt(struct fixture *fx, enum completion_mode mode, struct completion *item);

void release_leases(struct fixture *fx, int64_t want);
size_t listed(struct fixture *fx, enum job_state state); /* jobs of type "mail" in "q" */
bool cancel_asked(struct fixture *fx, const struct uuid *id);
enum job_state cancel_job(struct fixture *fx, const struct uuid *id);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls, and what that one may do: made of a key's line (keyring.h) or of a token's claims
 * (jwt.h), the same ever after. Scopes are written verb[:pattern][+queue=pattern]: `read`,
 * `enqueue:order.*`, `cancel:queue=orders`, `enqueue:order.*+queue=orders`; a bare verb is for
 * every type and queue; several of one verb add up. */
#ifndef PRODUCERS_GATEWAY_CALLER_H
#define PRODUCERS_GATEWAY_CALLER_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/uuid.h"
#include "common/store/reach.h"

/* bits */
enum scope {
	SCOPE_NONE = 0,
	SCOPE_ENQUEUE = 1,
	SCOPE_READ = 2,
	SCOPE_CANCEL = 4,
	SCOPE_RETRY = 8, /* retry and redrive */
	/* all of these in the own tenant; of a key without tenant: everything */
	SCOPE_ADMIN = 16,
};

#define CALLER_RULES_MAX 32 /* of one verb */
#define CALLER_VERBS     4

struct caller_rules {
	struct reach_rule *rules; /* NULL: every type and queue, if the scope is there at all */
	size_t count;
	bool every;
};

struct caller_limits { /* 0: none */
	double rate_per_s;
	double burst; /* requests at once; at least 1 where there is a rate */
	int64_t waiting_max;
};

struct caller {
	_Atomic int refs;    /* 0: static, lives for ever */
	struct arena *arena; /* of everything below */
	const char *id;      /* becomes the owner of jobs */
	const char *tenant;  /* "" : the default tenant */
	unsigned scopes;
	struct caller_rules rules[CALLER_VERBS]; /* by the bit's number */
	bool own_only;                           /* sees and touches only jobs that it owns */
	bool everywhere; /* sees all tenants, pauses queues, reads metrics */
	struct caller_limits limits;
	struct uuid account; /* tenant and id, hashed: whose rate and quota it is */
};

struct caller *caller_new(void); /* one reference, nothing allowed */
const struct caller *caller_ref(const struct caller *caller);
void caller_unref(const struct caller **caller); /* NULL-safe; leaves NULL */
/* Adds one scope. 0, 1: not a verb of ours (nothing added), -1: a verb with a wrong pattern. */
int caller_grant(struct caller *caller, const char *scope, struct error *err_r) must_check;
/* After id, tenant and scopes are set. */
void caller_seal(struct caller *caller);
/* Who calls when nobody needs a key: everything is allowed, on loopback. */
const struct caller *caller_anybody(void);
/* Who has the watch token of a job: it reads what the id names. */
const struct caller *caller_watcher(void);

bool caller_may(const struct caller *caller, enum scope scope);
bool caller_may_enqueue(const struct caller *caller, const char *type, const char *queue);
/* NULL fits all. */
bool caller_pattern_fits(const char *pattern, const char *name);
/* Does it read every job of its tenant, or more? */
bool caller_reads_all(const struct caller *caller);
/* The jobs to which this scope applies, for store queries; its strings are the caller's. */
struct reach caller_reach(const struct caller *caller, enum scope scope);
/* Those of a job that this caller has just enqueued: it may see how it goes. */
struct reach caller_own_reach(const struct caller *caller);

#endif

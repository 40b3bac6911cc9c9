/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics: counters, gauges and histograms in shared memory, one slot per process, summed when they
 * are scraped. Under `run` the supervisor makes the mapping (a memfd inherited by its children), so
 * the gateway's /metrics shows the whole tree and a respawned process goes on in its slot. */
#ifndef COMMON_SERVICE_METRICS_H
#define COMMON_SERVICE_METRICS_H
#include <stdint.h>

#include "common/base/check.h"
#include "common/base/strbuf.h"

/* one row each in metrics.c: Prometheus name, kind, label names, help */
enum metric {
	METRIC_JOBS_ACCEPTED, /* counter {type} */
	/* counter {type, outcome}: attempts by outcome (done retry crashed discard snooze cancelled
	   released lost) */
	METRIC_JOBS_FINISHED,
	METRIC_JOBS_IN_FLIGHT,       /* gauge */
	METRIC_HOSTS,                /* gauge {state}: busy idle */
	METRIC_STAGE_SECONDS,        /* histogram {stage}: accept queue_wait handler commit total */
	METRIC_COMMIT_BATCH,         /* histogram of jobs a commit; {kind}: accept complete */
	METRIC_STORE_ERRORS,         /* counter {code} */
	METRIC_COMMIT_RETRIES,       /* counter {why}: sql contention unknown lost unmet */
	METRIC_HTTP_REQUESTS,        /* counter {route, status} */
	METRIC_HTTP_SECONDS,         /* histogram {route} */
	METRIC_HTTP_CONNECTIONS,     /* gauge */
	METRIC_CERTIFICATE_ENDS,     /* gauge: Unix time; 0: no TLS */
	METRIC_WAITERS,              /* gauge */
	METRIC_WATCHERS,             /* gauge */
	METRIC_WATCH_EVENTS,         /* counter: put into queues of watchers */
	METRIC_WATCH_ENDS,           /* counter {why}: over overrun unknown gone away drain */
	METRIC_WATCH_SECONDS,        /* histogram: from hearing of a move to its events */
	METRIC_CALLS,                /* counter {fate} */
	METRIC_HOST_DEATHS,          /* counter {why}: crashed timeout protocol */
	METRIC_QUEUE_DEPTH,          /* gauge {queue, state}: set at scrape by the gateway */
	METRIC_QUEUE_OLDEST_SECONDS, /* gauge {queue} */
	METRIC_LOG_DROPPED,          /* counter */
	METRIC_POOL_WORKERS, /* gauge {pool, state}: wanted running leaving; set by the gateway */
	METRIC_POOL_HOSTS,   /* gauge {pool, state}: busy idle; of all nodes; set by the gateway */
	METRIC_DISPATCHED,   /* counter {queue}: jobs that the broker has confirmed */
	METRIC_DISPATCH_RETURNED, /* counter {queue}: not confirmed, back in the store */
	METRIC_RESULTS_PUBLISHED, /* counter */
	METRIC_OUTBOX_DEPTH,      /* gauge: set at scrape by the gateway */
	METRIC_BROKER_CONNECTED,  /* gauge {side}: publish consume; connections that are up */
	METRIC_BROKER_RECONNECTS, /* counter {side} */
	/* counter {source, verdict}: run known refused returned; source: its name, or "queue:" and
	   the queue's */
	METRIC_DELIVERIES,
	METRIC_SOURCE_LAG, /* gauge {source, partition}: messages not yet taken */
	/* counter {target, outcome}: answered failed aborted; undeclared: other */
	METRIC_TARGET_CALLS,
	METRIC_TARGET_HELD,      /* counter {target} */
	METRIC_TARGET_IN_FLIGHT, /* gauge {target} */
	METRIC_TARGET_BREAKER,   /* gauge {target}: 0 closed, 1 open, 2 half open */
	METRIC_TARGET_SECONDS,   /* histogram {target} */
	METRIC_DOOR_REQUESTS,    /* counter {door, status}: what doors beside REST have asked */
	METRIC_GRAPHQL,          /* counter {operation, outcome} */
	/* counter {method, code}: gRPC calls ended, with gRPC's code */
	METRIC_GRPC_CALLS,
	METRIC_GRPC_SECONDS,     /* histogram {method} */
	METRIC_GRPC_CONNECTIONS, /* gauge */
	METRIC_GRPC_STREAMS,     /* gauge: calls that have not ended */
	METRIC_GRPC_CUT,         /* counter {why}: idle flood handshake head not-http2 protocol */
	METRIC_WS_SOCKETS,       /* gauge */
	METRIC_WS_MESSAGES,      /* counter {direction}: in out */
	METRIC_WS_CLOSED,        /* counter {why}: client lost drain slow silent protocol … */
	METRIC_SCHEDULE_TICKS,   /* counter {outcome}: run passed_over refused */
	METRIC_SCHEDULE_LATE,    /* histogram */
	METRIC_COUNT
};

struct metrics;
struct metric_series; /* one label combination of one metric in this process's slot */

/* Opens the inherited mapping (WINDLASS_METRICS_FD) and takes a free slot for `role`, or makes a
 * private mapping. Never fails for weather. */
struct metrics *metrics_open(const char *role);
void metrics_close(struct metrics **metrics);
/* For the supervisor: makes the mapping; returns the fd to be inherited. */
int metrics_create(void);

/* Finds or makes a series; labels NULL when the metric has fewer. Cheap enough per batch, cache it
 * per job type. Beyond the table's size everything lands in a series with the label "other". Any
 * thread. */
struct metric_series *metrics_series(struct metrics *metrics, enum metric metric,
				     const char *label1, const char *label2);
void metric_add(struct metric_series *series, uint64_t n);       /* counter; any thread */
void metric_set(struct metric_series *series, double value);     /* gauge */
void metric_move(struct metric_series *series, int64_t delta);   /* gauge */
void metric_observe(struct metric_series *series, double value); /* histogram */
/* Counts the lines that this process's log has lost since the last time. A role does it once in a
 * while; rendering and closing do. */
void metrics_count_log(struct metrics *metrics);
/* The sum of a gauge's series in all living processes. */
double metrics_gauge(struct metrics *metrics, enum metric metric);
/* Prometheus text format 0.0.4 of all slots, summed (gauges of dead processes left out). */
void metrics_render(struct metrics *metrics, struct strbuf *out);
uint64_t metric_value(const struct metric_series *series); /* counters, for tests and readiness */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The table of metrics: name, kind, labels, help; the order is that of enum metric and of the page
 * that Prometheus gets. */
#include "common/service/metrics_rows.h"

const struct metric_row metric_rows[METRIC_COUNT] = {
	[METRIC_JOBS_ACCEPTED] = { "windlass_jobs_accepted_total", METRIC_COUNTER, "type", NULL,
				   "Jobs accepted." },
	[METRIC_JOBS_FINISHED] = { "windlass_jobs_finished_total", METRIC_COUNTER, "type",
				   "outcome", "Attempts ended." },
	[METRIC_JOBS_IN_FLIGHT] = { "windlass_jobs_in_flight", METRIC_GAUGE, NULL, NULL,
				    "Jobs in the hands of workers." },
	[METRIC_HOSTS] = { "windlass_hosts", METRIC_GAUGE, "state", NULL, "Handler processes." },
	[METRIC_STAGE_SECONDS] = { "windlass_stage_seconds", METRIC_TIMES, "stage", NULL,
				   "Time spent in each stage of a job." },
	[METRIC_COMMIT_BATCH] = { "windlass_commit_batch_jobs", METRIC_SIZES, "kind", NULL,
				  "Jobs in a commit." },
	[METRIC_STORE_ERRORS] = { "windlass_store_errors_total", METRIC_COUNTER, "code", NULL,
				  "Store operations that failed." },
	[METRIC_COMMIT_RETRIES] = { "windlass_commit_retries_total", METRIC_COUNTER, "why", NULL,
				    "Commits done again." },
	[METRIC_HTTP_REQUESTS] = { "windlass_http_requests_total", METRIC_COUNTER, "route",
				   "status", "HTTP requests answered." },
	[METRIC_HTTP_SECONDS] = { "windlass_http_seconds", METRIC_TIMES, "route", NULL,
				  "Time to answer an HTTP request." },
	[METRIC_HTTP_CONNECTIONS] = { "windlass_http_connections", METRIC_GAUGE, NULL, NULL,
				      "Open HTTP connections." },
	[METRIC_CERTIFICATE_ENDS] = { "windlass_certificate_ends_timestamp_seconds", METRIC_GAUGE,
				      NULL, NULL,
				      "When the certificate ends that the gateway shows." },
	[METRIC_WAITERS] = { "windlass_waiters", METRIC_GAUGE, NULL, NULL,
			     "Clients that wait for a job to end." },
	[METRIC_WATCHERS] = { "windlass_watchers", METRIC_GAUGE, NULL, NULL,
			      "Clients that watch jobs." },
	[METRIC_WATCH_EVENTS] = { "windlass_watch_events_total", METRIC_COUNTER, NULL, NULL,
				  "Events given to clients that watch jobs." },
	[METRIC_WATCH_ENDS] = { "windlass_watch_ends_total", METRIC_COUNTER, "why", NULL,
				"Watches that ended, but for those that clients gave up." },
	[METRIC_WATCH_SECONDS] = { "windlass_watch_seconds", METRIC_TIMES, NULL, NULL,
				   "Time from hearing of a move to handing out its event." },
	[METRIC_CALLS] = { "windlass_calls_total", METRIC_COUNTER, "fate", NULL,
			   "Calls to third parties." },
	[METRIC_HOST_DEATHS] = { "windlass_host_deaths_total", METRIC_COUNTER, "why", NULL,
				 "Handler processes lost." },
	[METRIC_QUEUE_DEPTH] = { "windlass_queue_depth", METRIC_GAUGE, "queue", "state",
				 "Jobs in a queue." },
	[METRIC_QUEUE_OLDEST_SECONDS] = { "windlass_queue_oldest_seconds", METRIC_GAUGE, "queue",
					  NULL, "Age of the oldest job that waits for a worker." },
	[METRIC_LOG_DROPPED] = { "windlass_log_dropped_total", METRIC_COUNTER, NULL, NULL,
				 "Log lines lost to a full sink." },
	[METRIC_DISPATCHED] = { "windlass_dispatched_total", METRIC_COUNTER, "queue", NULL,
				"Jobs that the broker has confirmed." },
	[METRIC_DISPATCH_RETURNED] = { "windlass_dispatch_returned_total", METRIC_COUNTER, "queue",
				       NULL,
				       "Jobs that the broker did not confirm: back in the store." },
	[METRIC_RESULTS_PUBLISHED] = { "windlass_results_published_total", METRIC_COUNTER, NULL,
				       NULL, "Results that the broker has confirmed." },
	[METRIC_OUTBOX_DEPTH] = { "windlass_outbox_depth", METRIC_GAUGE, NULL, NULL,
				  "Results that wait for the broker." },
	[METRIC_BROKER_CONNECTED] = { "windlass_broker_connected", METRIC_GAUGE, "side", NULL,
				      "Connections to the broker that are up." },
	[METRIC_BROKER_RECONNECTS] = { "windlass_broker_reconnects_total", METRIC_COUNTER, "side",
				       NULL, "Connections to the broker made again." },
	[METRIC_DELIVERIES] = { "windlass_deliveries_total", METRIC_COUNTER, "source", "verdict",
				"Messages taken from the broker." },
	[METRIC_SOURCE_LAG] = { "windlass_source_lag", METRIC_GAUGE, "source", "partition",
				"Messages of a source that were not taken yet." },
	[METRIC_TARGET_CALLS] = { "windlass_target_calls_total", METRIC_COUNTER, "target",
				  "outcome", "Calls to a target that were begun and have ended." },
	[METRIC_TARGET_HELD] = { "windlass_target_held_total", METRIC_COUNTER, "target", NULL,
				 "Calls that a target's limits did not let begin." },
	[METRIC_TARGET_IN_FLIGHT] = { "windlass_target_in_flight", METRIC_GAUGE, "target", NULL,
				      "Calls to a target that are under way." },
	[METRIC_TARGET_BREAKER] = { "windlass_target_breaker_state", METRIC_GAUGE, "target", NULL,
				    "0: closed, 1: open, 2: half open; summed over workers." },
	[METRIC_TARGET_SECONDS] = { "windlass_target_seconds", METRIC_TIMES, "target", NULL,
				    "Time that calls to a target took." },
	[METRIC_DOOR_REQUESTS] = { "windlass_door_requests_total", METRIC_COUNTER, "door", "status",
				   "Requests that came in by another door than REST." },
	[METRIC_GRAPHQL] = { "windlass_graphql_requests_total", METRIC_COUNTER, "operation",
			     "outcome", "GraphQL requests: ok, with errors, or refused." },
};

const double *metric_bounds(enum metric_kind kind, size_t *count_r)
{
	static const double times[] = { 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2,
					0.5,    1,     2,     5,     10,   20,   30,   60 };
	static const double sizes[] = { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024 };

	_Static_assert(ARRAY_LEN(times) < METRICS_BUCKETS_MAX &&
			       ARRAY_LEN(sizes) < METRICS_BUCKETS_MAX,
		       "room for +Inf");
	CHECK(kind == METRIC_TIMES || kind == METRIC_SIZES);
	*count_r = kind == METRIC_TIMES ? ARRAY_LEN(times) : ARRAY_LEN(sizes);
	return kind == METRIC_TIMES ? times : sizes;
}

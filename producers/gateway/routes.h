/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway's routes and their handlers, one file of handlers per noun. */
#ifndef PRODUCERS_GATEWAY_ROUTES_H
#define PRODUCERS_GATEWAY_ROUTES_H
#include "producers/gateway/route.h"

extern const struct route routes[];
extern const size_t route_count;

route_handler_fn list_schedules, get_schedule, list_next, list_runs; /* schedules.c */
route_handler_fn post_schedule, put_schedule, delete_schedule;       /* schedule_set.c */
route_handler_fn pause_schedule, resume_schedule, run_schedule;      /* schedule_steer.c */
route_handler_fn list_limits, get_queue_limits;                      /* limits.c */
route_handler_fn put_queue_limits, get_type_limits;                  /* limits.c */
route_handler_fn put_type_limits;                                    /* limits.c */
route_handler_fn post_job, post_batch, copy_job;          /* post_job.c post_batch.c copy_job.c */
route_handler_fn get_job, list_jobs;                      /* get_job.c list_jobs.c */
route_handler_fn watch_job, watch_jobs;                   /* events.c */
route_handler_fn cancel_job, retry_job, redrive_jobs;     /* control.c redrive.c */
route_handler_fn resolve_job;                             /* resolve_job.c */
route_handler_fn list_queues, pause_queue, resume_queue;  /* queues.c */
route_handler_fn open_socket, get_asyncapi;               /* ws_jobs.c asyncapi.c */
route_handler_fn list_targets;                            /* targets.c */
route_handler_fn list_disabled_webhooks, enable_webhook;  /* webhooks.c */
route_handler_fn get_client, get_page;                    /* pages.c */
route_handler_fn list_pools, put_workers;                 /* pools.c */
route_handler_fn get_scaling, get_stoppable;              /* pools.c */
route_handler_fn post_batch_run, list_batches, get_batch; /* batches.c */
route_handler_fn post_rows, cancel_batch, retry_batch;    /* batches.c */
route_handler_fn list_audit;                              /* audit.c */
route_handler_fn list_workers;                            /* workers.c */
route_handler_fn post_graphql, get_graphql;               /* graphql_http.c */
route_handler_fn get_openapi, get_metrics, get_health, get_ready; /* probes.c */

#endif

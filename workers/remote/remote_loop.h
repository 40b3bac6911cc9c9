/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl's multi handle driven by epoll: with thousands of transfers under way only those are
 * touched whose socket or time has come. Knows nothing of calls. One thread, but for the wake. */
#ifndef WORKERS_REMOTE_REMOTE_LOOP_H
#define WORKERS_REMOTE_REMOTE_LOOP_H
#include <curl/curl.h>
#include <stddef.h>
#include <stdint.h>

#define REMOTE_LOOP_PARTS 64

struct remote_loop;

/* A transfer has ended and is still in the loop. */
typedef void remote_loop_done_fn(void *ctx, CURL *easy, CURLcode result);

/* part_max: transfers that share connections and the cost of looking for one; at most
 * REMOTE_LOOP_PARTS times as many can be in the loop. */
struct remote_loop *remote_loop_new(size_t part_max, remote_loop_done_fn *done, void *ctx);
void remote_loop_free(struct remote_loop **loop); /* nothing is in it any more */
/* Its place, for remote_loop_remove; -1: libcurl refused it. */
int remote_loop_add(struct remote_loop *loop, CURL *easy);
void remote_loop_remove(struct remote_loop *loop, CURL *easy, int place);
/* Waits at most this long for sockets, for libcurl's own time and for a wake; lets libcurl work. */
void remote_loop_run(struct remote_loop *loop, int64_t timeout_ms);
void remote_loop_wake(struct remote_loop *loop); /* any thread, never blocks */

#endif

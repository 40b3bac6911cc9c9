/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's loop: epoll, timers, one page. One thread; callbacks may add and remove watches and
 * timers, their own included. */
#ifndef WORKERS_POOL_LOOP_H
#define WORKERS_POOL_LOOP_H
#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_watch; /* a file descriptor being watched */
struct loop_timer; /* a one-shot timer */

typedef void loop_ready_fn(void *ctx, uint32_t epoll_events);
typedef void loop_due_fn(void *ctx);

struct loop *loop_new(void);
void loop_free(struct loop **loop);
struct loop_watch *loop_add(struct loop *loop, int fd, uint32_t epoll_events, loop_ready_fn *ready,
			    void *ctx);
void loop_change(struct loop *loop, struct loop_watch *watch, uint32_t epoll_events);
void loop_remove(struct loop *loop, struct loop_watch **watch); /* does not close the fd */
struct loop_timer *loop_timer_new(struct loop *loop, loop_due_fn *due, void *ctx); /* not armed */
void loop_timer_set(struct loop_timer *timer,
		    int64_t due_mono_ns); /* 0: disarms; cheap, called per job */
void loop_timer_free(struct loop_timer **timer);
/* Waits for at most timeout_ms (-1: until a timer), runs what is ready, then due timers. */
void loop_once(struct loop *loop, int timeout_ms);

#endif

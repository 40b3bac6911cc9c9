/* SPDX-License-Identifier: Apache-2.0 */
/* The bell's thread: hears that work is ready, that a cancel was asked or a queue resumed, and
 * passes it on. */
#ifndef WORKERS_ENGINE_LISTENER_H
#define WORKERS_ENGINE_LISTENER_H
#include "common/store/bell.h"

struct listener;

/* Called on the listener's thread with BELL_ bits; all of them when rings may have been lost. */
typedef void listener_heard_fn(void *ctx, unsigned what);

struct listener *listener_new(struct bell *bell, listener_heard_fn *heard,
			      void *ctx);       /* starts the thread */
void listener_free(struct listener **listener); /* waits for it */

#endif

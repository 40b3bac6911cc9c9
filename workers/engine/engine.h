/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of one worker process: takes jobs, has them run, has their ends committed. Wires loop,
 * pool, effects, readers, remote, keeper and bell; runs no user code itself. Made by work_main.c,
 * which also joins it to the consumers' side. */
#ifndef WORKERS_ENGINE_ENGINE_H
#define WORKERS_ENGINE_ENGINE_H
#include "common/base/strbuf.h"
#include "common/broker/subscriber.h"
#include "common/service/service.h"
#include "common/store/bell.h"
#include "workers/remote/remote.h"

#define ENGINE_READERS 2

struct engine;

struct engine_options { /* borrowed, and the engine's alone until engine_free */
	struct service *service;
	struct store *effects_store; /* the subscriber's too, when the store is the queue */
	struct store *keeper_store;
	struct store *reader_stores[ENGINE_READERS];
	struct bell *bell;
	struct subscriber *subscriber;
	struct receive *receive;
	const struct consumer_ops *consumers;
	struct remote *remote;     /* taken: freed by engine_free */
	struct uuid session;       /* exists in the store */
	const char *program;       /* path of the windlass binary */
	const char *const *hidden; /* files that no host sees; see hidden_files.h */
};

struct engine *engine_new(const struct engine_options *options); /* starts its threads */
/* Takes jobs and reaches its store? Else the reason is appended. Any thread, does not block. */
bool engine_ready(struct engine *engine, struct strbuf *why_r);
/* Jobs in hand. Any thread. */
size_t engine_in_hand(struct engine *engine);
/* Runs until it has been drained: SIGTERM ends it when all jobs in hand have ended, or the grace
 * time is over; SIGUSR1 when they have ended, however long that takes. */
void engine_run(struct engine *engine);
void engine_free(struct engine **engine); /* stops the threads; gives up what is still in hand */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway's parts share: built by gateway_main in this order, taken down in reverse. */
#ifndef PRODUCERS_GATEWAY_GATEWAY_H
#define PRODUCERS_GATEWAY_GATEWAY_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common/config/definitions.h"
#include "common/config/settings.h"
#include "common/service/metrics.h"
#include "common/store/bell.h"
#include "producers/gateway/watch_token.h"

struct access;
struct event_streams;
struct feeder;
struct front;
struct graphql;
struct inner;
struct limiter;
struct monitor;
struct origin_list;
struct pages;
struct readers;
struct scheduler;
struct server;
struct submitter;
struct tls_pair;
struct waiters;
struct watch;
struct ws;

struct gateway {
	const struct settings *settings;
	struct metrics *metrics;
	pthread_mutex_t defs_lock; /* guards defs */
	struct definitions *defs;
	struct access *access;
	struct limiter *limiter;
	struct watch_keys watch;
	struct origin_list *origins;
	struct pages *pages;
	struct tls_pair *tls; /* at the start; NULL: no TLS */
	struct bell *bell;
	struct submitter *submitter;
	struct scheduler *scheduler; /* NULL: WINDLASS_SCHEDULER is off */
	struct readers *readers;
	struct feeder *feeder;
	struct waiters *waiters;
	struct watch *hub;
	struct event_streams *streams;
	struct monitor *monitor;
	struct inner *inner;
	struct graphql *graphql;
	struct ws *ws;
	_Atomic bool listening; /* on all addresses; until then /readyz is red */
	_Atomic bool draining;  /* the same again */
	_Atomic bool closed; /* requests are refused at the head: the parts below are going away */
};

/* A reference to the current definitions; any thread. */
struct definitions *gateway_definitions(struct gateway *gateway);

#endif

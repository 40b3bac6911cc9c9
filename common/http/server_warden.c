/* SPDX-License-Identifier: Apache-2.0 */
/* The warden: a thread that cuts off connections which take too long for a head, a body, an answer
 * or nothing at all. libmicrohttpd's own time-out only counts silence, so a client that drips a
 * byte now and then would stay for ever. A parked request is not its business. */
#include <sys/socket.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/http/server_impl.h"

#define ROUND_MS 500

static int64_t limit_ms(enum connection_phase phase)
{
	switch (phase) {
	case PHASE_FRESH:
		return SERVER_HEAD_TIMEOUT_MS;
	case PHASE_IDLE:
		return SERVER_IDLE_TIMEOUT_MS;
	case PHASE_BODY:
	case PHASE_ANSWER:
		return SERVER_BODY_TIMEOUT_MS;
	case PHASE_STEPS:
	case PHASE_AWAY:
		break;
	}
	return INT64_MAX;
}

/* The descriptor stays open while the connection is in the list: libmicrohttpd closes it after
 * taking it out. */
static void cut_off_slow(struct server *server)
{
	int64_t now_ms = clock_mono_ms();

	for (struct list *at = server->connections.next; at != &server->connections;
	     at = at->next) {
		struct connection *connection = list_entry(at, struct connection, link);
		int phase = atomic_load_explicit(&connection->phase, memory_order_relaxed);
		int64_t since_ms =
			atomic_load_explicit(&connection->since_ms, memory_order_relaxed);
		if (now_ms - since_ms > limit_ms((enum connection_phase)phase))
			shutdown(connection->fd, SHUT_RDWR);
	}
}

void *server_warden(void *server_)
{
	struct server *server = server_;

	pthread_mutex_lock(&server->lock);
	while (!server->warden_stops) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += ROUND_MS * 1000000L;
		until.tv_sec += until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		pthread_cond_timedwait(&server->warden_wakes, &server->lock, &until);
		cut_off_slow(server);
	}
	pthread_mutex_unlock(&server->lock);
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of all WebSockets: waits, gives each socket that can go on its turn, runs the errands
 * that other threads have sent, and looks at every socket once a second. */
#include "producers/gateway/ws.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/service/metrics.h"
#include "producers/gateway/ws_impl.h"

#define EVENTS_MAX 256
#define LOOK_MS    1000

/* ---- sockets */

static void finish(struct ws_socket *socket)
{
	struct ws *ws = socket->ws;
	const char *why = ws_socket_why(socket);

	metric_add(metrics_series(ws->gateway->metrics, METRIC_WS_CLOSED, why, NULL), 1);
	log_line(LOG_DEBUG, "websocket-closed", LOG_S("why", why));
	socket->closing_ms = clock_mono_ms();
	socket->protocol->closed(socket);
	epoll_ctl(ws->epoll, EPOLL_CTL_DEL, socket->upgraded->fd, NULL);
	upgraded_close(&socket->upgraded);
	list_remove(&socket->touched);
	list_remove(&socket->link);
	socket->linked = false;
	metric_set(ws->gauge, (double)(atomic_fetch_sub(&ws->count, 1) - 1));
	if (socket->underway == 0)
		ws_socket_free(socket);
}

static void watch_for(struct ws_socket *socket)
{
	struct epoll_event event = { .data.ptr = socket };

	event.events = (ws_socket_wants_read(socket) ? EPOLLIN : 0u) |
		       (ws_socket_wants_write(socket) ? EPOLLOUT : 0u);
	if (event.events == socket->events)
		return;
	socket->events = event.events;
	CHECK(epoll_ctl(socket->ws->epoll, EPOLL_CTL_MOD, socket->upgraded->fd, &event) == 0);
}

static void take_turn(struct ws_socket *socket, bool readable)
{
	if (ws_socket_turn(socket, readable))
		watch_for(socket);
	else
		finish(socket);
}

void ws_touch(struct ws_socket *socket)
{
	if (list_empty(&socket->touched))
		list_append(&socket->ws->touched, &socket->touched);
}

static void turn_touched(struct ws *ws)
{
	while (!list_empty(&ws->touched)) {
		struct ws_socket *socket = list_first(&ws->touched, struct ws_socket, touched);
		list_remove(&socket->touched);
		take_turn(socket, false);
	}
}

static void look(struct ws *ws)
{
	int64_t now_ms = clock_mono_ms();
	struct list *next;

	if (now_ms - ws->looked_ms < LOOK_MS && !atomic_exchange(&ws->look_now, false))
		return;
	ws->looked_ms = now_ms;
	for (struct list *at = ws->sockets.next; at != &ws->sockets; at = next) {
		next = at->next;
		struct ws_socket *socket = list_entry(at, struct ws_socket, link);
		if (!ws_socket_look(socket, now_ms))
			finish(socket);
	}
}

/* ---- errands */

static void wake(struct ws *ws)
{
	uint64_t one = 1;

	CHECK(write(ws->wakes, &one, sizeof(one)) == sizeof(one));
}

static void send_errand(struct ws *ws, struct ws_errand *errand)
{
	bool first;

	pthread_mutex_lock(&ws->lock);
	first = !errand->sent && list_empty(&ws->errands);
	if (!errand->sent)
		list_append(&ws->errands, &errand->link);
	errand->sent = true;
	pthread_mutex_unlock(&ws->lock);
	if (first)
		wake(ws);
}

void ws_errand_send(struct ws_socket *socket, struct ws_errand *errand)
{
	send_errand(socket->ws, errand);
}

void ws_errand_drop(struct ws_socket *socket, struct ws_errand *errand)
{
	pthread_mutex_lock(&socket->ws->lock);
	if (errand->sent)
		list_remove(&errand->link);
	errand->sent = false;
	pthread_mutex_unlock(&socket->ws->lock);
}

static struct ws_errand *next_errand(struct ws *ws)
{
	struct ws_errand *errand = NULL;

	pthread_mutex_lock(&ws->lock);
	if (!list_empty(&ws->errands)) {
		errand = list_first(&ws->errands, struct ws_errand, link);
		list_remove(&errand->link);
		errand->sent = false;
	}
	pthread_mutex_unlock(&ws->lock);
	return errand;
}

static void run_errands(struct ws *ws)
{
	struct ws_errand *errand;
	uint64_t count;

	/* read first: an errand that comes now rings again */
	CHECK(read(ws->wakes, &count, sizeof(count)) == sizeof(count) || errno == EAGAIN);
	while ((errand = next_errand(ws)))
		errand->run(errand);
}

/* ---- new ones */

static void adopt(struct ws_errand *errand)
{
	struct ws_socket *socket = list_entry(errand, struct ws_socket, adopt);
	struct ws *ws = socket->ws;
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = socket };

	ws_socket_begin(socket);
	list_append(&ws->sockets, &socket->link);
	socket->linked = true;
	socket->events = EPOLLIN;
	metric_set(ws->gauge, (double)atomic_load(&ws->count));
	if (epoll_ctl(ws->epoll, EPOLL_CTL_ADD, socket->upgraded->fd, &event) < 0) {
		socket->failed = true;
		ws_touch(socket);
	}
	socket->protocol->opened(socket);
	take_turn(socket, true);
}

void ws_adopt(struct upgraded *upgraded, void *socket_)
{
	struct ws_socket *socket = socket_;

	if (!upgraded) {
		atomic_fetch_sub(&socket->ws->count, 1);
		ws_socket_free(socket);
		return;
	}
	socket->upgraded = upgraded;
	socket->adopt.run = adopt;
	send_errand(socket->ws, &socket->adopt);
}

/* ---- the loop */

static int until_look_ms(const struct ws *ws)
{
	int64_t left_ms = ws->looked_ms + LOOK_MS - clock_mono_ms();

	if (list_empty(&ws->sockets))
		return -1;
	return left_ms < 0 ? 0 : (int)left_ms;
}

static void turn_loop(struct ws *ws)
{
	struct epoll_event events[EVENTS_MAX];
	int count = epoll_wait(ws->epoll, events, EVENTS_MAX, until_look_ms(ws));
	bool woken = false;

	for (int i = 0; i < count; i++) {
		struct ws_socket *socket = events[i].data.ptr;
		uint32_t what = events[i].events;
		if (!socket) {
			woken = true;
			continue;
		}
		/* these come whether they are looked for or not */
		if ((what & (EPOLLERR | EPOLLHUP)) && !(what & EPOLLIN))
			socket->failed = true;
		take_turn(socket, what & EPOLLIN);
	}
	if (woken)
		run_errands(ws);
	turn_touched(ws);
	look(ws);
	turn_touched(ws);
}

static void *ws_run(void *ws_)
{
	struct ws *ws = ws_;

	while (!atomic_load(&ws->stopping))
		turn_loop(ws);
	run_errands(ws);
	while (!list_empty(&ws->sockets)) {
		struct ws_socket *socket = list_first(&ws->sockets, struct ws_socket, link);
		socket->why = "stop";
		finish(socket);
	}
	return NULL;
}

struct ws *ws_start(struct gateway *gateway, size_t sockets_max)
{
	struct ws *ws = xcalloc(1, sizeof(*ws));
	struct epoll_event event = { .events = EPOLLIN };

	ws->gateway = gateway;
	ws->sockets_max = sockets_max;
	pthread_mutex_init(&ws->lock, NULL);
	list_init(&ws->errands);
	list_init(&ws->sockets);
	list_init(&ws->touched);
	strbuf_init(&ws->text);
	strbuf_init(&ws->out);
	ws->gauge = metrics_series(gateway->metrics, METRIC_WS_SOCKETS, NULL, NULL);
	ws->in = metrics_series(gateway->metrics, METRIC_WS_MESSAGES, "in", NULL);
	ws->out_count = metrics_series(gateway->metrics, METRIC_WS_MESSAGES, "out", NULL);
	ws->epoll = epoll_create1(EPOLL_CLOEXEC);
	ws->wakes = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(ws->epoll >= 0 && ws->wakes >= 0);
	CHECK(epoll_ctl(ws->epoll, EPOLL_CTL_ADD, ws->wakes, &event) == 0);
	CHECK(pthread_create(&ws->thread, NULL, ws_run, ws) == 0);
	return ws;
}

size_t ws_count(const struct ws *ws)
{
	return atomic_load(&ws->count);
}

void ws_drain(struct ws *ws)
{
	atomic_store(&ws->draining, true);
	atomic_store(&ws->look_now, true);
	wake(ws);
}

void ws_stop(struct ws **ws_)
{
	struct ws *ws = *ws_;

	*ws_ = NULL;
	if (!ws)
		return;
	atomic_store(&ws->stopping, true);
	wake(ws);
	pthread_join(ws->thread, NULL);
	CHECK(list_empty(&ws->errands));
	close(ws->epoll);
	close(ws->wakes);
	strbuf_release(&ws->text);
	strbuf_release(&ws->out);
	pthread_mutex_destroy(&ws->lock);
	free(ws);
}

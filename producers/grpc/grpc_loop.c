/* SPDX-License-Identifier: Apache-2.0 */
/* The loop's page: wait, take what is ready, carry the notes, turn the wheel, send. */
#include "producers/grpc/grpc_loop.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "producers/grpc/grpc_link.h"

#define EVENTS_MAX      256
#define ACCEPTS_MAX     64 /* of one turn: those that are here come first */
#define ACCEPT_PAUSE_MS 50
#define TURN_MS         20   /* while there are connections, whose timers are as exact as this */
#define IDLE_MS         1000 /* while there are none */

/* ---- notes */

static void wake(struct grpc_loop *loop)
{
	uint64_t one = 1;

	/* It cannot fill up, and a wake that is on its way already is enough. */
	if (write(loop->wake, &one, sizeof(one)) < 0)
		CHECK(errno == EAGAIN);
}

void grpc_loop_send(struct grpc_loop *loop, struct grpc_note *note)
{
	bool first;

	pthread_mutex_lock(&loop->notes_lock);
	first = list_empty(&loop->notes);
	if (note->sent) {
		first = false;
	} else {
		note->sent = true;
		list_append(&loop->notes, &note->in_notes);
	}
	pthread_mutex_unlock(&loop->notes_lock);
	if (first)
		wake(loop);
}

void grpc_loop_unsend(struct grpc_loop *loop, struct grpc_note *note)
{
	pthread_mutex_lock(&loop->notes_lock);
	if (note->sent)
		list_remove(&note->in_notes);
	note->sent = false;
	pthread_mutex_unlock(&loop->notes_lock);
}

static struct grpc_note *next_note(struct grpc_loop *loop)
{
	struct grpc_note *note = NULL;

	pthread_mutex_lock(&loop->notes_lock);
	if (!list_empty(&loop->notes)) {
		note = list_first(&loop->notes, struct grpc_note, in_notes);
		list_remove(&note->in_notes);
		note->sent = false;
	}
	pthread_mutex_unlock(&loop->notes_lock);
	return note;
}

static void carry_notes(struct grpc_loop *loop)
{
	struct grpc_note *note;
	uint64_t count;

	if (read(loop->wake, &count, sizeof(count)) < 0)
		CHECK(errno == EAGAIN || errno == EINTR);
	while ((note = next_note(loop)))
		note->fn(note);
}

/* ---- new connections */

static void listen_for_more(struct grpc_loop *loop, bool on)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = &loop->listener };

	if (on == loop->accepting)
		return;
	loop->accepting = on;
	CHECK(epoll_ctl(loop->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, loop->listener, &event) ==
	      0);
}

static void accept_links(struct grpc_loop *loop)
{
	int fd, on = 1;

	for (int i = 0; i < ACCEPTS_MAX; i++) {
		fd = accept4(loop->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS)) {
			listen_for_more(loop, false);
			loop->accept_again_ms = clock_mono_ms() + ACCEPT_PAUSE_MS;
		}
		if (fd < 0)
			return;
		if (loop->draining || atomic_load(&loop->connections) >= loop->connections_max) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		grpc_link_open(loop, fd);
	}
}

/* ---- the thread */

static void take_event(struct grpc_loop *loop, const struct epoll_event *event)
{
	if (event->data.ptr == &loop->listener)
		accept_links(loop);
	else if (event->data.ptr == &loop->wake)
		carry_notes(loop);
	else
		grpc_link_ready(event->data.ptr, event->events);
}

static void settle_links(struct grpc_loop *loop)
{
	struct list *dirty = &loop->dirty;

	while (!list_empty(dirty))
		grpc_link_settle(dirty->next);
}

static void *run(void *loop_)
{
	struct grpc_loop *loop = loop_;
	struct epoll_event events[EVENTS_MAX];

	while (!atomic_load(&loop->stop)) {
		bool quiet = list_empty(&loop->links) && loop->accepting;
		int count = epoll_wait(loop->epoll, events, EVENTS_MAX, quiet ? IDLE_MS : TURN_MS);
		for (int i = 0; i < count; i++)
			take_event(loop, &events[i]);
		grpc_wheel_turn(&loop->wheel, clock_mono_ms());
		settle_links(loop);
		if (!loop->accepting && clock_mono_ms() >= loop->accept_again_ms)
			listen_for_more(loop, true);
	}
	return NULL;
}

/* ---- life */

static void make(struct grpc_loop *loop)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = &loop->wake };

	pthread_mutex_init(&loop->notes_lock, NULL);
	list_init(&loop->notes);
	list_init(&loop->links);
	list_init(&loop->dirty);
	grpc_wheel_init(&loop->wheel, clock_mono_ms());
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	CHECK(loop->epoll >= 0 && loop->wake >= 0);
	CHECK(epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &event) == 0);
	listen_for_more(loop, true);
}

int grpc_loop_start(struct grpc_loop *loop, struct error *err_r)
{
	int rc;

	make(loop);
	rc = pthread_create(&loop->thread, NULL, run, loop);
	if (rc == 0)
		return 0;
	close(loop->epoll);
	close(loop->wake);
	return error_set(err_r, ERROR_UNAVAILABLE, "no thread for gRPC: %s", strerror(rc));
}

void grpc_loop_stop(struct grpc_loop *loop)
{
	atomic_store(&loop->stop, true);
	wake(loop);
	pthread_join(loop->thread, NULL);
	while (!list_empty(&loop->links))
		grpc_link_free(grpc_link_at(loop->links.next));
	carry_notes(loop);
	close(loop->epoll);
	close(loop->wake);
	pthread_mutex_destroy(&loop->notes_lock);
}

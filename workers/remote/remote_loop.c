/* SPDX-License-Identifier: Apache-2.0 */
/* curl_multi_perform looks at every transfer each time; curl_multi_socket_action only at the one
 * whose socket is ready. What libcurl wants watched it says by two callbacks. */
#include "workers/remote/remote_loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"

#define EVENTS_MAX      256
#define CONNECTIONS_MAX 8192L /* kept, those in use included: twice what may be under way */
#define NEVER_MS        INT64_MAX

struct remote_loop {
	CURLM *multi;
	int epoll_fd, wake_fd;
	int64_t timer_ms; /* when libcurl wants to be called, or NEVER_MS */
	remote_loop_done_fn *done;
	void *ctx;
};

/* ---- what libcurl says */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known)
{
	struct remote_loop *loop = ctx;
	struct epoll_event event = { .data.fd = fd };

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		/* may be closed already */
		(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	event.events =
		(what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
	if (!known)
		CHECK(curl_multi_assign(loop->multi, fd, loop) == CURLM_OK);
	if (epoll_ctl(loop->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0)
		return 0;
	/* A descriptor that was closed and opened again behind our back is the other case. */
	CHECK(errno == EEXIST || errno == ENOENT);
	CHECK(epoll_ctl(loop->epoll_fd, errno == EEXIST ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd,
			&event) == 0);
	return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *ctx)
{
	struct remote_loop *loop = ctx;

	(void)multi;
	loop->timer_ms = timeout_ms < 0 ? NEVER_MS : clock_mono_ms() + timeout_ms;
	return 0;
}

/* ---- the loop */

static void collect(struct remote_loop *loop)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(loop->multi, &left))) {
		if (message->msg == CURLMSG_DONE)
			loop->done(loop->ctx, message->easy_handle, message->data.result);
	}
}

static void act(struct remote_loop *loop, int fd, uint32_t events)
{
	int what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) |
		   (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		   (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
	uint64_t wakes;
	int running;

	if (fd == loop->wake_fd) {
		CHECK(read(fd, &wakes, sizeof(wakes)) == sizeof(wakes) || errno == EAGAIN);
		return;
	}
	CHECK(curl_multi_socket_action(loop->multi, fd, what, &running) == CURLM_OK);
}

void remote_loop_run(struct remote_loop *loop, int64_t timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int64_t timer_ms = loop->timer_ms == NEVER_MS ? NEVER_MS : loop->timer_ms - clock_mono_ms();
	int64_t wait_ms = timer_ms < timeout_ms ? timer_ms : timeout_ms;
	int count, running;

	count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, wait_ms > 0 ? (int)wait_ms : 0);
	CHECK(count >= 0 || errno == EINTR);
	for (int i = 0; i < count; i++)
		act(loop, events[i].data.fd, events[i].events);
	if (loop->timer_ms != NEVER_MS && clock_mono_ms() >= loop->timer_ms) {
		loop->timer_ms = NEVER_MS;
		CHECK(curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running) ==
		      CURLM_OK);
	}
	collect(loop);
}

bool remote_loop_add(struct remote_loop *loop, CURL *easy)
{
	return curl_multi_add_handle(loop->multi, easy) == CURLM_OK;
}

void remote_loop_remove(struct remote_loop *loop, CURL *easy)
{
	CHECK(curl_multi_remove_handle(loop->multi, easy) == CURLM_OK);
}

void remote_loop_wake(struct remote_loop *loop)
{
	uint64_t one = 1;

	/* EAGAIN: it is awake enough */
	CHECK(write(loop->wake_fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN);
}

struct remote_loop *remote_loop_new(remote_loop_done_fn *done, void *ctx)
{
	struct remote_loop *loop = xcalloc(1, sizeof(*loop));
	struct epoll_event event = { .events = EPOLLIN };

	loop->done = done;
	loop->ctx = ctx;
	loop->timer_ms = NEVER_MS;
	loop->multi = curl_multi_init();
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(loop->multi && loop->epoll_fd >= 0 && loop->wake_fd >= 0);
	event.data.fd = loop->wake_fd;
	CHECK(epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) == 0);
	CHECK(curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK);
	CHECK(curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop) == CURLM_OK);
	CHECK(curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK);
	CHECK(curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop) == CURLM_OK);
	CHECK(curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_MAX) == CURLM_OK);
	return loop;
}

void remote_loop_free(struct remote_loop **loop)
{
	struct remote_loop *l = *loop;

	curl_multi_cleanup(l->multi);
	close(l->wake_fd);
	close(l->epoll_fd);
	free(l);
	*loop = NULL;
}

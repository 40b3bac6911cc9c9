/* SPDX-License-Identifier: Apache-2.0 */
/* curl_multi_perform looks at every transfer each time; curl_multi_socket_action only at the one
 * whose socket is ready. What libcurl wants watched it says by two callbacks. To find a connection
 * that can be used again, a multi handle looks at all it has to that host: with 2,000 under way
 * that costs more than the call. So there are several, each with so many transfers at most, and the
 * first that has room takes the next.
 *
 * libcurl 7.88 now and then leaves the end of an HTTP/2 stream in its buffer when it was read
 * together with what another stream was waiting for, and then waits for a socket that has nothing
 * more to say. So where HTTP/2 was spoken each socket is looked at once in a while all the same. */
#include "workers/remote/remote_loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"

#define EVENTS_MAX 256
#define NEVER_MS   INT64_MAX
#define LOOK_MS    250

struct part {
	struct remote_loop *loop;
	CURLM *multi;
	size_t count;     /* transfers in it */
	int64_t timer_ms; /* when libcurl wants to be called, or NEVER_MS */
	bool multiplexed; /* HTTP/2 was spoken */
	int64_t look_ms;  /* then: when its sockets are looked at again */
	int *fds;         /* its sockets */
	size_t fd_count, fd_room;
};

struct remote_loop {
	struct part parts[REMOTE_LOOP_PARTS];
	size_t part_count, part_max; /* in use; transfers in one */
	int epoll_fd, wake_fd;
	remote_loop_done_fn *done;
	void *ctx;
};

/* ---- what libcurl says */

static uint64_t key_of(const struct part *part, int fd)
{
	return (uint64_t)(part - part->loop->parts) << 32 | (uint32_t)fd;
}

static void remove_fd(struct part *part, int fd)
{
	size_t i = 0;

	while (i < part->fd_count && part->fds[i] != fd)
		i++;
	if (i < part->fd_count)
		part->fds[i] = part->fds[--part->fd_count];
}

static void add_fd(struct part *part, int fd)
{
	remove_fd(part, fd); /* closed and opened again behind our back */
	if (part->fd_count == part->fd_room) {
		part->fd_room = part->fd_room ? 2 * part->fd_room : 16;
		part->fds = xrealloc(part->fds, part->fd_room * sizeof(*part->fds));
	}
	part->fds[part->fd_count++] = fd;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known)
{
	struct part *part = ctx;
	struct remote_loop *loop = part->loop;
	struct epoll_event event = { .data.u64 = key_of(part, fd) };

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		/* may be closed already */
		(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		remove_fd(part, fd);
		return 0;
	}
	event.events =
		(what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
	if (!known) {
		CHECK(curl_multi_assign(part->multi, fd, part) == CURLM_OK);
		add_fd(part, fd);
	}
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
	struct part *part = ctx;

	(void)multi;
	part->timer_ms = timeout_ms < 0 ? NEVER_MS : clock_mono_ms() + timeout_ms;
	return 0;
}

/* ---- the loop */

static void collect(struct remote_loop *loop, struct part *part)
{
	CURLMsg *message;
	long version;
	int left;

	while ((message = curl_multi_info_read(part->multi, &left))) {
		if (message->msg != CURLMSG_DONE)
			continue;
		CHECK(curl_easy_getinfo(message->easy_handle, CURLINFO_HTTP_VERSION, &version) ==
		      CURLE_OK);
		part->multiplexed = part->multiplexed || version == CURL_HTTP_VERSION_2_0;
		loop->done(loop->ctx, message->easy_handle, message->data.result);
	}
}

static void look(struct part *part)
{
	int running;

	part->look_ms = clock_mono_ms() + LOOK_MS;
	/* a socket that goes away meanwhile has the last one in its place: that one waits */
	for (size_t i = 0; i < part->fd_count; i++) {
		CHECK(curl_multi_socket_action(part->multi, part->fds[i], CURL_CSELECT_IN,
					       &running) == CURLM_OK);
	}
}

static void act(struct remote_loop *loop, const struct epoll_event *event)
{
	int what = (event->events & EPOLLIN ? CURL_CSELECT_IN : 0) |
		   (event->events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		   (event->events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
	int fd = (int)(uint32_t)event->data.u64, running;
	uint64_t wakes;

	if (fd == loop->wake_fd) {
		CHECK(read(fd, &wakes, sizeof(wakes)) == sizeof(wakes) || errno == EAGAIN);
		return;
	}
	CHECK(curl_multi_socket_action(loop->parts[event->data.u64 >> 32].multi, fd, what,
				       &running) == CURLM_OK);
}

static int64_t next_timer_ms(const struct remote_loop *loop)
{
	int64_t first_ms = NEVER_MS;

	for (size_t i = 0; i < loop->part_count; i++) {
		const struct part *part = &loop->parts[i];

		if (part->timer_ms < first_ms)
			first_ms = part->timer_ms;
		if (part->multiplexed && part->count && part->look_ms < first_ms)
			first_ms = part->look_ms;
	}
	return first_ms;
}

void remote_loop_run(struct remote_loop *loop, int64_t timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int64_t timer_ms = next_timer_ms(loop), wait_ms = timeout_ms;
	int count, running;

	if (timer_ms != NEVER_MS && timer_ms - clock_mono_ms() < wait_ms)
		wait_ms = timer_ms - clock_mono_ms();
	count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, wait_ms > 0 ? (int)wait_ms : 0);
	CHECK(count >= 0 || errno == EINTR);
	for (int i = 0; i < count; i++)
		act(loop, &events[i]);
	for (size_t i = 0; i < loop->part_count; i++) {
		struct part *part = &loop->parts[i];

		if (part->timer_ms != NEVER_MS && clock_mono_ms() >= part->timer_ms) {
			part->timer_ms = NEVER_MS;
			CHECK(curl_multi_socket_action(part->multi, CURL_SOCKET_TIMEOUT, 0,
						       &running) == CURLM_OK);
		}
		if (part->multiplexed && part->count && clock_mono_ms() >= part->look_ms)
			look(part);
		collect(loop, part);
	}
}

static void add_part(struct remote_loop *loop)
{
	struct part *part = &loop->parts[loop->part_count++];
	long connections = (long)loop->part_max * 2; /* kept, those in use included */

	CHECK(loop->part_count <= REMOTE_LOOP_PARTS);
	*part = (struct part){ .loop = loop, .multi = curl_multi_init(), .timer_ms = NEVER_MS };
	CHECK(part->multi);
	CHECK(curl_multi_setopt(part->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK);
	CHECK(curl_multi_setopt(part->multi, CURLMOPT_SOCKETDATA, part) == CURLM_OK);
	CHECK(curl_multi_setopt(part->multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK);
	CHECK(curl_multi_setopt(part->multi, CURLMOPT_TIMERDATA, part) == CURLM_OK);
	CHECK(curl_multi_setopt(part->multi, CURLMOPT_MAXCONNECTS, connections) == CURLM_OK);
}

int remote_loop_add(struct remote_loop *loop, CURL *easy)
{
	size_t i = 0;

	while (i < loop->part_count && loop->parts[i].count >= loop->part_max)
		i++;
	if (i == loop->part_count)
		add_part(loop);
	if (curl_multi_add_handle(loop->parts[i].multi, easy) != CURLM_OK)
		return -1;
	loop->parts[i].count++;
	return (int)i;
}

void remote_loop_remove(struct remote_loop *loop, CURL *easy, int place)
{
	CHECK(loop->parts[place].count-- > 0);
	CHECK(curl_multi_remove_handle(loop->parts[place].multi, easy) == CURLM_OK);
}

void remote_loop_wake(struct remote_loop *loop)
{
	uint64_t one = 1;

	/* EAGAIN: it is awake enough */
	CHECK(write(loop->wake_fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN);
}

struct remote_loop *remote_loop_new(size_t part_max, remote_loop_done_fn *done, void *ctx)
{
	struct remote_loop *loop = xcalloc(1, sizeof(*loop));
	struct epoll_event event = { .events = EPOLLIN };

	loop->done = done;
	loop->ctx = ctx;
	loop->part_max = part_max;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(part_max > 0 && loop->epoll_fd >= 0 && loop->wake_fd >= 0);
	event.data.u64 = (uint32_t)loop->wake_fd;
	CHECK(epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) == 0);
	return loop;
}

void remote_loop_free(struct remote_loop **loop)
{
	struct remote_loop *l = *loop;

	for (size_t i = 0; i < l->part_count; i++) {
		curl_multi_cleanup(l->parts[i].multi);
		free(l->parts[i].fds);
	}
	close(l->wake_fd);
	close(l->epoll_fd);
	free(l);
	*loop = NULL;
}

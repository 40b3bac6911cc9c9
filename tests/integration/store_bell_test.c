/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of the bell: what is rung in one process is heard in another, soon, and what cannot
 * be heard is told as missed. Every case runs on every store. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "tests/integration/store_fixture.h"

static struct bell *open_bell(struct fixture *fx, unsigned listen)
{
	struct bell *bell = bell_open(fx->url, listen, &fx->error);

	check_store(fx, !bell);
	return bell;
}

/* Waits until all of `what` were heard; returns what is still open. */
static unsigned hear(struct bell *bell, unsigned what, const struct uuid *ids, size_t count)
{
	int64_t until = clock_mono_ms() + 5000;
	size_t heard = 0;

	while ((what || heard < count) && clock_mono_ms() < until) {
		struct bell_event event;

		if (!bell_wait(bell, 1000, &event))
			continue;
		what &= ~event.what;
		for (size_t i = 0; i < event.ended_count; i++)
			for (size_t k = 0; k < count; k++)
				heard += uuid_equal(&event.ended[i], &ids[k]);
	}
	return what || heard < count ? what | 0x80000000u : 0;
}

/* Lets a listener settle: rings before it listened are not for it. */
static void until_quiet(struct bell *bell)
{
	struct bell_event event;

	while (bell_wait(bell, 300, &event))
		;
}

static void rung_in_another_process(struct fixture *fx)
{
	struct bell *bell = open_bell(fx, BELL_READY | BELL_CANCEL | BELL_PAUSE | BELL_ENDED);
	struct uuid ids[3];
	pid_t child;
	int status;

	until_quiet(bell);
	for (size_t i = 0; i < 3; i++)
		uuid_v7(&ids[i]);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct bell *theirs = bell_open(fx->url, 0, &fx->error);

		bell_ring(theirs, BELL_READY | BELL_CANCEL);
		bell_ring(theirs, BELL_PAUSE);
		bell_ring_ended(theirs, ids, 3);
		pause_ms(1000); /* PostgreSQL's rings leave by a thread */
		_exit(0);
	}
	if (hear(bell, BELL_READY | BELL_CANCEL | BELL_PAUSE | BELL_ENDED, ids, 3))
		fail_msg("not everything was heard");
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	bell_close(&bell);
}

static void only_what_is_listened_for(struct fixture *fx)
{
	struct bell *bell = open_bell(fx, BELL_READY), *ringer = open_bell(fx, 0);
	struct bell_event event;

	until_quiet(bell);
	bell_ring(ringer, BELL_CANCEL | BELL_PAUSE);
	assert_int_equal(bell_wait(bell, 300, &event), 0);
	bell_ring(ringer, BELL_READY);
	assert_int_equal(hear(bell, BELL_READY, NULL, 0), 0);
	bell_close(&ringer);
	bell_close(&bell);
}

static void *wake_soon(void *bell)
{
	pause_ms(100);
	bell_wake(bell);
	return NULL;
}

static void wake_ends_the_wait(struct fixture *fx)
{
	struct bell *bell = open_bell(fx, BELL_READY | BELL_ENDED);
	struct bell_event event;
	int64_t start;
	pthread_t thread;

	until_quiet(bell);
	start = clock_mono_ms();
	assert_int_equal(pthread_create(&thread, NULL, wake_soon, bell), 0);
	assert_int_equal(bell_wait(bell, 10000, &event), 0);
	assert_true(clock_mono_ms() - start < 5000);
	pthread_join(thread, NULL);
	/* A wake before the wait is not forgotten. */
	bell_wake(bell);
	start = clock_mono_ms();
	assert_int_equal(bell_wait(bell, 10000, &event), 0);
	assert_true(clock_mono_ms() - start < 5000);
	bell_close(&bell);
}

/* More ended jobs than can be remembered: either every id comes, or "missed" says that some did
 * not. */
static void overrun_is_told(struct fixture *fx)
{
	enum { COUNT = 9000 };
	struct bell *bell = open_bell(fx, BELL_ENDED), *ringer = open_bell(fx, 0);
	struct uuid *ids = ARENA_ARRAY(fx->arena, struct uuid, COUNT);
	struct bell_event event;
	bool missed = false;
	size_t heard = 0;

	until_quiet(bell);
	for (size_t i = 0; i < COUNT; i++)
		uuid_v7(&ids[i]);
	for (size_t i = 0; i < COUNT; i += 100)
		bell_ring_ended(ringer, ids + i, 100);
	while (bell_wait(bell, 1000, &event)) {
		heard += event.ended_count;
		missed |= event.missed;
	}
	assert_true(missed || heard == COUNT);
	bell_ring_ended(ringer, ids, 1);
	assert_int_equal(hear(bell, BELL_ENDED, ids, 1), 0);
	bell_close(&ringer);
	bell_close(&bell);
}

/* Waits until so many of these were heard to have moved. */
static size_t hear_moved(struct bell *bell, const struct uuid *ids, size_t count, int ms)
{
	int64_t until = clock_mono_ms() + ms;
	size_t heard = 0;

	while (heard < count && clock_mono_ms() < until) {
		struct bell_event event;

		if (!bell_wait(bell, 100, &event))
			continue;
		for (size_t i = 0; i < event.moved_count; i++)
			for (size_t k = 0; k < count; k++)
				heard += uuid_equal(&event.moved[i], &ids[k]);
	}
	return heard;
}

/* One process watches, another one rings: only after it has heard that somebody does. */
static void moves_are_rung_while_watched(struct fixture *fx)
{
	struct bell *watcher = open_bell(fx, BELL_MOVED),
		    *ringer = open_bell(fx, BELL_READY | BELL_WATCH), *gateway = open_bell(fx, 0);
	int64_t until = clock_mono_ms() + 5000;
	struct bell_event event;
	struct uuid ids[300];

	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		uuid_v7(&ids[i]);
	until_quiet(watcher);
	until_quiet(ringer);
	assert_false(bell_watched(ringer));
	bell_ring_moved(ringer, ids, ARRAY_LEN(ids));
	assert_int_equal(bell_wait(watcher, 300, &event), 0);
	bell_watch(gateway);
	assert_true(bell_watched(gateway));
	while (!bell_watched(ringer) && clock_mono_ms() < until)
		assert_int_equal(bell_wait(ringer, 50, &event), 0); /* it is no event */
	assert_true(bell_watched(ringer));
	bell_ring_moved(ringer, ids, ARRAY_LEN(ids));
	assert_int_equal(hear_moved(watcher, ids, ARRAY_LEN(ids), 5000), ARRAY_LEN(ids));
	bell_close(&watcher);
	bell_close(&ringer);
	bell_close(&gateway);
}

static const struct store_case cases[] = {
	{ "rung_in_another_process", rung_in_another_process },
	{ "only_what_is_listened_for", only_what_is_listened_for },
	{ "wake_ends_the_wait", wake_ends_the_wait },
	{ "overrun_is_told", overrun_is_told },
	{ "moves_are_rung_while_watched", moves_are_rung_while_watched },
};

int main(void)
{
	return store_cases_run("store_bell", cases, ARRAY_LEN(cases));
}

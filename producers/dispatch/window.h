/* SPDX-License-Identifier: Apache-2.0 */
/* How many jobs of one queue may be on the broker: what the attached workers finish in two seconds,
 * 100 to 10,000. Between two looks at the store it goes by what was sent and by the rate of before;
 * each look puts that right. Pure: times and counts come in. */
#ifndef PRODUCERS_DISPATCH_WINDOW_H
#define PRODUCERS_DISPATCH_WINDOW_H
#include <stdbool.h>
#include <stdint.h>

#define WINDOW_MIN      100
#define WINDOW_MAX      10000
#define WINDOW_AHEAD_MS 2000

/* Of a queue in which it matters who is next: what is on the broker has been decided. */
#define WINDOW_SHORT_MIN      4
#define WINDOW_SHORT_FIRST    16
#define WINDOW_SHORT_AHEAD_MS 500

#define WINDOW_PAUSE_FIRST_MS 60000
#define WINDOW_PAUSE_MAX_MS   3600000

struct window {
	int64_t size;
	int64_t out;         /* at the last look */
	int64_t sent;        /* since then */
	int64_t oldest_ms;   /* age of the oldest lease at the last look; -1: none */
	int64_t looked_ms;   /* monotonic */
	double rate;         /* jobs that end, a second */
	bool limited;        /* it was full since the last look */
	bool brief;          /* window_shorten */
	int64_t progress_ms; /* when something was last seen to end */
	int64_t pause_ms;    /* the last one; 0: none since something ended */
	int64_t paused_until_ms;
};

void window_init(struct window *window, int64_t now_ms);
/* It is a queue with limits or turns (limits.h): less is sent ahead. */
void window_shorten(struct window *window);
/* How many may be sent now. */
int64_t window_room(struct window *window, int64_t now_ms);
void window_sent(struct window *window, int64_t count);
/* What a look at the store found: so many are out, the oldest lease is so old (-1: none). True: a
 * whole lease ran out, and nothing has ended for a minute; nothing is sent for a while, so that
 * readers who are gone do not find the broker full of copies. */
bool window_look(struct window *window, int64_t out, int64_t oldest_ms, int64_t lease_ms,
		 int64_t now_ms);
/* Whoever was in the way (the broker, the workers) is back: no pause, and no old news. */
void window_forgive(struct window *window, int64_t now_ms);
/* When there will be room worth sending for, ms from now, by the rate; at most max_ms. */
int64_t window_wait_ms(const struct window *window, int64_t max_ms, int64_t now_ms);

#endif

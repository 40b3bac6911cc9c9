/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of a queue's window. It grows when workers have emptied most of it before the next
 * look, and shrinks slowly to what the rate asks for. */
#include "producers/dispatch/window.h"

#define EMPTIED_PART 4   /* less than a quarter was left: workers could have done more */
#define WORTH_PART   8   /* room worth a round: an eighth */
#define RATE_KEEPS   0.5 /* of the old rate, a second of looking later */
#define WAIT_MIN_MS  5

void window_init(struct window *window, int64_t now_ms)
{
	*window = (struct window){
		.size = WINDOW_MIN, .oldest_ms = -1, .looked_ms = now_ms, .progress_ms = now_ms
	};
}

static int64_t least(const struct window *window)
{
	return window->brief ? WINDOW_SHORT_MIN : WINDOW_MIN;
}

void window_shorten(struct window *window)
{
	if (window->brief)
		return;
	window->brief = true;
	if (window->size > WINDOW_SHORT_FIRST && window->rate == 0)
		window->size = WINDOW_SHORT_FIRST;
}

static int64_t estimate(const struct window *window, int64_t now_ms)
{
	double ended = window->rate * (double)(now_ms - window->looked_ms) / 1000;
	int64_t out = window->out + window->sent;

	return ended >= (double)out ? 0 : out - (int64_t)ended;
}

int64_t window_room(struct window *window, int64_t now_ms)
{
	int64_t room = window->size - estimate(window, now_ms);

	if (now_ms < window->paused_until_ms)
		return 0;
	if (room <= 0)
		window->limited = true;
	return room > 0 ? room : 0;
}

void window_sent(struct window *window, int64_t count)
{
	window->sent += count;
	if (window->out + window->sent >= window->size)
		window->limited = true;
}

/* `emptied`: what is missing has ended. */
static void resize(struct window *window, int64_t out, bool emptied)
{
	int64_t ahead_ms = window->brief ? WINDOW_SHORT_AHEAD_MS : WINDOW_AHEAD_MS;
	int64_t target = (int64_t)(window->rate * (double)ahead_ms / 1000);

	if (emptied && window->limited && out < window->size / EMPTIED_PART &&
	    target < 2 * window->size)
		target = 2 * window->size;
	if (target < window->size)
		target = window->size - (window->size - target + 7) / 8;
	if (target < least(window))
		target = least(window);
	window->size = target > WINDOW_MAX ? WINDOW_MAX : target;
}

/* Half of it is news after a second; a look that comes early says little. */
static void follow_rate(struct window *window, int64_t ended, int64_t elapsed_ms)
{
	double seconds = (double)elapsed_ms / 1000, news = RATE_KEEPS * seconds;

	if (elapsed_ms <= 0)
		return;
	if (news > 1)
		news = 1;
	window->rate += news * ((double)ended / seconds - window->rate);
}

static void pause(struct window *window, int64_t now_ms)
{
	window->pause_ms = window->pause_ms ? 2 * window->pause_ms : WINDOW_PAUSE_FIRST_MS;
	if (window->pause_ms > WINDOW_PAUSE_MAX_MS)
		window->pause_ms = WINDOW_PAUSE_MAX_MS;
	window->paused_until_ms = now_ms + window->pause_ms;
	window->progress_ms = window->paused_until_ms; /* what is sent then has a lease's time */
	window->size = least(window);
	window->rate = 0;
}

bool window_look(struct window *window, int64_t out, int64_t oldest_ms, int64_t lease_ms,
		 int64_t now_ms)
{
	int64_t elapsed_ms = now_ms - window->looked_ms;
	int64_t ended = window->out + window->sent - out;
	/* What is missing may have run out rather than ended. */
	bool ran_out = window->oldest_ms >= 0 && window->oldest_ms + elapsed_ms >= lease_ms;
	int64_t patience_ms = lease_ms > WINDOW_PAUSE_FIRST_MS ? lease_ms : WINDOW_PAUSE_FIRST_MS;
	bool stalled = ran_out && now_ms - window->progress_ms >= patience_ms &&
		       now_ms >= window->paused_until_ms;

	if (ended < 0)
		ended = 0;
	if (ended > 0 && !ran_out) {
		window->progress_ms = now_ms;
		window->pause_ms = window->paused_until_ms = 0;
	}
	follow_rate(window, ran_out ? 0 : ended, elapsed_ms);
	resize(window, out, !ran_out);
	window->out = out;
	window->oldest_ms = oldest_ms;
	window->looked_ms = now_ms;
	window->sent = 0;
	window->limited = false;
	if (stalled)
		pause(window, now_ms);
	return stalled;
}

void window_forgive(struct window *window, int64_t now_ms)
{
	window->progress_ms = now_ms;
	window->pause_ms = window->paused_until_ms = 0;
}

int64_t window_wait_ms(const struct window *window, int64_t max_ms, int64_t now_ms)
{
	double missing =
		(double)(estimate(window, now_ms) + window->size / WORTH_PART - window->size);
	double wait_ms = window->rate > 0 ? missing / window->rate * 1000 : (double)max_ms;

	if (now_ms < window->paused_until_ms || wait_ms > (double)max_ms)
		return max_ms;
	return wait_ms < WAIT_MIN_MS ? WAIT_MIN_MS : (int64_t)wait_ms;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Out as soon as it presses, by half at least, at most to the double; not again before those are
 * there that were asked for. In only after a time of calm, at most by half, and never to a number
 * that the load of now would press. So the two cannot chase each other. */
#include "workers/supervisor/autoscale.h"

/* So many would be as busy as they are to be. */
static int needed(const struct pool_state *state, int workers)
{
	const struct pool_crew *crew = &state->common;
	double target = state->pool->autoscale.utilisation, exact;
	int whole;

	if (!crew->hosts)
		return 0;
	exact = workers * ((double)crew->busy / crew->hosts) / target;
	whole = (int)exact;
	return whole + ((double)whole < exact - 1e-9);
}

static bool presses(const struct pool_state *state, int needs, int workers)
{
	if (!state->common.hosts && (state->available > 0 || state->queued > 0))
		return true; /* nobody is there for it */
	return state->oldest_ms > state->pool->autoscale.age_ms || needs > workers;
}

static int step_out(const struct pool_autoscale *bounds, int needs, int workers, bool late)
{
	int more = workers + (workers > 1 ? workers / 2 : 1);

	if (!late || needs > more)
		more = needs > workers ? needs : workers + 1;
	if (workers && more > 2 * workers)
		more = 2 * workers;
	return more < bounds->max ? more : bounds->max;
}

static int step_in(const struct pool_autoscale *bounds, int needs, int workers)
{
	int fewer = needs > workers / 2 ? needs : workers / 2;

	return fewer > bounds->min ? fewer : bounds->min;
}

struct autoscale_verdict autoscale_decide(const struct pool_state *state, int64_t calm_ms)
{
	const struct pool_autoscale *bounds = &state->pool->autoscale;
	struct autoscale_verdict verdict = { .workers = POOL_KEEP };
	int workers = state->all.workers, needs = needed(state, workers);
	int there = state->common.workers - state->common.leaving;

	if (presses(state, needs, workers)) {
		if (workers < bounds->max && there >= workers * state->common.nodes)
			verdict.workers =
				step_out(bounds, needs, workers, state->oldest_ms > bounds->age_ms);
		return verdict;
	}
	if (workers <= bounds->min || needs >= workers || state->oldest_ms > bounds->age_ms / 2)
		return verdict;
	verdict.calm = true;
	if (calm_ms >= bounds->calm_ms)
		verdict.workers = step_in(bounds, needs, workers);
	return verdict;
}

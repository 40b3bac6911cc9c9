/* SPDX-License-Identifier: Apache-2.0 */
/* Means over the last few seconds, so that one quiet moment does not look like an idle worker. */
#include "workers/engine/figures.h"

#define MEMORY_MS 5000

static double towards(double old, double new, int64_t elapsed_ms)
{
	double part = elapsed_ms < MEMORY_MS ? (double)elapsed_ms / MEMORY_MS : 1;
	double mean = old + (new - old) * part;

	return mean < 0.001 ? 0 : mean;
}

void figures_tick(struct figures *figures, uint64_t ended, int64_t mono_ms)
{
	size_t in_hand = figures->in_hand, hosts = (size_t)figures->hosts;
	int64_t elapsed_ms = figures->at_ms ? mono_ms - figures->at_ms : 0;
	double rate;

	if (elapsed_ms > 0) {
		rate = ended > figures->ended
			       ? (double)(ended - figures->ended) * 1000 / (double)elapsed_ms
			       : 0;
		figures->rate_per_s = towards(figures->rate_per_s, rate, elapsed_ms);
		figures->busy = towards(figures->busy, (double)(in_hand < hosts ? in_hand : hosts),
					elapsed_ms);
	}
	figures->ended = ended;
	figures->at_ms = mono_ms;
}

void figures_read(struct figures *figures, struct session_figures *read_r)
{
	*read_r = (struct session_figures){
		.hosts = figures->hosts,
		.busy = (int)(figures->busy + 0.5),
		.rate_per_s = (double)(int64_t)(figures->rate_per_s * 100 + 0.5) / 100,
		.leaving = figures->leaving,
	};
}

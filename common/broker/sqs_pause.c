/* SPDX-License-Identifier: Apache-2.0 */
/* From a quarter of the bound to the whole of it: never at once, never all together. */
#include "common/broker/sqs_pause.h"

#include "common/base/clock.h"

#define FIRST_MS    100
#define MAX_MS      10000
#define DOUBLES_MAX 7

void sqs_pause_more(struct sqs_pause *pause, int64_t now_ms)
{
	int64_t bound_ms = FIRST_MS << (pause->count < DOUBLES_MAX ? pause->count : DOUBLES_MAX);

	if (bound_ms > MAX_MS)
		bound_ms = MAX_MS;
	pause->count++;
	pause->until_ms =
		now_ms + bound_ms / 4 + (int64_t)random_below((uint64_t)bound_ms * 3 / 4 + 1);
}

void sqs_pause_over(struct sqs_pause *pause)
{
	*pause = (struct sqs_pause){ .until_ms = 0 };
}

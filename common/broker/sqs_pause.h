/* SPDX-License-Identifier: Apache-2.0 */
/* Pauses between attempts at something that fails: they double up to ten seconds, with jitter, so
 * that many processes do not come back at once. Used by what talks to SQS. */
#ifndef COMMON_BROKER_SQS_PAUSE_H
#define COMMON_BROKER_SQS_PAUSE_H
#include <stdint.h>

struct sqs_pause {
	int64_t until_ms; /* monotonic; 0: none */
	int count;        /* in a row */
};

void sqs_pause_more(struct sqs_pause *pause, int64_t now_ms); /* it failed */
void sqs_pause_over(struct sqs_pause *pause);                 /* it worked */

#endif

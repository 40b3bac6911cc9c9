/* SPDX-License-Identifier: Apache-2.0 */
/* Time as an input. Monotonic for time-outs inside a process; wall time only for what people and
 * other machines see. */
#ifndef COMMON_BASE_CLOCK_H
#define COMMON_BASE_CLOCK_H
#include <stdint.h>
#include <stddef.h>

int64_t clock_mono_ns(void);
int64_t clock_mono_ms(void);
int64_t clock_wall_ms(void); /* Unix epoch */
int64_t clock_wall_us(void);

#define CLOCK_TEXT 25                                         /* "2026-11-23T06:40:00.123Z" + NUL */
char *clock_format(int64_t wall_ms, char text_r[CLOCK_TEXT]); /* RFC 3339, UTC */
/* RFC 3339 date-time with offset or Z -> Unix ms. Returns 0, or -1 when it is not one. */
int clock_parse(const char *text, int64_t *wall_ms_r);

/* "90s", "5m", "1h", "7d", "250ms", or a bare number of seconds (decimals allowed) -> ms. -1 when
 * it is not a duration. Negative durations and those over 10 years are refused. */
int duration_parse(const char *text, int64_t *ms_r);
/* the shortest of the forms above that is exact */
char *duration_format(int64_t ms, char text_r[24]);

/* Random numbers for jitter and ids: getrandom, pooled per thread. Never fails. */
void random_bytes(void *p, size_t bytes);
uint64_t random_below(uint64_t bound); /* uniform in [0, bound); bound > 0 */

#endif

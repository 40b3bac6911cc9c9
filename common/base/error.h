/* SPDX-License-Identifier: Apache-2.0 */
/* Weather: what a call that failed says about it. Bugs are CHECKs; configuration errors are
 * messages with a place. The idiom is `int f(..., struct error *err_r)`: 0 done, -1 failed and
 * *err_r is filled in (err_r is never NULL). */
#ifndef COMMON_BASE_ERROR_H
#define COMMON_BASE_ERROR_H
#include <stdbool.h>

#include "common/base/check.h"

enum error_code {
	ERROR_NONE = 0,
	ERROR_INVALID, /* the input is wrong; saying it again will not help */
	ERROR_NOT_FOUND,
	ERROR_CONFLICT,    /* the state of the thing forbids it */
	ERROR_FULL,        /* a limit was reached: disk, queue, table */
	ERROR_UNAVAILABLE, /* the other side is away; nothing was done, for certain */
	ERROR_UNKNOWN,     /* a commit without an answer: done or not done */
	ERROR_CONTENTION,  /* deadlock, serialization failure, lock time-out: try again, smaller */
	ERROR_SQL,         /* a statement is at fault (constraint, type, syntax); see sqlstate */
	ERROR_TIMEOUT,
	ERROR_INTERNAL,
};

struct error {
	enum error_code code;
	/* "" when no SQL was involved; SQLite: the result code's name is in the message */
	char sqlstate[6];
	char message[506];
};

/* Fills *err_r (truncates the message). Returns -1, so that `return error_set(...)` reads well. */
int error_set(struct error *err_r, enum error_code code, const char *fmt, ...) printf_like(3, 4);
/* Puts "context: " in front of the message. Returns -1. */
int error_wrap(struct error *err, const char *fmt, ...) printf_like(2, 3);
void error_clear(struct error *err);
const char *error_code_name(enum error_code code); /* "unavailable" ... */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Filling in and handing on what a failed call says. Called wherever weather is reported; never
 * logs by itself: the caller at the top does that once. */
#include "common/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *err_r, enum error_code code, const char *fmt, ...)
{
	va_list args;

	CHECK(err_r != NULL);
	CHECK(code != ERROR_NONE);
	err_r->code = code;
	err_r->sqlstate[0] = '\0';
	va_start(args, fmt);
	vsnprintf(err_r->message, sizeof(err_r->message), fmt, args);
	va_end(args);
	return -1;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
	char context[sizeof(err->message) - sizeof(": ")];
	size_t used, room, kept;
	va_list args;

	CHECK(err != NULL);
	va_start(args, fmt);
	vsnprintf(context, sizeof(context), fmt, args);
	va_end(args);
	used = strlen(context);
	room = sizeof(err->message) - used - strlen(": ") - 1;
	kept = strnlen(err->message, room);
	memmove(err->message + used + 2, err->message, kept);
	memcpy(err->message, context, used);
	memcpy(err->message + used, ": ", 2);
	err->message[used + 2 + kept] = '\0';
	return -1;
}

void error_clear(struct error *err)
{
	err->code = ERROR_NONE;
	err->sqlstate[0] = '\0';
	err->message[0] = '\0';
}

const char *error_code_name(enum error_code code)
{
	static const char *const names[] = {
		[ERROR_NONE] = "none",
		[ERROR_INVALID] = "invalid",
		[ERROR_NOT_FOUND] = "not-found",
		[ERROR_CONFLICT] = "conflict",
		[ERROR_FULL] = "full",
		[ERROR_UNAVAILABLE] = "unavailable",
		[ERROR_UNKNOWN] = "unknown",
		[ERROR_CONTENTION] = "contention",
		[ERROR_SQL] = "sql",
		[ERROR_TIMEOUT] = "timeout",
		[ERROR_INTERNAL] = "internal",
	};

	CHECK((unsigned)code < ARRAY_LEN(names));
	return names[code];
}

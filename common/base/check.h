/* SPDX-License-Identifier: Apache-2.0 */
/* The few macros everybody needs: checks that are always on, and compiler attributes. Nothing else
 * belongs here. */
#ifndef COMMON_BASE_CHECK_H
#define COMMON_BASE_CHECK_H
#include <stddef.h>

#define must_check             __attribute__((warn_unused_result))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_LEN(a)           (sizeof(a) / sizeof((a)[0]))

/* A bug, not weather: prints place and condition on stderr and aborts. Always on. */
#define CHECK(cond)                                              \
	do {                                                     \
		if (__builtin_expect(!(cond), 0))                \
			check_failed(#cond, __FILE__, __LINE__); \
	} while (0)

_Noreturn void check_failed(const char *cond, const char *file, int line);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes as people write them in settings and definitions: "256KiB", "16MiB", "1GiB", or a bare
 * number of bytes. */
#ifndef COMMON_CONFIG_SIZE_H
#define COMMON_CONFIG_SIZE_H
#include <stdint.h>

#include "common/base/check.h"

int size_parse(const char *text,
	       int64_t *bytes_r) must_check; /* 0, or -1: not a size, negative, or over 2^62 */
char *size_format(int64_t bytes, char text_r[24]); /* the largest unit that is exact */

#endif

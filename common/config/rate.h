/* SPDX-License-Identifier: Apache-2.0 */
/* Rates as people write them. */
#ifndef COMMON_CONFIG_RATE_H
#define COMMON_CONFIG_RATE_H
#include "common/base/check.h"

/* 50/s, 100/m, 1000/h: more than 0 and at most `max` a second. 0, or -1: that is none. */
int rate_parse(const char *text, double max, double *per_s_r) must_check;

#endif

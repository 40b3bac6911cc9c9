/* SPDX-License-Identifier: Apache-2.0 */
/* The opaque place in a list of jobs: the last id seen, bound to the filters it was made for. */
#ifndef PRODUCERS_GATEWAY_CURSOR_H
#define PRODUCERS_GATEWAY_CURSOR_H
#include "common/store/query.h"

#define CURSOR_TEXT 43 /* NUL included */

void cursor_format(const struct job_filter *filter, const struct uuid *last,
		   char text_r[CURSOR_TEXT]);
/* Fills filter->before. False: not one of ours, or of other filters. */
bool cursor_parse(const char *text, struct job_filter *filter);

#endif

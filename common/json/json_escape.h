/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind a backslash in a JSON string. For json_slice.c, which undoes escapes, and
 * json_check.c, which only looks at them. */
#ifndef COMMON_JSON_JSON_ESCAPE_H
#define COMMON_JSON_JSON_ESCAPE_H

/* `at` is behind the backslash. Appends what the escape stands for (at most four bytes) to *out_r.
 * Returns the place behind it, or NULL: none, half a surrogate pair, or NUL. */
const char *json_escape_take(const char *at, const char *end, char **out_r);

#endif

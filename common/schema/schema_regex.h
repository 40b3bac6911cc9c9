/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions of ECMA-262 (as with its flag `u`, but any punctuation may be escaped) on
 * pcre2. A pattern is translated first, so that nothing of Perl's own syntax is taken. For the
 * schema compiler only. */
#ifndef COMMON_SCHEMA_SCHEMA_REGEX_H
#define COMMON_SCHEMA_SCHEMA_REGEX_H
#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/base/strbuf.h"

#define REGEX_BYTES_MAX (16 * 1024)

struct schema_regex;
struct schema_scratch; /* of one thread at a time, for all patterns */

/* NULL with a sentence in *why_r, in the arena. The arena must outlive it; schema_regex_release
 * frees what does not lie there. */
struct schema_regex *schema_regex_compile(const char *pattern, struct arena *arena,
					  const char **why_r) must_check;
void schema_regex_release(struct schema_regex *regex);
/* Found anywhere in the text, which is UTF-8: 1, 0, or -1 when a limit was reached. *costly_r: it
 * took more than is usual. *scratch: NULL at first, freed by schema_scratch_free. */
int schema_regex_match(const struct schema_regex *regex, const char *text, size_t bytes,
		       struct schema_scratch **scratch, bool *costly_r) must_check;
void schema_scratch_free(struct schema_scratch **scratch); /* NULL-safe */

/* schema_ecma.c: appends the pattern in pcre2's syntax. NULL, or what is wrong with it. */
const char *schema_ecma_translate(const char *pattern, struct strbuf *out) must_check;

#endif

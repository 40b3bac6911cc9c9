/* SPDX-License-Identifier: Apache-2.0 */
/* The only file that sees pcre2. Compiled patterns are read by any number of threads; what a match
 * needs to write lies in a scratch. No JIT: pages that are writable and executable would cost more
 * than they gain here. */
#include "common/schema/schema_regex.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define USUAL_STEPS_MAX 2000 /* of pcre2, about 20 µs */
#define MATCH_STEPS_MAX 200000
#define DEPTH_MAX       1000
#define HEAP_KIB_MAX    4096

struct schema_regex {
	pcre2_code *code;
};

static pcre2_code *compile(const char *text, size_t bytes, int *error, PCRE2_SIZE *at)
{
	const uint32_t options = PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_MATCH_UNSET_BACKREF |
				 PCRE2_ALLOW_EMPTY_CLASS | PCRE2_NO_UTF_CHECK |
				 PCRE2_NEVER_BACKSLASH_C;

	return pcre2_compile((PCRE2_SPTR)text, bytes, options, error, at, NULL);
}

struct schema_regex *schema_regex_compile(const char *pattern, struct arena *arena,
					  const char **why_r)
{
	struct schema_regex *regex = ARENA_NEW(arena, struct schema_regex);
	char message[160];
	struct strbuf text;
	PCRE2_SIZE at;
	int error;

	strbuf_init(&text);
	*why_r = strlen(pattern) > REGEX_BYTES_MAX ? "it is too long"
						   : schema_ecma_translate(pattern, &text);
	if (!*why_r) {
		regex->code = compile(text.data, text.len, &error, &at);
		if (!regex->code) {
			pcre2_get_error_message(error, (PCRE2_UCHAR *)message, sizeof(message));
			*why_r = arena_strdup(arena, message);
		}
	}
	strbuf_release(&text);
	return *why_r ? NULL : regex;
}

void schema_regex_release(struct schema_regex *regex)
{
	pcre2_code_free(regex->code);
	regex->code = NULL;
}

/* ---- matching */

struct schema_scratch {
	pcre2_match_data *data;
	pcre2_match_context *limits;
};

static struct schema_scratch *scratch_new(void)
{
	struct schema_scratch *scratch = xcalloc(1, sizeof(*scratch));

	scratch->data = pcre2_match_data_create(1, NULL);
	scratch->limits = pcre2_match_context_create(NULL);
	CHECK(scratch->data && scratch->limits);
	pcre2_set_depth_limit(scratch->limits, DEPTH_MAX);
	pcre2_set_heap_limit(scratch->limits, HEAP_KIB_MAX);
	return scratch;
}

static int match(const struct schema_regex *regex, const char *text, size_t bytes,
		 struct schema_scratch *scratch, uint32_t steps_max)
{
	pcre2_set_match_limit(scratch->limits, steps_max);
	return pcre2_match(regex->code, (PCRE2_SPTR)text, bytes, 0, PCRE2_NO_UTF_CHECK,
			   scratch->data, scratch->limits);
}

/* pcre2 does not say how much work a match was: one that is cut off at little is made again. */
int schema_regex_match(const struct schema_regex *regex, const char *text, size_t bytes,
		       struct schema_scratch **scratch, bool *costly_r)
{
	int rc;

	if (!*scratch)
		*scratch = scratch_new();
	rc = match(regex, text, bytes, *scratch, USUAL_STEPS_MAX);
	*costly_r = rc == PCRE2_ERROR_MATCHLIMIT;
	if (*costly_r)
		rc = match(regex, text, bytes, *scratch, MATCH_STEPS_MAX);
	return rc >= 0 ? 1 : rc == PCRE2_ERROR_NOMATCH ? 0 : -1;
}

void schema_scratch_free(struct schema_scratch **scratch)
{
	struct schema_scratch *gone = *scratch;

	*scratch = NULL;
	if (!gone)
		return;
	pcre2_match_data_free(gone->data);
	pcre2_match_context_free(gone->limits);
	free(gone);
}

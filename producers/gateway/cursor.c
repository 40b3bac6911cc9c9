/* SPDX-License-Identifier: Apache-2.0 */
/* Version 1 is hex of: 01, the id, the first four bytes of the SHA-256 over the filters. A new form
 * gets a new first byte and this one stays readable for as long as a page may lie open. Pure. */
#include "producers/gateway/cursor.h"

#include <string.h>

#include "common/base/digest.h"
#include "common/base/strbuf.h"

#define VERSION      1
#define MARK_BYTES   4
#define CURSOR_BYTES (1 + sizeof(struct uuid) + MARK_BYTES)

static void filter_mark(const struct job_filter *filter, uint8_t mark_r[MARK_BYTES])
{
	const char *parts[] = { filter->reach.tenant, filter->reach.owner, filter->type,
				filter->queue, filter->tag };
	uint8_t digest[SHA256_BYTES];
	struct strbuf text;

	strbuf_init(&text);
	strbuf_addi(&text, filter->state);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		strbuf_addch(&text, parts[i] ? '=' : '-');
		strbuf_addstr(&text, parts[i] ? parts[i] : "");
		strbuf_addch(&text, '\n');
	}
	digest_sha256(text.data, text.len, digest);
	memcpy(mark_r, digest, MARK_BYTES);
	strbuf_release(&text);
}

void cursor_format(const struct job_filter *filter, const struct uuid *last,
		   char text_r[CURSOR_TEXT])
{
	uint8_t bytes[CURSOR_BYTES] = { VERSION };

	_Static_assert(CURSOR_TEXT == 2 * CURSOR_BYTES + 1, "the text is hex");
	memcpy(bytes + 1, last->b, sizeof(last->b));
	filter_mark(filter, bytes + 1 + sizeof(last->b));
	digest_hex(bytes, sizeof(bytes), text_r);
}

bool cursor_parse(const char *text, struct job_filter *filter)
{
	uint8_t bytes[CURSOR_BYTES], mark[MARK_BYTES];

	if (strlen(text) != CURSOR_TEXT - 1 || !digest_unhex(text, CURSOR_TEXT - 1, bytes) ||
	    bytes[0] != VERSION)
		return false;
	filter_mark(filter, mark);
	if (memcmp(mark, bytes + 1 + sizeof(filter->before.b), MARK_BYTES) != 0)
		return false;
	memcpy(filter->before.b, bytes + 1, sizeof(filter->before.b));
	return !uuid_is_nil(&filter->before);
}

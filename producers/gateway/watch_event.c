/* SPDX-License-Identifier: Apache-2.0 */
/* Events: a job's JSON, written once, and the id that names it. The id is the store's time of the
 * look in ms (12 hex digits), then a digest of the JSON (16): from the first a filter goes on, by
 * the second one knows that nothing has changed. A new form gets another length. Pure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/base/strbuf.h"
#include "producers/gateway/job_json.h"
#include "producers/gateway/watch_table.h"

#define TIME_TEXT   12
#define DIGEST_TEXT 16

/* FNV-1a; never 0. Nobody gains by two states of his own job that look alike. */
static uint64_t digest_of(const char *text, size_t bytes)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < bytes; i++)
		hash = (hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
	return hash ? hash : 1;
}

static void write_id(struct watch_event *event, int64_t at_ms)
{
	uint8_t bytes[(TIME_TEXT + DIGEST_TEXT) / 2];

	_Static_assert(WATCH_EVENT_ID_TEXT == TIME_TEXT + DIGEST_TEXT + 1, "the id is hex");
	for (int i = 0; i < 6; i++)
		bytes[i] = (uint8_t)((uint64_t)at_ms >> (40 - 8 * i));
	for (int i = 0; i < 8; i++)
		bytes[6 + i] = (uint8_t)(event->digest >> (56 - 8 * i));
	digest_hex(bytes, sizeof(bytes), event->id);
}

struct watch_event *watch_event_new(const struct job_view *view, const struct definitions *defs,
				    int64_t now_ms)
{
	struct watch_event *event;
	struct strbuf json;
	char *text;

	strbuf_init(&json);
	job_json_write(&json, view, defs);
	event = xmalloc(sizeof(*event) + json.len + 1);
	text = (char *)(event + 1);
	memcpy(text, json.data, json.len + 1);
	*event = (struct watch_event){
		.refs = 1,
		.job = view->id,
		.state = view->state,
		.ended = job_state_terminal(view->state),
		.progress = view->state == JOB_RUNNING && view->progress >= 0,
		.digest = digest_of(text, json.len),
		.json = text,
		.bytes = json.len,
	};
	strbuf_release(&json);
	write_id(event, now_ms);
	return event;
}

struct watch_event *watch_event_copy(const struct watch_event *event, int64_t at_ms)
{
	struct watch_event *copy = xmalloc(sizeof(*copy) + event->bytes + 1);
	char *text = (char *)(copy + 1);

	memcpy(text, event->json, event->bytes + 1);
	*copy = (struct watch_event){
		.refs = 1,
		.job = event->job,
		.state = event->state,
		.ended = event->ended,
		.progress = event->progress,
		.digest = event->digest,
		.json = text,
		.bytes = event->bytes,
	};
	write_id(copy, at_ms);
	return copy;
}

void watch_event_unref(struct watch_event **event_)
{
	struct watch_event *event = *event_;

	*event_ = NULL;
	if (event && atomic_fetch_sub_explicit(&event->refs, 1, memory_order_acq_rel) == 1)
		free(event);
}

bool watch_event_id_parse(const char *text, int64_t *at_ms_r, uint64_t *digest_r)
{
	uint8_t bytes[(TIME_TEXT + DIGEST_TEXT) / 2];

	*at_ms_r = 0;
	*digest_r = 0;
	if (strnlen(text, WATCH_EVENT_ID_TEXT) != WATCH_EVENT_ID_TEXT - 1 ||
	    !digest_unhex(text, WATCH_EVENT_ID_TEXT - 1, bytes))
		return false;
	for (int i = 0; i < 6; i++)
		*at_ms_r = *at_ms_r << 8 | bytes[i];
	for (int i = 0; i < 8; i++)
		*digest_r = *digest_r << 8 | bytes[6 + i];
	return true;
}

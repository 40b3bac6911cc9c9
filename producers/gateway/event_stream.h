/* SPDX-License-Identifier: Apache-2.0 */
/* An exchange that is answered by Server-Sent Events, fed by a watch: the watch of one job is
 * refused like GET /v1/jobs/{id} when its first look finds none. What an event looks like is the
 * form's. The streams of a gateway share one thread for heartbeats, for clients that have left and
 * for those that take nothing. */
#ifndef PRODUCERS_GATEWAY_EVENT_STREAM_H
#define PRODUCERS_GATEWAY_EVENT_STREAM_H
#include "common/base/strbuf.h"
#include "producers/gateway/exchange.h"
#include "producers/gateway/watch.h"

#define EVENT_STREAM_BEAT_MS 15000   /* a comment after so long without an event */
#define EVENT_STREAM_LIFE_MS 3600000 /* then the client comes again, and is asked for its key */

struct event_stream;
struct event_streams;

/* All append whole blocks; on the connection's thread. */
struct event_stream_form {
	void (*event)(struct strbuf *out, const struct watch_event *event, void *ctx);
	/* nothing (more) comes; not called for WATCH_OVER of a form that leaves it NULL */
	void (*end)(struct strbuf *out, enum watch_end why, void *ctx);
	/* WATCH_OVER without any event is 204, so that an EventSource does not come again */
	bool over_is_204;
};

/* Ends the step. The filter's account is set here; ctx lives as long as the request. */
void event_stream_start(struct exchange *exchange, struct watch_filter *filter,
			const char *last_event_id, const struct event_stream_form *form, void *ctx);
/* Last-Event-ID, or its query parameters for those who cannot send it; or NULL. */
const char *event_stream_last_id(const struct exchange *exchange);
/* "data:" and the text, whatever line ends it has, and the empty line. */
void event_stream_data(struct strbuf *out, const char *text, size_t bytes);
void event_stream_release(struct exchange *exchange); /* when the request ends */

struct event_streams *event_streams_start(void);
/* All streams have ended. NULL-safe. */
void event_streams_stop(struct event_streams **streams);

#endif

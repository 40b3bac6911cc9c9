/* SPDX-License-Identifier: Apache-2.0 */
/* One call: a stream's head, its messages, and how it ends. A call outlives its stream while an
 * inner request of it is under way. Everything on the loop's thread. */
#ifndef PRODUCERS_GRPC_GRPC_CALL_H
#define PRODUCERS_GRPC_GRPC_CALL_H
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"
#include "producers/gateway/inner.h"
#include "producers/grpc/grpc_link.h"
#include "producers/grpc/grpc_status.h"

#define GRPC_REQUEST_MS 30000 /* for a request to come in; between two of a client's stream */
#define GRPC_UNREAD_MAX \
	(64 * 1024)         /* of a stream: no further answer is made before they are read */
#define GRPC_WAIT_MS 300000 /* longest wait of one inner request */

struct grpc_call;
typedef void grpc_call_fn(struct grpc_call *call);
typedef void grpc_message_fn(struct grpc_call *call, const uint8_t *data, size_t bytes);

struct grpc_method {
	const char *path; /* "/windlass.v1.Jobs/Get" */
	bool client_streams;
	bool server_streams;
	bool batch; /* its limit is that of a batch, for all messages together */
	grpc_message_fn
		*message;       /* a message; of a client that does not stream: the request is in */
	grpc_call_fn *finished; /* a client that streams has sent its last one; else NULL */
	grpc_call_fn *drained;  /* a streaming server: what was given has been read; or NULL */
	grpc_call_fn *draining; /* the gateway stops; or NULL */
	grpc_call_fn *closed;   /* the call is over: release what `own` holds; or NULL */
};

struct grpc_chunk;

struct grpc_call {
	struct list in_link;
	struct grpc_link *link; /* NULL: the stream is closed */
	struct grpc_loop *loop;
	int32_t stream;
	struct arena *arena;
	const struct grpc_method *method; /* NULL: not known yet, or none */
	int64_t started_ns;
	int64_t deadline_ms; /* 0: none */
	struct grpc_timer deadline, patience;
	/* head; texts in the arena */
	const char *http_method, *path, *content_type, *encoding, *timeout;
	const char *authorization, *traceparent;
	size_t head_bytes, head_fields;
	/* the request */
	uint8_t prefix[5];
	size_t prefix_bytes;
	struct strbuf message;
	size_t message_bytes;  /* announced by the prefix */
	size_t messages_bytes; /* of all messages so far */
	size_t message_count;
	size_t fields_left;
	size_t kept_bytes; /* of ask_body, while it grows */
	bool half_closed;
	/* the answer */
	struct list chunks;
	size_t unread_bytes;
	int64_t read_ms; /* when the client last took something, or was first given something */
	bool headed, ended, deferred;
	bool pending; /* counted in loop->pending */
	enum grpc_code code;
	struct grpc_trailers trailers;
	/* the inner request */
	struct inner_request ask;
	struct strbuf ask_target, ask_body;
	bool asking;
	grpc_call_fn *answered;
	struct grpc_note note;
	void *own; /* the method's */
};

/* ---- for the link */
struct grpc_call *grpc_call_open(struct grpc_link *link, int32_t stream);
/* A field of the head. False: the whole connection has gone too far. */
bool must_check grpc_call_field(struct grpc_call *call, const char *name, size_t name_bytes,
				const char *value, size_t value_bytes);
void grpc_call_begin(struct grpc_call *call); /* the head is in */
void grpc_call_data(struct grpc_call *call, const uint8_t *data, size_t bytes);
void grpc_call_half_close(struct grpc_call *call);
/* Copies answer bytes. -1: none now (resumed later); *last_r: nothing comes after these. */
ssize_t grpc_call_read(struct grpc_call *call, uint8_t *out, size_t bytes, bool *last_r);
const struct grpc_trailers *grpc_call_trailers(const struct grpc_call *call);
void grpc_call_close(struct grpc_call *call);                /* the stream is gone */
void grpc_call_look(struct grpc_call *call, int64_t now_ms); /* once in a while */

/* ---- for methods */
/* Gives the client a message. */
void grpc_call_give(struct grpc_call *call, const ProtobufCMessage *message);
void grpc_call_greet(struct grpc_call *call); /* sends the head before there is a message */
/* Ends it. The status is for what comes after the messages that were given. */
void grpc_call_end(struct grpc_call *call, const struct grpc_status *status);
void grpc_call_end_ok(struct grpc_call *call);
void grpc_call_end_plain(struct grpc_call *call, enum grpc_code code, const char *message);
/* Ends it with a problem as the HTTP API has it; pointer and retry_after_s: NULL and 0 for none. */
void grpc_call_refuse(struct grpc_call *call, int http_status, const char *slug,
		      const char *pointer, const char *detail, int retry_after_s);
/* Reads the request into its message. NULL: refused. */
ProtobufCMessage *grpc_call_unpack(struct grpc_call *call, const ProtobufCMessageDescriptor *type,
				   const uint8_t *data, size_t bytes);
/* Asks the API, with ask_target and ask_body (empty: none) and call->ask's idempotency_key; then
 * `answered`, unless the call was over by then or the answer was a refusal, with which it ends. */
void grpc_call_ask(struct grpc_call *call, const char *method, grpc_call_fn *answered);
/* So much of the client's is kept until the call is over. */
void grpc_call_keep(struct grpc_call *call, size_t bytes);
/* An idle stream keeps nobody from stopping. */
void grpc_call_idle(struct grpc_call *call);

#endif

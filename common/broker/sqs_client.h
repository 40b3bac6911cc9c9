/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to SQS, or to a server that speaks like it: JSON protocol 1.0, every request a signed
 * POST to "/", many at once. Answers come typed. The client repeats nothing by itself but a request
 * that was turned away because its key had run out; what may be sent again is its caller's to know
 * (sqs_http.c says what libcurl may repeat). One thread, but for the wake-up. Used by
 * sqs_publisher.c and sqs_feed.c. */
#ifndef COMMON_BROKER_SQS_CLIENT_H
#define COMMON_BROKER_SQS_CLIENT_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/strbuf.h"
#include "common/config/broker_url.h"

#define SQS_MESSAGE_BYTES (1024 * 1024) /* the service's limit for a message and for a batch */
#define SQS_CALL_MS       10000

struct sqs_client;

enum sqs_fate {
	SQS_DONE = 1,
	SQS_THROTTLED, /* not done; later */
	SQS_NOT_FOUND, /* the queue does not exist */
	SQS_DENIED,    /* no permission for this */
	SQS_INVALID,   /* refused; sending it again will not help */
	SQS_AWAY,      /* no key, no answer, or an error inside the service: done or not done */
};

struct sqs_answer {
	enum sqs_fate fate;
	const json_t *json; /* DONE: an object, perhaps empty */
	const char *code;   /* of the error, as the service calls it; or "" */
	const char *text;   /* for people, without secrets */
};

/* Records, and may start other calls; must not poll. What `answer` points to is gone after, but its
 * json may be kept by a reference. */
typedef void sqs_done_fn(void *ctx, const struct sqs_answer *answer);

struct sqs_client_options {
	const struct broker_url *url;
	const char *ca_file; /* or NULL */
	/* It answers, for the first time or again; or it does not any more. For metrics; or NULL.
	 */
	void (*changed)(void *ctx, bool up, bool again);
	void *ctx;
};

/* NULL: ERROR_INVALID (no region). Connects with the first call. */
struct sqs_client *sqs_client_new(const struct sqs_client_options *options,
				  struct error *err_r) must_check;
/* Calls under way end as AWAY. */
void sqs_client_free(struct sqs_client **client);
/* Takes the body's bytes. `action` is static. `done` is called by a later poll, or by free. */
void sqs_client_call(struct sqs_client *client, const char *action, struct strbuf *body,
		     int timeout_ms, sqs_done_fn *done, void *ctx);
/* Goes on with all calls, waiting up to timeout_ms unless one ends or wake is called. May block for
 * a few seconds more when a key has to be fetched. */
void sqs_client_poll(struct sqs_client *client, int timeout_ms);
void sqs_client_wake(struct sqs_client *client); /* any thread */
size_t sqs_client_open(const struct sqs_client *client);
/* One call from begin to end; the others go on meanwhile. 0: DONE, *json_r is a new reference; else
 * -1 and the fate says why. Takes the body's bytes. */
int sqs_client_do(struct sqs_client *client, const char *action, struct strbuf *body,
		  int timeout_ms, json_t **json_r, enum sqs_fate *fate_r,
		  struct error *err_r) must_check;
/* Why calls do not get through, or NULL: the last one did. Without any call: is there a key? */
const char *sqs_client_trouble(struct sqs_client *client);
const char *sqs_client_account(const struct sqs_client *client); /* of the URL, or NULL */
/* Largest message: the URL's max_message, else the service's. */
size_t sqs_client_message_bytes(const struct sqs_client *client);

/* ---- for tests: what an error answer means */
enum sqs_fate sqs_fate_of(int status, const char *code);
bool sqs_code_is_throttle(const char *code);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to RabbitMQ that makes itself again: look-up, TCP, TLS, login, heartbeats, alarms,
 * its end, and the next one after a jittered pause. The publisher and the feed have one each, in
 * their own threads. Frames go in and out; what channels do is theirs. Nothing here waits for the
 * network but amqp_link_poll, and that no longer than it was told to.
 *
 * The loop: amqp_link_poll, then amqp_link_frame until there is none, then put frames. */
#ifndef COMMON_BROKER_AMQP_LINK_H
#define COMMON_BROKER_AMQP_LINK_H
#include "common/broker/amqp_frame.h"
#include "common/config/broker_url.h"

struct amqp_link;

struct amqp_link_options {
	const struct broker_url *url;        /* AMQP; must outlive the link, as the texts below */
	const char *client;                  /* name that the broker shows */
	const char *side;                    /* "publish", "consume": for the log */
	const char *ca_file;                 /* or NULL: the system's */
	void (*changed)(void *ctx, bool up); /* it came up, or is up no more: for metrics */
	void *ctx;
};
/* Connects with the first poll. */
struct amqp_link *amqp_link_new(const struct amqp_link_options *options);
void amqp_link_free(struct amqp_link **link); /* NULL-safe; closes the socket as it is */

/* Sends what was put, receives, goes on connecting, keeps heartbeats. Returns when there may be a
 * frame or the state changed, when wake_fd (or -1) is readable, or at until_ms (monotonic; in the
 * past: without waiting). */
void amqp_link_poll(struct amqp_link *link, int wake_fd, int64_t until_ms);
/* The next frame of a channel; connection-level ones are dealt with here. False: none is there now.
 * The frame lives until the next call for this link. */
bool must_check amqp_link_frame(struct amqp_link *link, amqp_frame_t *frame_r);

/* Logged in. Every login has a new epoch, from 1; channels and delivery tags of an older one are
 * gone. */
bool amqp_link_up(const struct amqp_link *link);
uint64_t amqp_link_epoch(const struct amqp_link *link);
/* An alarm holds back publishers; amqp_link_why says which. */
bool amqp_link_blocked(const struct amqp_link *link);
const char *amqp_link_why(const struct amqp_link *link); /* not up, or blocked: the reason */
/* Where frames are put while it is up; what is put while it is not is thrown away. */
struct strbuf *amqp_link_out(struct amqp_link *link);
size_t amqp_link_unsent(const struct amqp_link *link); /* bytes put and not with the kernel */
size_t amqp_link_frame_max(const struct amqp_link *link);
uint16_t amqp_link_channel_max(const struct amqp_link *link);
/* The next attempt to connect, when it is down; else 0. */
int64_t amqp_link_retry_ms(const struct amqp_link *link);

/* Something is wrong that a new connection cures: drops this one, without a word to a server that
 * may not understand it. */
void amqp_link_fail(struct amqp_link *link, const char *fmt, ...) printf_like(2, 3);
/* Says goodbye and waits for the answer, so that everything put before is dealt with. Connects no
 * more. Blocks up to timeout_ms. */
void amqp_link_close(struct amqp_link *link, int timeout_ms);

#endif

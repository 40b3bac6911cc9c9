/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_amqp.h. */
#include "tests/unit/common/broker/fake_amqp.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/broker/amqp_frame.h"

struct fake_amqp {
	enum fake_fault fault; /* NONE once it has happened */
	int listen_fd, fd;
	pthread_t thread;
	atomic_bool quit;
	atomic_int logins, closed, acks;
	bool silent, deaf;
	int64_t beat_ms; /* the next heartbeat; 0: not logged in */
	uint16_t mute;   /* a channel that gets no answers */
	struct strbuf in, out;
	amqp_pool_t pool;
	char url[64];
};

static void put(struct fake_amqp *fake, uint16_t channel, amqp_method_number_t id, void *method)
{
	amqp_put_method(&fake->out, channel, id, method);
}

static void put_deliver(struct fake_amqp *fake, uint16_t channel, uint64_t tag)
{
	amqp_basic_deliver_t deliver = { .consumer_tag = amqp_text("windlass"),
					 .delivery_tag = tag };

	put(fake, channel, AMQP_BASIC_DELIVER_METHOD, &deliver);
}

/* A header that says `says` bytes, and `body` behind it. */
static void put_message(struct fake_amqp *fake, uint16_t channel, uint64_t tag, uint64_t says,
			const char *body)
{
	amqp_basic_properties_t none = { 0 };
	size_t start;

	put_deliver(fake, channel, tag);
	start = fake->out.len;
	amqp_put_content(&fake->out, channel, &none, body, strlen(body), AMQP_FRAME_BYTES_MAX);
	for (int i = 0; i < 8; i++) /* frame prefix 7, class 2, weight 2 */
		fake->out.data[start + 11 + (size_t)i] = (char)(says >> (56 - 8 * i));
}

static void misbehave(struct fake_amqp *fake, uint16_t channel)
{
	switch (fake->fault) {
	case FAKE_GARBAGE:
		strbuf_addstr(&fake->out, "These bytes are no frames of AMQP, are they?");
		break;
	case FAKE_HALF:
		put_message(fake, channel, 1, 100, "half");
		fake->silent = true;
		break;
	case FAKE_LONG_BODY:
		put_message(fake, channel, 1, 3, "too long");
		break;
	case FAKE_WRONG_TAG:
		put_message(fake, channel, 5, 5, "hello");
		break;
	case FAKE_HANG_UP:
		put_message(fake, channel, 1, 5, "hello");
		fake->out.len -= 3;
		fake->deaf = true;
		break;
	default:
		put_message(fake, channel, 1, (uint64_t)1 << 60, "hello");
		break;
	}
	fake->fault = FAKE_NONE;
}

static void on_consume(struct fake_amqp *fake, uint16_t channel)
{
	amqp_basic_consume_ok_t ok = { .consumer_tag = amqp_text("windlass") };

	if (fake->fault == FAKE_NO_ANSWER) {
		fake->fault = FAKE_NONE;
		fake->mute = channel;
		return;
	}
	put(fake, channel, AMQP_BASIC_CONSUME_OK_METHOD, &ok);
	if (fake->fault == FAKE_NONE)
		put_message(fake, channel, 1, 5, "hello");
	else
		misbehave(fake, channel);
}

static void on_login(struct fake_amqp *fake, amqp_method_number_t id)
{
	amqp_connection_tune_t tune = { .channel_max = 100, .frame_max = 131072, .heartbeat = 1 };
	amqp_connection_open_ok_t ok = { .known_hosts = amqp_empty_bytes };
	amqp_connection_close_ok_t close_ok = { 0 };

	if (id == AMQP_CONNECTION_START_OK_METHOD)
		put(fake, 0, AMQP_CONNECTION_TUNE_METHOD, &tune);
	if (id == AMQP_CONNECTION_OPEN_METHOD) {
		put(fake, 0, AMQP_CONNECTION_OPEN_OK_METHOD, &ok);
		atomic_fetch_add(&fake->logins, 1);
		fake->beat_ms = clock_mono_ms();
	}
	if (id == AMQP_CONNECTION_CLOSE_METHOD)
		put(fake, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &close_ok);
}

static void on_method(struct fake_amqp *fake, uint16_t channel, amqp_method_number_t id)
{
	amqp_channel_open_ok_t open_ok = { .channel_id = amqp_empty_bytes };
	amqp_queue_declare_ok_t declare_ok = { .queue = amqp_text("q") };
	char empty = 0; /* the answers without arguments */

	if (channel == 0 || channel == fake->mute)
		on_login(fake, id);
	else if (id == AMQP_CHANNEL_OPEN_METHOD)
		put(fake, channel, AMQP_CHANNEL_OPEN_OK_METHOD, &open_ok);
	else if (id == AMQP_QUEUE_DECLARE_METHOD)
		put(fake, channel, AMQP_QUEUE_DECLARE_OK_METHOD, &declare_ok);
	else if (id == AMQP_BASIC_QOS_METHOD)
		put(fake, channel, AMQP_BASIC_QOS_OK_METHOD, &empty);
	else if (id == AMQP_CONFIRM_SELECT_METHOD)
		put(fake, channel, AMQP_CONFIRM_SELECT_OK_METHOD, &empty);
	else if (id == AMQP_BASIC_CONSUME_METHOD)
		on_consume(fake, channel);
	else if (id == AMQP_BASIC_ACK_METHOD)
		atomic_fetch_add(&fake->acks, 1);
	if (id == AMQP_CHANNEL_CLOSE_METHOD)
		atomic_fetch_add(&fake->closed, 1);
	if (id == AMQP_CONFIRM_SELECT_METHOD && fake->fault == FAKE_NO_READING)
		fake->deaf = true;
}

static void on_bytes(struct fake_amqp *fake)
{
	amqp_connection_start_t start = { .version_minor = 9,
					  .mechanisms = amqp_text("AMQPLAIN PLAIN"),
					  .locales = amqp_text("en_US") };
	amqp_frame_t frame;
	struct error error;
	ssize_t n;

	if (fake->in.len >= 8 && memcmp(fake->in.data, "AMQP\0\0\11\1", 8) == 0) {
		strbuf_consume(&fake->in, 8);
		put(fake, 0, AMQP_CONNECTION_START_METHOD, &start);
	}
	while ((n = amqp_get_frame(fake->in.data, fake->in.len, AMQP_FRAME_BYTES_MAX, &fake->pool,
				   &frame, &error)) > 0) {
		if (frame.frame_type == AMQP_FRAME_METHOD)
			on_method(fake, frame.channel, frame.payload.method.id);
		recycle_amqp_pool(&fake->pool);
		strbuf_consume(&fake->in, (size_t)n);
	}
}

/* False: the connection is over. */
static bool exchange(struct fake_amqp *fake)
{
	struct pollfd fd = { .fd = fake->fd, .events = fake->deaf ? 0 : POLLIN };
	ssize_t n;

	poll(&fd, 1, 20);
	if (fd.revents & (POLLIN | POLLHUP | POLLERR)) {
		strbuf_reserve(&fake->in, 65536);
		n = recv(fake->fd, fake->in.data + fake->in.len, 65536, 0);
		if (n <= 0)
			return false;
		fake->in.len += (size_t)n;
		on_bytes(fake);
	}
	if (fake->beat_ms && !fake->silent && clock_mono_ms() >= fake->beat_ms) {
		amqp_put_heartbeat(&fake->out);
		fake->beat_ms = clock_mono_ms() + 300;
	}
	if (fake->out.len)
		(void)!send(fake->fd, fake->out.data, fake->out.len, MSG_NOSIGNAL);
	strbuf_clear(&fake->out);
	return !fake->deaf || fake->fault == FAKE_NO_READING;
}

static void *run(void *arg)
{
	struct fake_amqp *fake = arg;

	while (!atomic_load(&fake->quit)) {
		struct pollfd fd = { .fd = fake->listen_fd, .events = POLLIN };

		if (poll(&fd, 1, 20) <= 0)
			continue;
		fake->fd = accept(fake->listen_fd, NULL, NULL);
		fake->silent = fake->deaf = false;
		fake->mute = 0;
		fake->beat_ms = 0;
		while (!atomic_load(&fake->quit) && exchange(fake))
			;
		close(fake->fd);
		strbuf_clear(&fake->in);
		strbuf_clear(&fake->out);
	}
	return NULL;
}

struct fake_amqp *fake_amqp_start(enum fake_fault fault)
{
	struct fake_amqp *fake = xcalloc(1, sizeof(*fake));
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof(at);

	fake->fault = fault;
	strbuf_init(&fake->in);
	strbuf_init(&fake->out);
	init_amqp_pool(&fake->pool, 4096);
	fake->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(fake->listen_fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	CHECK(listen(fake->listen_fd, 8) == 0);
	CHECK(getsockname(fake->listen_fd, (struct sockaddr *)&at, &bytes) == 0);
	snprintf(fake->url, sizeof(fake->url), "amqp://guest:guest@127.0.0.1:%d/?heartbeat=1",
		 ntohs(at.sin_port));
	CHECK(pthread_create(&fake->thread, NULL, run, fake) == 0);
	return fake;
}

void fake_amqp_stop(struct fake_amqp **fake)
{
	atomic_store(&(*fake)->quit, true);
	pthread_join((*fake)->thread, NULL);
	close((*fake)->listen_fd);
	strbuf_release(&(*fake)->in);
	strbuf_release(&(*fake)->out);
	empty_amqp_pool(&(*fake)->pool);
	free(*fake);
	*fake = NULL;
}

const char *fake_amqp_url(const struct fake_amqp *fake)
{
	return fake->url;
}

int fake_amqp_logins(const struct fake_amqp *fake)
{
	return atomic_load(&fake->logins);
}

int fake_amqp_closed_channels(const struct fake_amqp *fake)
{
	return atomic_load(&fake->closed);
}

int fake_amqp_acks(const struct fake_amqp *fake)
{
	return atomic_load(&fake->acks);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A feed without a broker: brings the messages that a test gives it, and notes what became of each.
 */
#ifndef TESTS_UNIT_CONSUMERS_SUBSCRIBE_FAKE_FEED_H
#define TESTS_UNIT_CONSUMERS_SUBSCRIBE_FAKE_FEED_H
#include "consumers/subscribe/feed.h"

#define FAKE_MESSAGES_MAX 4096

enum fake_fate { FAKE_BUFFERED, FAKE_TAKEN, FAKE_ACKED, FAKE_RETURNED };

struct fake_message {
	struct delivery delivery;
	char body[1024], identity[32], key[32];
	enum fake_fate fate;
};

struct fake_feed {
	struct feed feed;
	struct feed_options options;
	struct fake_message *messages[FAKE_MESSAGES_MAX];
	size_t count, taken;
	struct feed_place places[16];
	char topics[16][64];
	size_t place_count;
	bool stopped, flushed, freed;
	struct position position; /* reached; offset 0: none */
	bool moved;
};

/* The one that feed_new_fn made last; lives until the next is made. */
extern struct fake_feed *fake_feed;

/* For broker_subscriber_options; `fake_feed_refuses` makes it fail. */
struct feed *fake_feed_new(const struct feed_options *options, struct error *err_r);
struct feed *fake_log_new(const struct feed_options *options, struct error *err_r); /* positions */
struct feed *fake_feed_refuses(const struct feed_options *options, struct error *err_r);
void fake_feed_gone(void); /* frees it */
/* Puts a message there, from the place of this topic. Returns its number. */
size_t fake_feed_put(const char *topic, const char *body, const char *identity, const char *key);
size_t fake_feed_fates(enum fake_fate fate); /* how many have it */

#endif

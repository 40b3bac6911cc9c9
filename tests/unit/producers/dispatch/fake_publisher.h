/* SPDX-License-Identifier: Apache-2.0 */
/* A publisher without a broker: keeps what it is given, and fails as a test says. */
#ifndef TESTS_UNIT_PRODUCERS_DISPATCH_FAKE_PUBLISHER_H
#define TESTS_UNIT_PRODUCERS_DISPATCH_FAKE_PUBLISHER_H
#include "common/broker/publisher.h"

#define FAKE_SENT_MAX   2000
#define FAKE_PLACES_MAX 32

struct fake_sent {
	struct uuid id;
	char topic[64], key[64], *body;
	bool confirmed;
};

struct fake_publisher {
	struct publisher base;
	struct fake_sent sent[FAKE_SENT_MAX];
	size_t sent_count, sends;
	char declared[FAKE_PLACES_MAX][64];
	size_t declared_count;
	/* how it behaves */
	bool away;                 /* every call ends in ERROR_UNAVAILABLE */
	bool blocked;              /* not ready */
	const char *wrong_place;   /* declaring it is ERROR_INVALID */
	const char *refused_topic; /* what goes there is refused */
	size_t refused_bytes;      /* from so many on a body is refused; 0: none */
	size_t unconfirmed_every;  /* every n-th message is not confirmed; 0: none */
	size_t body_bytes_max;
};

void fake_publisher_init(struct fake_publisher *fake);
void fake_publisher_release(struct fake_publisher *fake);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One TCP connection to a broker, with or without TLS, that never blocks: name look-up (in a thread
 * of its own), connecting, handshake, bytes. Used by amqp_link.c; knows nothing of AMQP. One
 * thread. */
#ifndef COMMON_BROKER_AMQP_WIRE_H
#define COMMON_BROKER_AMQP_WIRE_H
#include <sys/types.h>

#include "common/base/error.h"

struct amqp_wire;

/* A connection in the making. ca_file: amqp_tls_new; the texts must outlive it. */
struct amqp_wire *amqp_wire_new(const char *host, int port, bool tls, const char *ca_file);
void amqp_wire_free(struct amqp_wire **wire); /* NULL-safe; closes it as it is */
/* Takes it further. 1: it is open; 0: when poll says so, again; -1: it cannot be made. */
int amqp_wire_open(struct amqp_wire *wire, struct error *err_r) must_check;
/* For poll: -1 while the name is looked up (ask again in a few ms). */
int amqp_wire_fd(const struct amqp_wire *wire);
/* POLLIN, POLLOUT: what the next step of opening waits for, or of reading; writing not counted. */
short amqp_wire_events(const struct amqp_wire *wire);
/* Open: how many bytes, 0 when there are none (no room) now, -1 when the connection is over. */
ssize_t amqp_wire_read(struct amqp_wire *wire, void *p, size_t bytes,
		       struct error *err_r) must_check;
ssize_t amqp_wire_write(struct amqp_wire *wire, const void *p, size_t bytes,
			struct error *err_r) must_check;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* TLS on a connected, non-blocking socket, as a client that checks the server's name. Used by
 * amqp_wire.c alone; knows nothing of AMQP. One thread. */
#ifndef COMMON_BROKER_AMQP_TLS_H
#define COMMON_BROKER_AMQP_TLS_H
#include <sys/types.h>

#include "common/base/error.h"

struct amqp_tls;

/* The certificate must be signed by ca_file (NULL: what the system trusts), which is read now, and
 * must be for `host`, a name or an address. NULL: ERROR_INVALID (ca_file). */
struct amqp_tls *amqp_tls_new(int fd, const char *host, const char *ca_file,
			      struct error *err_r) must_check;
void amqp_tls_free(struct amqp_tls **tls); /* leaves the socket open */
/* All of these: > 0 done (bytes), 0 the socket must become readable or, when amqp_tls_wants_write,
 * writable first, -1 the connection is over. */
int amqp_tls_handshake(struct amqp_tls *tls, struct error *err_r) must_check;
ssize_t amqp_tls_read(struct amqp_tls *tls, void *p, size_t bytes, struct error *err_r) must_check;
ssize_t amqp_tls_write(struct amqp_tls *tls, const void *p, size_t bytes,
		       struct error *err_r) must_check;
bool amqp_tls_wants_write(const struct amqp_tls *tls);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* TLS of the gRPC listener, by OpenSSL: at least 1.2, ALPN h2 and nothing else, certificates that
 * can be read again. And the same calls for a connection without TLS, so that others need not know.
 */
#ifndef PRODUCERS_GRPC_GRPC_TLS_H
#define PRODUCERS_GRPC_GRPC_TLS_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/base/error.h"

struct grpc_tls;      /* certificate and key */
struct grpc_tls_link; /* of one connection */

/* From PEM files. NULL: ERROR_INVALID. */
struct grpc_tls *grpc_tls_new(const char *cert_file, const char *key_file, struct error *err_r);
/* Reads the files again: new connections get them. -1: the old ones stay. Any thread. */
int grpc_tls_reload(struct grpc_tls *tls, struct error *err_r) must_check;
void grpc_tls_free(struct grpc_tls **tls); /* NULL-safe */

/* tls NULL: a plain connection, of which this is NULL as well. */
struct grpc_tls_link *grpc_tls_accept(struct grpc_tls *tls, int fd);
/* Is the handshake over? 1 yes, 0 not yet (see *wants_write_r), -1 failed or the client did not ask
 * for h2. */
int grpc_tls_handshake(struct grpc_tls_link *wire, bool *wants_write_r);
/* As recv and send: bytes; 0: the other side has closed (read only); -1: broken; -2: would block.
 */
ssize_t grpc_tls_read(struct grpc_tls_link *wire, int fd, void *data, size_t bytes);
ssize_t grpc_tls_write(struct grpc_tls_link *wire, int fd, const void *data, size_t bytes);
/* Has it read more than it gave? Then the descriptor does not become readable for it. */
bool grpc_tls_has_more(const struct grpc_tls_link *wire);
void grpc_tls_close(struct grpc_tls_link **wire); /* NULL-safe; not the descriptor */

#endif

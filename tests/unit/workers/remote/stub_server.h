/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP server that misbehaves as its URL says, for tests of the remote: it counts every request
 * that arrives, answered or not, which is what the caller's library will not tell. With TLS it
 * makes itself a certificate for 127.0.0.1. */
#ifndef TESTS_UNIT_WORKERS_REMOTE_STUB_SERVER_H
#define TESTS_UNIT_WORKERS_REMOTE_STUB_SERVER_H
#include <stdbool.h>
#include <stddef.h>

struct stub_server;

/* With TLS the certificate is written to cert_path, a template for mkstemp. */
struct stub_server *stub_server_new(bool tls, char *cert_path);
void stub_server_free(struct stub_server **server);
/* /bearer answers 200 to this token alone; "token-1" at first, as the first of /token is. */
void stub_server_want(struct stub_server *server, const char *bearer);
/* Clients must show a certificate that this one has signed. Before the first call. */
void stub_server_trust(struct stub_server *server, const char *cert_path);
/* Speaks no newer version than this one. Before the first call. */
void stub_server_tls_version(struct stub_server *server, int version);
int stub_server_port(const struct stub_server *server);
/* Requests whose path was this one. */
int stub_server_count(struct stub_server *server, const char *path);
/* Connections accepted so far. */
int stub_server_connections(struct stub_server *server);
/* Head and body of the last request, as they came. The body's bytes in *body_bytes_r. */
const char *stub_server_last(struct stub_server *server, const char **body_r, size_t *body_bytes_r);

#endif

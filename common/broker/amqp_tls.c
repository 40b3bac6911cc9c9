/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL on a socket that never blocks. TLS 1.2 at least, always verified: there is no switch to
 * trust whoever answers. */
#include "common/broker/amqp_tls.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/base/arena.h"

struct amqp_tls {
	SSL_CTX *ctx;
	SSL *ssl;
	bool wants_write;
};

static int tls_error(struct error *err_r, enum error_code code, const char *what)
{
	unsigned long number = ERR_get_error();
	char text[160];

	if (number)
		ERR_error_string_n(number, text, sizeof(text));
	ERR_clear_error();
	return error_set(err_r, code, "%s%s%s", what, number ? ": " : "", number ? text : "");
}

static int trust(SSL_CTX *ctx, const char *ca_file, struct error *err_r)
{
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (ca_file && SSL_CTX_load_verify_locations(ctx, ca_file, NULL) != 1)
		return tls_error(err_r, ERROR_INVALID, "certificate authorities cannot be read");
	if (!ca_file && SSL_CTX_set_default_verify_paths(ctx) != 1)
		return tls_error(err_r, ERROR_INVALID, "the system's certificate authorities");
	return 0;
}

static void expect_host(SSL *ssl, const char *host)
{
	struct in6_addr address;

	if (inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1) {
		CHECK(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1);
		return;
	}
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	CHECK(SSL_set1_host(ssl, host) == 1);
	CHECK(SSL_set_tlsext_host_name(ssl, host) == 1);
}

struct amqp_tls *amqp_tls_new(int fd, const char *host, const char *ca_file, struct error *err_r)
{
	struct amqp_tls *tls = xcalloc(1, sizeof(*tls));

	tls->ctx = SSL_CTX_new(TLS_client_method());
	CHECK(tls->ctx);
	if (trust(tls->ctx, ca_file, err_r)) {
		amqp_tls_free(&tls);
		return NULL;
	}
	tls->ssl = SSL_new(tls->ctx);
	CHECK(tls->ssl && SSL_set_fd(tls->ssl, fd) == 1);
	SSL_set_connect_state(tls->ssl);
	expect_host(tls->ssl, host);
	return tls;
}

void amqp_tls_free(struct amqp_tls **tls)
{
	if (!*tls)
		return;
	SSL_free((*tls)->ssl);
	SSL_CTX_free((*tls)->ctx);
	free(*tls);
	*tls = NULL;
}

bool amqp_tls_wants_write(const struct amqp_tls *tls)
{
	return tls->wants_write;
}

/* What an operation that gave `rc` <= 0 means. */
static int outcome(struct amqp_tls *tls, int rc, const char *what, struct error *err_r)
{
	int why = SSL_get_error(tls->ssl, rc);
	long verdict = SSL_get_verify_result(tls->ssl);

	tls->wants_write = why == SSL_ERROR_WANT_WRITE;
	if (why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ)
		return 0;
	if (verdict != X509_V_OK) {
		ERR_clear_error();
		return error_set(err_r, ERROR_UNAVAILABLE, "the server's certificate: %s",
				 X509_verify_cert_error_string(verdict));
	}
	if (why == SSL_ERROR_ZERO_RETURN || (why == SSL_ERROR_SYSCALL && !ERR_peek_error()))
		return error_set(err_r, ERROR_UNAVAILABLE, "the server hung up");
	return tls_error(err_r, ERROR_UNAVAILABLE, what);
}

int amqp_tls_handshake(struct amqp_tls *tls, struct error *err_r)
{
	int rc;

	ERR_clear_error();
	rc = SSL_do_handshake(tls->ssl);
	return rc == 1 ? 1 : outcome(tls, rc, "TLS handshake", err_r);
}

ssize_t amqp_tls_read(struct amqp_tls *tls, void *p, size_t bytes, struct error *err_r)
{
	int rc;

	ERR_clear_error();
	rc = SSL_read(tls->ssl, p, bytes < INT_MAX ? (int)bytes : INT_MAX);
	return rc > 0 ? rc : outcome(tls, rc, "TLS read", err_r);
}

ssize_t amqp_tls_write(struct amqp_tls *tls, const void *p, size_t bytes, struct error *err_r)
{
	int rc;

	ERR_clear_error();
	rc = SSL_write(tls->ssl, p, bytes < INT_MAX ? (int)bytes : INT_MAX);
	return rc > 0 ? rc : outcome(tls, rc, "TLS write", err_r);
}

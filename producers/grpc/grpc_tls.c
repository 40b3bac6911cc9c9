/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL behind plain calls. Never blocks: the descriptors are non-blocking. */
#include "producers/grpc/grpc_tls.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/base/arena.h"

#define WOULD_BLOCK (-2)

struct grpc_tls {
	pthread_mutex_t lock; /* guards context */
	SSL_CTX *context;
	char *cert_file, *key_file;
};

struct grpc_tls_link {
	SSL *ssl;
};

/* gRPC's clients ask for h2; who does not offer it gets no connection. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
			   const unsigned char *offered, unsigned offered_bytes, void *ctx)
{
	static const unsigned char h2[] = { 2, 'h', '2' };
	unsigned char *chosen;

	(void)ssl, (void)ctx;
	if (SSL_select_next_proto(&chosen, out_bytes, h2, sizeof(h2), offered, offered_bytes) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static int refuse(const char *what, const char *file, struct error *err_r)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	error_set(err_r, ERROR_INVALID, "%s %s: %s", what, file, reason ? reason : "unusable");
	ERR_clear_error();
	return -1;
}

static SSL_CTX *make_context(const char *cert_file, const char *key_file, struct error *err_r)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	int rc = 0;

	CHECK(context);
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					     SSL_OP_CIPHER_SERVER_PREFERENCE);
	/* RFC 9113 forbids what has no forward secrecy or no authenticated encryption. */
	SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20");
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(context, cert_file) != 1)
		rc = refuse("the certificate", cert_file, err_r);
	else if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1 ||
		 SSL_CTX_check_private_key(context) != 1)
		rc = refuse("the key", key_file, err_r);
	if (rc == 0)
		return context;
	SSL_CTX_free(context);
	return NULL;
}

struct grpc_tls *grpc_tls_new(const char *cert_file, const char *key_file, struct error *err_r)
{
	SSL_CTX *context = make_context(cert_file, key_file, err_r);
	struct grpc_tls *tls;

	if (!context)
		return NULL;
	tls = xcalloc(1, sizeof(*tls));
	pthread_mutex_init(&tls->lock, NULL);
	tls->context = context;
	tls->cert_file = xstrdup(cert_file);
	tls->key_file = xstrdup(key_file);
	return tls;
}

int grpc_tls_reload(struct grpc_tls *tls, struct error *err_r)
{
	SSL_CTX *context = make_context(tls->cert_file, tls->key_file, err_r), *old;

	if (!context)
		return -1;
	pthread_mutex_lock(&tls->lock);
	old = tls->context;
	tls->context = context;
	pthread_mutex_unlock(&tls->lock);
	SSL_CTX_free(old); /* connections keep theirs */
	return 0;
}

void grpc_tls_free(struct grpc_tls **tls_)
{
	struct grpc_tls *tls = *tls_;

	*tls_ = NULL;
	if (!tls)
		return;
	SSL_CTX_free(tls->context);
	pthread_mutex_destroy(&tls->lock);
	free(tls->cert_file);
	free(tls->key_file);
	free(tls);
}

struct grpc_tls_link *grpc_tls_accept(struct grpc_tls *tls, int fd)
{
	struct grpc_tls_link *wire;

	if (!tls)
		return NULL;
	wire = xcalloc(1, sizeof(*wire));
	pthread_mutex_lock(&tls->lock);
	wire->ssl = SSL_new(tls->context);
	pthread_mutex_unlock(&tls->lock);
	CHECK(wire->ssl && SSL_set_fd(wire->ssl, fd) == 1);
	SSL_set_accept_state(wire->ssl);
	return wire;
}

int grpc_tls_handshake(struct grpc_tls_link *wire, bool *wants_write_r)
{
	const unsigned char *protocol = NULL;
	unsigned bytes = 0;
	int rc, error;

	*wants_write_r = false;
	if (!wire)
		return 1;
	ERR_clear_error();
	rc = SSL_do_handshake(wire->ssl);
	if (rc != 1) {
		error = SSL_get_error(wire->ssl, rc);
		*wants_write_r = error == SSL_ERROR_WANT_WRITE;
		return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
	}
	SSL_get0_alpn_selected(wire->ssl, &protocol, &bytes);
	return bytes == 2 && memcmp(protocol, "h2", 2) == 0 ? 1 : -1;
}

static ssize_t verdict(struct grpc_tls_link *wire, int rc)
{
	switch (SSL_get_error(wire->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return WOULD_BLOCK;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		return -1;
	}
}

static ssize_t plain_verdict(ssize_t rc)
{
	if (rc >= 0)
		return rc;
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? WOULD_BLOCK : -1;
}

ssize_t grpc_tls_read(struct grpc_tls_link *wire, int fd, void *data, size_t bytes)
{
	int rc;

	if (!wire)
		return plain_verdict(recv(fd, data, bytes, 0));
	ERR_clear_error();
	rc = SSL_read(wire->ssl, data, (int)bytes);
	return rc > 0 ? rc : verdict(wire, rc);
}

ssize_t grpc_tls_write(struct grpc_tls_link *wire, int fd, const void *data, size_t bytes)
{
	int rc;

	if (!wire)
		return plain_verdict(send(fd, data, bytes, MSG_NOSIGNAL));
	ERR_clear_error();
	rc = SSL_write(wire->ssl, data, (int)bytes);
	return rc > 0 ? rc : verdict(wire, rc);
}

bool grpc_tls_has_more(const struct grpc_tls_link *wire)
{
	return wire && SSL_has_pending(wire->ssl);
}

void grpc_tls_close(struct grpc_tls_link **wire_)
{
	struct grpc_tls_link *wire = *wire_;

	*wire_ = NULL;
	if (!wire)
		return;
	ERR_clear_error();
	if (SSL_is_init_finished(wire->ssl))
		SSL_shutdown(wire->ssl); /* tells; does not wait for an answer */
	SSL_free(wire->ssl);
	free(wire);
}

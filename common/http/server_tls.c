/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side of TLS: which versions and ciphers, and which certificate a handshake is shown.
 * libmicrohttpd does the rest on its threads, never waiting for a client; the warden's time for a
 * head runs from the connection's start, so it holds for handshakes too. */
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/http/server_impl.h"
#include "common/http/tls_pair_impl.h"

/* TLS 1.2 and 1.3, forward secrecy, authenticated encryption, no SHA-1. */
#define PRIORITIES                                                                         \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CIPHER-ALL:+AES-256-GCM:+AES-128-GCM" \
	":+CHACHA20-POLY1305:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:-SIGN-RSA-SHA1"               \
	":-SIGN-ECDSA-SHA1:%SERVER_PRECEDENCE"

/* A connection holds its pair until it is closed, because GnuTLS only borrows it. */
static int choose_pair(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
		       gnutls_pcert_st **chain_r, unsigned *length_r, gnutls_ocsp_data_st **ocsp_r,
		       unsigned *ocsp_length_r, gnutls_privkey_t *key_r, unsigned *flags_r)
{
	struct MHD_Connection *mhd = gnutls_session_get_ptr(session);
	struct connection *connection =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	struct server *server = connection->request.server;

	(void)info;
	if (!connection->pair) {
		pthread_mutex_lock(&server->lock);
		connection->pair = tls_pair_ref(server->pair);
		pthread_mutex_unlock(&server->lock);
	}
	*chain_r = connection->pair->chain;
	*length_r = connection->pair->chain_length;
	*key_r = connection->pair->key;
	*ocsp_r = NULL;
	*ocsp_length_r = 0;
	*flags_r = 0;
	return 0;
}

void server_tls_options(const struct server *server, struct MHD_OptionItem options_r[3])
{
	static char priorities[] = PRIORITIES;
	union {
		gnutls_certificate_retrieve_function3 *choose;
		void *pointer;
	} callback = { .choose = choose_pair };

	if (server->pair) {
		*options_r++ =
			(struct MHD_OptionItem){ MHD_OPTION_HTTPS_PRIORITIES, 0, priorities };
		*options_r++ = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_CERT_CALLBACK2, 0,
							callback.pointer };
	}
	*options_r = (struct MHD_OptionItem){ MHD_OPTION_END, 0, NULL };
}

void server_change_pair(struct server *server, struct tls_pair *pair)
{
	CHECK(server->pair && pair);
	pthread_mutex_lock(&server->lock);
	struct tls_pair *old = server->pair;
	server->pair = tls_pair_ref(pair);
	pthread_mutex_unlock(&server->lock);
	tls_pair_unref(&old);
}

ssize_t server_tls_send(struct request *request, const char *text, size_t bytes)
{
	gnutls_session_t session =
		MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)
			->tls_session;

	return gnutls_record_send(session, text, bytes);
}

/* Looking at the next byte says nothing here: it may be the alert that closes. */
bool server_tls_gone(int fd)
{
	struct pollfd look = { .fd = fd, .events = POLLRDHUP };

	return poll(&look, 1, 0) > 0 && look.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

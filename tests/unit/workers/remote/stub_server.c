/* SPDX-License-Identifier: Apache-2.0 */
/* A thread a connection; what a path does is in the table at the end of serve_one. */
#include "tests/unit/workers/remote/stub_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/check.h"

#define CONNECTIONS_MAX 256
#define REQUEST_MAX     (4 << 20)

struct connection {
	struct stub_server *server;
	int fd;
	SSL *ssl;
	pthread_t thread;
};

struct stub_server {
	int fd, port;
	const char *bearer; /* what /bearer wants */
	SSL_CTX *tls;
	pthread_t thread;
	struct connection connections[CONNECTIONS_MAX];
	pthread_mutex_t lock; /* guards what follows */
	bool stop;
	int connection_count;
	char paths[1024][64];
	int path_count;
	char *last; /* head, NUL, body */
	size_t last_head, last_body;
};

/* ---- TLS */

static void make_certificate(SSL_CTX *tls, char *cert_path)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	X509 *cert = X509_new();
	X509V3_CTX ctx;
	X509_EXTENSION *names;
	int fd = mkstemp(cert_path);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	CHECK(key && cert && file);
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
				   (const unsigned char *)"stub", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	X509_set_pubkey(cert, key);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	names = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, "IP:127.0.0.1");
	CHECK(names && X509_add_ext(cert, names, -1) && X509_sign(cert, key, EVP_sha256()));
	CHECK(PEM_write_X509(file, cert) && fclose(file) == 0);
	CHECK(SSL_CTX_use_certificate(tls, cert) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1);
	X509_EXTENSION_free(names);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static ssize_t receive(struct connection *c, void *data, size_t bytes)
{
	return c->ssl ? SSL_read(c->ssl, data, (int)bytes) : recv(c->fd, data, bytes, 0);
}

static bool transmit(struct connection *c, const char *data, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = c->ssl ? SSL_write(c->ssl, data, (int)bytes)
				   : send(c->fd, data, bytes, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		data += n;
		bytes -= (size_t)n;
	}
	return true;
}

/* ---- requests */

/* Reads head and body into buffer. Bytes of the head, 0: the other side has gone. */
static size_t read_request(struct connection *c, char *buffer, size_t *body_bytes_r)
{
	size_t have = 0, head = 0, want = 0;

	while (!head || have < head + want) {
		ssize_t n = receive(c, buffer + have, REQUEST_MAX - 1 - have);
		char *end, *length;

		if (n <= 0)
			return 0;
		have += (size_t)n;
		buffer[have] = 0;
		if (head || !(end = strstr(buffer, "\r\n\r\n")))
			continue;
		head = (size_t)(end - buffer) + 4;
		length = strcasestr(buffer, "\r\nContent-Length:");
		want = length && length < end
			       ? strtoul(length + strlen("\r\nContent-Length:"), NULL, 10)
			       : 0;
	}
	*body_bytes_r = want;
	return head;
}

static void remember(struct stub_server *server, const char *path, const char *request, size_t head,
		     size_t body)
{
	pthread_mutex_lock(&server->lock);
	CHECK(server->path_count < 1024);
	snprintf(server->paths[server->path_count++], sizeof(server->paths[0]), "%s", path);
	free(server->last);
	server->last = malloc(head + body + 2);
	CHECK(server->last);
	memcpy(server->last, request, head);
	server->last[head] = 0;
	memcpy(server->last + head + 1, request + head, body);
	server->last[head + 1 + body] = 0;
	server->last_head = head;
	server->last_body = body;
	pthread_mutex_unlock(&server->lock);
}

static bool answer(struct connection *c, const char *status, const char *headers, const char *body)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n%s",
			 status, strlen(body), headers, body);

	return transmit(c, text, (size_t)n);
}

static bool answer_flood(struct connection *c, bool in_head)
{
	char block[1024];
	const char *start =
		in_head ? "HTTP/1.1 200 OK\r\n" : "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
	bool open = transmit(c, start, strlen(start));

	memset(block, 'x', sizeof(block));
	memcpy(block, "A: ", 3);
	memcpy(block + sizeof(block) - 2, "\r\n", 2);
	for (int i = 0; open && i < 4096; i++)
		open = transmit(c, block, sizeof(block));
	return false;
}

/* gzip without end: a zero, then "258 more of it" over and over, 13 bits each with the fixed codes
 * of deflate. */
static bool answer_bomb(struct connection *c, const char *encoding)
{
	static const unsigned char start[] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3 };
	static const char again[] = "1100010100000", first[] = "11000110000";
	unsigned char block[13 * 512] = { 0 };
	char head[128];
	bool open;

	snprintf(head, sizeof(head),
		 "HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nConnection: close\r\n\r\n", encoding);
	open = transmit(c, head, strlen(head)) && transmit(c, (const char *)start, sizeof(start));
	for (size_t i = 0; i < sizeof(block) * 8; i++) {
		char one = i < 11 ? first[i] : again[(i - 11) % 13];

		block[i / 8] |= (unsigned char)((one == '1') << (i % 8));
	}
	open = open && transmit(c, (const char *)block, sizeof(block));
	for (size_t i = 0; i < 11; i++) { /* every further block: repetitions alone */
		size_t at = (sizeof(block) * 8 - 11 + i) % 13;

		block[i / 8] &= (unsigned char)~(1u << (i % 8));
		block[i / 8] |= (unsigned char)((again[at] == '1') << (i % 8));
	}
	for (int64_t sent = 0; open && sent < INT64_C(70000000); sent += sizeof(block))
		open = transmit(c, (const char *)block, sizeof(block)); /* 10 GB of zeros */
	return false;
}

static bool answer_zip(struct connection *c)
{
	static const unsigned char packed[] = { 0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00,
						0x02, 0x03, 0xab, 0x56, 0xca, 0xcf, 0x56, 0xb2,
						0x2a, 0x29, 0x2a, 0x4d, 0xad, 0x05, 0x00, 0x90,
						0x5f, 0xd4, 0xa7, 0x0b, 0x00, 0x00, 0x00 };
	char head[160];

	snprintf(head, sizeof(head),
		 "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
		 sizeof(packed));
	return transmit(c, head, strlen(head)) && transmit(c, (const char *)packed, sizeof(packed));
}

/* 10 GB, if anybody takes them. */
static bool answer_huge(struct connection *c)
{
	static char block[1 << 16];
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n";
	bool open = transmit(c, head, strlen(head));

	for (int64_t sent = 0; open && sent < INT64_C(10000000000); sent += sizeof(block))
		open = transmit(c, block, sizeof(block));
	return false;
}

/* A token server: token-1, token-2 … */
static bool answer_token(struct connection *c)
{
	char body[128];

	snprintf(body, sizeof(body),
		 "{\"access_token\":\"token-%d\",\"token_type\":\"Bearer\",\"expires_in\":3600}",
		 stub_server_count(c->server, "/token"));
	return answer(c, "200 OK", "", body);
}

static bool answer_bearer(struct connection *c, const char *head)
{
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "\r\nAuthorization: Bearer %.20s\r\n", c->server->bearer);
	return strstr(head, wanted) ? answer(c, "200 OK", "", "{\"ok\":true}")
				    : answer(c, "401 Unauthorized", "", "{}");
}

static void wait_for_end(struct connection *c)
{
	char byte;

	while (receive(c, &byte, 1) > 0)
		;
}

/* False: the connection is over. */
static bool serve_one(struct connection *c, char *buffer)
{
	size_t body, head = read_request(c, buffer, &body);
	char path[64];

	if (!head || sscanf(buffer, "%*s %63s", path) != 1)
		return false;
	remember(c->server, path, buffer, head, body);
	if (!strcmp(path, "/die"))
		return false;
	if (!strcmp(path, "/half"))
		return transmit(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", 45) &&
		       false;
	if (!strcmp(path, "/slow")) {
		wait_for_end(c);
		return false;
	}
	if (!strcmp(path, "/flood"))
		return answer_flood(c, false);
	if (!strcmp(path, "/headers"))
		return answer_flood(c, true);
	if (!strncmp(path, "/status/", 8)) {
		char status[32];

		snprintf(status, sizeof(status), "%.3s Said", path + 8);
		return answer(c, status, "", "{}");
	}
	if (!strcmp(path, "/busy"))
		return answer(c, "503 Busy", "Retry-After: 7\r\n", "");
	if (!strcmp(path, "/pause"))
		return usleep(100000) == 0 && answer(c, "200 OK", "", "{\"ok\":true}");
	if (!strcmp(path, "/bomb"))
		return answer_bomb(c, "gzip");
	if (!strcmp(path, "/bombs"))
		return answer_bomb(c, "gzip, gzip");
	if (!strcmp(path, "/zip"))
		return answer_zip(c);
	if (!strcmp(path, "/huge"))
		return answer_huge(c);
	if (!strcmp(path, "/token"))
		return answer_token(c);
	if (!strcmp(path, "/bearer"))
		return answer_bearer(c, buffer);
	if (!strcmp(path, "/away"))
		return answer(c, "302 Found", "Location: /ok\r\n", "");
	if (!strcmp(path, "/refused"))
		return answer(c, "402 Payment Required", "", "{\"why\":\"no\"}");
	return answer(c, "200 OK", "", "{\"ok\":true}");
}

static void *connection_main(void *arg)
{
	struct connection *c = arg;
	char *buffer = malloc(REQUEST_MAX);

	CHECK(buffer);
	if (c->ssl && SSL_accept(c->ssl) != 1)
		shutdown(c->fd, SHUT_RDWR);
	else
		while (serve_one(c, buffer))
			;
	if (c->ssl)
		SSL_shutdown(c->ssl);
	shutdown(c->fd, SHUT_RDWR);
	free(buffer);
	return NULL;
}

static void *server_main(void *arg)
{
	struct stub_server *server = arg;

	for (;;) {
		int fd = accept(server->fd, NULL, NULL);
		struct connection *c;

		if (fd < 0)
			return NULL;
		pthread_mutex_lock(&server->lock);
		CHECK(server->connection_count < CONNECTIONS_MAX);
		c = &server->connections[server->connection_count++];
		*c = (struct connection){ .server = server, .fd = fd };
		if (server->tls) {
			c->ssl = SSL_new(server->tls);
			SSL_set_fd(c->ssl, fd);
		}
		CHECK(pthread_create(&c->thread, NULL, connection_main, c) == 0);
		pthread_mutex_unlock(&server->lock);
	}
}

struct stub_server *stub_server_new(bool tls, char *cert_path)
{
	struct stub_server *server = calloc(1, sizeof(*server));
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t length = sizeof(address);

	CHECK(server);
	if (tls) {
		server->tls = SSL_CTX_new(TLS_server_method());
		make_certificate(server->tls, cert_path);
	}
	server->bearer = "token-1";
	server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(server->fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	      listen(server->fd, 64) == 0);
	CHECK(getsockname(server->fd, (struct sockaddr *)&address, &length) == 0);
	server->port = ntohs(address.sin_port);
	pthread_mutex_init(&server->lock, NULL);
	CHECK(pthread_create(&server->thread, NULL, server_main, server) == 0);
	return server;
}

void stub_server_free(struct stub_server **server)
{
	struct stub_server *s = *server;

	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	for (int i = 0; i < s->connection_count; i++) {
		shutdown(s->connections[i].fd, SHUT_RDWR);
		pthread_join(s->connections[i].thread, NULL);
		SSL_free(s->connections[i].ssl);
		close(s->connections[i].fd);
	}
	SSL_CTX_free(s->tls);
	free(s->last);
	free(s);
	*server = NULL;
}

void stub_server_want(struct stub_server *server, const char *bearer)
{
	server->bearer = bearer;
}

void stub_server_trust(struct stub_server *server, const char *cert_path)
{
	CHECK(SSL_CTX_load_verify_locations(server->tls, cert_path, NULL) == 1);
	SSL_CTX_set_verify(server->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

void stub_server_tls_version(struct stub_server *server, int version)
{
	CHECK(SSL_CTX_set_min_proto_version(server->tls, TLS1_VERSION) == 1);
	CHECK(SSL_CTX_set_max_proto_version(server->tls, version) == 1);
	SSL_CTX_set_security_level(server->tls, 0);
}

int stub_server_port(const struct stub_server *server)
{
	return server->port;
}

int stub_server_count(struct stub_server *server, const char *path)
{
	int count = 0;

	pthread_mutex_lock(&server->lock);
	for (int i = 0; i < server->path_count; i++)
		count += !strcmp(server->paths[i], path);
	pthread_mutex_unlock(&server->lock);
	return count;
}

int stub_server_connections(struct stub_server *server)
{
	int count;

	pthread_mutex_lock(&server->lock);
	count = server->connection_count;
	pthread_mutex_unlock(&server->lock);
	return count;
}

const char *stub_server_last(struct stub_server *server, const char **body_r, size_t *body_bytes_r)
{
	pthread_mutex_lock(&server->lock);
	*body_r = server->last + server->last_head + 1;
	*body_bytes_r = server->last_body;
	pthread_mutex_unlock(&server->lock);
	return server->last;
}

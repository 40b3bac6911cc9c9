/* SPDX-License-Identifier: Apache-2.0 */
/* See amqp_wire.h. The addresses of a name are tried one after the other; what bounds all of it
 * is the caller's deadline. A look-up that nobody waits for any more ends by itself: the resolver
 * cannot be interrupted. */
#include "common/broker/amqp_wire.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/arena.h"

#include "common/broker/amqp_tls.h"

#define UNANSWERED_MS 60000 /* an alarm may close the window for a while; heartbeats are faster */

/* Owned by its thread and by who waits for it; whoever lets go last frees it. */
struct lookup {
	atomic_int owners;
	atomic_bool done;
	int rc; /* of getaddrinfo */
	struct addrinfo *found;
	char port[8];
	char host[];
};

struct amqp_wire {
	const char *host, *ca_file;
	bool tls_wanted, connected, open;
	struct lookup *lookup;
	const struct addrinfo *next; /* to be tried */
	struct error error;          /* of the last one tried */
	int fd;
	struct amqp_tls *tls;
};

/* ---- names */

static void lookup_unref(struct lookup *lookup)
{
	if (!lookup || atomic_fetch_sub(&lookup->owners, 1) != 1)
		return;
	if (lookup->found)
		freeaddrinfo(lookup->found);
	free(lookup);
}

static int lookup_ask(struct lookup *lookup, int flags)
{
	struct addrinfo hints = { .ai_flags = flags | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };

	return getaddrinfo(lookup->host, lookup->port, &hints, &lookup->found);
}

static void *lookup_run(void *arg)
{
	struct lookup *lookup = arg;

	lookup->rc = lookup_ask(lookup, AI_ADDRCONFIG);
	atomic_store(&lookup->done, true);
	lookup_unref(lookup);
	return NULL;
}

static struct lookup *lookup_new(const char *host, int port)
{
	size_t bytes = strlen(host) + 1;
	struct lookup *lookup = xcalloc(1, sizeof(*lookup) + bytes);
	pthread_t thread;

	memcpy(lookup->host, host, bytes);
	snprintf(lookup->port, sizeof(lookup->port), "%u", (unsigned)port & 0xffff);
	atomic_init(&lookup->owners, 1);
	lookup->rc = lookup_ask(lookup, AI_NUMERICHOST);
	atomic_init(&lookup->done, lookup->rc != EAI_NONAME);
	if (atomic_load(&lookup->done))
		return lookup;
	atomic_store(&lookup->owners, 2);
	if (pthread_create(&thread, NULL, lookup_run, lookup)) {
		lookup->rc = EAI_AGAIN;
		atomic_store(&lookup->owners, 1);
		atomic_store(&lookup->done, true);
	} else
		pthread_detach(thread);
	return lookup;
}

/* ---- connecting */

struct amqp_wire *amqp_wire_new(const char *host, int port, bool tls, const char *ca_file)
{
	struct amqp_wire *wire = xcalloc(1, sizeof(*wire));

	wire->host = host;
	wire->ca_file = ca_file;
	wire->tls_wanted = tls;
	wire->fd = -1;
	wire->lookup = lookup_new(host, port);
	return wire;
}

static void hang_up(struct amqp_wire *wire)
{
	amqp_tls_free(&wire->tls);
	if (wire->fd >= 0)
		close(wire->fd);
	wire->fd = -1;
	wire->connected = false;
}

void amqp_wire_free(struct amqp_wire **wire)
{
	if (!*wire)
		return;
	hang_up(*wire);
	lookup_unref((*wire)->lookup);
	free(*wire);
	*wire = NULL;
}

static void set_option(int fd, int level, int name, int value)
{
	/* Best effort: heartbeats notice a dead peer all the same. */
	(void)!setsockopt(fd, level, name, &value, sizeof(value));
}

static void set_options(int fd)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 2);
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNANSWERED_MS);
}

static void connect_begin(struct amqp_wire *wire, const struct addrinfo *to)
{
	wire->fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (wire->fd < 0) {
		error_set(&wire->error, ERROR_UNAVAILABLE, "socket: %m");
		return;
	}
	set_options(wire->fd);
	if (connect(wire->fd, to->ai_addr, to->ai_addrlen) && errno != EINPROGRESS) {
		error_set(&wire->error, ERROR_UNAVAILABLE, "%m");
		hang_up(wire);
	}
}

/* 1, 0, -1 as amqp_wire_open. */
static int connect_look(struct amqp_wire *wire)
{
	struct pollfd poll_fd = { .fd = wire->fd, .events = POLLOUT };
	socklen_t bytes = sizeof(errno);
	int code = 0;

	if (poll(&poll_fd, 1, 0) <= 0)
		return 0;
	if (getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &code, &bytes))
		code = errno;
	if (!code)
		return 1;
	errno = code;
	error_set(&wire->error, ERROR_UNAVAILABLE, "%m");
	hang_up(wire);
	return -1;
}

static int connect_some(struct amqp_wire *wire, struct error *err_r)
{
	for (;;) {
		if (wire->fd >= 0) {
			int rc = connect_look(wire);

			if (rc >= 0)
				return rc;
		} else if (wire->next) {
			connect_begin(wire, wire->next);
			wire->next = wire->next->ai_next;
		} else {
			*err_r = wire->error;
			return -1;
		}
	}
}

static int open_name(struct amqp_wire *wire, struct error *err_r)
{
	if (!atomic_load(&wire->lookup->done))
		return 0;
	if (wire->lookup->rc)
		return error_set(err_r, ERROR_UNAVAILABLE, "no address: %s",
				 gai_strerror(wire->lookup->rc));
	if (wire->fd < 0 && !wire->next && wire->error.code == ERROR_NONE)
		wire->next = wire->lookup->found;
	return 1;
}

int amqp_wire_open(struct amqp_wire *wire, struct error *err_r)
{
	int rc;

	if (!wire->connected) {
		rc = open_name(wire, err_r);
		if (rc > 0)
			rc = connect_some(wire, err_r);
		if (rc <= 0)
			return rc;
		wire->connected = true;
	}
	if (wire->tls_wanted && !wire->tls) {
		wire->tls = amqp_tls_new(wire->fd, wire->host, wire->ca_file, err_r);
		if (!wire->tls)
			return -1;
	}
	rc = wire->tls ? amqp_tls_handshake(wire->tls, err_r) : 1;
	wire->open = rc > 0;
	return rc;
}

int amqp_wire_fd(const struct amqp_wire *wire)
{
	return wire->fd;
}

short amqp_wire_events(const struct amqp_wire *wire)
{
	if (!wire->connected)
		return POLLOUT;
	return wire->tls && amqp_tls_wants_write(wire->tls) ? POLLIN | POLLOUT : POLLIN;
}

/* ---- bytes */

ssize_t amqp_wire_read(struct amqp_wire *wire, void *p, size_t bytes, struct error *err_r)
{
	ssize_t n;

	CHECK(wire->open);
	if (wire->tls)
		return amqp_tls_read(wire->tls, p, bytes, err_r);
	n = recv(wire->fd, p, bytes, 0);
	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n == 0)
		return error_set(err_r, ERROR_UNAVAILABLE, "the server hung up");
	return error_set(err_r, ERROR_UNAVAILABLE, "%m");
}

ssize_t amqp_wire_write(struct amqp_wire *wire, const void *p, size_t bytes, struct error *err_r)
{
	ssize_t n;

	CHECK(wire->open);
	if (wire->tls)
		return amqp_tls_write(wire->tls, p, bytes, err_r);
	n = send(wire->fd, p, bytes, MSG_NOSIGNAL);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	return error_set(err_r, ERROR_UNAVAILABLE, "%m");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The server's life: listening socket, libmicrohttpd's threads, the list of connections, drain and
 * stop. What happens to a request is in server_request.c, what is refused before anybody sees it in
 * server_guard.c. */
#include "common/http/server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/http/server_impl.h"

/* Per connection: a head of 16 KiB while it is read, the list of its fields, and the answer's head;
 * libmicrohttpd fills it with zeros after each request. Bodies lie in the request's arena. */
#define CONNECTION_MEMORY_BYTES (28 * 1024)
#define ARENA_BLOCK_BYTES       (8 * 1024)
#define SILENCE_SECONDS         65u /* behind the warden, which is stricter */
#define ACCEPT_PAUSE_MS         50L

bool server_split_address(const char *listen_text, char *host_r, size_t host_bytes, int *port_r)
{
	const char *colon = strrchr(listen_text, ':');
	const char *start = listen_text;
	size_t bytes;
	char *end;

	if (!colon || !colon[1])
		return false;
	bytes = (size_t)(colon - start);
	if (*start == '[') {
		if (bytes < 2 || start[bytes - 1] != ']')
			return false;
		start++;
		bytes -= 2;
	} else if (memchr(start, ':', bytes)) {
		return false;
	}
	long port = strtol(colon + 1, &end, 10);
	if (*end || port < 0 || port > 65535 || bytes >= host_bytes ||
	    strspn(colon + 1, "0123456789") == 0)
		return false;
	memcpy(host_r, start, bytes);
	host_r[bytes] = 0;
	*port_r = (int)port;
	return true;
}

bool server_is_loopback(const char *host)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST }, *found = NULL;
	bool loopback = false;

	if (strcasecmp(host, "localhost") == 0)
		return true;
	if (getaddrinfo(host, NULL, &hints, &found) != 0)
		return false;
	if (found->ai_family == AF_INET) {
		const struct sockaddr_in *v4 =
			(const struct sockaddr_in *)(const void *)found->ai_addr;
		loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	} else if (found->ai_family == AF_INET6) {
		const struct sockaddr_in6 *v6 =
			(const struct sockaddr_in6 *)(const void *)found->ai_addr;
		loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
	}
	freeaddrinfo(found);
	return loopback;
}

static int bound_port(int fd)
{
	struct sockaddr_storage address = { 0 };
	socklen_t bytes = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &bytes) < 0)
		return 0;
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)(void *)&address)->sin6_port);
	return ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
}

int server_open_listener(const char *listen_text, int *fd_r, int *port_r, struct error *err_r)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE | AI_NUMERICSERV },
			*found = NULL;
	char host[256], service[16];
	int port, on = 1, fd;

	if (!server_split_address(listen_text, host, sizeof(host), &port))
		return error_set(err_r, ERROR_INVALID, "%s is not host:port", listen_text);
	snprintf(service, sizeof(service), "%d", port);
	if (getaddrinfo(host[0] ? host : NULL, service, &hints, &found) != 0)
		return error_set(err_r, ERROR_INVALID, "%s: the host has no address", listen_text);
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (found->ai_family == AF_INET6)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	}
	if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) < 0 ||
	    listen(fd, SOMAXCONN) < 0) {
		error_set(err_r, ERROR_UNAVAILABLE, "cannot listen on %s: %s", listen_text,
			  strerror(errno));
		if (fd >= 0)
			close(fd);
		freeaddrinfo(found);
		return -1;
	}
	freeaddrinfo(found);
	*fd_r = fd;
	*port_r = bound_port(fd);
	return 0;
}

static void open_connection(struct server *server, struct MHD_Connection *mhd, void **context)
{
	struct connection *connection = xcalloc(1, sizeof(*connection));

	connection->fd =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	connection->request.server = server;
	connection->request.arena = arena_new(ARENA_BLOCK_BYTES);
	connection->request.user = xcalloc(1, server->options.user_bytes);
	server_phase(connection, PHASE_FRESH);
	pthread_mutex_lock(&server->lock);
	list_append(&server->connections, &connection->link);
	pthread_mutex_unlock(&server->lock);
	atomic_fetch_add(&server->connection_count, 1);
	*context = connection;
}

static void close_connection(struct server *server, void **context)
{
	struct connection *connection = *context;

	pthread_mutex_lock(&server->lock);
	list_remove(&connection->link);
	pthread_mutex_unlock(&server->lock);
	atomic_fetch_sub(&server->connection_count, 1);
	tls_pair_unref(&connection->pair);
	arena_free(&connection->request.arena);
	free(connection->request.user);
	free(connection);
	*context = NULL;
}

static void connection_changed(void *server, struct MHD_Connection *mhd, void **context,
			       enum MHD_ConnectionNotificationCode what)
{
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		open_connection(server, mhd, context);
	else if (*context)
		close_connection(server, context);
}

/* Targets are taken apart in target.c. */
static size_t leave_escaped(void *ctx, struct MHD_Connection *mhd, char *text)
{
	(void)ctx;
	(void)mhd;
	return strlen(text);
}

/* The library's only word from a thread that has no connection and no descriptor for one, before it
 * asks accept() again at once. Everything else that it says is told better elsewhere. */
static void library_says(void *ctx, const char *format, va_list args)
{
	const struct timespec pause = { .tv_nsec = ACCEPT_PAUSE_MS * 1000000 };

	(void)ctx;
	(void)args;
	if (strstr(format, "resource limit at FIRST connection"))
		nanosleep(&pause, NULL);
}

static struct MHD_Daemon *start_daemon(struct server *server)
{
	unsigned flags = MHD_USE_SUSPEND_RESUME | MHD_USE_ERROR_LOG | MHD_ALLOW_UPGRADE;
	unsigned pool = server->options.threads > 1 ? (unsigned)server->options.threads : 0;
	struct MHD_OptionItem tls[3];

	server_tls_options(server, tls);
	/* With epoll, libmicrohttpd asks a handshake that waits for its client again and again: a
	 * connection that says nothing takes a whole core. */
	flags |= server->pair ? MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_TLS
			      : MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TURBO;
	return MHD_start_daemon(
		flags, 0, NULL, NULL, server_access, server, MHD_OPTION_EXTERNAL_LOGGER,
		library_says, NULL, MHD_OPTION_LISTEN_SOCKET, server->listen_fd,
		MHD_OPTION_THREAD_POOL_SIZE, pool, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)server->options.connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, SILENCE_SECONDS,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, server_target_seen,
		server, MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL,
		MHD_OPTION_NOTIFY_CONNECTION, connection_changed, server,
		MHD_OPTION_NOTIFY_COMPLETED, server_completed, server, MHD_OPTION_ARRAY, tls,
		MHD_OPTION_END);
}

static void take_tls(struct server *server)
{
	const struct server_options *options = &server->options;

	if (!options->tls)
		return;
	server->pair = tls_pair_ref(options->tls);
	if (options->hsts_s > 0)
		snprintf(server->hsts, sizeof(server->hsts), "max-age=%" PRId64, options->hsts_s);
}

static void start_warden(struct server *server)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&server->warden_wakes, &monotonic);
	pthread_condattr_destroy(&monotonic);
	CHECK(pthread_create(&server->warden, NULL, server_warden, server) == 0);
}

struct server *server_start(const struct server_options *options, struct error *err_r)
{
	struct server *server;
	int fd, port;

	CHECK(options->threads > 0 && options->threads <= 64 && options->connections_max > 0);
	CHECK(options->on_head && options->on_request && options->on_end);
	if (server_open_listener(options->listen, &fd, &port, err_r) < 0)
		return NULL;
	server = xcalloc(1, sizeof(*server));
	server->options = *options;
	server->listen_fd = fd;
	server->silence_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	server->port = port;
	list_init(&server->connections);
	pthread_mutex_init(&server->lock, NULL);
	take_tls(server);
	server->daemon = server->silence_fd >= 0 ? start_daemon(server) : NULL;
	if (!server->daemon) {
		error_set(err_r, ERROR_UNAVAILABLE, "the HTTP server does not start on %s",
			  options->listen);
		close(fd);
		if (server->silence_fd >= 0)
			close(server->silence_fd);
		tls_pair_unref(&server->pair);
		free(server);
		return NULL;
	}
	start_warden(server);
	return server;
}

int server_port(const struct server *server)
{
	return server->port;
}

size_t server_connections(const struct server *server)
{
	return atomic_load(&server->connection_count);
}

size_t server_pending(const struct server *server)
{
	return atomic_load(&server->pending_count);
}

void server_drain(struct server *server)
{
	if (atomic_exchange(&server->draining, true))
		return;
	/* Clients are refused from now on. Not by MHD_quiesce_daemon: it and a thread that is in
	 * its way may both take the socket out of epoll, and the second one aborts. With nothing
	 * under the number but an event that never comes, there is nothing to take out. */
	CHECK(dup3(server->silence_fd, server->listen_fd, O_CLOEXEC) >= 0);
}

void server_stop(struct server **server_)
{
	struct server *server = *server_;

	*server_ = NULL;
	if (!server)
		return;
	server_drain(server);
	pthread_mutex_lock(&server->lock);
	server->warden_stops = true;
	pthread_cond_signal(&server->warden_wakes);
	pthread_mutex_unlock(&server->lock);
	pthread_join(server->warden, NULL);
	MHD_stop_daemon(server->daemon); /* closes the listening socket */
	close(server->silence_fd);
	CHECK(list_empty(&server->connections));
	tls_pair_unref(&server->pair);
	pthread_cond_destroy(&server->warden_wakes);
	pthread_mutex_destroy(&server->lock);
	free(server);
}

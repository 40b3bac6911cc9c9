/* SPDX-License-Identifier: Apache-2.0 */
/* How a connection leaves HTTP. A plain socket is duplicated and libmicrohttpd's number for it is
 * closed at once, so that the library keeps nothing of it: neither its 28 KiB nor a place among its
 * connections. With TLS the library stays between, and what is handed out is one end of a pair of
 * sockets. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/http/server_impl.h"

/* Is the token in a comma separated list? */
static bool lists(const char *list, const char *token)
{
	size_t bytes = strlen(token);

	while (list && *list) {
		list += strspn(list, ", \t");
		size_t have = strcspn(list, ", \t");
		if (have == bytes && strncasecmp(list, token, bytes) == 0)
			return true;
		list += strcspn(list, ",");
	}
	return false;
}

bool request_upgrade_asked(const struct request *request, const char *protocol)
{
	return !request->inner && strcmp(request->version, "HTTP/1.1") == 0 &&
	       strcmp(request->method, "GET") == 0 &&
	       lists(request_header(request, "Connection"), "upgrade") &&
	       lists(request_header(request, "Upgrade"), protocol);
}

void request_upgrade(struct request *request, const char *protocol, request_upgraded_fn *upgraded,
		     void *owner)
{
	CHECK(!request->inner && request->answer.status == 0 && !request->parked && upgraded);
	request_answer_header(request, "Upgrade", protocol);
	request->answer.status = 101;
	request->upgraded = upgraded;
	request->upgrade_owner = owner;
}

static struct upgraded *upgraded_new(struct connection *connection,
				     struct MHD_UpgradeResponseHandle *handle, int fd,
				     const char *extra, size_t extra_bytes)
{
	bool tls = connection->request.server->pair != NULL;
	struct upgraded *socket;

	if (!tls)
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return NULL;
	socket = xcalloc(1, sizeof(*socket) + extra_bytes + 1);
	socket->fd = fd;
	socket->handle = tls ? handle : NULL;
	socket->extra_bytes = extra_bytes;
	if (extra_bytes > 0)
		memcpy(socket->extra, extra, extra_bytes);
	return socket;
}

/* The 101 has been sent; on the connection's thread. As far as those above are concerned the
 * request ends here. */
static void switched(void *request_, struct MHD_Connection *mhd, void *context, const char *extra,
		     size_t extra_bytes, MHD_socket fd, struct MHD_UpgradeResponseHandle *handle)
{
	struct request *request = request_;
	struct connection *connection = server_connection_of(request);
	struct upgraded *socket = upgraded_new(connection, handle, fd, extra, extra_bytes);
	bool done = !socket || !socket->handle;

	(void)mhd;
	(void)context;
	server_phase(connection, PHASE_AWAY);
	server_end_request(request, socket);
	if (done)
		MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
}

struct MHD_Response *server_upgrade_response(struct request *request)
{
	return MHD_create_response_for_upgrade(switched, request);
}

void upgraded_close(struct upgraded **socket_)
{
	struct upgraded *socket = *socket_;

	*socket_ = NULL;
	if (!socket)
		return;
	if (socket->handle)
		MHD_upgrade_action(socket->handle, MHD_UPGRADE_ACTION_CLOSE);
	else
		close(socket->fd);
	free(socket);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/supervisor/scale_link.h"

#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define HEAD offsetof(struct scale_orders, list)

int scale_link_open(int *supervisor_fd_r, int *scaler_fd_r)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
		return -1;
	*supervisor_fd_r = fds[0];
	*scaler_fd_r = fds[1];
	return 0;
}

bool scale_link_order(int fd, const struct scale_orders *orders)
{
	size_t bytes = HEAD + orders->count * sizeof(orders->list[0]);

	return send(fd, orders, bytes, MSG_NOSIGNAL) == (ssize_t)bytes;
}

bool scale_link_orders(int fd, struct scale_orders *orders_r)
{
	ssize_t bytes = recv(fd, orders_r, sizeof(*orders_r), 0);

	return bytes >= (ssize_t)HEAD && orders_r->count <= POOLS_MAX &&
	       (size_t)bytes == HEAD + orders_r->count * sizeof(orders_r->list[0]);
}

void scale_link_ask(int fd, int change)
{
	int8_t word = (int8_t)change;

	(void)!send(fd, &word, sizeof(word), MSG_NOSIGNAL);
}

int scale_link_asked(int fd)
{
	int8_t word;
	int sum = 0;

	while (recv(fd, &word, sizeof(word), 0) == (ssize_t)sizeof(word))
		sum += word;
	return sum;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The guard against server-side request forgery: may a call whose URL could come from a payload go
 * to this resolved address? A decision and nothing else: no look-up, no URL, no socket. Asked by
 * remote_call.c with the very address that is connected to, so a name that resolves differently the
 * next time and an address spelled in another way change nothing. */
#ifndef WORKERS_REMOTE_GUARD_H
#define WORKERS_REMOTE_GUARD_H
#include <stdbool.h>

#include "common/base/error.h"

struct guard;
struct sockaddr;

/* allow: networks that are let through although they are not public (cidr.h), "" for none. NULL
 * with ERROR_INVALID when it is not such a list. */
struct guard *guard_new(const char *allow, struct error *err_r);
void guard_free(struct guard **guard);
/* NULL: it may be called; else what is there instead of a public address ("loopback"), static. An
 * IPv4 address within an IPv6 one is judged as that (mapped, NAT64's well-known prefix), or refused
 * whatever it is (IPv4-compatible, local NAT64, 6to4, Teredo: nothing public is reached that way).
 */
const char *guard_refusal(const struct guard *guard, const struct sockaddr *address);
/* Is it in one of the networks of `allow`? */
bool guard_allows(const struct guard *guard, const struct sockaddr *address);
/* A port of a service that is not HTTP and may take a request for something else (SMTP, IRC…):
 * those which browsers refuse. */
bool guard_port_refused(int port);

#endif

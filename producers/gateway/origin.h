/* SPDX-License-Identifier: Apache-2.0 */
/* Who may reach the API from a browser: the exact allow-list of CORS, and the check that keeps web
 * pages (and DNS names that were pointed at 127.0.0.1) away from a gateway that asks for no key. */
#ifndef PRODUCERS_GATEWAY_ORIGIN_H
#define PRODUCERS_GATEWAY_ORIGIN_H
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

struct origin_list;

/* Comma separated "https://app.example.com[:port]"; compared as they stand. NULL: one of them is no
 * origin. */
struct origin_list *origin_list_parse(const char *text, struct error *err_r);
void origin_list_free(struct origin_list **list);
bool origin_list_has(const struct origin_list *list, const char *origin);

/* Is a Host header's value a loopback name or address, with this port (none given: 80, or 443 with
 * TLS)? */
bool origin_host_is_loopback(const char *host, int port, bool tls);
/* Is the origin the very one of this host? */
bool origin_is_same(const char *origin, const char *host, bool tls);

#endif

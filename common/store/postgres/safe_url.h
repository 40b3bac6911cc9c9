/* SPDX-License-Identifier: Apache-2.0 */
/* What DATABASE_URL may say about encryption. Called by what opens connections; pure but for the
 * PGHOST and PGSSLMODE that libpq reads from the environment. */
#ifndef COMMON_STORE_POSTGRES_SAFE_URL_H
#define COMMON_STORE_POSTGRES_SAFE_URL_H
#include "common/base/error.h"

/* The URL to connect with; the caller frees it. To a server on another machine the connection is
 * encrypted and the server proves who it is (sslmode=verify-full, added when nothing is said);
 * less is refused unless the URL has the option insecure=true, which libpq does not see. NULL:
 * ERROR_INVALID; the message never shows the URL. */
char *postgres_safe_url(const char *url, struct error *err_r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The secrets that processes share by way of the store. */
#include <string.h>

#include "common/store/postgres/postgres_impl.h"

int postgres_share_secret(struct store *store, const char *name, uint8_t secret[STORE_SECRET_BYTES],
			  struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, "INSERT INTO windlass.secret (name, value) VALUES ($1::text, $2::bytea)"
			 " ON CONFLICT DO NOTHING");
	postgres_arg_text(pg, name);
	postgres_arg_bytes(pg, secret, STORE_SECRET_BYTES);
	postgres_send(pg);
	postgres_say(pg, "SELECT value FROM windlass.secret WHERE name = $1::text");
	postgres_arg_text(pg, name);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	if (PQntuples(result) != 1 || PQgetlength(result, 0, 0) != STORE_SECRET_BYTES)
		return error_set(err_r, ERROR_INTERNAL,
				 "the store's secret is not as it was written");
	memcpy(secret, PQgetvalue(result, 0, 0), STORE_SECRET_BYTES);
	return 0;
}

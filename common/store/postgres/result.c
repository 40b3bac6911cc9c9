/* SPDX-License-Identifier: Apache-2.0 */
/* Binary results of the engine's own statements as C values. */
#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#include "common/store/postgres/postgres_impl.h"

#define EPOCH_2000_MS 946684800000 /* PostgreSQL counts microseconds from 2000-01-01 UTC */

bool result_null(const PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column);
}

int64_t result_i64(const PGresult *result, int row, int column)
{
	const char *data = PQgetvalue(result, row, column);
	uint64_t wide;
	uint32_t four;
	uint16_t two;

	if (result_null(result, row, column))
		return 0;
	switch (PQgetlength(result, row, column)) {
	case 8:
		memcpy(&wide, data, 8);
		return (int64_t)be64toh(wide);
	case 4:
		memcpy(&four, data, 4);
		return (int32_t)ntohl(four);
	default:
		CHECK(PQgetlength(result, row, column) == 2);
		memcpy(&two, data, 2);
		return (int16_t)ntohs(two);
	}
}

double result_f64(const PGresult *result, int row, int column)
{
	uint64_t wide;
	double d;

	if (result_null(result, row, column))
		return 0;
	CHECK(PQgetlength(result, row, column) == 8);
	memcpy(&wide, PQgetvalue(result, row, column), 8);
	wide = be64toh(wide);
	memcpy(&d, &wide, 8);
	return d;
}

bool result_bool(const PGresult *result, int row, int column)
{
	return !result_null(result, row, column) && *PQgetvalue(result, row, column);
}

struct uuid result_uuid(const PGresult *result, int row, int column)
{
	struct uuid id = { 0 };

	if (!result_null(result, row, column)) {
		CHECK(PQgetlength(result, row, column) == sizeof(id.b));
		memcpy(id.b, PQgetvalue(result, row, column), sizeof(id.b));
	}
	return id;
}

int64_t result_ms(const PGresult *result, int row, int column)
{
	return result_null(result, row, column)
		       ? 0
		       : result_i64(result, row, column) / 1000 + EPOCH_2000_MS;
}

const char *result_text(const PGresult *result, int row, int column)
{
	return result_null(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

size_t result_bytes(const PGresult *result, int row, int column)
{
	return (size_t)PQgetlength(result, row, column);
}

char *result_dup(const PGresult *result, int row, int column, struct arena *arena)
{
	if (result_null(result, row, column))
		return NULL;
	return arena_strndup(arena, PQgetvalue(result, row, column),
			     result_bytes(result, row, column));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the limit probes on PostgreSQL share: statements that must succeed, and quantiles. Probes
 * are programs of their own that die at the first surprise; nothing of the product includes this.
 */
#ifndef TESTS_BENCH_PROBE_H
#define TESTS_BENCH_PROBE_H
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"

static inline PGresult *probe_must(PGconn *pg, PGresult *r)
{
	ExecStatusType status = PQresultStatus(r);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK &&
	    status != PGRES_PIPELINE_SYNC) {
		fprintf(stderr, "probe: %s: %s", PQresStatus(status), PQerrorMessage(pg));
		exit(1);
	}
	return r;
}

static inline void probe_run(PGconn *pg, const char *sql)
{
	PQclear(probe_must(pg, PQexec(pg, sql)));
}

static inline PGconn *probe_connect(const char *url)
{
	PGconn *pg = PQconnectdb(url);

	if (PQstatus(pg) != CONNECTION_OK) {
		fprintf(stderr, "probe: %s", PQerrorMessage(pg));
		exit(1);
	}
	return pg;
}

static inline int probe_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts the values. */
static inline double probe_quantile(double *values, size_t count, double q)
{
	CHECK(count > 0);
	qsort(values, count, sizeof(*values), probe_compare);
	return values[(size_t)(q * (double)(count - 1))];
}

#endif

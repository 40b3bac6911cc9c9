/* SPDX-License-Identifier: Apache-2.0 */
/* What the examinations of `windlass doctor` share. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H
#include <jansson.h>
#include <stdbool.h>

#include "common/base/check.h"
#include "common/config/definitions.h"
#include "common/config/settings.h"
#include "common/store/store.h"

#include "cli/table.h"

enum finding { FINE, DOUBTFUL, WRONG };

struct doctor {
	struct settings settings;
	struct definitions *defs; /* NULL: not readable */
	struct store *store;      /* NULL: not reachable */
	bool server_away;
	enum finding worst;
	bool json;
	struct table *table;
	json_t *findings;
	const char *subject; /* of the examination that runs */
};

void doctor_say(struct doctor *doctor, enum finding finding, const char *fmt, ...)
	printf_like(3, 4);

/* ---- doctor_secrets.c */
void doctor_examine_files(struct doctor *doctor);
void doctor_examine_hosts(struct doctor *doctor);

/* ---- doctor_broker.c */
void doctor_examine_broker(struct doctor *doctor);

#endif

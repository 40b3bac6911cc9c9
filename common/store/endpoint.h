/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints: addresses of webhooks that answered 410 Gone. Nothing is sent there until an operator
 * enables them again. A completion of a webhook job writes the row (completion.h); workers ask for
 * them every few seconds. */
#ifndef COMMON_STORE_ENDPOINT_H
#define COMMON_STORE_ENDPOINT_H
#include "common/base/arena.h"
#include "common/base/uuid.h"
#include "common/store/audit.h"
#include "common/store/store.h"

/* The newest are remembered; one that was forgotten answers 410 again. */
#define ENDPOINTS_DISABLED_MAX 1000

struct endpoint_view {
	const char *url; /* a callback_url, or a hook as it is defined */
	int64_t since_ms;
	struct uuid job; /* the webhook job that was answered so */
};

/* Newest first. */
int endpoint_disabled(struct store *store, struct arena *arena, struct endpoint_view **views_r,
		      size_t *count_r, struct error *err_r) must_check;
/* 0; ERROR_NOT_FOUND: it is not disabled. */
int endpoint_enable(struct store *store, const char *url, const struct audit *audit,
		    struct error *err_r) must_check;

#endif

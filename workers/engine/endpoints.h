/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoints that are disabled, as this engine knows them: the keeper reads them from the store
 * every few seconds, the loop asks before it delivers a webhook. */
#ifndef WORKERS_ENGINE_ENDPOINTS_H
#define WORKERS_ENGINE_ENDPOINTS_H
#include <stdbool.h>
#include <stddef.h>

#include "common/store/endpoint.h"

struct endpoints;

struct endpoints *endpoints_new(void);
void endpoints_free(struct endpoints **endpoints);
/* These and no others are disabled. Copies. Any thread. */
void endpoints_set(struct endpoints *endpoints, const struct endpoint_view *views, size_t count);
/* One more, until the next endpoints_set. Any thread. */
void endpoints_add(struct endpoints *endpoints, const char *url);
bool endpoints_disabled(struct endpoints *endpoints, const char *url); /* any thread */

#endif

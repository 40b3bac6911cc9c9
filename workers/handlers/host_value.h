/* SPDX-License-Identifier: Apache-2.0 */
/* struct wl_value on its way into a line. */
#ifndef WORKERS_HANDLERS_HOST_VALUE_H
#define WORKERS_HANDLERS_HOST_VALUE_H
#include "common/base/strbuf.h"
#include "workers/handlers/windlass.h"

/* Appends [v1,v2,…] as the protocol's "args"; text that JSON cannot carry (a NUL, not UTF-8) goes
 * as a blob. */
void host_value_add_args(struct strbuf *out, struct wl_args args);
/* A string, or {"base64":"…"}. */
void host_value_add_text(struct strbuf *out, const char *text, size_t bytes);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at the store once a second, so that /readyz and /metrics answer at once even while the
 * store hangs. */
#ifndef PRODUCERS_GATEWAY_MONITOR_H
#define PRODUCERS_GATEWAY_MONITOR_H
#include <stdbool.h>

#include "common/base/strbuf.h"
#include "common/service/metrics.h"

#define MONITOR_STALE_MS    5000  /* an older look counts as an unreachable store */
#define MONITOR_UNSERVED_MS 10000 /* available work may wait so long while no worker is alive */

struct monitor;

struct gateway;
struct monitor *monitor_start(struct gateway *gateway); /* its settings, metrics, definitions */
/* Ready? Appends the reasons against it as elements of a JSON array to reasons. Any thread, never
 * blocks for long. */
bool monitor_ready(struct monitor *monitor, struct strbuf *reasons);
void monitor_stop(struct monitor **monitor); /* NULL-safe */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of waiting for a store. What the store says of itself (another schema, a wrong password)
 * is hopeless; weather is not. */
#include "common/service/store_wait.h"

#include "common/base/log.h"

#define AGAIN_MS 500

/* True when it is time to go instead of waiting on. */
static bool told_to_go(struct service *service)
{
	enum service_signal signal = service_wait(service, AGAIN_MS);

	for (; signal != SERVICE_NONE; signal = service_signal(service)) {
		if (signal == SERVICE_DRAIN || signal == SERVICE_NOW || signal == SERVICE_RETIRE)
			return true;
	}
	return false;
}

static bool is_weather(const struct error *error)
{
	return error->code == ERROR_UNAVAILABLE || error->code == ERROR_UNKNOWN ||
	       error->code == ERROR_CONTENTION || error->code == ERROR_TIMEOUT ||
	       error->code == ERROR_FULL;
}

int store_wait(struct service *service, store_wait_fn *step, void *ctx, struct error *err_r)
{
	bool said = false;

	while (error_clear(err_r), step(ctx, err_r) < 0) {
		if (!is_weather(err_r))
			return -1;
		if (!said)
			log_line(LOG_ERROR, "store-away",
				 LOG_S("code", error_code_name(err_r->code)),
				 LOG_S("error", err_r->message));
		said = true;
		if (told_to_go(service)) {
			error_clear(err_r);
			return -1;
		}
	}
	return 0;
}

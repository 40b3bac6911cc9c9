/* SPDX-License-Identifier: Apache-2.0 */
/* The certificate that WINDLASS_TLS_CERT and WINDLASS_TLS_KEY name: reading it, and saying until
 * when it is good. Used by the gateway, `windlass check` and `windlass doctor`. */
#ifndef PRODUCERS_GATEWAY_CERTIFICATE_H
#define PRODUCERS_GATEWAY_CERTIFICATE_H
#include <stdint.h>

#include "common/base/error.h"
#include "common/config/settings.h"
#include "common/http/tls_pair.h"

enum certificate_state {
	CERTIFICATE_GOOD,
	CERTIFICATE_EARLY,
	CERTIFICATE_ENDING,
	CERTIFICATE_OVER
};

/* 0: *pair_r is a reference, or NULL when there shall be no TLS. -1: what is wrong with the files
 * or the settings. */
int certificate_load(const struct settings *settings, struct tls_pair **pair_r,
		     struct error *err_r) must_check;
/* Ending: two weeks are left, or a fourth of its life when that is less. */
enum certificate_state certificate_state(int64_t starts_s, int64_t ends_s, int64_t now_s);
/* "the certificate is good until 2026-12-01T00:00:00.000Z". */
void certificate_say(enum certificate_state state, const struct tls_pair *pair, char *text_r,
		     size_t bytes);

#endif

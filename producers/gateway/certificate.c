/* SPDX-License-Identifier: Apache-2.0 */
/* See certificate.h. Logs nothing: those who ask do. */
#include "producers/gateway/certificate.h"

#include <stdio.h>

#include "common/base/clock.h"

#define SOON_S (14 * INT64_C(86400))

int certificate_load(const struct settings *settings, struct tls_pair **pair_r, struct error *err_r)
{
	bool cert = *settings->tls_cert, key = *settings->tls_key;

	*pair_r = NULL;
	if (!cert && !key)
		return 0;
	if (!cert || !key)
		return error_set(
			err_r, ERROR_INVALID,
			"WINDLASS_TLS_CERT and WINDLASS_TLS_KEY belong together: %s is not set",
			cert ? "the key" : "the certificate");
	*pair_r = tls_pair_load(settings->tls_cert, settings->tls_key, err_r);
	return *pair_r ? 0 : error_wrap(err_r, "WINDLASS_TLS_CERT, WINDLASS_TLS_KEY");
}

enum certificate_state certificate_state(int64_t starts_s, int64_t ends_s, int64_t now_s)
{
	int64_t soon_s = (ends_s - starts_s) / 4;

	if (soon_s > SOON_S)
		soon_s = SOON_S;
	if (now_s < starts_s)
		return CERTIFICATE_EARLY;
	if (now_s >= ends_s)
		return CERTIFICATE_OVER;
	return now_s + soon_s >= ends_s ? CERTIFICATE_ENDING : CERTIFICATE_GOOD;
}

void certificate_say(enum certificate_state state, const struct tls_pair *pair, char *text_r,
		     size_t bytes)
{
	static const char *const words[] = {
		[CERTIFICATE_GOOD] = "is good until",
		[CERTIFICATE_EARLY] = "is not valid before",
		[CERTIFICATE_ENDING] = "ends soon, at",
		[CERTIFICATE_OVER] = "has ended at",
	};
	int64_t at_s = state == CERTIFICATE_EARLY ? tls_pair_starts_s(pair) : tls_pair_ends_s(pair);
	char time[CLOCK_TEXT];

	snprintf(text_r, bytes, "the certificate %s %s", words[state],
		 clock_format(at_s * 1000, time));
}

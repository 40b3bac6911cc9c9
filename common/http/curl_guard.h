/* SPDX-License-Identifier: Apache-2.0 */
/* What every libcurl handle of Windlass must have set, whoever makes it: nothing of what libcurl
 * would do by itself and that we do not want. Called by the API client, the SQS client and
 * workers/remote; sets nothing that differs between them. */
#ifndef COMMON_HTTP_CURL_GUARD_H
#define COMMON_HTTP_CURL_GUARD_H
#include <curl/curl.h>

/* HTTP and HTTPS alone, no redirects, no proxies of the environment, no .netrc, TLS 1.2 or newer
 * and verified, no signals; HTTP/1.1 (a caller that wants more sets it afterwards). ca_file NULL:
 * the system's. */
void curl_guard_set(CURL *easy, const char *ca_file);

#endif

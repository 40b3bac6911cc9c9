/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate chain and its private key, read from two files and found to belong together. Never
 * changed once it is made, so that any number of handshakes may use it while a newer one takes its
 * place. */
#ifndef COMMON_HTTP_TLS_PAIR_H
#define COMMON_HTTP_TLS_PAIR_H
#include <stdint.h>

#include "common/base/error.h"

struct tls_pair;

/* Reads both files. NULL: ERROR_INVALID, and what is wrong with which of them. One that has ended
 * or is not yet valid is no mistake here: see tls_pair_starts_s and tls_pair_ends_s. */
struct tls_pair *tls_pair_load(const char *cert_file, const char *key_file, struct error *err_r);
struct tls_pair *tls_pair_ref(struct tls_pair *pair);
void tls_pair_unref(struct tls_pair **pair); /* NULL-safe; any thread */
/* From when until when all certificates of the chain are valid, in seconds since 1970. */
int64_t tls_pair_starts_s(const struct tls_pair *pair);
int64_t tls_pair_ends_s(const struct tls_pair *pair);

#endif

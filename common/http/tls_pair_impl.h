/* SPDX-License-Identifier: Apache-2.0 */
/* For server_tls.c and tls_pair.c only: the pair with GnuTLS's types. */
#ifndef COMMON_HTTP_TLS_PAIR_IMPL_H
#define COMMON_HTTP_TLS_PAIR_IMPL_H
#include <gnutls/abstract.h>
#include <stdatomic.h>

#include "common/http/tls_pair.h"

#define TLS_CHAIN_MAX 10

struct tls_pair {
	_Atomic int refs;
	gnutls_pcert_st chain[TLS_CHAIN_MAX];
	unsigned chain_length;
	gnutls_privkey_t key;
	int64_t starts_s, ends_s;
};

#endif

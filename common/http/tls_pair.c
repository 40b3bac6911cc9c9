/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and checks a pair with GnuTLS, which is what libmicrohttpd speaks TLS with. Used by the
 * gateway at the start and on SIGHUP, and by `windlass doctor`. */
#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/http/tls_pair_impl.h"

#define FILE_BYTES_MAX ((size_t)256 * 1024)
#define RSA_BITS_MIN   2048
#define EC_BITS_MIN    256

/* To be wiped and freed. */
static int read_file(const char *path, gnutls_datum_t *text_r, struct error *err_r)
{
	FILE *file = fopen(path, "re");
	char *text;

	*text_r = (gnutls_datum_t){ 0 };
	if (!file)
		return error_set(err_r, ERROR_INVALID, "%s: %s", path, strerror(errno));
	setvbuf(file, NULL, _IONBF, 0); /* no second copy of a key */
	text = xcalloc(1, FILE_BYTES_MAX + 1);
	text_r->size = (unsigned)fread(text, 1, FILE_BYTES_MAX + 1, file);
	text_r->data = (unsigned char *)text;
	bool failed = ferror(file) != 0;
	fclose(file);
	if (failed)
		return error_set(err_r, ERROR_INVALID, "%s cannot be read", path);
	if (text_r->size > FILE_BYTES_MAX)
		return error_set(err_r, ERROR_INVALID, "%s is larger than %zu bytes", path,
				 FILE_BYTES_MAX);
	return 0;
}

static void wipe(gnutls_datum_t *text)
{
	if (text->data)
		explicit_bzero(text->data, FILE_BYTES_MAX + 1);
	free(text->data);
	*text = (gnutls_datum_t){ 0 };
}

static void note_times(struct tls_pair *pair, gnutls_x509_crt_t certificate)
{
	int64_t starts_s = gnutls_x509_crt_get_activation_time(certificate);
	int64_t ends_s = gnutls_x509_crt_get_expiration_time(certificate);

	if (pair->starts_s < starts_s)
		pair->starts_s = starts_s;
	if (pair->ends_s > ends_s)
		pair->ends_s = ends_s;
}

static int read_chain(struct tls_pair *pair, const char *path, struct error *err_r)
{
	unsigned length = TLS_CHAIN_MAX;
	gnutls_x509_crt_t certificate;
	gnutls_datum_t text;
	int rc = read_file(path, &text, err_r);

	if (rc == 0) {
		rc = gnutls_pcert_list_import_x509_raw(
			pair->chain, &length, &text, GNUTLS_X509_FMT_PEM,
			GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED | GNUTLS_X509_CRT_LIST_SORT);
		if (rc < 0)
			rc = error_set(err_r, ERROR_INVALID, "%s holds no certificate chain: %s",
				       path, gnutls_strerror(rc));
		else
			pair->chain_length = length;
	}
	wipe(&text);
	pair->ends_s = INT64_MAX;
	for (unsigned i = 0; i < pair->chain_length; i++) {
		if (gnutls_pcert_export_x509(&pair->chain[i], &certificate) < 0)
			continue;
		note_times(pair, certificate);
		gnutls_x509_crt_deinit(certificate);
	}
	return rc;
}

static int read_key(struct tls_pair *pair, const char *path, struct error *err_r)
{
	gnutls_datum_t text;
	int rc = read_file(path, &text, err_r);

	CHECK(gnutls_privkey_init(&pair->key) == 0);
	if (rc == 0) {
		rc = gnutls_privkey_import_x509_raw(pair->key, &text, GNUTLS_X509_FMT_PEM, NULL, 0);
		if (rc == GNUTLS_E_DECRYPTION_FAILED)
			rc = error_set(err_r, ERROR_INVALID,
				       "%s is encrypted; expected a key without a password", path);
		else if (rc < 0)
			rc = error_set(err_r, ERROR_INVALID, "%s holds no private key: %s", path,
				       gnutls_strerror(rc));
	}
	wipe(&text);
	return rc;
}

static bool same_key(gnutls_pubkey_t one, gnutls_pubkey_t other)
{
	unsigned char ids[2][64];
	size_t bytes[2] = { sizeof(ids[0]), sizeof(ids[1]) };

	return gnutls_pubkey_get_key_id(one, GNUTLS_KEYID_USE_SHA256, ids[0], &bytes[0]) == 0 &&
	       gnutls_pubkey_get_key_id(other, GNUTLS_KEYID_USE_SHA256, ids[1], &bytes[1]) == 0 &&
	       bytes[0] == bytes[1] && memcmp(ids[0], ids[1], bytes[0]) == 0;
}

static int check_match(const struct tls_pair *pair, const char *cert_file, const char *key_file,
		       struct error *err_r)
{
	unsigned bits = 0;
	int algorithm = gnutls_privkey_get_pk_algorithm(pair->key, &bits);
	bool rsa = algorithm == GNUTLS_PK_RSA || algorithm == GNUTLS_PK_RSA_PSS;
	gnutls_pubkey_t own;

	if (algorithm == GNUTLS_PK_DSA || bits < (rsa ? RSA_BITS_MIN : EC_BITS_MIN))
		return error_set(
			err_r, ERROR_INVALID,
			"%s is too weak: %s of %u bits; expected RSA of %d or more, or a curve of %d or more",
			key_file, gnutls_pk_algorithm_get_name((gnutls_pk_algorithm_t)algorithm),
			bits, RSA_BITS_MIN, EC_BITS_MIN);
	CHECK(gnutls_pubkey_init(&own) == 0);
	bool same = gnutls_pubkey_import_privkey(own, pair->key, 0, 0) == 0 &&
		    same_key(own, pair->chain[0].pubkey);
	gnutls_pubkey_deinit(own);
	if (same)
		return 0;
	return error_set(err_r, ERROR_INVALID, "the key in %s is not that of the certificate in %s",
			 key_file, cert_file);
}

struct tls_pair *tls_pair_load(const char *cert_file, const char *key_file, struct error *err_r)
{
	struct tls_pair *pair = xcalloc(1, sizeof(*pair));

	atomic_init(&pair->refs, 1);
	if (read_chain(pair, cert_file, err_r) < 0 || read_key(pair, key_file, err_r) < 0 ||
	    check_match(pair, cert_file, key_file, err_r) < 0)
		tls_pair_unref(&pair);
	return pair;
}

struct tls_pair *tls_pair_ref(struct tls_pair *pair)
{
	atomic_fetch_add(&pair->refs, 1);
	return pair;
}

void tls_pair_unref(struct tls_pair **pair_)
{
	struct tls_pair *pair = *pair_;

	*pair_ = NULL;
	if (!pair || atomic_fetch_sub(&pair->refs, 1) > 1)
		return;
	for (unsigned i = 0; i < pair->chain_length; i++)
		gnutls_pcert_deinit(&pair->chain[i]);
	if (pair->key)
		gnutls_privkey_deinit(pair->key);
	free(pair);
}

int64_t tls_pair_starts_s(const struct tls_pair *pair)
{
	return pair->starts_s;
}

int64_t tls_pair_ends_s(const struct tls_pair *pair)
{
	return pair->ends_s;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Who we are to SQS: an access key found where AWS tools look for it, in their order: environment
 * (AWS_ACCESS_KEY_ID ...), shared files (AWS_PROFILE), the container's endpoint
 * (AWS_CONTAINER_CREDENTIALS_...), the instance's metadata (IMDSv2). Those that expire are fetched
 * anew before. Never logged; wiped. Web identity, roles, processes and single sign-on are not
 * supported. One thread. */
#ifndef COMMON_BROKER_SQS_CREDENTIALS_H
#define COMMON_BROKER_SQS_CREDENTIALS_H
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/strbuf.h"

struct sqs_credentials;

struct sqs_key {
	const char *id, *secret;
	const char *token; /* of a session, or NULL */
};

struct sqs_credentials *sqs_credentials_new(const char *ca_file); /* looks for nothing yet */
void sqs_credentials_free(struct sqs_credentials **credentials);
/* Fills in the key to sign with, good until the next call. Blocks for at most a few seconds when it
 * has to be fetched; after a failure not again for some seconds. 0; -1: ERROR_UNAVAILABLE, nobody
 * gives us a key. */
int sqs_credentials_get(struct sqs_credentials *credentials, struct sqs_key *key_r,
			struct error *err_r) must_check;
/* SQS did not take the key: the next get looks everywhere anew. */
void sqs_credentials_forget(struct sqs_credentials *credentials);
/* Region of the environment or of the profile, for a BROKER_URL without one; "": none says so.
 * Lives as long as the credentials. */
const char *sqs_credentials_region(struct sqs_credentials *credentials);

/* ---- parts, for tests */
/* Appends where a container's credentials are to be had, from the values of
 * AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and ..._FULL_URI (either may be NULL). Plain http is
 * allowed to this machine and to the addresses that container services use. 0; -1: ERROR_INVALID.
 */
int sqs_container_url(const char *relative, const char *full, struct strbuf *url,
		      struct error *err_r) must_check;
/* When credentials that are got at `now` and expire at `expires` are to be fetched anew: 5 minutes
 * before, or in the middle of a shorter life. */
int64_t sqs_renew_at(int64_t now_ms, int64_t expires_ms);

#endif

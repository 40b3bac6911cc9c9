/* SPDX-License-Identifier: Apache-2.0 */
/* The files in which AWS tools keep credentials and settings (~/.aws/credentials, ~/.aws/config):
 * sections in brackets, "name = value" lines, comments. Pure. */
#ifndef COMMON_BROKER_SQS_PROFILE_H
#define COMMON_BROKER_SQS_PROFILE_H
#include <stdbool.h>
#include <stddef.h>

struct sqs_profile {
	bool found; /* there is such a section */
	char key_id[128], secret[256], token[4096];
	char region[64];
	bool indirect; /* names a role, a process or single sign-on instead of keys */
};

/* Adds what the section [name], or [profile name], says; what is there already stays. Values that
 * are too long count as absent. */
void sqs_profile_read(const char *text, size_t bytes, const char *name,
		      struct sqs_profile *profile);
void sqs_profile_wipe(struct sqs_profile *profile);

#endif

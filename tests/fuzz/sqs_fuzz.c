/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of SQS and files of AWS tools, whatever their bytes. What is taken for a message must
 * have what a feed needs of it. */
#include <jansson.h>
#include <stdint.h>
#include <string.h>

#include "common/base/check.h"
#include "common/broker/sqs_batch.h"
#include "common/broker/sqs_profile.h"
#include "common/json/json_text.h"
#include "consumers/subscribe/sqs_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_messages(const json_t *answer, bool dead)
{
	const json_t *list = json_object_get(answer, "Messages");

	for (size_t i = 0; i < json_array_size(list); i++) {
		struct sqs_message *message = sqs_message_new(json_array_get(list, i), dead, 16);

		if (!message)
			continue;
		CHECK(message->handle && message->delivery.message.identity);
		CHECK(message->delivery.message.body && message->delivery.message.body_bytes <= 16);
		CHECK(!dead || message->delivery.message.dead_reason);
		sqs_message_free(&message);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	enum sqs_verdict verdicts[SQS_BATCH_MAX];
	struct sqs_profile profile;
	struct json_error problem;
	json_t *answer;

	memset(&profile, 0, sizeof(profile));
	sqs_profile_read((const char *)data, bytes, "default", &profile);
	CHECK(strlen(profile.token) < sizeof(profile.token));
	answer = json_text_parse((const char *)data, bytes, &problem);
	sqs_batch_read(answer, SQS_BATCH_MAX, verdicts);
	read_messages(answer, false);
	read_messages(answer, true);
	json_decref(answer);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Existence is asked for first, so that a process that may send but not create works with queues
 * that somebody else has made. */
#include "common/broker/sqs_queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"

#define RECEIVES_MAX  100     /* before SQS itself calls a message dead */
#define KEPT_S        1209600 /* the longest that SQS allows */
#define VISIBLE_AGAIN 30
#define FIFO          ".fifo"

bool sqs_queue_is_fifo(const char *name)
{
	size_t bytes = strlen(name);

	return bytes > strlen(FIFO) && !strcmp(name + bytes - strlen(FIFO), FIFO);
}

int sqs_queue_name(const char *topic, bool fifo, char name_r[SQS_QUEUE_NAME], struct error *err_r)
{
	bool named = sqs_queue_is_fifo(topic);
	size_t stem = strlen(topic) - (named ? strlen(FIFO) : 0);
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	if (stem == 0 || strspn(topic, allowed) < stem ||
	    stem + (fifo || named ? strlen(FIFO) : 0) >= SQS_QUEUE_NAME)
		return error_set(err_r, ERROR_INVALID,
				 "%.100s: no name of an SQS queue (letters, digits, - and _; at "
				 "most 80)",
				 topic);
	snprintf(name_r, SQS_QUEUE_NAME, "%s%s", topic, fifo && !named ? FIFO : "");
	return 0;
}

static int take_url(const json_t *answer, char **url_r, enum sqs_fate *fate_r, struct error *err_r)
{
	const char *url = json_string_value(json_object_get(answer, "QueueUrl"));

	if (!url || !*url) {
		*fate_r = SQS_AWAY;
		return error_set(err_r, ERROR_UNAVAILABLE, "SQS names no URL for a queue");
	}
	*url_r = xstrdup(url);
	return 0;
}

int sqs_queue_find(struct sqs_client *client, const char *name, int timeout_ms, char **url_r,
		   enum sqs_fate *fate_r, struct error *err_r)
{
	const char *account = sqs_client_account(client);
	struct strbuf body;
	json_t *answer;
	int rc;

	strbuf_init(&body);
	strbuf_printf(&body, "{\"QueueName\":\"%s\"", name);
	if (account) {
		strbuf_addstr(&body, ",\"QueueOwnerAWSAccountId\":");
		strbuf_json(&body, account);
	}
	strbuf_addch(&body, '}');
	rc = sqs_client_do(client, "GetQueueUrl", &body, timeout_ms, &answer, fate_r, err_r);
	if (rc == 0)
		rc = take_url(answer, url_r, fate_r, err_r);
	json_decref(answer);
	return rc;
}

/* The name by which a redrive policy knows a queue. */
static int find_arn(struct sqs_client *client, const char *url, int timeout_ms, char **arn_r,
		    enum sqs_fate *fate_r, struct error *err_r)
{
	struct strbuf body;
	const char *arn;
	json_t *answer;
	int rc;

	strbuf_init(&body);
	strbuf_addstr(&body, "{\"QueueUrl\":");
	strbuf_json(&body, url);
	strbuf_addstr(&body, ",\"AttributeNames\":[\"QueueArn\"]}");
	rc = sqs_client_do(client, "GetQueueAttributes", &body, timeout_ms, &answer, fate_r, err_r);
	arn = json_string_value(json_object_get(json_object_get(answer, "Attributes"), "QueueArn"));
	if (rc == 0 && !arn) {
		*fate_r = SQS_AWAY;
		rc = error_set(err_r, ERROR_UNAVAILABLE, "SQS names no ARN for a queue");
	}
	if (rc == 0)
		*arn_r = xstrdup(arn);
	json_decref(answer);
	return rc;
}

static void add_attributes(struct strbuf *body, const char *name, const char *dead_arn)
{
	struct strbuf policy;

	strbuf_printf(body,
		      "{\"QueueName\":\"%s\",\"Attributes\":{\"VisibilityTimeout\":\"%d\","
		      "\"MessageRetentionPeriod\":\"%d\"",
		      name, VISIBLE_AGAIN, KEPT_S);
	/* Deduplication by group lifts a FIFO queue's limit from the queue to each group. */
	if (sqs_queue_is_fifo(name))
		strbuf_addstr(body,
			      ",\"FifoQueue\":\"true\",\"DeduplicationScope\":\"messageGroup\""
			      ",\"FifoThroughputLimit\":\"perMessageGroupId\"");
	if (dead_arn) {
		strbuf_init(&policy);
		strbuf_addstr(&policy, "{\"deadLetterTargetArn\":");
		strbuf_json(&policy, dead_arn);
		strbuf_printf(&policy, ",\"maxReceiveCount\":\"%d\"}", RECEIVES_MAX);
		strbuf_addstr(body, ",\"RedrivePolicy\":");
		strbuf_json(body, policy.data);
		strbuf_release(&policy);
	}
	strbuf_addstr(body, "}}");
}

/* Makes one that is missing. One that somebody else makes at the same time, perhaps with other
 * attributes, is as good. */
static int create(struct sqs_client *client, const char *name, const char *dead_arn, int timeout_ms,
		  char **url_r, enum sqs_fate *fate_r, struct error *err_r)
{
	struct strbuf body;
	json_t *answer;
	int rc;

	strbuf_init(&body);
	add_attributes(&body, name, dead_arn);
	rc = sqs_client_do(client, "CreateQueue", &body, timeout_ms, &answer, fate_r, err_r);
	if (rc == 0)
		rc = take_url(answer, url_r, fate_r, err_r);
	else if (*fate_r == SQS_INVALID &&
		 sqs_queue_find(client, name, timeout_ms, url_r, fate_r, err_r) == 0)
		rc = 0;
	json_decref(answer);
	return rc;
}

static int make_dead(struct sqs_client *client, const char *name, int timeout_ms, char **arn_r,
		     enum sqs_fate *fate_r, struct error *err_r)
{
	char *url = NULL;
	int rc = sqs_queue_make(client, name, NULL, timeout_ms, &url, fate_r, err_r);

	if (rc == 0)
		rc = find_arn(client, url, timeout_ms, arn_r, fate_r, err_r);
	free(url);
	return rc;
}

int sqs_queue_make(struct sqs_client *client, const char *name, const char *dead, int timeout_ms,
		   char **url_r, enum sqs_fate *fate_r, struct error *err_r)
{
	char dead_name[SQS_QUEUE_NAME];
	char *dead_arn = NULL;
	int rc = sqs_queue_find(client, name, timeout_ms, url_r, fate_r, err_r);

	if (rc == 0 || *fate_r != SQS_NOT_FOUND)
		return rc;
	rc = 0;
	if (dead) {
		*fate_r = SQS_INVALID;
		rc = sqs_queue_name(dead, sqs_queue_is_fifo(name), dead_name, err_r);
		if (rc == 0)
			rc = make_dead(client, dead_name, timeout_ms, &dead_arn, fate_r, err_r);
	}
	if (rc == 0)
		rc = create(client, name, dead_arn, timeout_ms, url_r, fate_r, err_r);
	if (rc < 0)
		error_wrap(err_r, "queue %s", name);
	free(dead_arn);
	return rc;
}

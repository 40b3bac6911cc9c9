/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of librdkafka that hold for every client of ours. Passwords are given to the library and
 * wiped here; nothing of the URL but its hosts is ever logged. */
#include "common/broker/kafka_config.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strbuf.h"
#include "common/config/broker_url.h"

#define ASK_MS 3000

#define SCRAM_SOUND 0x020601ff /* repeats its nonce before: against RFC 5802 */

static const struct kafka_setting shared_settings[] = {
	{ "socket.keepalive.enable", "true" },
	{ "socket.nagle.disable", "true" },
	{ "socket.timeout.ms", "10000" },
	{ "socket.connection.setup.timeout.ms", "5000" },
	{ "reconnect.backoff.ms", "100" }, /* jittered by the library */
	{ "reconnect.backoff.max.ms", "5000" },
	{ "topic.metadata.refresh.interval.ms", "10000" },
	{ "log.connection.close", "false" },
	{ "ssl.endpoint.identification.algorithm", "https" },
	{ NULL, NULL },
};

/* The library's levels are syslog's; what heals by itself is no error of ours. */
static void log_library(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	static const enum log_level levels[] = { LOG_ERROR, LOG_ERROR, LOG_ERROR, LOG_WARN,
						 LOG_WARN,  LOG_INFO,  LOG_INFO,  LOG_DEBUG };

	(void)rk;
	if (level < 0 || level >= (int)ARRAY_LEN(levels))
		level = ARRAY_LEN(levels) - 1;
	/* A broker that is coming up has no producer ids yet: it is asked again. */
	if (strcmp(facility, "GETPID") == 0 && levels[level] == LOG_WARN)
		level = 5;
	log_line(levels[level], "kafka", LOG_S("facility", facility), LOG_S("text", text));
}

static int set_one(rd_kafka_conf_t *conf, const char *name, const char *value, struct error *err_r)
{
	char why[256];

	if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) == RD_KAFKA_CONF_OK)
		return 0;
	/* The library's text may quote the value: not for secrets. */
	return error_set(err_r, ERROR_INVALID, "the Kafka client does not take this %s", name);
}

void kafka_config_set(rd_kafka_conf_t *conf, const struct kafka_setting *settings)
{
	struct error err;

	for (; settings->name; settings++)
		CHECK(set_one(conf, settings->name, settings->value, &err) == 0);
}

static int set_brokers(rd_kafka_conf_t *conf, const struct broker_url *url, struct error *err_r)
{
	struct strbuf list;
	int done;

	strbuf_init(&list);
	for (size_t i = 0; i < url->host_count; i++) {
		bool bare_ipv6 = strchr(url->hosts[i].host, ':') != NULL;

		strbuf_printf(&list, "%s%s%s%s:%d", i ? "," : "", bare_ipv6 ? "[" : "",
			      url->hosts[i].host, bare_ipv6 ? "]" : "", url->hosts[i].port);
	}
	done = set_one(conf, "bootstrap.servers", list.data, err_r);
	strbuf_release(&list);
	return done;
}

static int set_security(rd_kafka_conf_t *conf, const struct broker_url *url, const char *ca_file,
			struct error *err_r)
{
	const char *security = broker_url_option(url, "security");
	const char *mechanism = broker_url_option(url, "mechanism");

	if (!security)
		security = url->user ? "sasl_plaintext" : "plaintext";
	if (set_one(conf, "security.protocol", security, err_r) < 0)
		return -1;
	if (url->tls && ca_file && set_one(conf, "ssl.ca.location", ca_file, err_r) < 0)
		return -1;
	if (strncmp(security, "sasl", 4) != 0)
		return 0;
	if (!url->user || !url->password)
		return error_set(err_r, ERROR_INVALID,
				 "BROKER_URL: security=%s needs a user and a password", security);
	if (mechanism && strncmp(mechanism, "SCRAM", 5) == 0 && rd_kafka_version() < SCRAM_SOUND)
		log_line(LOG_WARN, "kafka-scram-unsound", LOG_S("library", rd_kafka_version_str()),
			 LOG_S("text", "Kafka 3.8.1 and later refuse the SCRAM of librdkafka "
				       "before 2.6.1; use mechanism=PLAIN with TLS"));
	if (set_one(conf, "sasl.mechanism", mechanism ? mechanism : "PLAIN", err_r) < 0 ||
	    set_one(conf, "sasl.username", url->user, err_r) < 0)
		return -1;
	return set_one(conf, "sasl.password", url->password, err_r);
}

static int set_from_url(rd_kafka_conf_t *conf, const struct kafka_config_options *options,
			struct error *err_r)
{
	struct arena *arena = arena_new(0);
	struct broker_url url;
	int done = broker_url_parse_as(BROKER_KAFKA, options->broker_url, arena, &url, err_r);

	if (done == 0)
		done = set_brokers(conf, &url, err_r);
	if (done == 0)
		done = set_security(conf, &url, options->ca_file, err_r);
	if (done == 0 && url.password)
		explicit_bzero((char *)url.password, strlen(url.password));
	arena_free(&arena);
	return done;
}

rd_kafka_conf_t *kafka_config_new(const struct kafka_config_options *options, struct error *err_r)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	kafka_config_set(conf, shared_settings);
	rd_kafka_conf_set_log_cb(conf, log_library);
	if (set_from_url(conf, options, err_r) < 0 ||
	    set_one(conf, "client.id", options->client, err_r) < 0) {
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	return conf;
}

rd_kafka_t *kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct error *err_r)
{
	char why[400];
	rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof(why));

	if (!rk) {
		rd_kafka_conf_destroy(conf); /* it is still ours then */
		error_set(err_r, ERROR_INVALID, "Kafka client: %s", why);
	}
	return rk;
}

/* ---- errors */

const char *kafka_refusal(rd_kafka_resp_err_t code)
{
	switch (code) {
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
		return "larger than the topic takes";
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		return "no permission for the topic";
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
		return "no permission in the cluster";
	case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
		return "no permission for the consumer group";
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
		return "the topic does not exist";
	case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
		return "not a name for a topic";
	case RD_KAFKA_RESP_ERR_INVALID_RECORD:
	case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
		return "the topic does not take such a message";
	case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
		return "against a policy of the broker";
	case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
	case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
		return "the broker cannot make so many partitions or replicas";
	default:
		return NULL;
	}
}

int kafka_error(struct error *err_r, rd_kafka_resp_err_t code, const char *doing)
{
	const char *refusal = kafka_refusal(code);

	return error_set(err_r, refusal ? ERROR_INVALID : ERROR_UNAVAILABLE, "Kafka: %s: %s (%s)",
			 doing, refusal ? refusal : rd_kafka_err2str(code),
			 rd_kafka_err2name(code));
}

/* ---- topics */

int kafka_topic_partitions(rd_kafka_t *rk, const char *topic, int timeout_ms, int *count_r,
			   struct error *err_r)
{
	rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
	const struct rd_kafka_metadata *metadata = NULL;
	rd_kafka_resp_err_t code = rd_kafka_last_error();
	int done = -1;

	*count_r = 0;
	if (handle)
		code = rd_kafka_metadata(rk, 0, handle, &metadata, timeout_ms);
	if (!code && metadata->topic_cnt > 0)
		code = metadata->topics[0].err;
	if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		error_set(err_r, ERROR_NOT_FOUND, "Kafka has no topic %s", topic);
	else if (code)
		kafka_error(err_r, code, topic);
	else
		done = 0;
	if (done == 0 && metadata->topic_cnt > 0)
		*count_r = metadata->topics[0].partition_cnt;
	if (metadata)
		rd_kafka_metadata_destroy(metadata);
	if (handle)
		rd_kafka_topic_destroy(handle);
	return done;
}

/* One topic's answer. Who may not make topics may still use those that others have made. */
static int judge_created(rd_kafka_t *rk, const rd_kafka_topic_result_t *result, int timeout_ms,
			 struct error *err_r)
{
	rd_kafka_resp_err_t code = rd_kafka_topic_result_error(result);
	const char *topic = rd_kafka_topic_result_name(result);
	struct error missing;
	int partitions;

	if (!code || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
		return 0;
	if (kafka_refusal(code) &&
	    kafka_topic_partitions(rk, topic, timeout_ms, &partitions, &missing) == 0)
		return 0;
	kafka_error(err_r, code, topic);
	return -1;
}

static int judge_all(rd_kafka_t *rk, rd_kafka_event_t *event, int timeout_ms, struct error *err_r)
{
	const rd_kafka_topic_result_t **results;
	size_t count;

	if (!event || rd_kafka_event_error(event))
		return kafka_error(
			err_r, event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT,
			"making topics");
	results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event),
						      &count);
	for (size_t i = 0; i < count; i++) {
		if (judge_created(rk, results[i], timeout_ms, err_r) < 0)
			return -1;
	}
	return 0;
}

/* As long as topics are to be made and no broker is there, the library connects in a busy loop,
 * with no regard to its own backoff. So nothing is to be made before a broker has just answered. */
static int await_answer(rd_kafka_t *rk, int timeout_ms, struct error *err_r)
{
	const struct rd_kafka_metadata *metadata;
	int wait_ms = timeout_ms < ASK_MS ? timeout_ms : ASK_MS;
	rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, NULL, &metadata, wait_ms);

	if (code)
		return kafka_error(err_r, code, "making topics");
	rd_kafka_metadata_destroy(metadata);
	return 0;
}

int kafka_topics_create(rd_kafka_t *rk, const struct kafka_topic *topics, size_t count,
			int timeout_ms, struct error *err_r)
{
	rd_kafka_NewTopic_t **wanted = xcalloc(count + 1, sizeof(*wanted));
	rd_kafka_AdminOptions_t *options =
		rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	rd_kafka_event_t *event = NULL;
	size_t made = 0;
	char why[200];
	int done = count > 0 ? await_answer(rk, timeout_ms, err_r) : 0;

	for (; done == 0 && made < count; made++) {
		int partitions = topics[made].partitions > 0 ? topics[made].partitions : -1;

		wanted[made] =
			rd_kafka_NewTopic_new(topics[made].name, partitions, -1, why, sizeof(why));
		if (!wanted[made]) {
			done = error_set(err_r, ERROR_INVALID, "Kafka topic %s: %s",
					 topics[made].name, why);
			break;
		}
	}
	if (done == 0 && count > 0) {
		rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, why, sizeof(why));
		rd_kafka_AdminOptions_set_operation_timeout(options, timeout_ms, why, sizeof(why));
		rd_kafka_CreateTopics(rk, wanted, count, options, queue);
		event = rd_kafka_queue_poll(queue, timeout_ms + 500);
		done = judge_all(rk, event, timeout_ms, err_r);
	}
	if (event)
		rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_NewTopic_destroy_array(wanted, made);
	free(wanted);
	return done;
}

/* ---- the end */

static void *destroy_client(void *rk)
{
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	return NULL;
}

void kafka_client_free(rd_kafka_t **rk, int timeout_ms)
{
	struct timespec until;
	pthread_t thread;
	int64_t until_ms;

	if (!*rk)
		return;
	CHECK(pthread_create(&thread, NULL, destroy_client, *rk) == 0);
	*rk = NULL;
	until_ms = clock_mono_ms() + timeout_ms;
	until.tv_sec = until_ms / 1000;
	until.tv_nsec = until_ms % 1000 * 1000000;
	if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) == 0)
		return;
	pthread_detach(thread);
	log_line(LOG_WARN, "kafka-client-left-behind", LOG_I("after_ms", timeout_ms));
}

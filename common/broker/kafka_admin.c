/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to a Kafka cluster, each answered by one or two calls of the library. */
#include "common/broker/kafka_admin.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/broker/kafka_config.h"

#define CLOSE_MS             2000
#define COORDINATOR_PAUSE_MS 100

struct kafka_admin {
	rd_kafka_t *rk;
};

int kafka_admin_open(const char *broker_url, const char *client, const char *ca_file,
		     struct kafka_admin **admin_r, struct error *err_r)
{
	const struct kafka_config_options options = { .broker_url = broker_url,
						      .client = client,
						      .ca_file = ca_file };
	rd_kafka_conf_t *conf = kafka_config_new(&options, err_r);
	rd_kafka_t *rk = conf ? kafka_client_new(RD_KAFKA_PRODUCER, conf, err_r) : NULL;

	if (!rk)
		return -1;
	*admin_r = xcalloc(1, sizeof(**admin_r));
	(*admin_r)->rk = rk;
	return 0;
}

void kafka_admin_close(struct kafka_admin **admin)
{
	if (!*admin)
		return;
	kafka_client_free(&(*admin)->rk, CLOSE_MS);
	free(*admin);
	*admin = NULL;
}

int kafka_admin_check(struct kafka_admin *admin, int timeout_ms, int *brokers_r,
		      struct error *err_r)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t code = rd_kafka_metadata(admin->rk, 0, NULL, &metadata, timeout_ms);

	if (code)
		return kafka_error(err_r, code, "asking for the cluster's brokers");
	*brokers_r = metadata->broker_cnt;
	rd_kafka_metadata_destroy(metadata);
	return 0;
}

int kafka_admin_partitions(struct kafka_admin *admin, const char *topic, int timeout_ms,
			   int *count_r, struct error *err_r)
{
	return kafka_topic_partitions(admin->rk, topic, timeout_ms, count_r, err_r);
}

/* Asks for all partitions at once; `at` is a time, or one of the two marks, which the protocol has
 * as times too. */
static int ask_offsets(struct kafka_admin *admin, rd_kafka_topic_partition_list_t *list, int64_t at,
		       int timeout_ms, struct error *err_r)
{
	rd_kafka_resp_err_t code;

	for (int i = 0; i < list->cnt; i++)
		list->elems[i].offset = at;
	code = rd_kafka_offsets_for_times(admin->rk, list, timeout_ms);
	for (int i = 0; !code && i < list->cnt; i++)
		code = list->elems[i].err;
	return code ? kafka_error(err_r, code, "asking for offsets") : 0;
}

/* A time behind the last message has no offset: the end is meant. */
static int ask_ends(struct kafka_admin *admin, rd_kafka_topic_partition_list_t *list,
		    int timeout_ms, struct error *err_r)
{
	rd_kafka_topic_partition_list_t *ends = rd_kafka_topic_partition_list_copy(list);
	int done = ask_offsets(admin, ends, KAFKA_LATEST, timeout_ms, err_r);

	for (int i = 0; done == 0 && i < list->cnt; i++) {
		if (list->elems[i].offset < 0)
			list->elems[i].offset = ends->elems[i].offset;
	}
	rd_kafka_topic_partition_list_destroy(ends);
	return done;
}

int kafka_admin_offsets(struct kafka_admin *admin, const char *topic, int64_t time_ms,
			int timeout_ms, struct arena *arena, struct position **positions_r,
			size_t *count_r, struct error *err_r)
{
	rd_kafka_topic_partition_list_t *list;
	struct position *positions;
	int partitions, done;

	if (kafka_topic_partitions(admin->rk, topic, timeout_ms, &partitions, err_r) < 0)
		return -1;
	list = rd_kafka_topic_partition_list_new(partitions);
	rd_kafka_topic_partition_list_add_range(list, topic, 0, partitions - 1);
	done = ask_offsets(admin, list, time_ms, timeout_ms, err_r);
	if (done == 0)
		done = ask_ends(admin, list, timeout_ms, err_r);
	positions = ARENA_ARRAY(arena, struct position, (size_t)partitions);
	for (int i = 0; done == 0 && i < list->cnt; i++) {
		positions[i].topic = topic;
		positions[i].partition = list->elems[i].partition;
		positions[i].offset = list->elems[i].offset;
	}
	rd_kafka_topic_partition_list_destroy(list);
	*positions_r = positions;
	*count_r = (size_t)partitions;
	return done;
}

static rd_kafka_resp_err_t ask_group(struct kafka_admin *admin, const char *group, int timeout_ms,
				     bool *active_r)
{
	const struct rd_kafka_group_list *list;
	rd_kafka_resp_err_t code = rd_kafka_list_groups(admin->rk, group, &list, timeout_ms);

	*active_r = false;
	if (code)
		return code;
	for (int i = 0; i < list->group_cnt; i++) {
		if (list->groups[i].err)
			code = list->groups[i].err;
		if (list->groups[i].member_cnt > 0)
			*active_r = true;
	}
	rd_kafka_group_list_destroy(list);
	return code;
}

/* A cluster that is young or has just lost a broker makes its coordinators first. */
static bool coordinator_comes(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS ||
	       code == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
	       code == RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
}

int kafka_admin_group_active(struct kafka_admin *admin, const char *group, int timeout_ms,
			     bool *active_r, struct error *err_r)
{
	const struct timespec pause = { .tv_nsec = COORDINATOR_PAUSE_MS * 1000000L };
	int64_t until_ms = clock_mono_ms() + timeout_ms;
	rd_kafka_resp_err_t code = ask_group(admin, group, timeout_ms, active_r);

	while (coordinator_comes(code) && clock_mono_ms() < until_ms) {
		nanosleep(&pause, NULL);
		code = ask_group(admin, group, timeout_ms, active_r);
	}
	return code ? kafka_error(err_r, code, "asking for the consumer group") : 0;
}

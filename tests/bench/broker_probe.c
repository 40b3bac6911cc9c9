/* SPDX-License-Identifier: Apache-2.0 */
/* The limit of consuming from a broker into PostgreSQL: one thread that reads, inserts what has
 * come as one row a message, several batches in flight on one connection, and acknowledges a batch
 * when its INSERT has committed: at least once, no ids of jobs, no history, no handlers. Also fills
 * a queue with the messages that all contenders get: 200 bytes of JSON that begin with a UUID.
 *
 *   broker_probe fill  amqp|kafka HOST PORT NAME COUNT
 *   broker_probe drain amqp|kafka HOST PORT NAME COUNT noop|row PGURL
 *
 * The queue or topic exists. Prints one JSON line. */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <arpa/inet.h>
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/uuid.h"
#include "tests/bench/probe.h"

#define BATCH_MAX      500
#define FLIGHTS_MAX    4
#define PARTITIONS_MAX 64
#define PREFETCH       4000
#define UNCONFIRMED    2000
#define BODY_BYTES     200

struct run {
	const char *host, *name;
	int port;
	long count, done;
	bool rows;
	PGconn *pg;
	int64_t first_ns, last_ns;
};

/* A batch whose INSERT is under way, and what is acknowledged after it. */
struct flight {
	int count;
	uint64_t tag;                    /* AMQP: of the last delivery */
	int64_t offsets[PARTITIONS_MAX]; /* Kafka: next, 0: none */
};

static struct flight flights[FLIGHTS_MAX];
static unsigned flights_sent, flights_done;
/* uuid[] and text[] in PostgreSQL's binary form. */
static unsigned char ids[20 + BATCH_MAX * 20], bodies[20 + BATCH_MAX * (4 + BODY_BYTES)];
static int batched;

typedef void ack_fn(struct run *run, const struct flight *flight);

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "probe: %s\n", what);
	exit(1);
}

/* ---- rows */

static void put32(unsigned char *at, uint32_t value)
{
	value = htonl(value);
	memcpy(at, &value, sizeof(value));
}

static void batch_add(const char *body, size_t bytes)
{
	struct uuid id;

	must(bytes == BODY_BYTES && uuid_parse_n(body + 7, 36, &id), "a message without an id");
	put32(ids + 20 + batched * 20, 16);
	memcpy(ids + 20 + batched * 20 + 4, &id, 16);
	put32(bodies + 20 + batched * (4 + BODY_BYTES), BODY_BYTES);
	memcpy(bodies + 20 + batched * (4 + BODY_BYTES) + 4, body, BODY_BYTES);
	batched++;
}

static void rows_open(struct run *run, const char *url)
{
	run->pg = probe_connect(url);
	probe_run(run->pg, "CREATE TABLE IF NOT EXISTS bench_kept(job_id uuid PRIMARY KEY, payload "
			   "jsonb, at timestamptz DEFAULT now())");
	PQclear(probe_must(
		run->pg,
		PQprepare(run->pg, "row",
			  "INSERT INTO bench_kept(job_id, payload) SELECT id, body::jsonb FROM "
			  "unnest($1::uuid[], $2::text[]) AS m(id, body) ON CONFLICT DO NOTHING",
			  0, NULL)));
	must(PQenterPipelineMode(run->pg) && !PQsetnonblocking(run->pg, 1), "pipeline mode");
}

static void put_head(unsigned char *array, uint32_t type)
{
	put32(array, 1);
	put32(array + 4, 0);
	put32(array + 8, type);
	put32(array + 12, (uint32_t)batched);
	put32(array + 16, 1);
}

static void batch_send(struct run *run, struct flight flight)
{
	const char *values[] = { (const char *)ids, (const char *)bodies };
	const int lengths[] = { 20 + batched * 20, 20 + batched * (4 + BODY_BYTES) };
	const int formats[] = { 1, 1 };

	put_head(ids, 2950);
	put_head(bodies, 25);
	must(PQsendQueryPrepared(run->pg, "row", 2, values, lengths, formats, 1) &&
		     PQpipelineSync(run->pg),
	     PQerrorMessage(run->pg));
	PQflush(run->pg);
	flight.count = batched;
	flights[flights_sent++ % FLIGHTS_MAX] = flight;
	batched = 0;
}

/* Acknowledges what has committed; waits for one when asked. */
static void batches_reap(struct run *run, bool wait, ack_fn *ack)
{
	while (flights_done != flights_sent) {
		PGresult *result;

		PQflush(run->pg);
		must(PQconsumeInput(run->pg), PQerrorMessage(run->pg));
		if (PQisBusy(run->pg)) {
			if (!wait)
				return;
			poll(&(struct pollfd){ .fd = PQsocket(run->pg), .events = POLLIN }, 1,
			     1000);
			continue;
		}
		result = PQgetResult(run->pg);
		if (!result)
			continue;
		if (PQresultStatus(probe_must(run->pg, result)) == PGRES_PIPELINE_SYNC) {
			const struct flight *flight = &flights[flights_done++ % FLIGHTS_MAX];

			ack(run, flight);
			run->done += flight->count;
			wait = false;
		}
		PQclear(result);
	}
}

/* A batch is complete, or nothing more has come for now. */
static void batch_over(struct run *run, struct flight flight, bool quiet, ack_fn *ack)
{
	bool full = flights_sent - flights_done == FLIGHTS_MAX;

	if (batched && !run->rows) {
		ack(run, &flight);
		run->done += batched;
		batched = 0;
	} else if (batched) {
		if (full)
			batches_reap(run, true, ack);
		batch_send(run, flight);
	}
	batches_reap(run, quiet && flights_sent != flights_done, ack);
}

static void body_make(char body[BODY_BYTES + 1])
{
	struct uuid id;
	char text[UUID_TEXT];

	uuid_v7(&id);
	memset(body, 'x', BODY_BYTES);
	memcpy(body, "{\"id\":\"", 7);
	memcpy(body + 7, uuid_format(&id, text), 36);
	memcpy(body + 43, "\",\"pad\":\"", 9);
	memcpy(body + BODY_BYTES - 2, "\"}", 2);
	body[BODY_BYTES] = '\0';
}

/* ---- RabbitMQ */

static amqp_connection_state_t amqp_open(const struct run *run)
{
	amqp_connection_state_t c = amqp_new_connection();

	must(amqp_socket_open(amqp_tcp_socket_new(c), run->host, run->port) == 0, "connect");
	must(amqp_login(c, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest")
			     .reply_type == AMQP_RESPONSE_NORMAL,
	     "login");
	must(amqp_channel_open(c, 1) != NULL, "channel");
	return c;
}

static amqp_connection_state_t connection; /* of the drain */

static void amqp_ack(struct run *run, const struct flight *flight)
{
	(void)run;
	must(amqp_basic_ack(connection, 1, flight->tag, 1) == 0, "ack");
}

static void amqp_drain(struct run *run)
{
	struct flight flight = { 0 };
	long seen = 0;

	connection = amqp_open(run);
	must(amqp_basic_qos(connection, 1, 0, PREFETCH, 0) != NULL, "qos");
	must(amqp_basic_consume(connection, 1, amqp_cstring_bytes(run->name), amqp_empty_bytes, 0,
				0, 0, amqp_empty_table) != NULL,
	     "consume");
	while (run->done < run->count) {
		struct timeval wait = { .tv_usec = batched || seen == run->count ? 0 : 1000 };
		amqp_envelope_t envelope;
		amqp_rpc_reply_t reply;
		bool came;

		amqp_maybe_release_buffers(connection);
		reply = amqp_consume_message(connection, &envelope, &wait, 0);
		came = reply.reply_type == AMQP_RESPONSE_NORMAL;
		must(came || reply.library_error == AMQP_STATUS_TIMEOUT, "consume_message");
		if (came) {
			if (!seen++)
				run->first_ns = clock_mono_ns();
			flight.tag = envelope.delivery_tag;
			batch_add(envelope.message.body.bytes, envelope.message.body.len);
			amqp_destroy_envelope(&envelope);
		}
		if (batched == BATCH_MAX || !came)
			batch_over(run, flight, seen == run->count, amqp_ack);
	}
}

/* Confirms come in any portion, also for many at once. */
static void amqp_await(amqp_connection_state_t c, long published, long most, long *confirmed)
{
	while (published - *confirmed > most) {
		amqp_frame_t frame;
		const amqp_basic_ack_t *ack;

		must(amqp_simple_wait_frame(c, &frame) == AMQP_STATUS_OK, "confirm");
		must(frame.frame_type == AMQP_FRAME_METHOD &&
			     frame.payload.method.id == AMQP_BASIC_ACK_METHOD,
		     "not confirmed");
		ack = frame.payload.method.decoded;
		*confirmed = ack->multiple ? (long)ack->delivery_tag : *confirmed + 1;
		amqp_maybe_release_buffers(c);
	}
}

static void amqp_fill(struct run *run)
{
	amqp_connection_state_t c = amqp_open(run);
	long confirmed = 0;

	must(amqp_confirm_select(c, 1) != NULL, "confirm.select");
	for (long i = 1; i <= run->count; i++) {
		char body[BODY_BYTES + 1], id[37];
		amqp_basic_properties_t properties = { ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG |
								 AMQP_BASIC_MESSAGE_ID_FLAG |
								 AMQP_BASIC_CONTENT_TYPE_FLAG,
						       .delivery_mode = 2 };

		body_make(body);
		memcpy(id, body + 7, 36);
		id[36] = '\0';
		properties.message_id = amqp_cstring_bytes(id);
		properties.content_type = amqp_cstring_bytes("application/json");
		must(amqp_basic_publish(c, 1, amqp_empty_bytes, amqp_cstring_bytes(run->name), 0, 0,
					&properties, amqp_cstring_bytes(body)) == 0,
		     "publish");
		amqp_await(c, i, UNCONFIRMED, &confirmed);
	}
	amqp_await(c, run->count, 0, &confirmed);
}

/* ---- Kafka */

static rd_kafka_t *kafka;

static rd_kafka_t *kafka_open(const struct run *run, rd_kafka_type_t type,
			      const char *const (*settings)[2], size_t count)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char servers[300], why[512];
	rd_kafka_t *made;

	snprintf(servers, sizeof(servers), "%s:%d", run->host, run->port);
	must(!rd_kafka_conf_set(conf, "bootstrap.servers", servers, why, sizeof(why)), why);
	for (size_t i = 0; i < count; i++)
		must(!rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof(why)),
		     why);
	made = rd_kafka_new(type, conf, why, sizeof(why));
	must(made != NULL, why);
	return made;
}

static void kafka_ack(struct run *run, const struct flight *flight)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);

	for (int i = 0; i < PARTITIONS_MAX; i++)
		if (flight->offsets[i])
			rd_kafka_topic_partition_list_add(list, run->name, i)->offset =
				flight->offsets[i];
	must(!rd_kafka_commit(kafka, list, 1), "commit");
	rd_kafka_topic_partition_list_destroy(list);
}

static void kafka_drain(struct run *run)
{
	static const char *const settings[][2] = { { "group.id", "probe" },
						   { "enable.auto.commit", "false" },
						   { "auto.offset.reset", "earliest" },
						   { "fetch.wait.max.ms", "50" } };
	static rd_kafka_message_t *messages[BATCH_MAX];
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_queue_t *queue;

	kafka = kafka_open(run, RD_KAFKA_CONSUMER, settings, 4);
	rd_kafka_poll_set_consumer(kafka);
	rd_kafka_topic_partition_list_add(topics, run->name, -1);
	must(!rd_kafka_subscribe(kafka, topics), "subscribe");
	queue = rd_kafka_queue_get_consumer(kafka);
	while (run->done < run->count) {
		ssize_t count = rd_kafka_consume_batch_queue(
			queue, flights_sent != flights_done ? 1 : 20, messages, BATCH_MAX);
		struct flight flight = { 0 };

		for (ssize_t i = 0; i < count; i++) {
			if (!messages[i]->err) {
				if (!run->first_ns)
					run->first_ns = clock_mono_ns();
				flight.offsets[messages[i]->partition] = messages[i]->offset + 1;
				batch_add(messages[i]->payload, messages[i]->len);
			}
			rd_kafka_message_destroy(messages[i]);
		}
		batch_over(run, flight, count <= 0, kafka_ack);
	}
	rd_kafka_topic_partition_list_destroy(topics);
}

static void kafka_fill(struct run *run)
{
	static const char *const settings[][2] = { { "enable.idempotence", "true" },
						   { "linger.ms", "5" },
						   { "queue.buffering.max.messages", "100000" } };
	rd_kafka_t *producer = kafka_open(run, RD_KAFKA_PRODUCER, settings, 3);
	rd_kafka_resp_err_t code;

	for (long i = 0; i < run->count; i++) {
		char body[BODY_BYTES + 1];

		body_make(body);
		while ((code = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(run->name),
						 RD_KAFKA_V_VALUE(body, BODY_BYTES),
						 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
						 RD_KAFKA_V_END)) == RD_KAFKA_RESP_ERR__QUEUE_FULL)
			rd_kafka_poll(producer, 10);
		must(!code, rd_kafka_err2str(code));
	}
	must(!rd_kafka_flush(producer, 60000), "flush");
	rd_kafka_destroy(producer);
}

int main(int argc, char **argv)
{
	struct run run = { 0 };
	bool fill, amqp;

	must(argc == 7 || argc == 9, "see the top of broker_probe.c");
	fill = !strcmp(argv[1], "fill");
	amqp = !strcmp(argv[2], "amqp");
	run.host = argv[3];
	run.port = atoi(argv[4]);
	run.name = argv[5];
	run.count = atol(argv[6]);
	if (fill) {
		run.first_ns = clock_mono_ns();
		(amqp ? amqp_fill : kafka_fill)(&run);
	} else {
		run.rows = !strcmp(argv[7], "row");
		if (run.rows)
			rows_open(&run, argv[8]);
		(amqp ? amqp_drain : kafka_drain)(&run);
	}
	run.last_ns = clock_mono_ns();
	printf("{\"rate\": %.0f, \"seconds\": %.3f}\n",
	       (double)run.count / ((double)(run.last_ns - run.first_ns) / 1e9),
	       (double)(run.last_ns - run.first_ns) / 1e9);
	return 0;
}

# SPDX-License-Identifier: Apache-2.0
"""The brokers that tests stand on: what a stock client sends comes back, also after kill -9, and TLS refuses what it should."""

import ssl
import time

import confluent_kafka
import pika
import pytest
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout

from harness.windlass import wait_for

pytestmark = pytest.mark.server
BODIES = [{"n": n} for n in range(25)]


@pytest.fixture(params=["rabbit", "kafka", "sqs"])
def own_broker(request):
    return request.getfixturevalue(f"own_{request.param}")


def test_messages_survive_a_crash(own_broker):
    own_broker.start()
    name = own_broker.topic("mail")
    own_broker.declare(name)
    if own_broker.name == "rabbit":
        own_broker.settle()
    own_broker.send(name, *BODIES, headers={"colour": "blue"}, content_type="application/json")
    assert own_broker.depth(name) == len(BODIES)
    own_broker.crash()
    own_broker.start()
    came = own_broker.read(name, len(BODIES))
    assert sorted(m.json()["n"] for m in came) == list(range(len(BODIES)))
    assert {m.headers["colour"] for m in came} == {"blue"} and {m.content_type for m in came} == {"application/json"}
    assert own_broker.rest(name) == []


@pytest.mark.parametrize("kind", ["rabbit", "kafka", "sqs"])
def test_queues_are_purged_and_deleted(request, kind):
    broker = request.getfixturevalue(kind)
    name = broker.topic("mail")
    broker.declare(name)
    broker.send(name, "1", "2", "3")
    broker.purge(name)
    broker.send(name, "4")
    assert [m.json() for m in broker.read(name)] == [4]
    assert broker.exists(name)
    broker.delete(name)
    wait_for(lambda: not broker.exists(name))


def test_frozen_server_goes_on(own_rabbit):
    own_rabbit.start()
    own_rabbit.declare("mail", classic=True)
    own_rabbit.freeze()
    own_rabbit.parameters.socket_timeout = own_rabbit.parameters.stack_timeout = 0.5
    with pytest.raises(AMQPConnectorStackTimeout):
        own_rabbit.send("mail", "1")
    own_rabbit.thaw()
    own_rabbit.parameters.socket_timeout = own_rabbit.parameters.stack_timeout = 15
    own_rabbit.send("mail", "2")
    assert "mail" in own_rabbit.ctl("list_queues", "--quiet", "name")


def test_rabbit_shows_its_certificate(rabbit):
    def connect(url, authority):
        parameters = pika.URLParameters(url + "%2F")
        context = ssl.create_default_context(cafile=str(rabbit.certs / authority))
        parameters.ssl_options = pika.SSLOptions(context, parameters.host)
        pika.BlockingConnection(parameters).close()

    connect(rabbit.tls_url, "ca.pem")
    for url, authority in ((rabbit.tls_url, "stranger.pem"), (rabbit.wrong_host_url, "ca.pem")):
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(url, authority)


def kafka_topics(kafka, url, mechanism, authority, timeout_s):
    """None: it could not be reached that way."""
    client = confluent_kafka.admin.AdminClient({
        "bootstrap.servers": url.partition("@")[2].partition("?")[0], "security.protocol": "SASL_SSL", "sasl.mechanism": mechanism,
        "sasl.username": "windlass", "sasl.password": "windlass-secret", "ssl.ca.location": str(kafka.certs / authority), "log_level": 0})
    try:
        return client.list_topics(timeout=timeout_s).topics
    except confluent_kafka.KafkaException:
        return None


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_kafka_shows_its_certificate(kafka, mechanism):
    name = kafka.topic("mail")
    kafka.declare(name)
    assert name in kafka_topics(kafka, kafka.tls_url(mechanism), mechanism, "ca.pem", 30)
    assert kafka_topics(kafka, kafka.tls_url(mechanism), mechanism, "stranger.pem", 2) is None
    assert kafka_topics(kafka, kafka.wrong_host_url, mechanism, "ca.pem", 2) is None


def test_kafka_cluster_outlives_a_node(own_kafka3):
    own_kafka3.start()
    own_kafka3.declare("mail", partitions=1)
    own_kafka3.send("mail", "1")
    killed = own_kafka3.leader("mail")
    own_kafka3.crash(killed)
    own_kafka3.send("mail", "2")
    assert own_kafka3.leader("mail") != killed
    own_kafka3.start(killed)
    assert [m.json() for m in own_kafka3.read("mail", 2)] == [1, 2]


def test_sqs_shows_a_message_again(sqs):
    name = sqs.topic("mail.fifo")
    sqs.declare(name, VisibilityTimeout=1)
    sqs.send(name, "1", "2", key="a")
    url = sqs.queue_url(name)
    taken = sqs.client.receive_message(QueueUrl=url, MaxNumberOfMessages=1)["Messages"]
    assert [m["Body"] for m in taken] == ["1"]
    time.sleep(1.2)  # its visibility runs out
    assert [m.json() for m in sqs.read(name, 2)] == [1, 2]

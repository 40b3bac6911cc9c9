# SPDX-License-Identifier: Apache-2.0
"""Real brokers for tests, spoken to by stock clients: what Windlass does to a queue is seen by others than Windlass.

Each object is one test's view of a server: `url` for BROKER_URL, `prefix` before all its names, so that tests share a server.
  declare(name) exists(name) send(name, body...) read(name, n) rest(name) depth(name) purge(name) delete(name)
Names are the broker's own; topic("mail") is the one that Windlass's queue `mail` has there under `settings`.
"""

import dataclasses
import json
import time
import urllib.parse
import uuid

import boto3
import botocore.config
import confluent_kafka as kafka
import confluent_kafka.admin as kafka_admin
import pika
import requests

from harness.services import Service

READ_TIMEOUT_S = 30
NO_COORDINATOR_YET = (kafka.KafkaError.NOT_COORDINATOR, kafka.KafkaError.COORDINATOR_NOT_AVAILABLE,
                      kafka.KafkaError.COORDINATOR_LOAD_IN_PROGRESS)


@dataclasses.dataclass
class Message:
    body: bytes
    headers: dict
    id: str = None
    key: str = None
    content_type: str = None
    raw: object = None  # what the client library gave

    def json(self):
        return json.loads(self.body)


def as_bytes(body):
    """Texts and bytes as they are, anything else as JSON."""
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()


class NoBroker:
    """BROKER_URL is not set: the store is the queue."""

    name, url, settings = "none", "", {}

    def topic(self, queue):
        return queue

    def close(self):
        pass


class Broker(Service):
    not_now = ()  # what a client raises when the same may be sent again

    def __init__(self, root, **knobs):
        super().__init__(root, **knobs)
        self.url = None
        self.prefix = f"t{uuid.uuid4().hex[:10]}-"

    @property
    def settings(self):
        """For the roles of one test."""
        return {"BROKER_URL": self.url, "WINDLASS_BROKER_PREFIX": self.prefix, "WINDLASS_BROKER_GROUP": self.prefix + "group"}

    def topic(self, queue):
        return self.prefix + queue

    def start(self, *parts):
        self.url = super().start(*parts)
        return self.url

    @property
    def certs(self):
        """Folder of ca.pem, stranger.pem (an authority that signed nothing here), client.pem and .key."""
        return self.root / "certs"

    def port(self, name):
        """Of a listener, as `services env` calls it."""
        pairs = dict(line.split("=", 1) for line in self._do("env").splitlines())
        return int(pairs[name + "_PORT"])

    def read(self, name, n=1, timeout_s=READ_TIMEOUT_S):
        """Takes the next n messages for good; fails when there are fewer in time."""
        messages, deadline = [], time.monotonic() + timeout_s
        while len(messages) < n:
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"{len(messages)} of {n} messages in {name} after {timeout_s} s"
            messages += self._take(name, n - len(messages), left_s)
        return messages

    def rest(self, name, quiet_s=1.0):
        """Takes what there is, until nothing came for quiet_s."""
        messages = []
        while more := self._take(name, 100, quiet_s):
            messages += more
        return messages


class Rabbit(Broker):
    name, parts = "rabbit", ("rabbit",)
    not_now = (pika.exceptions.NackError,)  # a young quorum queue has no leader for a moment

    def start(self):
        super().start()
        self.parameters = pika.URLParameters(self.url.rstrip("/") + "/%2F")
        self.parameters.socket_timeout = self.parameters.blocked_connection_timeout = 30
        return self.url

    @property
    def tls_url(self):
        return f"amqps://guest:guest@localhost:{self.port('RABBIT_TLS')}/"

    @property
    def wrong_host_url(self):
        """TLS under a name that the certificate does not have."""
        return f"amqps://guest:guest@127.0.0.2:{self.port('RABBIT_TLS')}/"

    def ctl(self, *arguments):
        """rabbitmqctl; takes a second."""
        return self._do("rabbitctl", *arguments)

    def http(self, method, path, **options):
        """The management API: JSON or None. Its counts are up to 5 s old."""
        url = f"http://127.0.0.1:{self.port('RABBIT_HTTP')}/api/{path}"
        answer = requests.request(method, url, auth=("guest", "guest"), timeout=30, proxies={"http": ""}, **options)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def channel(self):
        """A pika channel on a connection of its own: `with rabbit.channel() as channel`."""
        return _PikaChannel(self.parameters)

    def declare(self, name, classic=False, **arguments):
        arguments.setdefault("x-queue-type", "classic" if classic else "quorum")
        with self.channel() as channel:
            channel.queue_declare(name, durable=True, arguments=arguments)

    def settle(self):
        """Queues made before this survive kill -9; a lone node writes their definitions behind, and loses young quorum queues."""
        self.ctl("eval", "mnesia:sync_log().")
        time.sleep(3)

    def exists(self, name):
        try:
            with self.channel() as channel:
                channel.queue_declare(name, passive=True)
            return True
        except pika.exceptions.ChannelClosedByBroker as answer:
            if answer.reply_code != 404:
                raise
            return False

    def send(self, name, *bodies, headers=None, id=None, key=None, content_type="application/json", exchange=""):
        """Persistent, confirmed, and fails when no queue takes it. `key` means nothing here."""
        properties = pika.BasicProperties(content_type=content_type, delivery_mode=2, message_id=id, headers=headers)
        with self.channel() as channel:
            channel.confirm_delivery()
            for body in bodies:
                channel.basic_publish(exchange, name, as_bytes(body), properties, mandatory=True)

    def _take(self, name, n, timeout_s):
        messages = []
        with self.channel() as channel:
            channel.basic_qos(prefetch_count=min(n, 1000))
            for method, properties, body in channel.consume(name, inactivity_timeout=timeout_s):
                if method is None:
                    break
                channel.basic_ack(method.delivery_tag)
                messages.append(Message(body, properties.headers or {}, properties.message_id, None, properties.content_type,
                                        (method, properties)))
                if len(messages) == n:
                    break
            channel.cancel()
        return messages

    def depth(self, name):
        """Messages that nobody has in hand, exactly."""
        with self.channel() as channel:
            return channel.queue_declare(name, passive=True).method.message_count

    def purge(self, name):
        with self.channel() as channel:
            channel.queue_purge(name)

    def delete(self, name):
        with self.channel() as channel:
            channel.queue_delete(name)

    def close(self):
        """Removes what this view made on a server that others use too."""
        for kind in ("queues", "exchanges"):
            for thing in self.http("GET", f"{kind}/%2F"):
                if thing["name"].startswith(self.prefix):
                    self.http("DELETE", f"{kind}/%2F/{urllib.parse.quote(thing['name'], safe='')}")


class _PikaChannel:
    def __init__(self, parameters):
        self.parameters = parameters

    def __enter__(self):
        self.connection = pika.BlockingConnection(self.parameters)
        return self.connection.channel()

    def __exit__(self, *_):
        if self.connection.is_open:
            self.connection.close()


class Kafka(Broker):
    name, parts = "kafka", ("kafka",)
    SECRET = "windlass:windlass-secret"

    def __init__(self, root, **knobs):
        super().__init__(root, **knobs)
        self.readers = {}
        self._admin = self._producer = None

    @property
    def bootstrap(self):
        return urllib.parse.urlsplit(self.url).netloc

    def tls_url(self, mechanism="SCRAM-SHA-512"):
        return f"kafka://{self.SECRET}@localhost:{self.port('KAFKA_TLS')}?security=sasl_ssl&mechanism={mechanism}"

    @property
    def wrong_host_url(self):
        """TLS with the certificate of another host."""
        return f"kafka://{self.SECRET}@localhost:{self.port('KAFKA_WRONG')}?security=sasl_ssl&mechanism=PLAIN"

    def admin(self):
        """Kept: an answer of a client that is collected meanwhile is an error."""
        if not self._admin:
            self._admin = kafka_admin.AdminClient(self._conf())
        return self._admin

    def _conf(self, **more):
        return {"bootstrap.servers": self.bootstrap, "log_level": 2, "topic.metadata.refresh.interval.ms": 1000, **more}

    def partitions(self, name):
        """Of a topic that exists and has leaders, else nothing."""
        found = self.admin().list_topics(timeout=10).topics.get(name)
        parts = found.partitions.values() if found and not found.error else []
        return sorted(p.id for p in parts) if all(p.leader >= 0 for p in parts) else []

    def declare(self, name, partitions=4, copies=-1, **config):
        topic = kafka_admin.NewTopic(name, num_partitions=partitions, replication_factor=copies, config=config)
        self.admin().create_topics([topic])[name].result(30)
        self._wait_topic(name, READ_TIMEOUT_S)

    def _wait_topic(self, name, timeout_s):
        deadline = time.monotonic() + timeout_s
        while not (parts := self.partitions(name)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return parts

    def exists(self, name):
        return bool(self.partitions(name))

    def producer(self):
        if not self._producer:
            self._producer = kafka.Producer(self._conf(**{"enable.idempotence": True, "linger.ms": 0, "message.timeout.ms": 30000}))
        return self._producer

    def send(self, name, *bodies, headers=None, id=None, key=None, content_type=None, partition=-1):
        """Confirmed by all replicas. `id` becomes the header message-id."""
        headers = {**(headers or {}), **({"message-id": id} if id else {}), **({"content-type": content_type} if content_type else {})}
        problems = []
        for body in bodies:
            self.producer().produce(name, as_bytes(body), key=key, partition=partition, headers=headers,
                                    on_delivery=lambda error, _: error and problems.append(error))
        left = self.producer().flush(60)
        assert not left and not problems, f"{left} not confirmed, {problems[:3]}"

    def _reader(self, name, timeout_s):
        """Reads every partition from its beginning and goes on from there, in no group."""
        if name not in self.readers:
            parts = self._wait_topic(name, timeout_s)
            if not parts:
                return None
            reader = kafka.Consumer(self._conf(**{"group.id": self.prefix + "reader", "enable.auto.commit": False,
                                                  "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100}))
            reader.assign([kafka.TopicPartition(name, p, kafka.OFFSET_BEGINNING) for p in parts])
            self.readers[name] = reader
        return self.readers[name]

    def _take(self, name, n, timeout_s):
        reader = self._reader(name, timeout_s)
        messages = []
        for raw in reader.consume(1, timeout_s) + reader.consume(n - 1, 0.05) if reader else []:
            if raw.error():
                assert raw.error().retriable() or raw.error().code() == kafka.KafkaError._PARTITION_EOF, raw.error()
                continue
            headers = {k: v.decode() if v is not None else None for k, v in raw.headers() or []}
            messages.append(Message(raw.value(), headers, headers.get("message-id"), raw.key() and raw.key().decode(),
                                    headers.get("content-type"), raw))
        return messages

    def ends(self, name):
        """{partition: offset after the last message}"""
        asked = {kafka.TopicPartition(name, p): kafka_admin.OffsetSpec.latest() for p in self.partitions(name)}
        return {tp.partition: f.result(30).offset for tp, f in self.admin().list_offsets(asked).items()}

    def committed(self, name, group=None):
        """{partition: offset that the group stored on the broker}; asked by a client that does not join it."""
        client = kafka.Consumer(self._conf(**{"group.id": group or self.prefix + "group"}))
        try:
            return self._committed(client, [kafka.TopicPartition(name, p) for p in self.partitions(name)])
        finally:
            client.close()

    @staticmethod
    def _committed(client, asked):
        deadline = time.monotonic() + READ_TIMEOUT_S
        while True:
            try:
                return {tp.partition: tp.offset for tp in client.committed(asked, timeout=10) if tp.offset >= 0}
            except kafka.KafkaException as failure:
                if failure.args[0].code() not in NO_COORDINATOR_YET or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def depth(self, name, group=None):
        """How far the group's stored offsets are behind; all messages while it has none."""
        done = self.committed(name, group)
        return sum(end - done.get(p, 0) for p, end in self.ends(name).items())

    def purge(self, name):
        ends = [kafka.TopicPartition(name, p, end) for p, end in self.ends(name).items()]
        for answer in self.admin().delete_records(ends).values():
            answer.result(30)

    def delete(self, name):
        if reader := self.readers.pop(name, None):
            reader.close()
        self.admin().delete_topics([name])[name].result(30)

    def close(self):
        for reader in self.readers.values():
            reader.close()
        mine = [name for name in self.admin().list_topics(timeout=10).topics if name.startswith(self.prefix)]
        if mine:
            for answer in self.admin().delete_topics(mine).values():
                answer.result(30)


class Kafka3(Kafka):
    """Three nodes, three copies, two needed: one may be hurt alone, kafka3.crash("kafka3b")."""

    parts = ("kafka3a", "kafka3b", "kafka3c")

    def leader(self, name, partition=0):
        """The part that leads a partition now; None while there is none."""
        number = self.admin().list_topics(name, timeout=10).topics[name].partitions[partition].leader
        return self.parts[number - 1] if number > 0 else None


class Sqs(Broker):
    name, parts = "sqs", ("sqs",)

    def start(self):
        super().start()
        parts = urllib.parse.urlsplit(self.url)
        config = botocore.config.Config(proxies={}, retries={"max_attempts": 3}, read_timeout=30, connect_timeout=5)
        self.client = boto3.session.Session().client(
            "sqs", region_name=parts.netloc, endpoint_url=urllib.parse.parse_qs(parts.query)["endpoint"][0],
            aws_access_key_id="test", aws_secret_access_key="test", config=config)
        return self.url

    def crash(self, *parts):
        log = (self.root / "log/sqs.log").read_text(errors="replace").rpartition("Starting ElasticMQ server")[2]
        assert "OneForOneStrategy" not in log, "ElasticMQ has ceased to write messages down: those that it confirmed die with it"
        super().crash(*parts)

    @property
    def settings(self):
        return {**super().settings, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

    def queue_url(self, name):
        return self.client.get_queue_url(QueueName=name)["QueueUrl"]

    def declare(self, name, **attributes):
        """A name that ends in .fifo makes a FIFO queue."""
        if name.endswith(".fifo"):
            attributes.setdefault("FifoQueue", "true")
        self.client.create_queue(QueueName=name, Attributes={k: str(v) for k, v in attributes.items()})

    def exists(self, name):
        try:
            return bool(self.queue_url(name))
        except self.client.exceptions.QueueDoesNotExist:
            return False

    def send(self, name, *bodies, headers=None, id=None, key=None, content_type=None):
        """`key` is the group of a FIFO queue, `id` its deduplication id."""
        headers = {**(headers or {}), **({"content-type": content_type} if content_type else {})}
        attributes = {k: {"DataType": "String", "StringValue": str(v)} for k, v in headers.items()}
        fifo = {"MessageGroupId": key or "all"} if name.endswith(".fifo") else {}
        url = self.queue_url(name)
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(n), "MessageBody": as_bytes(body).decode(), "MessageAttributes": attributes, **fifo,
                        **({"MessageDeduplicationId": id or uuid.uuid4().hex} if fifo else {})}
                       for n, body in enumerate(bodies[start:start + 10])]
            answer = self.client.send_message_batch(QueueUrl=url, Entries=entries)
            assert not answer.get("Failed"), answer["Failed"]

    def _take(self, name, n, timeout_s):
        url = self.queue_url(name)
        answer = self.client.receive_message(QueueUrl=url, MaxNumberOfMessages=min(n, 10), WaitTimeSeconds=min(max(int(timeout_s), 1), 20),
                                             AttributeNames=["All"], MessageAttributeNames=["All"])
        messages = []
        for raw in answer.get("Messages", []):
            headers = {k: v.get("StringValue") for k, v in raw.get("MessageAttributes", {}).items()}
            messages.append(Message(raw["Body"].encode(), headers, raw["MessageId"], raw.get("Attributes", {}).get("MessageGroupId"),
                                    headers.get("content-type"), raw))
        if messages:
            entries = [{"Id": str(n), "ReceiptHandle": m.raw["ReceiptHandle"]} for n, m in enumerate(messages)]
            self.client.delete_message_batch(QueueUrl=url, Entries=entries)
        return messages

    def attribute(self, name, key):
        return self.client.get_queue_attributes(QueueUrl=self.queue_url(name), AttributeNames=[key])["Attributes"].get(key)

    def depth(self, name):
        """Messages that nobody has in hand."""
        return int(self.attribute(name, "ApproximateNumberOfMessages"))

    def in_hand(self, name):
        """Messages received and not deleted, whose visibility has not run out."""
        return int(self.attribute(name, "ApproximateNumberOfMessagesNotVisible"))

    def purge(self, name):
        self.client.purge_queue(QueueUrl=self.queue_url(name))

    def delete(self, name):
        self.client.delete_queue(QueueUrl=self.queue_url(name))

    def close(self):
        for url in self.client.list_queues(QueueNamePrefix=self.prefix).get("QueueUrls", []):
            self.client.delete_queue(QueueUrl=url)

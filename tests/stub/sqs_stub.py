# SPDX-License-Identifier: Apache-2.0
"""A small SQS that fails on request, and the endpoints that hand out its keys; for what a real server cannot be made to do.

POST /                 JSON protocol 1.0: queues of one process, visibility, batches. Every signature is computed again by botocore.
GET  /container        credentials of a container (wants Authorization: Bearer stub)
PUT  /latest/api/token, GET /latest/meta-data/iam/security-credentials/...   IMDSv2
GET  /state            what was asked and what is there; PUT /behaviour {...} changes how it answers (see Behaviour)
"""
import argparse
import asyncio
import json
import signal
import time
import uuid
from dataclasses import dataclass, field, fields

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

QUEUE_URL = "http://stub/000000000000/"


@dataclass
class Behaviour:
    throttle: int = 0           # next requests of SQS answered 503
    fail_entries: int = 0       # of each of the next batches, so many entries fail ...
    fail_batches: int = 0       # ... in so many batches
    fail_sender: bool = False   # and it is said to be the sender's fault
    fail_action: str = ""       # only in this action
    delay_s: float = 0.0        # before every answer of SQS
    expired: str = ""           # this session token has run out
    denied: str = ""            # this action is forbidden
    garbage: int = 0            # next answers are no JSON
    life_s: float = 3600.0      # of keys handed out
    no_role: bool = False       # the instance has none


@dataclass
class Message:
    body: str
    attributes: dict
    system: dict
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    handle: str = ""
    visible: float = 0.0        # monotonic
    received: int = 0
    sent_ms: int = field(default_factory=lambda: int(time.time() * 1000))


class Refusal(Exception):
    def __init__(self, status, code, message=""):
        super().__init__(code)
        self.answer = status, {"__type": "com.amazonaws.sqs#" + code, "message": message}


def signature(headers, body, secret, key_id):
    """What botocore signs the same request with: the value of Authorization."""
    signed = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    region = headers["authorization"].split("/")[2]
    request = AWSRequest("POST", f"http://{headers['host']}/", data=body)
    for name in signed:
        if name not in ("host", "x-amz-date"):
            request.headers[name] = headers[name]
    request.context["timestamp"] = headers["x-amz-date"]
    request.headers["X-Amz-Date"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials(key_id, secret), "sqs", region)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    names = ";".join(sorted(signed))
    return f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={names}, Signature={auth.signature(text, request)}"


class Stub:
    def __init__(self, key_id, secret):
        self.behaviour = Behaviour()
        self.static = (key_id, secret)
        self.issued = {}    # key id -> (secret, token)
        self.queues = {}    # name -> list of messages
        self.counts = {}    # action -> requests
        self.refused = 0    # signatures
        self.doubled = 0

    # ---- keys

    def issue(self):
        number = len(self.issued) + 1
        key_id, secret, token = f"STUBKEY{number}", f"secret/+{number}", f"token/+=={number}"
        self.issued[key_id] = (secret, token)
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.behaviour.life_s))
        return 200, {"Code": "Success", "AccessKeyId": key_id, "SecretAccessKey": secret, "Token": token, "Expiration": until}

    def metadata(self, method, path, headers):
        if path == "/container":
            return self.issue() if headers.get("authorization") == "Bearer stub" else (401, {})
        if (method, path) == ("PUT", "/latest/api/token"):
            return (200, "imds-token") if headers.get("x-aws-ec2-metadata-token-ttl-seconds") else (400, {})
        if headers.get("x-aws-ec2-metadata-token") != "imds-token":
            return 401, {}
        if self.behaviour.no_role:
            return 404, {}
        if path == "/latest/meta-data/iam/security-credentials/":
            return 200, "stub-role"
        return self.issue() if path.endswith("/stub-role") else (404, {})

    def authenticate(self, headers, body):
        given = headers.get("authorization", "")
        if "Credential=" not in given:
            raise Refusal(403, "MissingAuthenticationToken")
        key_id = given.split("Credential=")[1].split("/")[0]
        secret, token = self.issued.get(key_id, (None, None))
        if key_id == self.static[0]:
            secret, token = self.static[1], headers.get("x-amz-security-token")
        if secret is None or headers.get("x-amz-security-token") != token:
            raise Refusal(403, "InvalidClientTokenId")
        if signature(headers, body, secret, key_id) != given:
            self.refused += 1
            raise Refusal(403, "InvalidSignatureException", "the canonical string is secret")
        if token and token == self.behaviour.expired:
            raise Refusal(403, "ExpiredTokenException")

    # ---- actions

    def queue(self, ask):
        name = ask["QueueUrl"].rsplit("/", 1)[1]
        if name not in self.queues:
            raise Refusal(400, "QueueDoesNotExist")
        return self.queues[name]

    def get_queue_url(self, ask):
        if ask["QueueName"] not in self.queues:
            raise Refusal(400, "QueueDoesNotExist")
        return {"QueueUrl": QUEUE_URL + ask["QueueName"]}

    def create_queue(self, ask):
        self.queues.setdefault(ask["QueueName"], [])
        return {"QueueUrl": QUEUE_URL + ask["QueueName"]}

    def get_queue_attributes(self, ask):
        self.queue(ask)
        return {"Attributes": {"QueueArn": "arn:aws:sqs:stub:000000000000:" + ask["QueueUrl"].rsplit("/", 1)[1]}}

    def send_message_batch(self, ask):
        return self.batch("SendMessageBatch", ask, self.send)

    def send(self, queue, entry):
        system = {k: entry[k] for k in ("MessageGroupId", "MessageDeduplicationId") if k in entry}
        queue.append(Message(entry["MessageBody"], entry.get("MessageAttributes", {}), system))
        return {"MessageId": queue[-1].id, "MD5OfMessageBody": ""}

    def delete_message_batch(self, ask):
        return self.batch("DeleteMessageBatch", ask, self.delete)

    def delete(self, queue, entry):
        message = self.by_handle(queue, entry)
        queue.remove(message)
        return {}

    def change_message_visibility_batch(self, ask):
        return self.batch("ChangeMessageVisibilityBatch", ask, self.change)

    def change(self, queue, entry):
        self.by_handle(queue, entry).visible = time.monotonic() + entry["VisibilityTimeout"]
        return {}

    def by_handle(self, queue, entry):
        for message in queue:
            if message.handle == entry["ReceiptHandle"]:
                return message
        raise Refusal(400, "ReceiptHandleIsInvalid")

    def batch(self, action, ask, one):
        queue, now = self.queue(ask), self.behaviour
        failing = 0
        if now.fail_batches and now.fail_action in ("", action):
            now.fail_batches -= 1
            failing = now.fail_entries
        answer = {"Successful": [], "Failed": []}
        for number, entry in enumerate(ask["Entries"]):
            code, fault = "InternalError", now.fail_sender
            try:
                if number >= failing:
                    answer["Successful"].append({"Id": entry["Id"], **one(queue, entry)})
                    continue
            except Refusal as refusal:
                code, fault = refusal.args[0], True
            answer["Failed"].append({"Id": entry["Id"], "Code": code, "SenderFault": fault})
        return answer

    async def receive_message(self, ask):
        until = time.monotonic() + ask.get("WaitTimeSeconds", 0)
        while True:
            now = time.monotonic()
            ready = [m for m in self.queue(ask) if m.visible <= now][:ask.get("MaxNumberOfMessages", 1)]
            if ready or now >= until:
                return {"Messages": [self.hand_out(m, now + ask["VisibilityTimeout"]) for m in ready]}
            await asyncio.sleep(0.02)

    def hand_out(self, message, visible):
        message.visible, message.handle = visible, str(uuid.uuid4())
        message.received += 1
        self.doubled += message.received > 1
        system = {"SentTimestamp": str(message.sent_ms), "ApproximateReceiveCount": str(message.received), **message.system}
        return {"MessageId": message.id, "ReceiptHandle": message.handle, "Body": message.body, "Attributes": system,
                "MessageAttributes": message.attributes}

    async def act(self, action, headers, raw):
        now = self.behaviour
        self.counts[action] = self.counts.get(action, 0) + 1
        if now.delay_s:
            await asyncio.sleep(now.delay_s)
        if now.throttle:
            now.throttle -= 1
            raise Refusal(503, "RequestThrottled")
        if now.garbage:
            now.garbage -= 1
            return "<html>not SQS</html>"
        self.authenticate(headers, raw)
        if now.denied == action:
            raise Refusal(403, "AccessDeniedException", "not yours")
        name = "".join("_" + c.lower() if c.isupper() else c for c in action).lstrip("_")
        answer = getattr(self, name)(json.loads(raw))
        return await answer if asyncio.iscoroutine(answer) else answer

    # ---- the test's side

    def state(self):
        return {"counts": self.counts, "refused": self.refused, "issued": len(self.issued), "doubled": self.doubled,
                "queues": {name: len(messages) for name, messages in self.queues.items()}}

    def behave(self, raw):
        wanted = json.loads(raw)
        unknown = set(wanted) - {f.name for f in fields(Behaviour)}
        if unknown:
            return 422, {"error": "unknown: " + ", ".join(sorted(unknown))}
        self.behaviour = Behaviour(**wanted)
        return 200, wanted

    async def answer(self, method, path, headers, raw):
        if path == "/state":
            return 200, self.state()
        if path == "/behaviour":
            return self.behave(raw)
        if method != "POST":
            return self.metadata(method, path, headers)
        try:
            return 200, await self.act(headers["x-amz-target"].split(".")[1], headers, raw)
        except Refusal as refusal:
            return refusal.answer


async def serve_connection(stub, reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            request, *lines = head.decode("latin-1").split("\r\n")
            method, path, _ = request.split(" ", 2)
            headers = {k.strip().lower(): v.strip() for k, v in (x.split(":", 1) for x in lines if ":" in x)}
            if headers.get("expect") == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            raw = await reader.readexactly(int(headers.get("content-length", 0)))
            status, reply = await stub.answer(method, path, headers, raw)
            text = (reply if isinstance(reply, str) else json.dumps(reply)).encode()
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, ValueError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default="STATICKEY:static/secret", help="ID:SECRET of the key that is always good")
    parser.add_argument("--queue", action="append", default=[], help="exists from the start")
    args = parser.parse_args()
    stub = Stub(*args.key.split(":", 1))
    for name in args.queue:
        stub.queues[name] = []
    server = await asyncio.start_server(lambda r, w: serve_connection(stub, r, w), "127.0.0.1", args.port, limit=1 << 24)
    print(f"sqs stub on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())

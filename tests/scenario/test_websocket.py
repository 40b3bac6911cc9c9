# SPDX-License-Identifier: Apache-2.0
"""/v1/ws with a client that others wrote: jobs over one socket, who may what, limits, slow readers, many sockets, drains, deaths."""

import json
import re
import resource
import ssl
import subprocess
import threading
import time

import jsonschema
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from harness.checklist import row
from harness.gateway import make_key, start, uuid7
from harness.windlass import ROOT, wait_for
from harness.wire import TEXT, Wire, frame

DOCUMENT = json.loads((ROOT / "producers/gateway/asyncapi.json").read_text())


class Socket:
    """A client of the protocol: what it says and hears is checked against asyncapi.json."""

    def __init__(self, url, key=None, path="/v1/ws", **options):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.socket = connect(url.replace("http", "ws", 1) + path, additional_headers=headers, open_timeout=30, max_size=None, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, op, **members):
        self.socket.send(json.dumps({"op": op, **members}))

    def hear(self, timeout_s=30):
        message = json.loads(self.socket.recv(timeout=timeout_s))
        members = DOCUMENT["components"]["messages"][message["op"]]["payload"]
        assert not set(message) - set(members["properties"]) and not set(members["required"]) - set(message), message
        return message

    def ask(self, op, **members):
        self.say(op, **members)
        return self.hear()

    def hear_op(self, op):
        while (message := self.hear())["op"] != op:
            pass
        return message

    def refused(self, op, **members):
        message = self.ask(op, **members)
        assert message["op"] == "error", message
        return message["problem"]["status"], message["problem"]["type"].rsplit(":", 1)[-1]

    def closed(self):
        """(code, reason) of the close that comes."""
        with pytest.raises(ConnectionClosed) as told:
            while True:
                self.socket.recv(timeout=60)
        return told.value.rcvd and (told.value.rcvd.code, told.value.rcvd.reason)


def test_document_names_the_operations_of_the_code():
    code = (ROOT / "producers/gateway/ws_jobs.c").read_text()
    table = code[code.index("} operations[] = {"):code.index("};", code.index("} operations[] = {"))]
    known = re.findall(r'^\t\{ "(\w+)",', table, re.M)
    assert sorted(known) == sorted(DOCUMENT["operations"]) and len(known) >= 7
    for name in known:
        members = DOCUMENT["components"]["messages"][name]["payload"]["properties"]
        row = table[table.index(f'{{ "{name}"'):]
        listed = re.findall(r'"(\w+)"|(REASON_MEMBER)', row[:row.index("} }")])[1:]
        assert {text or "reason" for text, _ in listed} == set(members) - {"op", "ref"}, name
    spoken = set(re.findall(r'"\{\\"op\\":\\"(\w+)\\"', code + (ROOT / "producers/gateway/ws_subscriptions.c").read_text()))
    spoken |= set(re.findall(r'ws_jobs_say\([\w>-]+, "(\w+)"', code + (ROOT / "producers/gateway/ws_subscriptions.c").read_text()))
    spoken |= set(re.findall(r'ask_new\(message, "(\w+)"\)', code))
    assert spoken <= set(DOCUMENT["components"]["messages"]) and {"accepted", "event", "result", "error"} <= spoken


def resolve(path):
    node = DOCUMENT
    for part in path.lstrip("#/").split("/"):
        node = node[part]
    return node


def references(node):
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_document_is_sound(windlass, sqlite_url):
    api = start(windlass, sqlite_url).api()
    assert api.get("/asyncapi.json").json() == DOCUMENT and DOCUMENT["asyncapi"].startswith("3.")
    openapi = api.get("/openapi.json").json()
    for reference in references(DOCUMENT):
        if reference.startswith("/openapi.json#"):
            assert reference.rsplit("/", 1)[1] in openapi["components"]["schemas"], reference
        else:
            assert resolve(reference) is not None
    for message in DOCUMENT["components"]["messages"].values():
        jsonschema.Draft202012Validator.check_schema(message["payload"])
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] == "receive" and operation["channel"]["$ref"] == "#/channels/jobs"


# ---- the protocol


def test_a_job_from_enqueue_to_result(rig):
    with Socket(rig.gateway.url) as ws:
        accepted = ws.ask("enqueue", ref=1, job={"type": "nap", "payload": {"ms": 2500}}, subscribe=True)
        id = accepted["job"]["id"]
        assert (accepted["op"], accepted["ref"]) == ("accepted", 1) and accepted["job"]["watch_token"]
        first = ws.hear()
        assert (first["op"], first["ref"], first["job"]["state"]) == ("event", 1, "available")
        rig.work()
        seen = [ws.hear()]
        while seen[-1]["op"] == "event":
            seen.append(ws.hear())
        assert {message["ref"] for message in seen} == {1} and seen[-1]["op"] == "result"
        assert any("progress" in message["job"] for message in seen[:-1])
        assert seen[-1]["job"] == rig.api.get_job(id) == ws.ask("get", ref="g", id=id)["job"]
        assert ws.refused("unsubscribe", ref=1) == (404, "unknown-ref"), "the result ends the subscription"
        again = ws.ask("subscribe", ref=2, id=id)
        assert (again["op"], again["job"]) == ("result", seen[-1]["job"])
        assert ws.ask("subscribe", ref=3, id=id, last_event_id=again["event_id"])["op"] == "unsubscribed"


def test_filters_and_cancel(rig):
    with Socket(rig.gateway.url) as ws, Socket(rig.gateway.url) as other:
        assert other.ask("subscribe", ref="q", type="nap")["op"] == "subscribed"
        assert other.ask("subscribe", ref="t", tag="red")["op"] == "subscribed"
        id = ws.ask("enqueue", ref=1, job={"type": "nap", "payload": {"ms": 1}, "tags": ["red"]})["job"]["id"]
        assert {(m["ref"], m["job"]["id"]) for m in (other.hear(), other.hear())} == {("q", id), ("t", id)}
        assert other.ask("unsubscribe", ref="t") == {"op": "unsubscribed", "ref": "t"}
        done = ws.ask("cancel", ref=2, id=id, reason="no need")
        assert (done["op"], done["job"]["state"]) == ("ok", "cancelled")
        result = other.hear()
        assert (result["op"], result["ref"], result["job"]["state"]) == ("result", "q", "cancelled")
        assert ws.refused("cancel", ref=3, id=id) == (409, "wrong-state")


def test_what_is_wrong_is_said_as_over_rest(windlass, sqlite_url):
    gateway = start(windlass, sqlite_url)
    api = gateway.api()
    with Socket(gateway.url) as ws:
        for job in ({"type": "nobody"}, {"type": "note.add", "payload": {}}, {"type": "note.add", "delay": "x"}, {}, []):
            problem = ws.ask("enqueue", ref=1, job=job)["problem"]
            assert problem == api.post("/v1/jobs", json=job).json(), job
        assert ws.ask("get", ref=1, id=uuid7())["problem"]["status"] == 404
        assert ws.refused("get", ref=1, id="a/../../v1/queues?x=1") == (404, "unknown-job")
        assert ws.refused("subscribe", ref=1, id=uuid7()) == (404, "unknown-job")
        assert ws.refused("subscribe", ref=1, id="x") == (404, "unknown-job")
        assert ws.refused("subscribe", ref=1) == (422, "invalid")
        assert ws.refused("subscribe", ref=1, id=uuid7(), queue="q") == (422, "invalid")
        assert ws.refused("get", ref=1) == (422, "invalid")
        assert ws.refused("get", ref=1, id=5) == (422, "invalid")
        assert ws.refused("get", ref=1, id="x", wait="1s") == (422, "invalid"), "no member is ignored"
        assert ws.refused("get", ref=[1], id="x") == (422, "invalid")
        assert ws.refused("get", ref="x" * 70, id="x") == (422, "invalid")
        assert ws.refused("launch", ref=1) == (422, "unknown-op")
        for text in ("", "{", "[]", "3", '{"op":"ping","op":"ping"}', "[" * 1000):
            ws.socket.send(text)
            assert ws.hear()["problem"]["status"] == 400
        assert ws.ask("subscribe", ref=7, queue="q")["op"] == "subscribed"
        assert ws.refused("subscribe", ref=7, queue="q") == (409, "ref-in-use")
        first = ws.ask("enqueue", ref=1, job={"type": "mail.send"}, idempotency_key="k")
        assert ws.ask("enqueue", ref=2, job={"type": "mail.send"}, idempotency_key="k")["job"]["id"] == first["job"]["id"]
        assert ws.refused("enqueue", ref=2, job={"type": "mail.send", "priority": "high"}, idempotency_key="k") == (422, "idempotency-key-reused")
        assert ws.refused("enqueue", ref=2, job={"type": "mail.send"}, idempotency_key="a\r\nb: c")[0] == 400
        assert ws.ask("ping") == {"op": "pong", "ref": None}


# ---- who may


@pytest.fixture
def keyed(windlass, sqlite_url):
    """A gateway that asks for keys, and the keys."""
    keys = {name: make_key(name, scopes) for name, scopes in
            {"all": "enqueue,read,cancel", "add": "enqueue", "read": "read:mail.*"}.items()}
    file = "\n".join(line for _, line in keys.values())
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=file)
    return gateway, {name: key for name, (key, _) in keys.items()}


def test_keys_by_header_query_and_message(keyed):
    gateway, keys = keyed
    with Socket(gateway.url, keys["all"]) as ws:
        assert ws.ask("enqueue", ref=1, job={"type": "mail.send"})["op"] == "accepted"
    with Socket(gateway.url, path=f"/v1/ws?token={keys['all']}") as ws:
        assert ws.ask("enqueue", ref=1, job={"type": "mail.send"})["op"] == "accepted"
    with Socket(gateway.url) as ws:
        for op, members in {"enqueue": {"job": {"type": "mail.send"}}, "get": {"id": uuid7()}, "cancel": {"id": uuid7()},
                            "subscribe": {"queue": "default"}}.items():
            assert ws.refused(op, ref=1, **members) == (401, "no-key"), op
        assert ws.refused("authenticate", ref=2, token="wl_all_wrong") == (401, "no-key")
        assert ws.ask("authenticate", ref=3, token=keys["all"]) == {"op": "ok", "ref": 3}
        assert ws.ask("enqueue", ref=4, job={"type": "mail.send"})["op"] == "accepted"
    for wrong in ({"key": "wl_all_wrong"}, {"path": "/v1/ws?token=wl_all_wrong"}):
        with pytest.raises(InvalidStatus) as told:
            Socket(gateway.url, **wrong)
        assert told.value.response.status_code == 401


def test_scopes_and_watch_tokens(keyed):
    gateway, keys = keyed
    with Socket(gateway.url, keys["add"]) as ws:
        accepted = ws.ask("enqueue", ref=1, job={"type": "note.add", "payload": {"who": "x"}}, subscribe=True)
        id, token = accepted["job"]["id"], accepted["job"]["watch_token"]
        assert ws.hear()["job"]["id"] == id, "who enqueues sees how it goes"
        assert ws.refused("get", ref=2, id=id) == ws.refused("subscribe", ref=2, id=id) == (403, "not-in-scope")
        assert ws.refused("cancel", ref=2, id=id) == ws.refused("subscribe", ref=2, queue="notes") == (403, "not-in-scope")
    with Socket(gateway.url, keys["read"]) as ws:
        assert ws.refused("subscribe", ref=2, id=id) == (404, "unknown-job"), "another type is out of reach"
        assert ws.refused("enqueue", ref=2, job={"type": "mail.send"}) == (403, "not-in-scope")
    with Socket(gateway.url, path=f"/v1/ws?token={token}") as ws:
        assert ws.ask("subscribe", ref=1, id=id)["job"]["id"] == ws.ask("get", ref=2, id=id)["job"]["id"] == id
        assert ws.refused("subscribe", ref=3, id=uuid7()) == (401, "bad-watch-token")
        assert ws.refused("subscribe", ref=3, queue="notes") == (401, "no-key")
    with Socket(gateway.url) as ws:
        assert ws.ask("get", ref=2, id=id, watch_token=token)["job"]["id"] == id
        assert ws.refused("get", ref=2, id=id, watch_token="0" * 40) == (401, "bad-watch-token")


def test_who_says_nothing_has_to_go(keyed):
    gateway, keys = keyed
    row("WebSocket", "who brings no key within 10 s is sent away; nothing is done or shown before", 2)
    with Socket(gateway.url) as silent, Socket(gateway.url, path="/v1/ws?token=" + "0" * 40) as guessing, Socket(gateway.url, keys["all"]) as known:
        began = time.monotonic()
        assert silent.closed() == guessing.closed() == (1008, "not authenticated in time")
        assert time.monotonic() - began > 8
        assert known.ask("ping", ref=1)["op"] == "pong"


def test_origins_with_keys(windlass, sqlite_url):
    key, line = make_key("all", "read")
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=line, WINDLASS_CORS_ORIGINS="https://app.example")
    host = gateway.url.split("://")[1]
    told = row("WebSocket", "a foreign Origin is refused at the handshake, with a key, too", 0)
    own = {"https://app.example": 101, f"http://{host}": 101}
    foreign = ("https://evil.example", "null", "http://app.example", "https://app.example.evil", "https://app.example:444", f"https://{host}")
    for origin, status in {**own, **{origin: 403 for origin in foreign}}.items():
        with Wire(gateway.url, Origin=origin, Authorization=f"Bearer {key}") as wire:
            assert wire.status == status, origin
        told["cases"] += 1


# ---- limits


def test_head_and_frames_in_one_packet(windlass, sqlite_url):
    with Wire(start(windlass, sqlite_url).url, behind=frame(TEXT, '{"op":"ping","ref":1}') * 3) as wire:
        assert [wire.hear()["op"] for _ in range(3)] == ["pong"] * 3


def test_many_messages_at_once_are_all_answered(windlass, sqlite_url):
    with Wire(start(windlass, sqlite_url).url) as wire:
        count = 500
        threading.Thread(target=lambda: [wire.say(op="enqueue", ref=n, job={"type": "mail.send"}) for n in range(count)]).start()
        answers = [wire.hear() for _ in range(count)]
    assert {answer["op"] for answer in answers} == {"accepted"} and {answer["ref"] for answer in answers} == set(range(count))


def test_a_slow_reader_is_cut_off(windlass, sqlite_url):
    """It asks for far more than it takes: what it asks is not even read, and what it watches has an end."""
    row("WebSocket", "a client that does not read is not read, then cut off; memory stays", 1)
    gateway = start(windlass, sqlite_url)
    api = gateway.api()
    id = api.enqueue("mail.send", {"text": "x" * 200000})
    with Wire(gateway.url, receive_bytes=4096) as wire, Wire(gateway.url) as other:
        before = gateway.resident_kib()
        wire.socket.settimeout(2)
        try:
            for n in range(100000):
                wire.say(op="get", ref=n, id=id)
        except OSError:
            pass
        assert n < 99999, "it is not read any more"
        other.say(op="ping", ref=1)
        assert other.hear()["op"] == "pong", "others do not notice"
        assert gateway.resident_kib() - before < 60000
        wait_for(lambda: gateway.metrics().get('windlass_websockets_closed_total{why="slow"}') == 1, 40)


@pytest.fixture
def files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_watchers_and_a_drain(rig, files):
    """All see the end of the job; then SIGTERM sends each away with 1001."""
    id = rig.api.enqueue("nap", {"ms": 1})
    wires = [Wire(rig.gateway.url, timeout_s=120) for _ in range(1000)]
    try:
        assert {wire.status for wire in wires} == {101}
        for wire in wires:
            wire.say(op="subscribe", ref=1, id=id)
        assert {wire.hear()["op"] for wire in wires} == {"event"}
        assert rig.gateway.metrics()["windlass_websockets"] == 1000
        rig.work()
        for wire in wires:
            while (message := wire.hear())["op"] == "event":
                pass
            assert (message["op"], message["job"]["state"]) == ("result", "completed")
        rig.gateway.signal(15)
        assert {wire.end() for wire in wires} == {1001}
    finally:
        for wire in wires:
            wire.socket.close()
    assert rig.gateway.popen.wait(30) == 0


def test_a_drain_answers_what_was_asked(windlass, sqlite_url):
    gateway = start(windlass, sqlite_url)
    with Wire(gateway.url) as wire:
        wire.send(b"".join(frame(TEXT, json.dumps({"op": "enqueue", "ref": n, "job": {"type": "mail.send"}})) for n in range(20)))
        assert wire.hear()["op"] == "accepted"
        gateway.signal(15)
        for _ in range(19):
            assert wire.hear()["op"] == "accepted"
        assert wire.end() == 1001
    assert gateway.popen.wait(30) == 0


def test_clients_go_on_elsewhere(rig, windlass):
    """A gateway is killed under its watchers; on another one they miss no end."""
    other = windlass.gateway(**rig.settings)
    ids = [rig.api.enqueue("nap", {"ms": 10}) for _ in range(50)]
    heard = {}
    with Socket(rig.gateway.url) as ws:
        for id in ids:
            ws.say("subscribe", ref=id, id=id)
        for _ in ids:
            message = ws.hear()
            heard[message["ref"]] = message["event_id"]
        rig.gateway.kill()
        ws.closed()
    rig.work()
    ended = {}
    with Socket(other.url) as ws:
        for id in ids:
            ws.say("subscribe", ref=id, id=id, last_event_id=heard[id])
        while len(ended) < len(ids):
            message = ws.hear()
            if message["op"] == "result":
                ended[message["ref"]] = message["job"]["state"]
    assert ended == {id: "completed" for id in ids}


def test_over_tls(windlass, sqlite_url, tmp_path):
    subprocess.run([ROOT / "tests/services/certs", tmp_path / "certs"], check=True)
    cert, key = (str(tmp_path / "certs/server") + end for end in (".pem", ".key"))
    gateway = start(windlass, sqlite_url, wait=False, WINDLASS_TLS_CERT=cert, WINDLASS_TLS_KEY=key)
    gateway.wait_event("gateway-listening")
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with Socket(gateway.url.replace("http:", "https:"), ssl=trusting) as ws:
        assert ws.ask("ping", ref=1)["op"] == "pong"
        assert ws.ask("enqueue", ref=2, job={"type": "mail.send", "payload": {"text": "x" * 200000}})["op"] == "accepted"
        gateway.signal(15)
        assert ws.closed()[0] == 1001
    assert gateway.popen.wait(30) == 0

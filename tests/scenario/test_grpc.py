# SPDX-License-Identifier: Apache-2.0
"""The gRPC door, by clients that nobody here wrote: grpcio, its status, health and reflection packages, and grpcurl where there is one."""

import concurrent.futures
import json
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from harness.checklist import row
from harness.gateway import JOBS, make_key, uuid7
from harness.grpc_door import Door, Said, metric, modules, open_gateway, refused, wait_metric
from harness.ports import free_port
from harness.windlass import ROOT, wait_for

Code = grpc.StatusCode


@pytest.fixture
def gateway(store_url, windlass):
    return open_gateway(windlass, store_url)


@pytest.fixture
def door(gateway):
    with Door(gateway.grpc) as door:
        yield door


@pytest.fixture
def lite(tmp_path):
    """For what does not depend on the store."""
    return f"sqlite:{tmp_path}/grpc.db"


def name_of(door, state):
    return door.pb.JobState.Name(state).removeprefix("JOB_STATE_").lower()


# ---- each method

def test_enqueue_and_get_what_rest_shows(gateway, door):
    accepted = door.enqueue("note.add", '{ "who" : "Zoë",  "n":1.50, "big":12345678901234567 }', priority=door.pb.PRIORITY_HIGH, tags=["a", "b"],
                            order_key="k", max_attempts=7, timeout=None)
    assert accepted.job.state == door.pb.JOB_STATE_AVAILABLE and accepted.job.queue == "notes" and accepted.watch_token
    job = door.get(accepted.job.id)
    assert job.payload == '{ "who" : "Zoë",  "n":1.50, "big":12345678901234567 }'
    assert (job.priority, list(job.tags), job.order_key, job.max_attempts, job.owner) == (door.pb.PRIORITY_HIGH, ["a", "b"], "k", 7, "local")
    shown = gateway.api().get_job(accepted.job.id)
    assert json.loads(job.payload) == shown["payload"] and job.created_at.ToJsonString() == shown["created_at"]
    # instead of a key, and only for this job
    assert door.get(accepted.job.id, watch_token=accepted.watch_token).id == accepted.job.id
    assert Said(refused(lambda: door.get(uuid7(), watch_token=accepted.watch_token))).slug == "bad-watch-token"


def test_delay_run_at_unique_and_wait(door):
    late = door.pb.EnqueueRequest(job=door.job("note.add", {"who": "x"}))
    late.job.delay.FromMilliseconds(3_600_500)
    first = door.call("Enqueue", late).job
    due = door.get(first.id)
    assert first.state == door.pb.JOB_STATE_SCHEDULED
    assert abs(due.due_at.ToMilliseconds() - due.created_at.ToMilliseconds() - 3_600_500) < 5000
    at = door.pb.EnqueueRequest(job=door.job("note.add", {"who": "x"}))
    at.job.run_at.FromJsonString("2031-01-02T03:04:05.678Z")
    assert door.get(door.call("Enqueue", at).job.id).due_at.ToJsonString() == "2031-01-02T03:04:05.678Z"
    unique = door.pb.Unique(key="u")
    one = door.enqueue("note.count", unique=unique)
    two = door.enqueue("note.count", unique=unique)
    assert two.unique_conflict and not one.unique_conflict and two.job.id == one.job.id
    replaced = door.enqueue("note.count", unique=door.pb.Unique(key="u", on_conflict=door.pb.Unique.ON_CONFLICT_REPLACE))
    assert replaced.replaced == one.job.id and door.get(one.job.id).state == door.pb.JOB_STATE_CANCELLED
    # waiting for the end of a job that does not end says what is known
    started = time.monotonic()
    assert door.enqueue("note.count", wait=0.3).job.state == door.pb.JOB_STATE_AVAILABLE
    assert time.monotonic() - started >= 0.3


def test_idempotency(door):
    first = door.enqueue("note.add", {"who": "x"}, key="k-1")
    again = door.enqueue("note.add", {"who": "x"}, key="k-1")
    assert again.job.id == first.job.id and again.replayed and not first.replayed
    said = Said(refused(lambda: door.enqueue("note.add", {"who": "y"}, key="k-1")))
    assert (said.code, said.slug) == (Code.INVALID_ARGUMENT, "idempotency-key-reused")
    id = uuid7()
    assert door.enqueue("note.add", {"who": "x"}, id=id).job.id == id
    said = Said(refused(lambda: door.enqueue("note.add", {"who": "y"}, id=id)))
    assert (said.code, said.slug, said.places[0][0]) == (Code.ALREADY_EXISTS, "id-taken", "/id")


def test_batch(gateway, door):
    jobs = [door.job("note.add", {"who": f"w{i}"}) for i in range(250)]
    request = door.pb.EnqueueBatchRequest(jobs=jobs[:100], idempotency_key="b")
    done = door.batch(request, jobs[100:])
    assert len(set(done.ids)) == 250 and len(done.watch_tokens) == 250 and not done.replayed
    assert json.loads(door.get(done.ids[249]).payload) == {"who": "w249"}
    again = door.batch(request, jobs[100:])
    assert again.replayed and list(again.ids) == list(done.ids)
    # one bad job and none is accepted; the pointer counts over all messages
    said = Said(refused(lambda: door.batch(jobs[:3], [door.job("note.add", {})])))
    assert (said.code, said.slug) == (Code.INVALID_ARGUMENT, "invalid") or said.slug == "payload-refused"
    assert said.places[0][0].startswith("/3/")
    assert refused(lambda: door.batch()).code() == Code.INVALID_ARGUMENT
    assert sum(q["available"] for q in gateway.api().get("/v1/queues").json()["items"]) == 250


def test_cancel_and_list(door):
    ids = [door.enqueue("note.add", {"who": "x"}, tags=["t"]).job.id for _ in range(5)]
    done = door.cancel(ids[0], reason="no more")
    assert done.id == ids[0] and done.state == door.pb.JOB_STATE_CANCELLED and not done.cancel_asked
    assert door.get(ids[0]).reason == "no more"
    said = Said(refused(lambda: door.cancel(ids[0])))
    assert (said.code, said.slug) == (Code.FAILED_PRECONDITION, "wrong-state") and "cancelled" in said.detail
    page = door.list(state=door.pb.JOB_STATE_AVAILABLE, type="note.add", tag="t", limit=3)
    assert [j.id for j in page.items] == ids[:1:-1][:3] and page.next_cursor and not page.items[0].payload
    rest = door.list(state=door.pb.JOB_STATE_AVAILABLE, type="note.add", tag="t", limit=3, cursor=page.next_cursor)
    assert [j.id for j in rest.items] == [ids[1]] and not rest.next_cursor


def test_wait_until_it_ends(door):
    id = door.enqueue("note.add", {"who": "x"}).job.id
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(door.wait, id)
        time.sleep(0.2)
        assert not waiting.done()
        door.cancel(id)
        assert waiting.result(15).state == door.pb.JOB_STATE_CANCELLED
    other = door.enqueue("note.add", {"who": "x"}).job.id
    request = door.pb.WaitRequest(id=other)
    request.timeout.FromMilliseconds(300)
    assert door.call("Wait", request).state == door.pb.JOB_STATE_AVAILABLE


def test_watch_one_job_to_its_end(door):
    id = door.enqueue("note.add", {"who": "x"}).job.id
    stream = door.watch(id=id)
    first = next(stream)
    assert first.job.id == id and first.job.state == door.pb.JOB_STATE_AVAILABLE and first.event_id
    door.cancel(id)
    last = list(stream)[-1]
    assert last.job.state == door.pb.JOB_STATE_CANCELLED and json.loads(last.job.payload) == {"who": "x"}
    assert stream.code() == Code.OK
    # what was seen is not told again
    assert list(door.watch(id=id, last_event_id=last.event_id)) == []
    assert [e.job.state for e in door.watch(id=id, last_event_id=first.event_id)] == [door.pb.JOB_STATE_CANCELLED]


def test_watch_by_filter(gateway, door):
    stream = door.watch(type="note.count")
    seen = []
    reader = threading.Thread(target=lambda: collect(stream, seen), daemon=True)
    reader.start()
    wait_metric(gateway, 1, "windlass_watchers")
    other, mine = door.enqueue("note.add", {"who": "x"}).job.id, door.enqueue("note.count").job.id
    door.cancel(mine)
    wait_for(lambda: any(e.job.id == mine and e.job.state == door.pb.JOB_STATE_CANCELLED for e in seen))
    assert other not in {e.job.id for e in seen}
    stream.cancel()
    reader.join(10)
    wait_metric(gateway, 0, "windlass_watchers")


def collect(stream, seen):
    try:
        for event in stream:
            seen.append(event)
    except grpc.RpcError:
        pass


# ---- what is refused, and with which words

# request fields as REST has them, and the same for gRPC; None: they are the same
BAD = [
    ({"type": "nobody.knows"}, None),
    ({"type": ""}, None),
    ({"type": "note.add", "payload": {}}, None),
    ({"type": "order.add", "payload": {"customer": "ADA", "amount": 0.005, "placed": "today", "lines": [{"sku": 1}, {"qty": 0}], "note": ""}}, None),
    ({"type": "note.count", "queue": "no such/queue"}, None),
    ({"type": "note.count", "id": "17"}, None),
    ({"type": "note.count", "max_attempts": 100000}, None),
    ({"type": "note.count", "tags": ["a b"]}, None),
    ({"type": "note.count", "order_key": "x" * 256}, None),
    ({"type": "note.count", "callback_url": "ftp://example.com"}, None),
    ({"type": "note.count", "unique": {}}, None),
    ({"type": "note.count", "delay": "-1s"}, {"delay": "-1s"}),
    ({"type": "note.count", "priority": 17}, {"priority": 17}),
    ({"type": "note.count", "delay": "1s", "run_at": "2031-01-02T03:04:05Z"}, None),
    ({"type": "note.count", "payload": {"x": "y" * 300_000}}, None),
]


def as_message(pb, fields, instead):
    fields = {**fields, **(instead or {})}
    fields.pop("payload", None)
    return json_format.ParseDict(fields, pb.JobRequest())


def test_same_words_as_rest(lite, windlass):
    gateway = open_gateway(windlass, lite)
    with Door(gateway.grpc) as door:
        for fields, instead in BAD:
            answer = gateway.api().post("/v1/jobs", json={k: v for k, v in fields.items() if v != ""})
            problem = answer.json()
            assert answer.status_code >= 400, fields
            job = as_message(door.pb, fields, instead)
            job.payload = json.dumps(fields["payload"]) if "payload" in fields else ""
            said = Said(refused(lambda: door.call("Enqueue", door.pb.EnqueueRequest(job=job))))
            slug = problem["type"].removeprefix("urn:windlass:problem:")
            assert (said.slug, said.status) == (slug, answer.status_code), fields
            assert said.code == {413: Code.RESOURCE_EXHAUSTED}.get(answer.status_code, Code.INVALID_ARGUMENT), fields
            if answer.status_code == 422:
                assert said.detail == problem["detail"], fields
                assert said.places == [(e["pointer"], e["detail"]) for e in problem["errors"]], fields


def test_other_refusals(lite, windlass):
    gateway = open_gateway(windlass, lite)
    with Door(gateway.grpc) as door:
        def said(call):
            said = Said(refused(call))
            return said.code, said.slug
        assert said(lambda: door.get(uuid7())) == (Code.NOT_FOUND, "unknown-job")
        assert said(lambda: door.get("x/../y")) == (Code.NOT_FOUND, "unknown-job")
        assert said(lambda: door.get("")) == (Code.INVALID_ARGUMENT, "invalid")
        assert said(lambda: door.get(uuid7(at=1_600_000_000))) == (Code.NOT_FOUND, "past-retention")
        assert said(lambda: door.wait(uuid7())) == (Code.NOT_FOUND, "unknown-job")
        assert said(lambda: door.watch(id=uuid7())) == (Code.NOT_FOUND, "unknown-job")
        assert said(lambda: door.watch(id=uuid7(), type="x")) == (Code.INVALID_ARGUMENT, "invalid")
        assert said(lambda: door.watch(watch_token="x")) == (Code.INVALID_ARGUMENT, "invalid")
        assert said(lambda: door.watch(type="no/name")) == (Code.INVALID_ARGUMENT, "bad-parameter")
        assert said(lambda: door.list(limit=5000)) == (Code.INVALID_ARGUMENT, "bad-parameter")
        assert said(lambda: door.list(cursor="x")) == (Code.INVALID_ARGUMENT, "bad-parameter")
        assert said(lambda: door.list(state=99)) == (Code.INVALID_ARGUMENT, "bad-parameter")
        assert said(lambda: door.enqueue("note.count", wait=1000)) == (Code.INVALID_ARGUMENT, "bad-parameter")
        assert said(lambda: door.enqueue("note.count", key="a\\b")) == (Code.INVALID_ARGUMENT, "bad-idempotency-key")
        assert said(lambda: door.call("Enqueue", door.pb.EnqueueRequest())) == (Code.INVALID_ARGUMENT, "invalid")
        # a payload is one JSON value and nothing else: it cannot add members to the job
        for payload in ('{},"queue":"small"', '{"a":1}}', "{", '{"a":1,"a":2}', "nul", "[" * 100 + "]" * 100, '{"a":1e400}'):
            code, slug = said(lambda: door.enqueue("note.count", payload))
            assert code == Code.INVALID_ARGUMENT and slug in ("malformed-json", "invalid"), payload
        for i in range(3):
            door.enqueue("tiny")
        full = Said(refused(lambda: door.enqueue("tiny")))
        assert (full.code, full.slug, full.retry_s) == (Code.RESOURCE_EXHAUSTED, "queue-full", 5)
        # methods and services that are not there
        for path in ("/windlass.v1.Jobs/Nothing", "/windlass.v1.Nothing/Get", "/x"):
            call = door.channel.unary_unary(path)
            assert refused(lambda: call(b"", timeout=10)).code() == Code.UNIMPLEMENTED
        # not protobuf, wrong UTF-8, a NUL
        for data in (b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x02\xc3\x28", b"\x0a\x03a\0b"):
            call = door.channel.unary_unary("/windlass.v1.Jobs/Get")
            assert said(lambda: call(data, timeout=10)) == (Code.INVALID_ARGUMENT, "malformed-message")
        compressed = refused(lambda: door.stub.Enqueue(door.pb.EnqueueRequest(job=door.job("note.count", {"x": "y" * 5000})), compression=grpc.Compression.Gzip))
        assert compressed.code() == Code.UNIMPLEMENTED


def test_chains(lite, windlass):
    gateway = open_gateway(windlass, lite)
    with Door(gateway.grpc) as door:
        first = door.enqueue("note.add", {"who": "x"}).job.id
        told = door.enqueue("note.add", {"who": "y"}, after=json.dumps({"it": first}), then='{"type": "note.add", "payload": {"who": "z"}}')
        assert told.job.state == door.pb.JOB_STATE_WAITING
        assert [edge["id"] for edge in json.loads(door.get(told.job.id).after)] == [first]
        last = door.get(json.loads(told.then)[0]["id"])
        assert [edge["id"] for edge in json.loads(last.after)] == [told.job.id]
        for after in ("[", json.dumps([uuid7()])):
            assert Said(refused(lambda: door.enqueue("note.add", {"who": "x"}, after=after))).code == Code.INVALID_ARGUMENT


def test_every_field_of_a_job_is_there():
    pb, _ = modules()
    schemas = json.loads((ROOT / "producers/gateway/openapi.json").read_text())["components"]["schemas"]
    assert set(pb.Job.DESCRIPTOR.fields_by_name) == set(schemas["Job"]["properties"]) - {"watch_token"}
    assert set(pb.JobRequest.DESCRIPTOR.fields_by_name) == set(schemas["JobRequest"]["properties"])
    states = [v.name.removeprefix("JOB_STATE_").lower() for v in pb.JobState.DESCRIPTOR.values[1:]]
    assert states == schemas["Job"]["properties"]["state"]["enum"]


# ---- who calls

def test_callers(lite, windlass):
    told = row("Authz", "gRPC: keys, tenants and scopes as over REST, on every method", cases=0)
    keys = {n: make_key(n, s, tenant=t) for n, s, t in (
        ("a", "enqueue,read,cancel", "acme"), ("b", "enqueue,read,cancel", "other"), ("r", "read", "acme"), ("root", "admin", None))}
    gateway = open_gateway(windlass, lite, WINDLASS_API_KEYS=";".join(line for _, line in keys.values()))
    doors = {n: Door(gateway.grpc, key) for n, (key, _) in keys.items()}
    bare, wrong = Door(gateway.grpc), Door(gateway.grpc, "wl_a_" + "x" * 32)
    id = doors["a"].enqueue("note.add", {"who": "x"}, metadata=[("traceparent", "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01")]).job.id
    job = doors["a"].get(id)
    assert (job.owner, job.tenant, job.traceparent[3:35]) == ("a", "acme", "ab" * 16)
    assert doors["root"].get(id).id == id and doors["r"].get(id).id == id
    for door in (bare, wrong):
        calls = [lambda: door.get(id), lambda: door.enqueue("note.count"), lambda: door.wait(id), lambda: door.watch(id=id), lambda: door.list(),
                 lambda: door.cancel(id), lambda: door.watch(type="note.add"), lambda: door.batch([door.job("note.count")])]
        for call in calls:
            said = Said(refused(call))
            assert (said.code, said.slug, said.status) == (Code.UNAUTHENTICATED, "no-key", 401)
            told["cases"] += 1
    for call in (doors["b"].get, doors["b"].wait, doors["b"].cancel, lambda id: doors["b"].watch(id=id)):
        assert Said(refused(lambda: call(id))).slug == "unknown-job"
        told["cases"] += 1
    assert not doors["b"].list().items
    for call in (lambda: doors["r"].enqueue("note.count"), lambda: doors["r"].cancel(id)):
        said = Said(refused(call))
        assert (said.code, said.slug) == (Code.PERMISSION_DENIED, "not-in-scope")
        told["cases"] += 1
    # a tenant's watch by filter sees its own jobs only
    stream, seen = doors["b"].watch(type="note.add"), []
    threading.Thread(target=lambda: collect(stream, seen), daemon=True).start()
    wait_metric_as_root(gateway, keys["root"][0])
    doors["a"].cancel(id)
    mine = doors["b"].enqueue("note.add", {"who": "y"}).job.id
    wait_for(lambda: seen)
    assert {e.job.id for e in seen} == {mine}
    for door in (*doors.values(), bare, wrong):
        door.channel.close()


def wait_metric_as_root(gateway, key):
    def watched():
        text = gateway.api(key).get("/metrics").text
        return any(line.startswith("windlass_watchers") and line.endswith(" 1") for line in text.splitlines())
    wait_for(watched)


def test_keys_are_needed_beyond_loopback(lite, windlass):
    windlass.expect("gateway-refused")
    process = windlass.gateway(wait=False, DATABASE_URL=lite, WINDLASS_GRPC_LISTEN="0.0.0.0:0")
    assert process.popen.wait(15) == 78 and "WINDLASS_GRPC_LISTEN" in process.log()


# ---- time, size and number

def test_deadline(gateway, door):
    id = door.enqueue("note.add", {"who": "x"}).job.id
    started = time.monotonic()
    assert refused(lambda: door.wait(id, timeout=0.5)).code() == Code.DEADLINE_EXCEEDED
    assert refused(lambda: door.enqueue("note.count", wait=30, timeout=0.5)).code() == Code.DEADLINE_EXCEEDED
    assert refused(lambda: door.watch(id=id, timeout=0.5)).code() == Code.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 10
    wait_metric(gateway, 0, "windlass_grpc_streams")
    wait_metric(gateway, 0, "windlass_waiters")
    # the server keeps the time too: a client that does not gets the answer all the same
    call = door.channel.unary_unary("/windlass.v1.Jobs/Wait")
    error = refused(lambda: call(door.pb.WaitRequest(id=id).SerializeToString(), metadata=[("grpc-timeout", "300m")], timeout=30))
    assert error.code() == Code.DEADLINE_EXCEEDED


def test_client_cancels(gateway, door):
    id = door.enqueue("note.add", {"who": "x"}).job.id
    futures = [door.stub.Wait.future(door.pb.WaitRequest(id=id)) for _ in range(20)]
    wait_metric(gateway, 20, "windlass_waiters")
    for future in futures:
        future.cancel()
    wait_metric(gateway, 0, "windlass_waiters")
    wait_metric(gateway, 0, "windlass_grpc_streams")
    assert metric(gateway, "windlass_grpc_calls_total", method="windlass.v1.Jobs/Wait", code="CANCELLED") == 20


def test_three_megabytes(lite, windlass):
    gateway = open_gateway(windlass, lite, WINDLASS_BODY_MAX="4MiB")
    with Door(gateway.grpc) as door:
        text = json.dumps({"who": "x" * 3_000_000})
        id = door.enqueue("note.add", text).job.id
        assert door.get(id).payload == text
        said = Said(refused(lambda: door.enqueue("note.add", {"who": "x" * 5_000_000})))
        assert (said.code, said.slug) == (Code.RESOURCE_EXHAUSTED, "body-too-large")


def test_two_thousand_calls_at_once(lite, windlass):
    gateway = open_gateway(windlass, lite)
    with Door(gateway.grpc) as door:
        request = door.pb.EnqueueRequest(job=door.job("note.add", {"who": "x"}))
        futures = [door.stub.Enqueue.future(request, timeout=120) for _ in range(2000)]
        ids = {future.result().job.id for future in futures}
        assert len(ids) == 2000
        assert metric(gateway, "windlass_grpc_calls_total", method="windlass.v1.Jobs/Enqueue", code="OK") == 2000
        assert metric(gateway, "windlass_door_requests_total", door="grpc", status="202") == 2000


# ---- health, reflection, drain

def test_ready_says_that_all_addresses_listen(lite, windlass):
    gateway = open_gateway(windlass, lite, wait=False)
    while not gateway.ready():
        pass
    socket.create_connection(gateway.grpc.split(":"), timeout=5).close()


def test_health(lite, windlass):
    gateway = open_gateway(windlass, lite)
    with Door(gateway.grpc) as door:
        health = health_pb2_grpc.HealthStub(door.channel)
        ask = health_pb2.HealthCheckRequest
        for service in ("", "windlass.v1.Jobs", "grpc.health.v1.Health"):
            assert health.Check(ask(service=service), timeout=10).status == health_pb2.HealthCheckResponse.SERVING
        assert refused(lambda: health.Check(ask(service="nobody"), timeout=10)).code() == Code.NOT_FOUND
        assert next(health.Watch(ask(service="nobody"), timeout=10)).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        stream = health.Watch(ask(), timeout=60)
        assert next(stream).status == health_pb2.HealthCheckResponse.SERVING
        id = door.enqueue("note.add", {"who": "x"}).job.id
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            waiting = pool.submit(refused, lambda: door.wait(id))
            watching = pool.submit(refused, lambda: door.watch(id=id))
            wait_metric(gateway, 3, "windlass_grpc_streams")
            gateway.signal(signal.SIGTERM)
            assert next(stream).status == health_pb2.HealthCheckResponse.NOT_SERVING
            for ended in (waiting, watching):
                said = Said(ended.result(20))
                assert (said.code, said.slug) == (Code.UNAVAILABLE, "stopping")
        assert gateway.popen.wait(30) == 0


def test_reflection(lite, windlass):
    gateway = open_gateway(windlass, lite)
    with Door(gateway.grpc) as door:
        database = ProtoReflectionDescriptorDatabase(door.channel)
        assert sorted(database.get_services()) == [
            "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection", "windlass.v1.Jobs"]
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("windlass.v1.Jobs")
        mine = modules()[0].DESCRIPTOR.services_by_name["Jobs"]
        assert [m.name for m in service.methods] == [m.name for m in mine.methods]
        job = pool.FindMessageTypeByName("windlass.v1.Job")
        assert [f.name for f in job.fields] == [f.name for f in modules()[0].Job.DESCRIPTOR.fields]
        with pytest.raises(KeyError):
            pool.FindMessageTypeByName("windlass.v1.Nothing")


def grpcurl(*arguments):
    program = shutil.which("grpcurl")
    if not program:
        pytest.skip("no grpcurl on the PATH")
    return subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)


def test_grpcurl(lite, windlass):
    grpcurl("-version")
    gateway = open_gateway(windlass, lite)
    assert "windlass.v1.Jobs" in grpcurl("-plaintext", gateway.grpc, "list").stdout.split()
    assert "rpc EnqueueBatch ( stream .windlass.v1.EnqueueBatchRequest )" in grpcurl("-plaintext", gateway.grpc, "describe", "windlass.v1.Jobs").stdout
    done = grpcurl("-plaintext", "-d", '{"job":{"type":"note.add","payload":"{\\"who\\":\\"x\\"}","delay":"3600s"}}', gateway.grpc,
                   "windlass.v1.Jobs/Enqueue")
    assert json.loads(done.stdout)["job"]["state"] == "JOB_STATE_SCHEDULED", done.stderr
    wrong = grpcurl("-plaintext", "-d", '{"job":{"type":"nobody.knows"}}', gateway.grpc, "windlass.v1.Jobs/Enqueue")
    assert "InvalidArgument" in wrong.stderr and "unknown-type" in wrong.stderr


# ---- TLS

@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certs")
    subprocess.run([ROOT / "tests/services/certs", folder], check=True)
    return folder


def shown_certificate(address, protocols):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(protocols)
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain, context.wrap_socket(plain, server_hostname="localhost") as tls:
        return tls.getpeercert(binary_form=True), tls.selected_alpn_protocol(), tls.version()


def test_tls(lite, windlass, certs, tmp_path):
    for kind in ("pem", "key"):
        shutil.copy(certs / f"server.{kind}", tmp_path / f"gw.{kind}")
    gateway = open_tls(windlass, lite, tmp_path)
    credentials = grpc.ssl_channel_credentials((certs / "ca.pem").read_bytes())
    with Door(gateway.grpc, credentials=credentials) as door:
        id = door.enqueue("note.add", {"who": "x" * 100_000}).job.id
        assert len(door.get(id).payload) > 100_000
        before, protocol, version = shown_certificate(gateway.grpc, ["http/1.1", "h2"])
        assert (protocol, version) == ("h2", "TLSv1.3")
        with pytest.raises((ssl.SSLError, OSError)):
            shown_certificate(gateway.grpc, ["http/1.1"])
        # read again on SIGHUP; what is wrong changes nothing, and connections stay
        for kind in ("pem", "key"):
            shutil.copy(certs / f"wrong.{kind}", tmp_path / f"gw.{kind}")
        gateway.signal(signal.SIGHUP)
        wait_for(lambda: shown_certificate(gateway.grpc, ["h2"])[0] != before)
        assert door.get(id).id == id
        windlass.expect("certificate-refused")
        after = shown_certificate(gateway.grpc, ["h2"])[0]
        (tmp_path / "gw.pem").write_text("nonsense")
        gateway.signal(signal.SIGHUP)
        gateway.wait_event("certificate-refused")
        assert shown_certificate(gateway.grpc, ["h2"])[0] == after
    with Door(gateway.grpc, credentials=grpc.ssl_channel_credentials((certs / "stranger.pem").read_bytes())) as door:
        assert refused(lambda: door.list()).code() == Code.UNAVAILABLE
    with Door(gateway.grpc) as door:
        assert refused(lambda: door.list()).code() == Code.UNAVAILABLE


def open_tls(windlass, lite, folder):
    """The harness speaks plain HTTP to the gateway: this one is only asked over gRPC."""
    listen = f"127.0.0.1:{free_port()}"
    gateway = windlass.gateway(wait=False, DATABASE_URL=lite, WINDLASS_JOBS=str(JOBS), WINDLASS_GRPC_LISTEN=listen,
                               WINDLASS_TLS_CERT=folder / "gw.pem", WINDLASS_TLS_KEY=folder / "gw.key")
    gateway.wait_event("gateway-listening", timeout_s=60)
    gateway.grpc = listen
    return gateway

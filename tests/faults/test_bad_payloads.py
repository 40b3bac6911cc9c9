# SPDX-License-Identifier: Apache-2.0
"""F60: bodies that are too large, empty, no text, no JSON or no job, among good ones. At the HTTP edge they are refused and leave nothing;
from a source each is kept with the reason, and what stands behind it in its partition is run."""

import itertools
import json
import time
import uuid

import pytest

from faults.conftest import Rig
from faults.oracle import ACCOUNTS, Load
from faults.test_broker_faults import BrokerRig, deposits, finish
from harness.windlass import wait_for

LIMIT = 262144
TYPE = "fault.deposit"
PAYLOADS = {
    "limit + 1": b'{"x":"' + b"x" * LIMIT + b'"}',
    "invalid UTF-8": b'{"x":"\xc3\x28"}',
    "cut UTF-8": b'{"x":"\xe2\x82"}',
    "NUL": b'{"x":"\x00"}',
    "depth 100k": b"[" * 100000 + b"]" * 100000,
    "depth 100k, unclosed": b'{"a":' * 40000,
    "duplicate keys": b'{"account":1,"amount":1,"account":2}',
    "1e400": b'{"account":1,"amount":1e400}',
    "unclosed": b'{"account":1',
    "lone surrogate": rb'{"x":"\ud800"}',
}
WHOLE = {"0 bytes": b"", "NUL alone": b"\x00", "no text": b"\xff\xfe\xfd", "depth 100k of nothing": b"[" * 100000, "a number": b"1e400", "a list": b"[1]"}
HTTP_ONLY = {
    "unknown type": b'{"type":"nobody.knows","payload":{}}',
    "unknown version": b'{"type":"fault.deposit","payload":{},"specversion":"9.0"}',
    "type twice": b'{"type":"fault.deposit","type":"fault.steps","payload":{}}',
    "type with NUL": rb'{"type":"fault.deposit\u0000","payload":{}}',
}


def over_http():
    yield from {**WHOLE, **HTTP_ONLY}.items()
    for name, payload in PAYLOADS.items():
        yield name, b'{"type":"fault.deposit","payload":' + payload + b"}"


@pytest.fixture
def rig(windlass, store_url, fault_jobs):
    return Rig(windlass, store_url, fault_jobs)


def test_f60_over_http(rig, report, long_form):
    process = rig.run()
    api, began, struck = process.api(), time.monotonic(), 0
    load = Load(process.url, deposits(), threads=1)
    for (name, body), path in itertools.product(list(over_http()) * (20 if long_form else 1), ("/v1/jobs", "/v1/jobs/batch")):
        whole = b"[" + body + b"]" if path.endswith("batch") and body else body
        answer = api.post(path, data=whole, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 413, 422), (name, path, answer.status_code, answer.text[:300])
        struck += 1
    sent = load.stop()
    took = rig.oracle.drained()
    figures = rig.oracle.judge(sent)
    assert set(rig.oracle.states()) <= {*sent.must, *sent.may}, "something of them is there"
    report("F60 bad payloads, HTTP", struck, figures, took)
    assert time.monotonic() - began < 300


# ---- from a source

def event(id, data, version=b"1.0", type=TYPE.encode()):
    return b'{"specversion":"%s","id":"%s","source":"/shop","type":"%s","data":%s}' % (version, id.encode(), type, data)


def good_event(n):
    return event(uuid.uuid4().hex, json.dumps({"account": n % ACCOUNTS, "amount": n}).encode())


def from_a_source(broker):
    """name -> body, as far as the broker carries it."""
    id = uuid.uuid4().hex
    bodies = {name: event(f"{id}-{n}", payload) for n, (name, payload) in enumerate(PAYLOADS.items())}
    bodies.update(WHOLE, **{
        "unknown version": event(f"{id}-a", b"{}", version=b"9.0"),
        "version twice": b'{"specversion":"1.0",' + event(f"{id}-b", b"{}")[1:],
        "no type": event(f"{id}-c", b"{}", type=b""),
        "type with NUL": event(f"{id}-d", b"{}", type=rb"fault\u0000"),
        "type of no name": event(f"{id}-e", b"{}", type=b"../x y"),
    })
    if broker.name == "sqs":  # text, and some of it
        bodies = {name: body for name, body in bodies.items() if 0 < len(body) < 250000 and not set(body) & set(b"\x00\xff\xc3\xe2")}
    return bodies


@pytest.fixture(params=["rabbit", "kafka", "sqs"])
def broker_rig(request, windlass, pg_url, fault_jobs, tmp_path):
    return BrokerRig(windlass, pg_url, request.getfixturevalue(request.param), fault_jobs, tmp_path)


def test_f60_from_a_source(broker_rig, report, long_form):
    """All on one partition, each between two good ones."""
    rig, topic, struck = broker_rig, broker_rig.broker.topic("events"), 0
    process = rig.run()
    api = process.api()
    load = Load(process.url, deposits(), threads=1)
    wait_for(lambda: rig.broker.exists(topic), 30, 0.1)
    where = {"partition": 0} if rig.broker.name == "kafka" else {}
    for _ in range(10 if long_form else 1):
        for body in [*from_a_source(rig.broker).values(), event(uuid.uuid4().hex, b"{}", type=b"nobody.knows")]:
            n = next(rig.numbers)
            rig.maybe.append(n)
            rig.broker.send(topic, body, good_event(n), id=uuid.uuid4().hex, **where)
            rig.sent.append(n)
            struck += 1
    rig.numbers_done()
    unknown = api.get("/v1/jobs?type=nobody.knows").json()["items"]
    kept = [(state, reason) for state, _, reason in rig.oracle.states().values() if state == "discarded"]
    assert len(kept) == struck - len(unknown) and len(unknown) == (10 if long_form else 1), (struck, len(kept), unknown)
    assert all(reason for _, reason in kept)
    wait_for(lambda: rig.broker.depth(topic) == 0, 30, 0.2)
    for job in unknown:
        assert job["state"] in ("retryable", "scheduled", "available", "queued"), job
        api.post(f"/v1/jobs/{job['id']}/cancel")
    finish(rig, load, report, "F60 bad payloads,", struck)

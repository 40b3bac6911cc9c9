# SPDX-License-Identifier: Apache-2.0
"""Calls to a third party that offers HTTP/2: what has a key shares a connection, what has none gets one of its own, and a server that goes
away in the middle of it all is not asked twice for what it has done."""

import collections
import subprocess

import pytest

from harness.http2 import Http2Party
from harness.rig import Rig
from harness.windlass import ROOT

FAST = "retry: {max_attempts: 10, base: 10ms, cap: 50ms}"
JOBS = f"""jobs:
  keyed: {{http: {{url: "${{env.THIRD}}/keyed", body: "${{payload}}", timeout: 10s, target: third}}, {FAST}}}
  get: {{http: {{method: GET, url: "${{env.THIRD}}/get", timeout: 10s, target: third}}, {FAST}}}
  park: {{http: {{url: "${{env.THIRD}}/park", body: "${{payload}}", ambiguous: park, timeout: 10s, target: third}}, {FAST}}}
  look:
    http: {{url: "${{env.THIRD}}/look", body: "${{payload}}", ambiguous: lookup, lookup: {{url: "${{env.THIRD}}/found"}}, timeout: 10s, target: third}}
    {FAST}
targets:
  third: {{url: "${{env.THIRD}}", tls: {{ca: certs/ca.pem}}, breaker: {{off: true}}, retry_budget: 100}}
"""
AT_ONCE = 40


@pytest.fixture
def third(tmp_path):
    subprocess.run([ROOT / "tests/services/certs", tmp_path / "certs"], check=True)
    party = Http2Party(tmp_path / "certs")
    yield party
    party.close()


@pytest.fixture
def rig(sqlite_url, windlass, third, tmp_path):
    (tmp_path / "jobs.yaml").write_text(JOBS)
    rig = Rig(windlass, sqlite_url, tmp_path / "jobs.yaml")
    rig.settings["THIRD"] = third.url
    return rig


def completed(rig, type, count):
    """That many jobs at once, after one that has found out what the server speaks; how often each key was applied."""
    assert rig.run(type, {"n": -1})["state"] == "completed"
    ids = rig.api.enqueue_batch([{"type": type, "payload": {"n": n}} for n in range(count)])
    for id in ids:
        assert rig.api.wait(id, timeout_s=60)["state"] == "completed"


def applied(third, path):
    return collections.Counter(r["key"] for r in third.applied if r["path"] == path)


@pytest.mark.parametrize("type", ["keyed", "get"])
def test_many_streams_share_a_connection(rig, third, type):
    third.script("/" + type, {}, {"delay": 0.5})
    worker = rig.work()
    completed(rig, type, AT_ONCE)
    # libcurl 7.88 seldom overlooks the end of a stream; the time-out ends that attempt, and it is made again with its key
    overlooked = sum("timed out" in (line["reason"] or "") for line in worker.events("attempt"))
    assert {r["protocol"] for r in third.requests} == {"2"}
    assert third.most_streams >= AT_ONCE / 2 and third.connections <= 3, (third.most_streams, third.connections)
    assert overlooked <= 1 and len(third.to("/" + type)) == AT_ONCE + 1 + overlooked


@pytest.mark.parametrize("type", ["park", "look"])
def test_what_must_not_be_sent_twice_has_a_connection_of_its_own(rig, third, type):
    rig.work()
    completed(rig, type, 10)
    requests = third.to("/" + type)
    assert len(requests) == 11 and all(r["key"] for r in requests)
    assert {r["protocol"] for r in requests} == {"1.1"} and len({r["connection"] for r in requests}) == 11


@pytest.mark.parametrize("goaway", ["unseen", "seen"])
def test_goaway_under_many_streams(rig, third, goaway):
    """What the server says it has not looked at is sent again, on another connection; what it answered is not."""
    third.script("/keyed", {}, *[{"delay": 0.3}] * 10, {"goaway": goaway, "delay": 0.3}, {"delay": 0.1})
    worker = rig.work()
    completed(rig, "keyed", AT_ONCE)
    counts = applied(third, "/keyed")
    assert len(counts) == AT_ONCE + 1 and set(counts.values()) == {1}, counts
    assert third.connections >= 2
    outcomes = [line["outcome"] for line in worker.events("attempt")]
    assert set(outcomes) == {"done"} or goaway == "unseen", outcomes


def test_a_connection_that_is_cut(rig, third):
    """All that was under way on it has an unknown fate: with a key it is sent again, and the other side applies it once."""
    third.script("/keyed", {}, *[{"delay": 2}] * 10, {"cut": True}, {})
    rig.work()
    completed(rig, "keyed", 20)
    keys = {r["key"] for r in third.to("/keyed")}
    assert len(keys) == 21 and len(third.to("/keyed")) > 21


@pytest.mark.parametrize("type,state", [("park", "parked"), ("look", "completed")])
def test_a_cut_is_not_answered_with_another_request(rig, third, type, state):
    third.script("/" + type, {"cut": True})
    third.script("/found", {"status": 503}, {"status": 200})
    rig.work()
    id = rig.api.enqueue(type, {"n": 1})
    rig.api.wait(id, state)
    assert len(third.to("/" + type)) == 1
    assert len(third.to("/found")) == (0 if type == "park" else 2)

# SPDX-License-Identifier: Apache-2.0
"""Jobs that other services put on a broker: events in every form, what is no job, what comes twice, what fails."""

import collections
import json
import uuid

import pytest

from harness.rig import attempts
from harness.windlass import wait_for

BROKERS = ["rabbit", "kafka", "sqs"]


@pytest.fixture(params=BROKERS)
def broker(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def rig(broker_rig):
    broker_rig.worker = broker_rig.work()
    broker_rig.wait_sources()
    return broker_rig


def event(type="put", data=None, **more):
    return {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "/shop", "type": type, "datacontenttype": "application/json",
            "data": data or {}, **more}


def effects(rig, who):
    return rig.rows("SELECT id FROM effects WHERE who = ?", who)


def discarded(rig, text):
    return [job for job in rig.list(state="discarded", limit=100) if text in (job.get("reason") or "")]


def test_events_become_jobs(rig):
    rig.send("events", *[event(data={"who": f"event {n}"}) for n in range(200)])
    wait_for(lambda: rig.rows("SELECT count(*) FROM effects WHERE who <> 'put'") == [(200,)], 30)
    (id,) = effects(rig, "event 7")[0]
    job = rig.api.get_job(id)
    assert (job["state"], job["type"], job["source"], job["result"]) == ("completed", "put", "events", {"attempt": 1})


def test_an_event_that_comes_again_has_one_effect(rig):
    """Also while the first is still running, and after it failed."""
    twice = event(data={"who": "twice"})
    failing = event("fail", {"times": 2})
    rig.send("events", *[twice] * 5, *[failing] * 5)
    wait_for(lambda: len(effects(rig, "twice")) == 1 and len(effects(rig, "fail")) == 1, 30)
    rig.send("events", twice, failing, event(data={"who": "last"}))
    wait_for(lambda: effects(rig, "last"), 30)
    assert len(effects(rig, "twice")) == 1 and len(effects(rig, "fail")) == 1


def test_a_foreign_job_is_retried_by_the_store(rig):
    rig.send("events", event("fail", {"times": 2}), event("fail", {"times": 9}), event("crash"))
    rig.windlass.expect("host-died", "host-fault")
    wait_for(lambda: len(effects(rig, "fail")) == 1, 30)
    (id,) = effects(rig, "fail")[0]
    assert rig.api.get_job(id)["attempt"] == 3
    wait_for(lambda: discarded(rig, "attempt 4") and discarded(rig, "signal 6"), 30)
    job = rig.api.get_job(discarded(rig, "attempt 4")[0]["id"])
    assert job["owner"] == "source:events" and job["payload"] == {"times": 9} and len(job["attempts"]) == 4
    assert rig.api.post(f"/v1/jobs/{job['id']}/retry", json={}).ok
    wait_for(lambda: len(rig.api.get_job(job["id"])["attempts"]) >= 8, 30)


def test_steps_of_a_foreign_job(rig):
    rig.send("events", event("steps", {"times": 2}), event("steps", {"discard": 1}))
    wait_for(lambda: len(effects(rig, "step")) == 2 and discarded(rig, "after the step"), 30)
    gone = discarded(rig, "after the step")[0]["id"]
    wait_for(lambda: len(effects(rig, gone)) == 1, 30)  # undone once


def test_plain_bodies_of_one_type(rig):
    rig.send("orders", {"who": "plain"}, {"nobody": 1}, {"who": 5})
    wait_for(lambda: effects(rig, "plain"), 30)
    wait_for(lambda: discarded(rig, "payload/who: must be a text (type)"), 30)
    wait_for(lambda: discarded(rig, "payload/who: is missing (required)"), 30)
    refused = rig.api.get_job(discarded(rig, "is missing")[0]["id"])
    assert refused["type"] == "strict" and refused["payload"] == {"nobody": 1}


@pytest.mark.parametrize("body,reason", [
    ("{", None), ("", None), ("[1]", None), ('{"specversion":"1.0","id":"1","source":"/s"}', "type"),
    ('{"specversion":"9.0","id":"1","source":"/s","type":"put"}', "specversion"),
    ('{"specversion":"1.0","specversion":"1.0","id":"1","source":"/s","type":"put"}', None),
])
def test_what_is_no_job_is_kept_with_the_reason(rig, body, reason):
    if not body and rig.broker.name == "sqs":
        pytest.skip("SQS has no empty messages")
    rig.send("events", body, id=uuid.uuid4().hex)
    job = wait_for(lambda: rig.list(state="discarded"), 30)[0]
    assert (reason or "") in job["reason"] and job["owner"] == "source:events", job
    shown = rig.windlass.command("jobs", "list", "--state", "discarded", WINDLASS_URL=rig.gateway.url).stdout
    assert job["id"] in shown
    rig.send("events", event(data={"who": "after"}))
    wait_for(lambda: effects(rig, "after"), 30)


def test_an_unknown_type_waits_in_the_store(rig):
    rig.send("events", event("not.yet.known"))
    job = wait_for(lambda: [j for j in rig.list(type="not.yet.known") if j["state"] in ("retryable", "scheduled", "available")], 30)[0]
    assert job["attempt"] <= 1


def test_order_of_keys_from_a_source(rig):
    """The head of a row fails: what comes after it goes behind it in the store."""
    if rig.broker.name == "rabbit":  # of several workers one gets the messages
        rig.work()
        queues = rig.broker.ctl("list_queues", "-q", "name", "arguments").splitlines()
        single = [line.split()[0] for line in queues if line.startswith(rig.broker.prefix) and "x-single-active-consumer" in line]
        assert single == [rig.broker.topic("turns")]
    bodies = [({"row": row, "n": n, "fail": 2 if n == 0 else 0}, row) for n in range(10) for row in ("a", "b")]
    for body, row in bodies:
        made = event("turn", body, partitionkey=row)
        rig.send("turns", made, key=row)
    wait_for(lambda: rig.rows("SELECT count(*) FROM turns") == [(20,)], 60)
    turns = rig.rows("SELECT row, n, place FROM turns")
    assert all(n == place for _, n, place in turns), sorted(turns)


def test_the_trace_goes_on(rig):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    rig.send("events", event("fail", {"times": 9}, traceparent=trace))
    id = wait_for(lambda: discarded(rig, "attempt 4"), 30)[0]["id"]
    assert rig.api.get_job(id)["traceparent"] == trace


def test_nothing_is_left_on_the_broker(rig):
    rig.send("events", *[event(data={"who": "x"}) for _ in range(50)], "{", "[]")
    wait_for(lambda: rig.rows("SELECT count(*) FROM effects") == [(50,)] and len(rig.list(state="discarded")) == 2, 30)
    wait_for(lambda: rig.broker.depth(rig.broker.topic("events")) == 0, 30, 0.2)


def test_a_drained_worker_leaves_the_rest_to_the_next(rig):
    rig.send("events", *[event("nap", {"ms": 300, "deaf": 1}) for _ in range(30)])
    wait_for(lambda: effects(rig, "nap"), 30)
    rig.worker.stop(15)
    rig.work()
    wait_for(lambda: rig.rows("SELECT count(*) FROM effects") == [(30,)], 60)
    ended = collections.Counter(line["outcome"] for line in attempts(rig.worker))
    assert ended["done"] and set(ended) <= {"done", "released"}, ended  # released: taken, not begun when the drain came


def test_binary_mode(rig):
    if rig.broker.name == "sqs":
        pytest.skip("SQS has no binding")
    mark = {"kafka": "ce_", "rabbit": "cloudEvents:"}[rig.broker.name]
    headers = {mark + k: v for k, v in {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "/shop", "type": "put"}.items()}
    rig.send("events", json.dumps({"who": "binary"}), headers=headers, content_type="application/json")
    wait_for(lambda: effects(rig, "binary"), 30)


def test_what_the_broker_gives_up_is_kept(rig):
    """A queue of somebody's that dead-letters to ours: what the broker says of it is the reason."""
    if rig.broker.name != "rabbit":
        pytest.skip("the broker gives nothing up by itself")
    name = rig.broker.topic("short-lived")
    rig.broker.declare(name, **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": rig.broker.topic("dead"), "x-message-ttl": 100})
    rig.broker.send(name, event(data={"who": "late"}))
    job = wait_for(lambda: discarded(rig, "expired"), 30)[0]
    assert (job["type"], effects(rig, "late")) == ("put", [])
    wait_for(lambda: rig.broker.depth(rig.broker.topic("dead")) == 0, 30, 0.2)

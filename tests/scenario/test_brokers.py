# SPDX-License-Identifier: Apache-2.0
"""One set of promises, without a broker and on each: how jobs end, when they run, what a cancel does, what is shown meanwhile. What
others do to the queues in between (a lost, doubled or foreign message) is in test_sources.py and among the faults."""

import collections
import time

import psycopg
import pytest

from harness.rig import attempts, napping
from harness.windlass import wait_for

ENDINGS = [
    # type, payload, state, reason, effects, outcomes
    ("put", {"who": "me"}, "completed", None, ["me"], ["done"]),
    ("audit", {"who": "sql"}, "completed", None, ["sql"], ["done"]),
    ("fail", {"times": 2}, "completed", None, ["fail"], ["retry", "retry", "done"]),
    ("fail", {"times": 9}, "discarded", "attempt 4", [], ["retry"] * 4),
    ("refuse", {}, "discarded", "not you", [], ["discard"]),
    ("snooze", {}, "completed", None, [], ["snooze"] * 3 + ["done"]),
    ("crash", {}, "discarded", "signal 6", [], ["crashed"] * 3),
    ("bad_sql", {}, "discarded", "nowhere", [], ["retry"] * 2),
    ("unmet", {}, "discarded", "expectation", [], ["retry"] * 2),
    ("steps", {"times": 2}, "completed", None, ["step"], ["retry", "retry", "done"]),
    ("large", {"bytes": 300000}, "discarded", "limit", [], ["retry"]),
]


def test_endings(broker_rig):
    rig = broker_rig
    rig.windlass.expect("host-died", "host-fault")
    worker = rig.work()
    ids = [rig.api.enqueue(type, payload) for type, payload, *_ in ENDINGS]
    for id, (type, _, state, reason, effects, outcomes) in zip(ids, ENDINGS):
        job = rig.api.wait(id)
        assert job["state"] == state and (reason or "") in (job.get("reason") or ""), (type, job)
        assert rig.effects(id) == effects, type
        wait_for(lambda: len(attempts(worker, id)) >= len(outcomes))
        lines = attempts(worker, id)
        assert [line["outcome"] for line in lines] == outcomes, type
        assert [line["attempt"] for line in lines] == list(range(1, len(outcomes) + 1)), type


def test_many_jobs_each_have_one_effect(broker_rig):
    rig = broker_rig
    rig.work()
    rig.work()
    ids = rig.api.enqueue_batch([{"type": ("put", "pack", "fail")[n % 3], "payload": {"times": 1}} for n in range(1500)])
    for id in ids:
        assert rig.api.wait(id, timeout_s=60)["state"] == "completed"
    counts = dict(rig.rows("SELECT id, count(*) FROM effects GROUP BY id"))
    assert len(counts) == 1500 and set(counts.values()) == {1}


def test_the_answer_comes_at_once(broker_rig):
    rig = broker_rig
    rig.work()
    rig.run("put")  # places are made, connections are open
    took = []
    for _ in range(10):
        began = time.monotonic()
        answer = rig.api.post_job("put", wait="10s")
        took.append(time.monotonic() - began)
        assert answer.status_code == 200 and answer.json()["state"] == "completed"
    assert sorted(took)[5] < 0.5, took


def test_a_delayed_job_waits(broker_rig):
    rig = broker_rig
    rig.work()
    began = time.monotonic()
    id = rig.api.enqueue("put", delay="1500ms")
    assert rig.api.get_job(id)["state"] == "scheduled"
    assert rig.api.wait(id)["state"] == "completed"
    assert time.monotonic() - began > 1.4


def test_steps_calls_and_follow_ups(broker_rig):
    rig = broker_rig
    rig.work()
    assert rig.run("steps", {"times": 2})["result"] == {"attempt": 1}
    discarded = rig.run("steps", {"discard": 1})
    assert discarded["state"] == "discarded"
    wait_for(lambda: rig.rows("SELECT count(*) FROM effects WHERE who = ?", discarded["id"]) == [(1,)])
    rig.run("parent", {"children": 20})
    wait_for(lambda: rig.rows("SELECT count(*) FROM effects WHERE who = 'child'") == [(20,)])


def test_unique_while_queued_and_after(broker_rig):
    rig = broker_rig
    rig.work(WINDLASS_CONCURRENCY=1)
    first = rig.api.enqueue("nap", {"ms": 2500}, unique={"key": "only"})
    napping(rig, first)
    again = rig.api.post_job("nap", unique={"key": "only"})
    assert again.json()["id"] == first
    rig.api.wait(first)
    assert rig.api.post_job("nap", {"ms": 1}, unique={"key": "only"}).json()["id"] != first


def test_high_priority_comes_first(broker_rig):
    rig = broker_rig
    unordered = rig.broker.name in ("sqs", "kafka")  # between partitions; but no more than a window of a hundred is there at a time
    rig.windlass.expect("leases-released")
    rig.api.post("/v1/queues/default/pause", json={})
    low = rig.api.enqueue_batch([{"type": "put", "payload": {"who": "low"}, "priority": "low"}] * (300 if unordered else 10))
    high = [rig.api.enqueue("put", {"who": "high"}, priority="high") for _ in range(10)]
    worker = rig.work(WINDLASS_CONCURRENCY=1)
    time.sleep(0.5)
    assert not attempts(worker), "a paused queue hands out nothing"
    rig.api.post("/v1/queues/default/resume", json={})
    for id in low + high:
        rig.api.wait(id)
    order = [line["id"] for line in worker.wait_event("attempt", len(low) + len(high))]
    assert set(high) <= set(order[:200 if unordered else 10])


def test_cancel_of_one_that_waits_on_the_broker(broker_rig):
    rig = broker_rig
    rig.work(WINDLASS_CONCURRENCY=1)
    first = rig.api.enqueue("nap", {"ms": 2500, "deaf": 1})
    napping(rig, first)
    rest = [rig.api.enqueue("nap", {"ms": 1}) for _ in range(5)]
    if rig.travels:
        wait_for(lambda: all(rig.api.get_job(id)["state"] == "queued" for id in rest))
        assert next(q for q in rig.api.get("/v1/queues").json()["items"] if q["name"] == "naps")["queued"] >= 5
        assert {job["id"] for job in rig.list(state="queued")} >= set(rest)
    answer = rig.api.post(f"/v1/jobs/{rest[0]}/cancel", json={})
    if rig.travels:
        assert answer.status_code == 200 and answer.json()["state"] == "cancelled"
    assert rig.api.wait(first)["state"] == "completed"
    assert collections.Counter(rig.api.wait(id)["state"] for id in rest) == {"completed": 4, "cancelled": 1}
    assert rig.effects(rest[0]) == []


def test_cancel_of_a_queued_job_is_told_to_workers(broker_rig):
    """One of them may just have taken it."""
    rig = broker_rig
    id = rig.api.enqueue("put", delay="1h")
    with psycopg.connect(rig.url, autocommit=True) as connection:
        connection.execute("LISTEN windlass_cancel")
        assert rig.api.post(f"/v1/jobs/{id}/cancel", json={}).json()["state"] == "cancelled"
        assert list(connection.notifies(timeout=10, stop_after=1))


@pytest.mark.parametrize("deaf", [0, 1])
def test_cancel_of_a_running_job(broker_rig, deaf):
    """It listens, or it is done first; after detach_after it is the worker's like any other."""
    rig = broker_rig
    rig.work(WINDLASS_DETACH_AFTER="1s")
    id = rig.api.enqueue("nap", {"ms": 4000 if deaf else 15000, "deaf": deaf})
    napping(rig, id)
    time.sleep(2.5)
    assert rig.api.get_job(id)["state"] == "running"
    assert rig.api.post(f"/v1/jobs/{id}/cancel", json={}).status_code == 202
    job = rig.api.wait(id)
    assert (job["state"], rig.effects(id)) == (("completed", ["nap"]) if deaf else ("cancelled", []))


def test_a_long_job_leaves_the_broker(broker_rig):
    rig = broker_rig
    worker = rig.work(WINDLASS_DETACH_AFTER="1s")
    id = rig.api.enqueue("nap", {"ms": 6000})
    napping(rig, id)
    if rig.travels:
        time.sleep(3)
        held = rig.broker.in_hand(rig.broker.topic("naps")) if rig.broker.name == "sqs" else rig.broker.depth(rig.broker.topic("naps"))
        assert held == 0
    assert rig.api.wait(id)["state"] == "completed"
    assert rig.effects(id) == ["nap"] and len(wait_for(lambda: attempts(worker, id))) == 1


def test_drain_gives_back_what_has_not_begun(broker_rig):
    rig = broker_rig
    rig.windlass.expect("job-lost")  # what waits longer on the broker than its lease lasts is handed out again
    worker = rig.work(WINDLASS_CONCURRENCY=2)
    rig.windlass.expect("leases-released", "job-lost")  # the last ones wait longer than the lease of 3 s
    ids = [rig.api.enqueue("nap", {"ms": 1500, "deaf": 1}) for _ in range(10)]
    napping(rig, *ids)
    worker.stop(15)
    states = collections.Counter(rig.api.get_job(id)["state"] for id in ids)
    assert states["completed"] >= 1 and not states["running"], states
    rig.work()
    assert all(rig.api.wait(id)["state"] == "completed" for id in ids)
    assert all(rig.effects(id) == ["nap"] for id in ids)


def test_jobs_of_one_key_run_in_order(broker_rig):
    """The head of a row fails twice: what comes after it waits, other rows do not."""
    rig = broker_rig
    rig.work()
    rig.work()
    ids = [rig.api.enqueue("turn", {"row": row, "n": n, "fail": 2 if n == 0 else 0}, order_key=row)
           for n in range(12) for row in ("a", "b", "c")]
    for id in ids:
        assert rig.api.wait(id, timeout_s=60)["state"] == "completed"
    turns = rig.rows("SELECT row, n, place FROM turns")
    assert len(turns) == 36 and all(n == place for _, n, place in turns), turns


def test_a_payload_larger_than_a_message(broker_rig):
    rig = broker_rig
    rig.settings["WINDLASS_BODY_MAX"] = "3MiB"
    gateway = rig.windlass.gateway(**rig.settings)
    rig.work()
    id = gateway.api().enqueue("put", {"who": "large", "rest": "x" * 2_500_000})
    assert rig.api.wait(id)["state"] == "completed"
    assert rig.effects(id) == ["large"]


def test_results_are_published_once_committed(broker_rig):
    rig = broker_rig
    if not rig.travels:
        pytest.skip("results go to a broker")
    rig.work()
    ids = [rig.api.enqueue("put", {"who": str(n)}) for n in range(50)]
    for id in ids:
        rig.api.wait(id)
    messages = rig.broker.read(rig.broker.topic("results"), 50)
    events = [message.json() for message in messages]
    assert collections.Counter(event["id"] for event in events) == collections.Counter(ids)
    assert all(e["specversion"] == "1.0" and e["type"] == "put.completed" and e["data"] == {"attempt": 1} for e in events)
    wait_for(lambda: rig.rows("SELECT count(*) FROM windlass.outbox") == [(0,)])

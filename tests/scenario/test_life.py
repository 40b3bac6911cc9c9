# SPDX-License-Identifier: Apache-2.0
"""What a caller may ask for, followed to the job's end: priority, delay, unique, snooze, batches, pauses, a second chance."""

import time

import pytest

from harness.rig import attempts
from harness.windlass import wait_for


def ended(worker, count):
    """Outcome lines of attempts that ended a job, in their order."""
    final = ("completed", "discarded", "cancelled")
    return wait_for(lambda: len(found := [e for e in attempts(worker) if e["state"] in final]) >= count and found)


def test_priorities(rig):
    """With one pair of hands the high ones come first, then as they were sent."""
    sent = [(rig.api.enqueue("put", priority=p), p) for p in ("low", "normal", "high", "low", "normal", "high")]
    worker = rig.work(WINDLASS_CONCURRENCY=1)
    wanted = [id for p in ("high", "normal", "low") for id, of in sent if of == p]
    assert [line["id"] for line in ended(worker, 6)] == wanted


def test_high_overtakes_what_waits(rig):
    """While somebody works off a long queue, a high job does not wait for its end."""
    rig.work(WINDLASS_CONCURRENCY=1)
    low = rig.api.enqueue_batch([{"type": "nap", "payload": {"ms": 50, "deaf": 1}, "priority": "low"} for _ in range(600)])
    rig.api.wait(low[0])
    assert rig.run("put", priority="high")["state"] == "completed"
    assert rig.api.get_job(low[-1])["state"] == "available"
    for page in range(6):  # nobody waits for them
        for job in rig.api.get("/v1/jobs?state=available&limit=100").json()["items"]:
            rig.api.post(f"/v1/jobs/{job['id']}/cancel")


def test_delay(rig):
    worker = rig.work()
    began = time.time()
    job = rig.run("put", delay="1s")
    late = time.time() - began
    assert 1.0 <= late < 5, f"after {late:.3f} s"
    assert job["attempt"] == 1 and len(wait_for(lambda: attempts(worker, job["id"]))) == 1


def test_snooze_is_not_an_attempt(rig):
    """Three snoozes and one attempt allowed."""
    rig.work()
    assert rig.run("snooze", max_attempts=1)["state"] == "completed"
    assert rig.run("fail", {"times": 1}, max_attempts=1)["state"] == "discarded"


def test_unique_while_unfinished(rig):
    """Twins are one job until it has ended; with `for` they are one for that time."""
    post = lambda **more: rig.api.post_job("put", {"who": "only"}, unique={"key": "k", **more}).json()  # noqa: E731
    first = post()
    assert post()["id"] == first["id"]
    rig.work()
    assert rig.api.wait(first["id"])["state"] == "completed"
    second = post()
    assert second["id"] != first["id"] and rig.api.wait(second["id"])["state"] == "completed"
    held = rig.api.post_job("put", unique={"key": "held", "for": "1h"}).json()
    assert rig.api.wait(held["id"])["state"] == "completed"
    again = rig.api.post_job("put", unique={"key": "held", "for": "1h"}).json()
    assert again["id"] == held["id"] and again["unique_conflict"] is True
    assert rig.effects(held["id"]) == ["put"]


def test_replaced_job_never_runs(rig):
    first = rig.api.enqueue("put", {"who": "old"}, unique={"key": "r", "on_conflict": "replace"})
    second = rig.api.enqueue("put", {"who": "new"}, unique={"key": "r", "on_conflict": "replace"})
    rig.work()
    assert rig.api.wait(second)["state"] == "completed" and rig.api.get_job(first)["state"] == "cancelled"
    assert rig.effects(first) == [] and rig.effects(second) == ["new"]


def test_pause_holds_a_queue_over_restarts(rig):
    worker = rig.work()
    assert rig.api.post("/v1/queues/default/pause").json()["paused"] is True
    wait_for(lambda: {q["name"]: q["paused"] for q in rig.api.get("/v1/queues").json()["items"]}["default"])
    time.sleep(1)  # until the worker has heard of it
    id = rig.api.enqueue("put")
    other = rig.run("put", queue="elsewhere")
    assert other["state"] == "completed"
    worker.stop()
    rig.gateway.stop()
    rig.gateway = rig.windlass.gateway(**rig.settings)
    rig.api = rig.gateway.api()
    rig.work()
    time.sleep(1.5)
    assert rig.api.get_job(id)["state"] == "available" and rig.effects(id) == []
    rig.api.post("/v1/queues/default/resume")
    assert rig.api.wait(id, timeout_s=10)["state"] == "completed"


def test_handler_takes_many_at_once(rig):
    ids = rig.api.enqueue_batch([{"type": "pack", "payload": {"refuse": int(n % 10 == 0)}} for n in range(100)])
    rig.work(WINDLASS_CONCURRENCY=2)
    jobs = [rig.api.wait(id) for id in ids]
    assert [j["state"] for j in jobs] == ["discarded" if n % 10 == 0 else "completed" for n in range(100)]
    sizes = [j["result"]["count"] for j in jobs if j["state"] == "completed"]
    assert max(sizes) > 8 and max(sizes) <= 16, sizes
    assert all(rig.effects(id) == ([] if n % 10 == 0 else ["pack"]) for n, id in enumerate(ids))


def test_a_second_chance(rig):
    """Discarded, asked for again: a whole budget of attempts, and the payload as it was."""
    rig.work()
    dead = rig.run("fail", {"times": 1}, max_attempts=1)
    assert dead["state"] == "discarded" and rig.effects(dead["id"]) == []
    assert rig.api.post(f"/v1/jobs/{dead['id']}/retry").status_code == 202
    assert rig.api.wait(dead["id"])["state"] == "completed"
    assert rig.effects(dead["id"]) == ["fail"]


def test_redrive(rig):
    rig.work()
    dead = [rig.run("fail", {"times": 1}, max_attempts=1)["id"] for _ in range(5)]
    wanted = {"state": "discarded", "type": "fail"}
    assert rig.api.post("/v1/jobs/redrive", json={**wanted, "dry_run": True}).json()["count"] == 5
    assert rig.api.post("/v1/jobs/redrive", json=wanted).json()["count"] == 5
    assert [rig.api.wait(id)["state"] for id in dead] == ["completed"] * 5
    assert all(rig.effects(id) == ["fail"] for id in dead)


@pytest.mark.parametrize("which,successes", [("all", 40), ("failures", 0), ("1/10", 4)])
def test_outcome_lines(rig, which, successes):
    """One line an attempt; thinned, every failure still has its own, and the metrics count all."""
    worker = rig.work(WINDLASS_LOG_JOBS=which)
    good = rig.api.enqueue_batch([{"type": "put"}] * 40)
    bad = rig.api.enqueue_batch([{"type": "fail", "payload": {"times": 9}, "max_attempts": 2}] * 3)
    for id in good + bad:
        rig.api.wait(id)
    wait_for(lambda: len(attempts(worker)) >= successes + 6)
    time.sleep(0.3)  # one too many would show
    lines = attempts(worker)
    assert sorted((e["id"], e["attempt"]) for e in lines if e["type"] == "fail") == sorted((id, n) for id in bad for n in (1, 2))
    assert len({e["id"] for e in lines if e["type"] == "put"}) == len([e for e in lines if e["type"] == "put"]) == successes
    assert {"id", "type", "attempt", "outcome", "state", "reason", "wait_ms", "run_ms", "commit_ms", "total_ms"} <= lines[0].keys()
    figures = worker.metrics()
    assert figures['windlass_jobs_finished_total{type="put",outcome="done"}'] == 40
    assert figures['windlass_jobs_finished_total{type="fail",outcome="retry"}'] == 6

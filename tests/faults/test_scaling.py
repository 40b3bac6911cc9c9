# SPDX-License-Identifier: Apache-2.0
"""Workers come and go under load: nothing is lost, nothing runs twice, and who runs a job is let finish however long it takes."""

import pytest

from faults.oracle import Load
from faults.test_workers import finish, mixed
from harness.windlass import wait_for


def running(api):
    """Workers of the pool that take jobs."""
    return next(pool["running"] for pool in api.get("/v1/pools").json()["items"] if pool["name"] == "crew")


def scale(api, workers, timeout_s=120):
    answer = api.request("PUT", "/v1/workers/crew", json={"workers": workers})
    assert answer.status_code == 200 and answer.json()["workers"] == workers, answer.text
    wait_for(lambda: running(api) == workers, timeout_s)


def busy_leavers(process):
    """Pids of workers that were told to go while they had jobs."""
    return {e["pid"] for e in process.events("worker-draining") if e["in_hand"]}


@pytest.mark.timeout(3600)
def test_scaled_under_load(rig, fault_jobs, report, long_form):
    """The grace time of a stop is a second: a long job that outlives it was let finish, not given back."""
    most, rounds, long_ms = (16, 200, 60_000) if long_form else (4, 2, 4_000)
    process = rig.run(WINDLASS_JOBS=fault_jobs.parent / "scale_jobs.yaml", WINDLASS_GRACE="1s", WINDLASS_LEASE="30s")
    api = process.api()
    wait_for(lambda: running(api) == 1)
    load = Load(process.url, mixed(10), threads=2, pause_s=0.1 if long_form else 0.05)
    slow, done = [], 0
    while done < rounds or not any(outlived(process, long_ms, slow)):
        assert done < rounds + 20, "no long job ever met a scale-in"
        scale(api, most)
        if done < rounds and (not long_form or done % 10 == 0):
            jobs = [{"type": "fault.slow", "payload": {"account": n, "amount": 1, "work_ms": long_ms}} for n in range(4)]
            slow += [api.enqueue(job["type"], job["payload"]) for job in jobs]
            load.sent.note("must", [{"id": id, "type": "fault.slow"} for id in slow])
            wait_for(lambda: api.get_job(slow[-1])["state"] != "available", 60)
        scale(api, 1)
        done += 1
    finish(rig, load, report, f"scale 1-{most}-1", done, timeout_s=180)
    began = [e for e in process.events("attempt") if e["id"] in slow and (e["outcome"] != "released" or e["run_ms"])]
    twice = [e for e in began if sum(e["id"] == other["id"] for other in began) > 1]
    assert not twice, f"long jobs were begun twice: {twice}"
    assert sorted(e["id"] for e in began) == sorted(slow)
    assert all(e["outcome"] == "done" and e["run_ms"] >= long_ms for e in began)
    assert not [e for e in process.events("child-ended") if e["child"] == "work" and "signal 9" in e["how"]]


def outlived(process, long_ms, slow):
    """Long jobs that ended in a worker that had been told to go before."""
    leavers = busy_leavers(process)
    return [e for e in process.events("attempt") if e["id"] in slow and e["pid"] in leavers]

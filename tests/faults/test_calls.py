# SPDX-License-Identifier: Apache-2.0
"""F02 and F41 for jobs that are calls: the worker dies at every step of a call, the other side does what it is asked and closes. With
keys each is applied once; with `park` no request is ever made twice, and a person decides about what is left."""

import contextlib
import subprocess
import time

import pytest

from harness.rig import Rig
from harness.windlass import ROOT, wait_for

POINTS = ["after_intent_commit", "after_http_send", "after_http_recv", "before_commit", "after_commit_before_ack"]
AT_ONCE = 20


@pytest.fixture
def rig(store_url, windlass, third):
    windlass.expect()
    rig = Rig(windlass, store_url, ROOT / "tests/scenario/http_jobs.yaml")
    rig.settings["THIRD"] = third.url
    return rig


def enqueue(rig):
    return [rig.api.enqueue(type, {"n": n}) for n in range(AT_ONCE // 2) for type in ("keyed", "park")]


def settled(rig, ids):
    """All ended, or parked and then sent once more by hand; how many were parked."""
    parked = 0
    for id in ids:
        state = wait_for(lambda: (j := rig.api.get_job(id))["state"] in ("completed", "parked") and j, 60)["state"]
        if state == "parked":
            parked += 1
            assert rig.api.post(f"/v1/jobs/{id}/resolve", json={"call": "http", "verdict": "not_sent"}).status_code == 202
    for id in ids:
        assert rig.api.wait(id, timeout_s=60)["state"] == "completed"
    return parked


def judge(third, ids, parked):
    keys = [r["key"] for r in third.to("/park")]
    assert len(keys) <= len(set(keys)) + parked, "a call was made twice by itself"
    assert len(third.answers) == len(ids), "not every call was applied once"
    return {"accepted": len(ids), "unknown": parked, "lost": 0, "doubled": 0,
            "retried": len(third.to("/keyed")) - len(set(r["key"] for r in third.to("/keyed")))}


@pytest.mark.parametrize("point", POINTS)
def test_f02_calls(rig, third, report, long_form, point):
    ids, struck, took, parked = [], 0, 0.0, 0
    third.script("/keyed", {"delay": 0.02})
    third.script("/park", {"delay": 0.02})
    for k in range(1, 11) if long_form else (1, 4):
        worker = rig.work(wait=False, WINDLASS_FAILPOINT=f"{point}:{k}:kill")
        mine = []
        for _ in range(20):  # many jobs may go in one commit
            mine += enqueue(rig)
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.popen.wait(2)
                break
        assert worker.popen.poll() is not None, "never struck"
        worker.kill()
        struck += 1
        started = time.monotonic()
        rest = rig.work()
        parked += settled(rig, mine)
        took = max(took, time.monotonic() - started)
        rest.stop()
        ids += mine
    report(f"F02 {point}, calls", struck, judge(third, ids, parked), took)


def test_f41_done_and_closed_on_a_reused_connection(rig, third, report, long_form):
    third.script("/keyed", {"reset_reused": True})
    third.script("/park", {"reset_reused": True})
    rig.work()
    started = time.monotonic()
    ids = [id for _ in range(10 if long_form else 3) for id in enqueue(rig)]
    parked = settled(rig, ids)
    closed = sum(r["reused"] for r in third.requests)
    assert closed >= 1 and parked == 0, "park calls have connections of their own"
    report("F41 done, then closed on a reused connection", closed, judge(third, ids, parked), time.monotonic() - started)

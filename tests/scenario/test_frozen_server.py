# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL that is frozen (SIGSTOP of all its processes): its kernel still takes our bytes, so only time tells."""

import concurrent.futures
import time

import pytest

from harness.rig import Rig, attempts
from harness.windlass import wait_for

CONNECT_S = 5   # until a new connection is given up
SILENCE_S = 20  # until an old one is
MARGIN_S = 5


@pytest.fixture
def rig(own_postgres, windlass, engine_jobs):
    own_postgres.start()
    windlass.expect()
    return Rig(windlass, own_postgres.new_database(), engine_jobs)


def timed(work):
    began = time.monotonic()
    return work(), time.monotonic() - began


def test_is_noticed_in_time_and_nothing_is_done_twice(rig, own_postgres):
    key = {"Idempotency-Key": "frozen"}
    worker = rig.work()
    napping = rig.api.enqueue("nap", {"ms": 1500, "deaf": 1})
    rig.api.wait(napping, "running")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        own_postgres.freeze()
        try:
            sent = pool.submit(timed, lambda: rig.api.post_job("put", {"who": "perhaps"}))
            time.sleep(0.5)
            queued = pool.submit(timed, lambda: rig.gateway.api().post_job("put", {"who": "once"}, headers=key))
            opened = pool.submit(timed, lambda: rig.windlass.command("migrate", check=False, **rig.settings))
            wait_for(lambda: worker.events("store-away"), 1.5 + SILENCE_S + MARGIN_S)
            (command, command_s), (unknown, unknown_s), (refused, refused_s) = opened.result(), sent.result(), queued.result()
        finally:
            own_postgres.thaw()
    assert command.returncode != 0 and CONNECT_S - 1 <= command_s < CONNECT_S + MARGIN_S
    # Its commit was on its way; a new connection is tried to read back what became of it.
    assert unknown.status_code == 504 and unknown.json()["type"].endswith("outcome-unknown"), unknown.text
    assert SILENCE_S - 1 <= unknown_s < SILENCE_S + CONNECT_S + MARGIN_S
    # This one had not been begun.
    assert refused.status_code == 503 and refused_s < SILENCE_S + 2 * CONNECT_S + MARGIN_S, refused.text
    again = wait_for(lambda: (a := rig.api.post_job("put", {"who": "once"}, headers=key)).status_code == 202 and a, 30)
    assert rig.api.wait(again.json()["id"])["state"] == "completed"
    assert rig.api.wait(napping)["state"] == "completed"
    wait_for(lambda: rig.rows("SELECT count(*) FROM windlass.job_states WHERE state <> 'completed'") == [(0,)])
    stored = dict(rig.rows("SELECT payload::jsonb ->> 'who', count(*) FROM windlass.jobs WHERE type = 'put' GROUP BY 1"))
    assert stored in ({"once": 1}, {"once": 1, "perhaps": 1})
    assert dict(rig.rows("SELECT who, count(*) FROM effects GROUP BY who")) == {"nap": 1, **stored}
    assert [a["outcome"] for a in attempts(worker, napping)][-1:] == ["done"]

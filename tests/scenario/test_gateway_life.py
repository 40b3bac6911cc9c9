# SPDX-License-Identifier: Apache-2.0
"""The gateway's own life: drain, reload, a store that goes away, a COMMIT whose answer is lost."""

import concurrent.futures
import shutil
import signal
import time

import pytest
import requests

from harness.gateway import JOBS, start, uuid7
from harness.store import rows
from harness.windlass import wait_for


def test_drain_answers_what_is_in_hand(store_url, windlass):
    gateway = start(windlass, store_url)
    api = gateway.api()
    id = api.enqueue("note.add", {"who": "x"})
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        got = [pool.submit(gateway.api().get, f"/v1/jobs/{id}?wait=60s") for _ in range(10)]
        posted = [pool.submit(gateway.api().post_job, "note.add", {"who": "y"}, "60s") for _ in range(10)]
        wait_for(lambda: gateway.metrics()["windlass_waiters"] == 20)
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        assert {a.result(10).status_code for a in posted} == {202}
        assert {a.result(10).status_code for a in got} == {200}
        assert gateway.popen.wait(10) == 0 and time.monotonic() - began < 5


def test_drain_under_load_loses_nothing(store_url, windlass):
    gateway = start(windlass, store_url)

    def post_until_refused(_):
        api, accepted = gateway.api(), []
        while True:
            try:
                answer = api.post_job("note.add", {"who": "x"})
            except requests.ConnectionError:
                return accepted
            if answer.status_code != 202:
                assert answer.status_code == 503
                return accepted
            accepted.append(answer.json()["id"])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(post_until_refused, n) for n in range(8)]
        time.sleep(0.7)
        gateway.signal(signal.SIGTERM)
        accepted = {id for client in clients for id in client.result(20)}
    assert gateway.popen.wait(10) == 0 and len(accepted) > 20
    stored = {str(row[0]) for row in rows(store_url, "SELECT hex(id) FROM windlass_jobs" if store_url.startswith("sqlite") else "SELECT id FROM windlass.jobs")}
    assert {id.replace("-", "").upper() for id in accepted} <= {id.replace("-", "").upper() for id in stored}


def test_second_signal_leaves_at_once(sqlite_url, windlass):
    windlass.expect("gateway-left-early")
    gateway = start(windlass, sqlite_url)
    host, port = gateway.url.removeprefix("http://").split(":")
    import socket

    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(f"POST /v1/jobs HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        time.sleep(0.2)
        gateway.signal(signal.SIGTERM)
        time.sleep(0.3)
        assert gateway.popen.poll() is None
        gateway.signal(signal.SIGTERM)
        assert gateway.popen.wait(3) == 0


def test_reload(sqlite_url, windlass, tmp_path):
    jobs = tmp_path / "jobs.yaml"
    jobs.write_text(JOBS.read_text())
    shutil.copytree(JOBS.parent / "schemas", tmp_path / "schemas")
    gateway = windlass.gateway(DATABASE_URL=sqlite_url, WINDLASS_JOBS=str(jobs))
    api = gateway.api()
    assert api.post_job("late.comer").status_code == 422
    jobs.write_text(JOBS.read_text() + '  late.comer: {sql: "UPDATE notes SET who = who"}\n')
    gateway.signal(signal.SIGHUP)
    wait_for(lambda: api.post_job("late.comer").status_code == 202)
    windlass.expect()
    jobs.write_text("jobs: {broken: {}}\n")
    gateway.signal(signal.SIGHUP)
    time.sleep(0.5)
    assert api.post_job("late.comer").status_code == 202


def test_store_away(own_postgres, windlass):
    windlass.expect()
    own_postgres.start()
    gateway = start(windlass, own_postgres.new_database())
    api = gateway.api()
    api.post("/v1/queues/notes/pause")  # nobody will work here, and that is in order
    id = api.enqueue("note.add", {"who": "x"})
    own_postgres.crash()
    [refused] = wait_for(lambda: (a := api.post_job("note.add", {"who": "x"})).status_code in (503, 504) and [a])
    assert refused.status_code == 504 or int(refused.headers["Retry-After"]) > 0
    assert api.get(f"/v1/jobs/{id}").status_code == 503
    [red] = wait_for(lambda: (a := api.get("/readyz")).status_code == 503 and [a])
    assert "store" in red.json()["reasons"][0]
    assert api.get("/healthz").status_code == 200
    own_postgres.start()
    wait_for(lambda: api.post_job("note.add", {"who": "x"}).status_code == 202, 30)
    wait_for(lambda: api.get("/readyz").status_code == 200, 30)
    assert api.get_job(id)["state"] == "available"


@pytest.mark.parametrize("point", ["accept_before_enqueue:1:err", "confirmed_before_202:1:err"])
def test_a_broken_commit_is_made_good(store_url, windlass, point):
    """Nothing stored for certain: once more. Stored or not: looked up by id."""
    windlass.expect()
    gateway = start(windlass, store_url, WINDLASS_FAILPOINT=point)
    api = gateway.api()
    id = uuid7()
    answer = api.post_job("note.add", {"who": "x"}, id=id)
    assert answer.status_code == 202
    assert api.get_job(id)["state"] == "available"
    plain = api.post_job("note.add", {"who": "x"})
    assert plain.status_code == 202 and api.get_job(plain.json()["id"])["state"] == "available"


def test_killed_between_commit_and_answer(store_url, windlass):
    """A client that got no answer asks again with the same id: one job."""
    windlass.expect()
    gateway = start(windlass, store_url, WINDLASS_FAILPOINT="confirmed_before_202:2:kill")
    gateway.api().enqueue("note.add", {"who": "x"})
    id = uuid7()
    with pytest.raises(requests.ConnectionError):
        gateway.api().post_job("note.add", {"who": "y"}, id=id)
    gateway.killed = True
    again = start(windlass, store_url)
    answer = again.api().post_job("note.add", {"who": "y"}, id=id)
    assert answer.status_code == 202 and answer.headers["Idempotency-Replayed"] == "true"
    assert len(again.api().get("/v1/jobs").json()["items"]) == 2


def test_work_that_nobody_takes_turns_readyz_red(sqlite_url, windlass):
    gateway = start(windlass, sqlite_url)
    api = gateway.api()
    id = api.enqueue("note.add", {"who": "x"})
    assert api.get("/readyz").status_code == 200
    [red] = wait_for(lambda: (a := api.get("/readyz")).status_code == 503 and [a], 20, every_s=0.5)
    assert "notes" in red.json()["reasons"][0] and "no worker" in red.json()["reasons"][0]
    api.post(f"/v1/jobs/{id}/cancel")
    wait_for(lambda: api.get("/readyz").status_code == 200)

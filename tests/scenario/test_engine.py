# SPDX-License-Identifier: Apache-2.0
"""One worker's engine: what becomes of jobs that end in every possible way, of calls, cancels, drains, and of a store that goes away."""

import collections
import http.server
import signal
import threading
import time

import pytest

from harness.rig import Rig, attempts, napping
from harness.windlass import wait_for

ENDINGS = [
    # type, payload, state, reason, effects, outcomes
    ("put", {"who": "me"}, "completed", None, ["me"], ["done"]),
    ("audit", {"who": "sql"}, "completed", None, ["sql"], ["done"]),
    ("fail", {"times": 2}, "completed", None, ["fail"], ["retry", "retry", "done"]),
    ("fail", {"times": 9}, "discarded", "attempt 4", [], ["retry"] * 4),
    ("fail", {"times": 1, "after": 0}, "completed", None, ["fail"], ["retry", "done"]),
    ("typed", {}, "completed", None, ["put"], ["retry", "retry", "done"]),
    ("mistyped", {}, "discarded", "result/attempt: must be a text (type)", [], ["retry"] * 2),
    ("refuse", {}, "discarded", "not you", [], ["discard"]),
    ("snooze", {}, "completed", None, [], ["snooze"] * 3 + ["done"]),
    ("crash", {}, "discarded", "signal 6", [], ["crashed"] * 3),
    ("bad_sql", {}, "discarded", "nowhere", [], ["retry"] * 2),
    ("audit_bad", {}, "discarded", "nowhere", [], ["retry"] * 2),
    ("unmet", {}, "discarded", "expectation", [], ["retry"] * 2),
    ("steps", {"times": 2}, "completed", None, ["step"], ["retry", "retry", "done"]),
    ("large", {"bytes": 300000}, "discarded", "limit", [], ["retry"]),
]


@pytest.mark.parametrize("type,payload,state,reason,effects,outcomes", ENDINGS)
def test_endings(rig, type, payload, state, reason, effects, outcomes):
    rig.windlass.expect("host-died", "host-fault")
    worker = rig.work()
    job = rig.run(type, payload)
    assert job["state"] == state and (reason or "") in (job.get("reason") or ""), job
    assert rig.effects(job["id"]) == effects
    wait_for(lambda: len(attempts(worker, job["id"])) >= len(outcomes))
    lines = attempts(worker, job["id"])
    assert [line["outcome"] for line in lines] == outcomes
    assert [line["attempt"] for line in lines] == list(range(1, len(outcomes) + 1))


def test_first_job_does_not_wait_for_a_poll(rig):
    worker = rig.work()
    id = rig.run("put")["id"]
    assert wait_for(lambda: attempts(worker, id))[0]["wait_ms"] < 500


def test_step_keeps_its_first_value_and_is_undone_once(rig):
    rig.work()
    assert rig.run("steps", {"times": 2})["result"] == {"attempt": 1}
    discarded = rig.run("steps", {"discard": 1})
    assert discarded["state"] == "discarded"
    wait_for(lambda: rig.rows("SELECT count(*) FROM effects WHERE who = ?", discarded["id"]) == [(1,)])
    assert rig.effects(discarded["id"]) == ["step"]


def test_follow_ups_run_once(rig):
    rig.work()
    rig.run("parent", {"children": 50})
    wait_for(lambda: rig.rows("SELECT count(*) FROM effects WHERE who = 'child'") == [(50,)])


def test_hot_row_is_never_oversold(rig):
    rig.rows("INSERT INTO stock VALUES ('a', 10)")
    rig.work()
    ids = rig.api.enqueue_batch([{"type": "take"}] * 64)
    states = collections.Counter(rig.api.wait(id)["state"] for id in ids)
    assert states == {"completed": 10, "discarded": 54}
    assert rig.rows("SELECT free FROM stock") == [(0,)]
    assert rig.rows("SELECT count(*) FROM effects WHERE who = 'take'") == [(10,)]


def test_bad_ones_in_a_crowd_hurt_nobody(rig):
    worker = rig.work()
    jobs = [{"type": "bad_sql" if n % 50 == 0 else "put"} for n in range(1000)]
    ids = rig.api.enqueue_batch(jobs)
    wait_for(lambda: len({e["id"] for e in worker.events("attempt") if e["state"] in ("completed", "discarded")}) == 1000, 60)
    states = collections.Counter(rig.api.get_job(id)["state"] for id in ids)
    assert states == {"completed": 980, "discarded": 20}
    assert rig.rows("SELECT count(*) FROM effects") == [(980,)]


@pytest.mark.parametrize("deaf", [0, 1])
def test_cancel_of_a_running_job(rig, deaf):
    rig.work()
    id = rig.api.enqueue("nap", {"ms": 4000 if deaf else 15000, "deaf": deaf})
    napping(rig, id)
    began = time.monotonic()
    assert rig.api.post(f"/v1/jobs/{id}/cancel", json={}).status_code == 202
    job = rig.api.wait(id)
    if deaf:  # it did not listen and was done first
        assert job["state"] == "completed" and rig.effects(id) == ["nap"]
    else:
        assert job["state"] == "cancelled" and rig.effects(id) == []
        assert time.monotonic() - began < 5


def test_progress_is_seen(rig):
    rig.work()
    id = rig.api.enqueue("nap", {"ms": 4000})
    napping(rig, id)
    assert rig.api.wait(id)["state"] == "completed"


def test_drain_finishes_what_runs_and_gives_back_the_rest(rig):
    worker = rig.work(WINDLASS_CONCURRENCY=2)
    ids = [rig.api.enqueue("nap", {"ms": 1500, "deaf": 1}) for _ in range(12)]
    napping(rig, ids[0])
    worker.stop(15)
    states = collections.Counter(rig.api.get_job(id)["state"] for id in ids)
    assert states["completed"] >= 1 and states["available"] >= 6 and set(states) == {"completed", "available"}
    assert all(rig.effects(id) == (["nap"] if rig.api.get_job(id)["state"] == "completed" else []) for id in ids)
    rig.work()
    assert all(rig.api.wait(id)["state"] == "completed" for id in ids)


def test_a_long_job_hears_of_the_drain_before_it_is_killed(rig):
    """In the last quarter of the grace time wl_cancelled() becomes true; the job is given back without a strike."""
    worker = rig.work(WINDLASS_GRACE="4s")
    id = rig.api.enqueue("nap", {"ms": 15000})
    napping(rig, id)
    began = time.monotonic()
    worker.stop(15)
    assert 2.5 < time.monotonic() - began < 4
    job = rig.api.get_job(id)
    assert job["state"] == "available" and rig.effects(id) == []


def test_drain_has_an_end(rig):
    rig.windlass.expect("grace-over", "host-died")
    worker = rig.work(WINDLASS_GRACE="1s")
    id = rig.api.enqueue("nap", {"ms": 15000, "deaf": 1})
    napping(rig, id)
    began = time.monotonic()
    worker.stop(15)
    assert time.monotonic() - began < 6
    job = rig.api.get_job(id)
    assert job["state"] == "available" and rig.effects(id) == []


def test_second_signal_is_now(rig):
    rig.windlass.expect("host-died")
    worker = rig.work(WINDLASS_GRACE="60s")
    id = rig.api.enqueue("nap", {"ms": 15000, "deaf": 1})
    napping(rig, id)
    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    time.sleep(0.3)
    worker.stop(10)
    assert time.monotonic() - began < 6
    assert rig.api.get_job(id)["state"] == "available"


def test_unknown_type_goes_back_and_is_no_attempt(rig, tmp_path):
    old = tmp_path / "old.yaml"
    old.write_text('jobs:\n  audit: {sql: "INSERT INTO effects(id, who) VALUES (${job.id}, ${payload.who})"}\n')
    worker = rig.work(WINDLASS_JOBS=old)
    id = rig.api.enqueue("put", {})
    assert rig.run("audit", {"who": "x"})["state"] == "completed"
    wait_for(lambda: rig.api.get_job(id)["state"] == "retryable")
    assert attempts(worker, id) == []
    worker.stop()
    new = rig.work()
    assert rig.api.wait(id)["state"] == "completed"
    assert [line["outcome"] for line in wait_for(lambda: attempts(new, id))] == ["done"]


def test_reload_brings_new_types(rig, tmp_path):
    definitions = tmp_path / "jobs.yaml"
    definitions.write_text('jobs:\n  audit: {sql: "INSERT INTO effects(id, who) VALUES (${job.id}, ${payload.who})"}\n')
    worker = rig.work(WINDLASS_JOBS=definitions)
    id = rig.api.enqueue("refuse", {})
    wait_for(lambda: rig.api.get_job(id)["state"] == "retryable")
    definitions.write_text(definitions.read_text() + '  refuse: {sql: "INSERT INTO effects(id, who) VALUES (${job.id}, 1)"}\n')
    worker.signal(signal.SIGHUP)
    worker.wait_event("definitions-reloaded")
    assert rig.api.wait(id)["state"] == "completed"


class Provider(http.server.ThreadingHTTPServer):
    """Counts calls by idempotency key, and answers as told."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls, self.statuses, self.delay_s = [], [], 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append((self.headers["Idempotency-Key"], self.headers["X-Token"], body))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        time.sleep(self.server.delay_s)
        answer = b'{"id":"ch_1"}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


@pytest.fixture
def provider():
    server = Provider()
    yield server
    server.shutdown()
    server.server_close()


def calling(rig, provider):
    return rig.work(ENGINE_URL=provider.url, ENGINE_TOKEN="t0ken")


def test_call_is_made_once(rig, provider):
    calling(rig, provider)
    job = rig.run("call", {"times": 2})
    assert job["state"] == "completed" and job["result"] == {"id": "ch_1"} and job["attempt"] == 3
    assert len(provider.calls) == 1
    key, token, body = provider.calls[0]
    assert key and token == "t0ken" and body == b'{"n":1}'


@pytest.mark.parametrize("statuses,state,calls", [
    ([500, 429, 200], "completed", 3), ([402], "discarded", 1), ([408, 402], "discarded", 2), ([500] * 4, "discarded", 4)])
def test_only_what_a_retry_would_not_change_is_kept(rig, provider, statuses, state, calls):
    calling(rig, provider)
    provider.statuses = list(statuses)
    assert rig.run("call", {})["state"] == state
    assert len(provider.calls) == calls and len({key for key, _, _ in provider.calls}) == 1


def test_refused_receipt_is_kept_too(rig, provider):
    calling(rig, provider)
    provider.statuses = [402]
    job = rig.run("call", {"times": 2})
    assert job["state"] == "discarded" and job["reason"] == "status 402" and len(provider.calls) == 1


@pytest.mark.parametrize("payload,reason", [
    ({"url": "${env.HOME}/x"}, "HOME"), ({"url": "${payload.x}"}, "env"), ({"url": "http://127.0.0.1:1/"}, "fate 2"),
    ({"url": "file:///etc/passwd"}, "fate 2"), ({"timeout_ms": 200}, "fate 3")])
def test_calls_that_fail(rig, provider, payload, reason):
    rig.windlass.expect("host-died")
    calling(rig, provider)
    provider.delay_s = 1
    job = rig.run("call", payload, max_attempts=2)
    assert job["state"] == "discarded" and reason in job["reason"]


def test_killed_engine_loses_and_doubles_nothing(rig):
    first = rig.work()
    ids = rig.api.enqueue_batch([{"type": "put"}] * 2000)
    wait_for(lambda: rig.rows("SELECT count(*) FROM effects")[0][0] > 100)
    first.kill()
    rig.windlass.expect("leases-released")
    rig.work()
    wait_for(lambda: rig.rows("SELECT count(*) FROM effects") == [(2000,)], 30)
    assert all(rig.api.wait(id)["state"] == "completed" for id in ids[::50])


def test_predecessors_are_released_at_once(rig):
    """Also the one before the last, when the last died before it came to that."""
    session = "0193abcd-0000-7000-8000-00000000000%d"
    settings = {**rig.settings, "WINDLASS_LEASE": "60s"}
    ids = []
    for n in (1, 2):
        worker = rig.windlass.start("work", "--session", session % n, **settings)
        ids.append(rig.api.enqueue("nap", {"ms": 1000, "deaf": 1}))
        rig.api.wait(ids[-1], "running")
        worker.kill()
    began = time.monotonic()
    rig.windlass.start("work", "--session", session % 3, "--predecessor", session % 2, "--predecessor", session % 1, **settings)
    assert [rig.api.wait(id)["state"] for id in ids] == ["completed"] * 2 and time.monotonic() - began < 20


@pytest.mark.parametrize("point,action", [
    ("before_commit_batch", "err"), ("after_commit_before_ack", "err"), ("before_commit_batch", "kill"),
    ("after_commit_before_ack", "kill"), ("after_fetch", "kill")])
def test_failpoints(rig, point, action):
    rig.windlass.expect("store-away", "leases-released")
    worker = rig.windlass.start("work", **{**rig.settings, "WINDLASS_FAILPOINT": f"{point}:3:{action}"})
    worker.wait_event("worker-started")
    for n in range(10):
        rig.api.enqueue("put", {"who": str(n)})
        time.sleep(0.05)
    if action == "kill":
        worker.popen.wait(20)
        worker.kill()
        rig.work()
    wait_for(lambda: rig.rows("SELECT count(*) FROM effects") == [(10,)], 30)


def test_postgres_goes_away(own_postgres, windlass, engine_jobs):
    windlass.expect()
    own_postgres.start()
    rig = Rig(windlass, own_postgres.new_database(), engine_jobs)
    worker = rig.work()
    id = rig.api.enqueue("nap", {"ms": 1500, "deaf": 1})
    rig.api.wait(id, "running")
    own_postgres.stop()
    time.sleep(3)
    own_postgres.start()
    wait_for(lambda: rig.effects(id) == ["nap"], 30)
    wait_for(lambda: worker.events("store-away") and worker.events("store-back"), 30)
    assert len(worker.events("store-away")) == 1
    assert rig.run("put")["state"] == "completed"


def test_starts_before_its_store(own_postgres, windlass, engine_jobs):
    windlass.expect()
    own_postgres.start()
    rig = Rig(windlass, own_postgres.new_database(), engine_jobs)
    own_postgres.stop()
    worker = windlass.start("work", **rig.settings)
    worker.wait_event("store-away")
    time.sleep(1.5)
    own_postgres.start()
    worker.wait_event("worker-started")
    assert len(worker.events("store-away")) == 1
    wait_for(lambda: rig.gateway.ready() or True)
    assert rig.run("put")["state"] == "completed"

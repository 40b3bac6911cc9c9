# SPDX-License-Identifier: Apache-2.0
"""Limits and turns with real workers: held over three processes of which some die, changed while they run, and one job of a quiet
tenant among many of a noisy one. What is counted is what a third party sees, not what Windlass says of itself."""

import http.server
import json
import threading
import time

import pytest

from harness.store import rows
from harness.windlass import wait_for


class Party(http.server.ThreadingHTTPServer):
    """Answers after a while; knows when requests came and how many were with it at once."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, nap_s):
        super().__init__(("127.0.0.1", 0), Handler)
        self.nap_s, self.lock, self.inside, self.most, self.came = nap_s, threading.Lock(), 0, 0, []
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        party = self.server
        with party.lock:
            party.inside += 1
            party.most = max(party.most, party.inside)
            party.came.append((time.monotonic(), self.path))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(party.nap_s)
        with party.lock:
            party.inside -= 1
        try:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
        except OSError:
            pass  # its worker was killed

    def log_message(self, *_):
        pass


@pytest.fixture
def party():
    servers = []

    def start(nap_s):
        servers.append(Party(nap_s))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def calls(party):
    return {"type": "call", "http": {"url": party.url + "/${payload.who}", "timeout": "30s"}}


def naps(engine_jobs):
    return {"type": "nap", "module": str(engine_jobs.parent / "engine_jobs.so")}


class Site:
    """A gateway and workers with one type of jobs, in the queue `calls`."""

    def __init__(self, windlass, url, folder, handler, queue, prefix="", **settings):
        self.windlass, self.type, jobs = windlass, handler["type"], folder / "jobs.yaml"
        topic = f'"{prefix}{{name}}"'
        names = {"calls": queue, "free": {}}
        queues = {name: {**q, **({"broker": {"topic": topic.strip('"').format(name=name)}} if prefix else {})} for name, q in names.items()}
        jobs.write_text(json.dumps({
            "queues": queues,
            "jobs": {handler.pop("type"): {"queue": "calls", "retry": {"base": "50ms", "cap": "50ms"}, **handler}},
        }))
        self.settings = {"DATABASE_URL": url, "WINDLASS_JOBS": jobs, "WINDLASS_CONCURRENCY": 8, "WINDLASS_LEASE": "2s", **settings}
        windlass.expect("leases-released", "session-lost", "host-busy")
        windlass.migrate(**self.settings)
        self.gateway = windlass.gateway(**{k: v for k, v in self.settings.items()})
        self.api = self.gateway.api()

    def work(self, **settings):
        return self.windlass.work(**{**self.settings, **settings})

    def enqueue(self, count, who, **payload):
        ids = []
        while count > len(ids):
            part = min(count - len(ids), 5000)
            ids += self.api.enqueue_batch([{"type": self.type, "payload": {"who": who, **payload}, "fair_key": who}] * part)
        return ids

    def rows(self, sql):
        return rows(self.settings["DATABASE_URL"], sql)

    def waiting(self):
        return {q["name"]: q["available"] for q in self.api.get("/v1/queues").json()["items"]}.get("calls", 0)


def most_within(came, seconds):
    """The most requests that came within so long."""
    stamps, start, most = sorted(at for at, _ in came), 0, 0
    for end, at in enumerate(stamps):
        while at - stamps[start] > seconds:
            start += 1
        most = max(most, end - start + 1)
    return most


@pytest.mark.timeout(240)
def test_held_while_workers_die(store_url, windlass, tmp_path, party, long_form):
    """Never more at once than may be; never more in a while than the rate gives; all of it is done, and the rate is made use of."""
    count, rate, kills = (3000, 100, 12) if long_form else (300, 60, 2)
    third = party(0.02)
    site = Site(windlass, store_url, tmp_path, calls(third), {"concurrency": 6, "rate": f"{rate}/s"})
    workers = [site.work() for _ in range(3)]
    began = time.monotonic()
    ids = site.enqueue(count, "a")
    for n in range(kills):
        wait_for(lambda n=n: len(third.came) >= count * (n + 1) // (kills + 2), 120)
        workers[n % 3].kill()
        workers[n % 3] = site.work()
    for id in ids[-1:] + ids[:: max(1, count // 20)]:
        assert site.api.wait(id, timeout_s=120)["state"] == "completed"
    wait_for(lambda: site.waiting() == 0, 120)
    took = time.monotonic() - began
    assert third.most <= 6, f"{third.most} at once"
    # A worker may begin a little later what it was given, so what was handed out before is in the count.
    for seconds in (2, 5, 20):
        came = most_within(third.came, seconds)
        assert came <= 1.05 * rate * seconds + 0.2 * rate + 6, f"{came} in {seconds} s"
    assert len(third.came) >= count and len(third.came) <= 1.05 * (rate * took + 0.2 * rate + 6)


def test_changed_while_it_runs(store_url, windlass, tmp_path, party):
    third = party(0.3)
    site = Site(windlass, store_url, tmp_path, calls(third), {"concurrency": 2})
    worker = site.work()
    site.enqueue(40, "a")
    wait_for(lambda: third.most == 2)
    assert site.api.request("PUT", "/v1/queues/calls/limits", json={"concurrency": 5}).json()["in_force"]["concurrency"] == 5
    wait_for(lambda: third.most == 5)
    time.sleep(0.5)
    assert third.most == 5
    view = site.api.get("/v1/queues/calls/limits").json()
    assert view["file"]["concurrency"] == 2 and view["set"]["concurrency"] == 5 and 1 <= view["in_hand"] <= 5
    cli = {"WINDLASS_URL": site.gateway.url}
    windlass.command("limits", "type", "call", "--concurrency", "1", **cli)
    wait_for(lambda: third.inside <= 1)
    with third.lock:
        third.most = third.inside
    time.sleep(1)
    assert third.most <= 1
    assert "call" in windlass.command("limits", **cli).stdout
    windlass.command("limits", "type", "call", "--reset", **cli)
    windlass.command("limits", "queue", "calls", "--concurrency", "none", **cli)
    wait_for(lambda: third.most > 5)
    wait_for(lambda: site.waiting() == 0)
    noted = [(a["action"], a["object"]) for a in site.api.get("/v1/audit").json()["items"]]
    assert noted == [("queue.limits", "calls"), ("type.limits", "call"), ("type.limits", "call"), ("queue.limits", "calls")]
    worker.stop()


@pytest.mark.parametrize("body,pointer", [
    ({"concurrency": 0}, "/concurrency"), ({"rate": "5"}, "/rate"), ({"rate": 5}, "/rate"), ({"per_key": {"nope": 1}}, "/per_key/nope"),
    ({"per_key": {"rate": "x/s"}}, "/per_key/rate"), ({"fair": 1}, "/fair"), ({"weights": {"a": 0}}, "/weights"), ({"nope": 1}, "/nope"),
])
def test_refused(windlass, sqlite_url, tmp_path, party, body, pointer):
    site = Site(windlass, sqlite_url, tmp_path, calls(party(0)), {})
    answer = site.api.request("PUT", "/v1/queues/calls/limits", json=body)
    assert answer.status_code == 422 and answer.json().get("pointer", pointer) == pointer, answer.text
    assert site.api.request("PUT", "/v1/queues/nope/limits", json={}).status_code == 404
    assert site.api.request("PUT", "/v1/types/call/limits", json={"fair": True}).status_code == 422


def quiet_among_noisy(site, many):
    """How long one job of a quiet tenant takes while so many of a noisy one wait."""
    site.rows("CREATE TABLE effects(id text NOT NULL, who text NOT NULL, PRIMARY KEY (id, who))")
    site.enqueue(many, "noisy", ms=20, deaf=1)
    for _ in range(2):
        site.work(WINDLASS_CONCURRENCY=2)
    wait_for(lambda: site.rows("SELECT count(*) FROM effects")[0][0] > 40, 60)
    began = time.monotonic()
    (id,) = site.enqueue(1, "quiet", ms=1, deaf=1)
    assert site.api.wait(id, timeout_s=60)["state"] == "completed"
    took = time.monotonic() - began
    assert site.waiting() > many / 2, "they had nearly all been done"
    return took


def test_quiet_tenant(store_url, windlass, engine_jobs, tmp_path, long_form):
    site = Site(windlass, store_url, tmp_path, naps(engine_jobs), {"fair": True})
    took = quiet_among_noisy(site, 100_000 if long_form else 3000)
    assert took < (2 if long_form else 10)


@pytest.fixture(params=["rabbit", "kafka", "sqs"])
def long_broker(request, long_form):
    if not long_form:
        pytest.skip("in the long form")
    return request.getfixturevalue(request.param)


@pytest.mark.timeout(400)
def test_quiet_tenant_on_a_broker(pg_url, long_broker, windlass, engine_jobs, tmp_path):
    windlass.expect("kafka-consumer", "sqs-queue-trouble", "kafka-client-left-behind")
    site = Site(windlass, pg_url, tmp_path, naps(engine_jobs), {"fair": True}, prefix=long_broker.prefix, **long_broker.settings)
    windlass.dispatch(**site.settings)
    assert quiet_among_noisy(site, 100_000) < 2

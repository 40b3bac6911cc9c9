# SPDX-License-Identifier: Apache-2.0
"""Webhooks against a receiver that verifies them with the stock package: every kind of end, retries, 410, crashes, refusals."""

import base64
import collections
import datetime
import http.server
import json
import os
import threading
import time

import psycopg
import pytest
import standardwebhooks.webhooks
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from harness.rig import Rig, napping
from harness.store import rows
from harness.windlass import wait_for

OLD = "whsec_" + base64.b64encode(b"o" * 32).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(24))).decode()
LOOPBACK = {"WINDLASS_WEBHOOK_SECRET": OLD, "WINDLASS_REMOTE_ALLOW": "127.0.0.0/8", "HOOK_URL": ""}

Request = collections.namedtuple("Request", "path headers body at")


class Receiver:
    """Keeps every request; answers(path, n) says how the n-th of a path is answered: a status, or (status, headers)."""

    def __init__(self):
        self.requests, self.answers, self.lock = [], lambda path, n: 204, threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.lock:
                    receiver.requests.append(Request(self.path, dict(self.headers), body, time.monotonic()))
                    n = len(receiver.of(self.path))
                answer = receiver.answers(self.path, n)
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, path):
        return [r for r in self.requests if r.path == path]

    def wait(self, path, count=1, timeout_s=30):
        return wait_for(lambda: len(found := self.of(path)) >= count and found, timeout_s)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def hooked(rig):
    """The rig with a key and loopback let through, at the gateway and the worker."""
    rig.settings.update(LOOPBACK)
    rig.gateway.stop()
    rig.gateway = rig.windlass.gateway(**rig.settings)
    rig.api = rig.gateway.api()
    return rig


def webhooks_of(rig, job):
    """The webhook jobs of one job."""
    items = rig.api.get("/v1/jobs", params={"type": "windlass.webhook", "limit": 1000}).json()["items"]
    return [i for i in items if i["owner"] == f"job:{job}"]


def settled(rig, job, state, timeout_s=30):
    """Its only webhook job, when it is in this state."""
    return wait_for(lambda: len(w := webhooks_of(rig, job)) == 1 and w[0]["state"] == state and w[0], timeout_s)


def verify(request, secret=OLD):
    return Webhook(secret).verify(request.body, request.headers)


def test_every_end_is_told_once_and_signed(hooked, receiver):
    hooked.work()
    url = receiver.url + "/told?x="
    ends = {
        "completed": hooked.api.enqueue("put", {"who": "me"}, callback_url=url + "completed"),
        "discarded": hooked.api.enqueue("refuse", callback_url=url + "discarded"),
        "cancelled": hooked.api.enqueue("put", {"who": "no"}, delay="1h", callback_url=url + "cancelled"),
    }
    quiet = hooked.api.enqueue("put", {"who": "quiet"})
    assert hooked.api.post(f"/v1/jobs/{ends['cancelled']}/cancel", json={"reason": "changed"}).status_code == 200
    for state, id in ends.items():
        told = receiver.wait("/told?x=" + state)[0]
        event = verify(told)
        assert event["type"] == "job." + state and set(event) == {"type", "timestamp", "data"}
        data = event["data"]
        assert (data["id"], data["state"], data["type"]) == (id, state, "refuse" if state == "discarded" else "put")
        assert data["reason"] == {"completed": None, "discarded": "not you", "cancelled": "changed"}[state]
        job = settled(hooked, id, "completed")
        assert told.headers["webhook-id"] == job["id"]
        assert told.headers["Content-Type"] == "application/json"
        assert hooked.api.get_job(id)["callback_url"] == url + state
    hooked.api.wait(quiet)
    time.sleep(1)
    assert len(receiver.requests) == 3 and not webhooks_of(hooked, quiet)


class Clock(datetime.datetime):
    ahead_s = 0

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.now(tz) + datetime.timedelta(seconds=cls.ahead_s)


def test_nothing_else_verifies(hooked, receiver, monkeypatch):
    hooked.work()
    hooked.api.enqueue("put", {"who": "me"}, callback_url=receiver.url + "/x")
    told = receiver.wait("/x")[0]
    verify(told)
    monkeypatch.setattr(Clock, "ahead_s", 0)
    monkeypatch.setattr(standardwebhooks.webhooks, "datetime", Clock)
    verify(told)
    again = json.dumps(json.loads(told.body)).encode()
    assert again != told.body
    flips = [told.body[:i] + bytes([told.body[i] ^ 1 << bit]) + told.body[i + 1:] for i in range(0, len(told.body), 7) for bit in range(7)]
    for body in (again, told.body + b"\n", told.body[:-1], b"", *flips):
        with pytest.raises(WebhookVerificationError):
            verify(told._replace(body=body))
    for name, value in (("webhook-id", "other"), ("webhook-timestamp", str(int(told.headers["webhook-timestamp"]) + 1))):
        with pytest.raises(WebhookVerificationError):
            verify(told._replace(headers={**told.headers, name: value}))
    with pytest.raises(WebhookVerificationError):
        verify(told, NEW)
    for ahead_s, good in ((290, True), (-290, True), (311, False), (-311, False)):
        Clock.ahead_s = ahead_s  # a replay
        if good:
            verify(told)
        else:
            with pytest.raises(WebhookVerificationError):
                verify(told)


def test_two_keys_sign_while_receivers_change(hooked, receiver):
    worker = hooked.work(WINDLASS_WEBHOOK_SECRET=f"{NEW} {OLD}")
    hooked.api.enqueue("put", {"who": "both"}, callback_url=receiver.url + "/both")
    both = receiver.wait("/both")[0]
    verify(both, OLD)
    verify(both, NEW)
    worker.stop()
    hooked.work(WINDLASS_WEBHOOK_SECRET=NEW)
    hooked.api.enqueue("put", {"who": "new"}, callback_url=receiver.url + "/new")
    new = receiver.wait("/new")[0]
    verify(new, NEW)
    with pytest.raises(WebhookVerificationError):
        verify(new, OLD)


def test_failures_are_tried_again(hooked, receiver):
    """After 5 s, or when Retry-After says; with the same id and body and a new time."""
    answers = {"/bad": [500, 200], "/busy": [(503, {"Retry-After": "9"}), 200], "/moved": [(302, {"Location": "/bad"}), 200],
               "/refused": [404, 200]}
    receiver.answers = lambda path, n: answers[path][min(n, 2) - 1]
    hooked.work()
    ids = {path: hooked.api.enqueue("put", {"who": path}, callback_url=receiver.url + path) for path in answers}
    for path, id in ids.items():
        first, second = receiver.wait(path, 2)
        assert first.headers["webhook-id"] == second.headers["webhook-id"] and first.body == second.body
        assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
        verify(first), verify(second)
        least_s = 9 if path == "/busy" else 5
        assert least_s - 0.1 <= second.at - first.at < least_s + 6
        job = hooked.api.get_job(settled(hooked, id, "completed")["id"])
        assert [a["outcome"] for a in job["attempts"]] == ["retry"] and str(answers[path][0] if path in ("/bad", "/refused") else "") in \
            job["attempts"][0]["reason"]
        assert job["max_attempts"] == 10
        assert len(receiver.of(path)) == 2


def test_gone_disables_the_address(hooked, receiver):
    receiver.answers = lambda path, n: 410 if n == 1 else 204
    hooked.work()
    first = hooked.api.enqueue("put", {"who": "a"}, callback_url=receiver.url + "/gone")
    job = settled(hooked, first, "discarded")
    assert "410" in hooked.api.get_job(job["id"])["reason"]
    items = hooked.api.get("/v1/webhooks/disabled").json()["items"]
    assert [(i["url"], i["job"]) for i in items] == [(receiver.url + "/gone", job["id"])]
    second = hooked.api.enqueue("put", {"who": "b"}, callback_url=receiver.url + "/gone")
    assert "disabled" in hooked.api.get_job(settled(hooked, second, "discarded")["id"])["reason"]
    assert len(receiver.of("/gone")) == 1
    enable = {"url": receiver.url + "/gone"}
    assert hooked.api.post("/v1/webhooks/enable", json=enable).json() == {**enable, "disabled": False}
    assert hooked.api.post("/v1/webhooks/enable", json=enable).status_code == 404
    assert hooked.api.post("/v1/webhooks/enable", json={"url": 1}).status_code == 422
    assert hooked.api.get("/v1/webhooks/disabled").json() == {"items": []}
    time.sleep(6)  # workers look every 5 s
    assert hooked.api.post(f"/v1/jobs/{webhooks_of(hooked, second)[0]['id']}/retry").status_code == 202
    assert len(receiver.wait("/gone", 2)) == 2


def test_killed_between_sending_and_storing(hooked, receiver):
    """At least once, with one id."""
    hooked.windlass.expect("leases-released")
    hold = threading.Event()
    receiver.answers = lambda path, n: (hold.wait(20), 200)[1] if n == 1 else 200
    worker = hooked.work()
    id = hooked.api.enqueue("put", {"who": "me"}, callback_url=receiver.url + "/killed")
    receiver.wait("/killed")
    worker.kill()
    hold.set()
    assert hooked.api.get_job(id)["state"] == "completed"
    hooked.work()
    first, second = receiver.wait("/killed", 2)
    settled(hooked, id, "completed")
    assert first.headers["webhook-id"] == second.headers["webhook-id"] and first.body == second.body
    verify(second)
    time.sleep(1)
    assert len(receiver.requests) == 2


def test_cancelled_while_it_runs(hooked, receiver):
    hooked.work()
    id = hooked.api.enqueue("nap", {"seconds": 30}, callback_url=receiver.url + "/stopped")
    napping(hooked, id)
    assert hooked.api.post(f"/v1/jobs/{id}/cancel").status_code == 202
    assert verify(receiver.wait("/stopped")[0])["data"]["state"] == "cancelled"


def test_struck_out(hooked, receiver):
    hooked.windlass.expect("host-died", "host-fault")
    hooked.work()
    hooked.api.enqueue("crash", callback_url=receiver.url + "/crashed")
    data = verify(receiver.wait("/crashed", timeout_s=60)[0])["data"]
    assert data["state"] == "discarded" and "signal 6" in data["reason"] and data["attempt"] == 3


def test_hooks_of_a_type(hooked, receiver, tmp_path):
    """Only of the ends that it names, to an address out of the worker's environment."""
    text = open(hooked.jobs).read()
    assert "  refuse:" in text
    jobs = tmp_path / "jobs.yaml"
    hook = "hooks: [{url: '${env.HOOK_URL}/hook', on: [discarded]}]"
    text = text.replace("engine_jobs.so", os.path.join(os.path.dirname(hooked.jobs), "engine_jobs.so"))
    jobs.write_text(text + f"""
  quiet.sql: {{sql: "SELECT 1", {hook}}}
  loud.sql: {{sql: "SELECT 1 FROM nowhere", retry: {{max_attempts: 1}}, {hook}}}
""")
    settings = {"WINDLASS_JOBS": jobs, "HOOK_URL": receiver.url}
    hooked.gateway.stop()
    hooked.settings.update(settings)
    hooked.gateway = hooked.windlass.gateway(**hooked.settings)
    hooked.api = hooked.gateway.api()
    hooked.work(WINDLASS_REMOTE_ALLOW="")  # the definition's own address is not guarded
    quiet, loud = hooked.api.enqueue("quiet.sql"), hooked.api.enqueue("loud.sql")
    event = verify(receiver.wait("/hook")[0])
    assert event["data"]["id"] == loud and event["type"] == "job.discarded"
    job = hooked.api.get_job(settled(hooked, loud, "completed")["id"])
    assert receiver.url not in json.dumps(job) and "${env.HOOK_URL}/hook" in json.dumps(job)
    hooked.api.wait(quiet, "completed")
    time.sleep(1)
    assert len(receiver.requests) == 1


def test_guarded(hooked, receiver):
    """An address out of a request must not lead inside."""
    hooked.work(WINDLASS_REMOTE_ALLOW="10.0.0.0/8")
    port = receiver.url.rpartition(":")[2]
    urls = [receiver.url + "/in", f"https://localhost:{port}/in", f"https://[::ffff:127.0.0.1]:{port}/in", "https://169.254.169.254/x"]
    for url in urls:
        id = hooked.api.enqueue("put", {"who": url}, callback_url=url)
        assert "not public" in hooked.api.get_job(settled(hooked, id, "discarded")["id"])["reason"]
    assert not receiver.requests


REFUSED = [
    ({"type": "put", "callback_url": "ftp://a.example"}, "/callback_url"),
    ({"type": "put", "callback_url": "https://user:pw@a.example"}, "/callback_url"),
    ({"type": "put", "callback_url": "https://a.example/\r\nX-Y: z"}, "/callback_url"),
    ({"type": "put", "callback_url": "https://" + "a" * 2000}, "/callback_url"),
    ({"type": "put", "callback_url": None}, "/callback_url"),
    ({"type": "windlass.webhook", "payload": {"url": "https://a.example", "event": {}}}, "/type"),
    ({"type": "put", "queue": "windlass.webhooks"}, "/queue"),
]


def test_doors(hooked, receiver):
    for body, pointer in REFUSED:
        for path, sent in (("/v1/jobs", body), ("/v1/jobs/batch", [body])):
            answer = hooked.api.post(path, json=sent)
            assert answer.status_code == 422, (body, answer.text)
            assert answer.json()["errors"][0]["pointer"].endswith(pointer), answer.text
    id = hooked.api.enqueue_batch([{"type": "put", "payload": {"who": "b"}, "callback_url": receiver.url + "/batch"}])[0]
    copy = hooked.api.post(f"/v1/jobs/{id}/copy", json={"payload": {"who": "c"}})
    assert copy.status_code == 202
    hooked.work()
    told = receiver.wait("/batch", 2)
    assert {verify(t)["data"]["id"] for t in told} == {id, copy.json()["id"]}
    assert hooked.api.post(f"/v1/jobs/{webhooks_of(hooked, id)[0]['id']}/copy").status_code == 422


def test_without_a_key_there_are_none(rig, tmp_path):
    answer = rig.api.post_job("put", {"who": "x"}, callback_url="https://a.example")
    assert answer.status_code == 422 and "WINDLASS_WEBHOOK_SECRET" in answer.text
    jobs = tmp_path / "hooked.yaml"
    jobs.write_text("jobs:\n  a: {sql: SELECT 1, hooks: [{url: 'https://a.example'}]}\n")
    done = rig.windlass.command("check", WINDLASS_JOBS=jobs, check=False)
    assert done.returncode == 78 and ":2:3: `a` has hooks" in done.stderr + done.stdout
    assert "callback_url is refused" in rig.windlass.command("doctor", check=False, **rig.settings).stdout


def test_from_sql(hooked, receiver):
    if hooked.url.startswith("sqlite:"):
        return  # has no such function
    worker = hooked.work()
    with psycopg.connect(hooked.url, autocommit=True) as client:
        for type, opts in (("windlass.webhook", {}), ("put", {"queue": "windlass.webhooks"}), ("put", {"callback_url": "ftp://x"}),
                           ("put", {"callback_url": "https://u@x"}), ("put", {"callback_url": "https://x/ y"})):
            with pytest.raises(psycopg.errors.InvalidParameterValue):
                client.execute("SELECT windlass.enqueue(%s, '{}', %s)", (type, json.dumps(opts)))
        (id,) = client.execute("SELECT windlass.enqueue('put', '{\"who\": \"sql\"}', %s)",
                               (json.dumps({"callback_url": receiver.url + "/sql?a=1&b=%20"}),)).fetchone()
    assert verify(receiver.wait("/sql?a=1&b=%20")[0])["data"]["id"] == str(id)
    assert worker.popen.poll() is None


def test_secret_is_nowhere(hooked, receiver):
    """Not in logs, jobs, metrics or process arguments."""
    worker = hooked.work()
    id = hooked.api.enqueue("put", {"who": "me"}, callback_url=receiver.url + "/s")
    receiver.wait("/s")
    job = settled(hooked, id, "completed")
    seen = worker.log() + hooked.gateway.log() + json.dumps(hooked.api.get_job(job["id"])) + str(worker.metrics())
    for pid in worker.members() + hooked.gateway.members():
        for name in ("cmdline", "environ"):
            seen += open(f"/proc/{pid}/{name}", errors="replace").read()
    assert OLD not in seen and OLD.removeprefix("whsec_") not in seen
    table = "windlass_jobs" if hooked.url.startswith("sqlite:") else "windlass.jobs"
    assert all(OLD not in str(row) for row in rows(hooked.url, f"SELECT * FROM {table}"))


def test_with_a_broker(broker_rig, receiver):
    """They travel like any job; those of messages too."""
    rig = broker_rig
    rig.settings.update(LOOPBACK)
    rig.gateway.stop()
    rig.gateway = rig.windlass.gateway(**rig.settings)
    rig.api = rig.gateway.api()
    if rig.dispatcher:
        rig.dispatcher.stop()
        rig.dispatch()
    rig.work()
    ids = [rig.api.enqueue("put", {"who": str(n)}, callback_url=receiver.url + "/travels") for n in range(20)]
    told = receiver.wait("/travels", 20, timeout_s=60)
    assert sorted(verify(t)["data"]["id"] for t in told) == sorted(ids)
    wait_for(lambda: all(webhooks_of(rig, id)[0]["state"] == "completed" for id in ids), 30)
    assert len(receiver.requests) == 20


# ---- with a broker they travel like any job

@pytest.fixture
def travelling(pg_url, rabbit, windlass, engine_jobs):
    windlass.expect("leases-released", "dispatch-held")  # until a worker has made the queues
    rig = Rig(windlass, pg_url, engine_jobs)
    rig.settings.update(rabbit.settings, **LOOPBACK, WINDLASS_DISPATCH_LEASE="3s")
    rig.gateway.stop()
    rig.gateway = windlass.gateway(**rig.settings)
    rig.api = rig.gateway.api()
    windlass.dispatch(**rig.settings)
    return rig


def test_rabbitmq_carries_webhooks(travelling, receiver):
    receiver.answers = lambda path, n: 500 if path == "/completed" and n == 1 else 204
    travelling.work()
    ends = {
        "completed": travelling.api.enqueue("put", {"who": "me"}, callback_url=receiver.url + "/completed"),
        "discarded": travelling.api.enqueue("refuse", callback_url=receiver.url + "/discarded"),
        "cancelled": travelling.api.enqueue("put", {"who": "no"}, delay="1h", callback_url=receiver.url + "/cancelled"),
    }
    assert travelling.api.post(f"/v1/jobs/{ends['cancelled']}/cancel").status_code == 200
    for state, id in ends.items():
        told = receiver.wait("/" + state, 2 if state == "completed" else 1, 60)
        assert {verify(request)["data"]["id"] for request in told} == {id} and len({r.headers["webhook-id"] for r in told}) == 1
        assert settled(travelling, id, "completed")["id"] == told[0].headers["webhook-id"]
    assert len(receiver.requests) == 4


@pytest.mark.parametrize("point", ["before_commit", "commit_sent", "after_commit_before_ack"])
def test_rabbitmq_and_a_worker_that_dies(travelling, receiver, point):
    """Each end has one webhook, whatever of its worker, its message and its transaction was lost; what was sent twice has one id."""
    dying = travelling.work(wait=False, WINDLASS_FAILPOINT=f"{point}:3:kill")
    ids = [travelling.api.enqueue("put", {"who": "me"}, callback_url=receiver.url + "/told") for _ in range(8)]
    wait_for(lambda: dying.popen.poll() is not None, 30)
    dying.kill()
    travelling.work()
    for id in ids:
        assert travelling.api.wait(id, timeout_s=60)["state"] == "completed"
        settled(travelling, id, "completed", 60)
    told = {r.headers["webhook-id"]: verify(r)["data"]["id"] for r in receiver.of("/told")}
    assert sorted(told.values()) == sorted(ids)

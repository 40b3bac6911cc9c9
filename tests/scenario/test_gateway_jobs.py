# SPDX-License-Identifier: Apache-2.0
"""The API's routes for jobs and queues, on both stores, without workers: what can end here ends by cancel."""

import concurrent.futures
import json
import threading
import time
import uuid

import pytest

from harness.checklist import row
from harness.gateway import start, uuid7
from harness.store import rows
from harness.windlass import wait_for


@pytest.fixture
def gateway(store_url, windlass): # torn down in reverse: the gateway before its database
    return start(windlass, store_url)


@pytest.fixture
def api(gateway):
    return gateway.api()


def problem(answer, status, slug):
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert body["type"] == f"urn:windlass:problem:{slug}" and body["status"] == status and body["title"]
    return body


def test_accept_and_get(api):
    answer = api.post_job("note.add", {"who": "Zoë", "n": 1.50}, priority="high", tags=["a", "b"], order_key="k")
    assert answer.status_code == 202
    accepted = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{accepted['id']}"
    assert {k: accepted[k] for k in ("state", "type", "queue", "priority")} == {
        "state": "available", "type": "note.add", "queue": "notes", "priority": "high"}
    job = api.get(answer.headers["Location"]).json()
    assert job["payload"] == {"who": "Zoë", "n": 1.5} and job["tags"] == ["a", "b"] and job["order_key"] == "k"
    assert job["attempt"] == 0 and job["attempts"] == [] and job["owner"] == "local"
    assert job["created_at"].endswith("Z")


def test_payload_is_kept_verbatim(api):
    text = '{"type":"note.add","payload":{ "who" : "x",  "big":12345678901234567, "f":1.500 }}'
    id = api.post("/v1/jobs", data=text, headers={"Content-Type": "application/json"}).json()["id"]
    assert '{ "who" : "x",  "big":12345678901234567, "f":1.500 }' in api.get(f"/v1/jobs/{id}").text


BAD_ORDER = {"customer": "ADA", "amount": 0.005, "placed": "today", "lines": [{"sku": 1}, {"qty": 0}], "note": ""}
BAD_PLACES = [
    ("/customer", "pattern", 'must match the pattern "^[a-z]+$"'),
    ("/amount", "multipleOf", "must be a multiple of 0.01"),
    ("/amount", "minimum", "must be at least 1"),
    ("/placed", "format", 'must be in the format "date-time"'),
    ("/lines/1/sku", "required", "is missing"),
    ("/lines/1/qty", "exclusiveMinimum", "must be more than 0"),
    ("/note", "additionalProperties", "is not a member that is allowed here"),
]


def places(errors):
    return sorted((e["pointer"], e.get("keyword"), e["detail"]) for e in errors)


def test_all_that_a_schema_refuses_is_told(api):
    body = problem(api.post_job("order.add", BAD_ORDER), 422, "payload-refused")
    assert places(body["errors"]) == sorted(("/payload" + pointer, keyword, detail) for pointer, keyword, detail in BAD_PLACES)
    assert body["detail"] == body["errors"][0]["detail"] and "more_errors" not in body
    assert api.post_job("order.add", {"customer": "ada", "amount": 19.99, "lines": [{"sku": 1}]}).status_code == 202


def test_what_a_schema_refuses_in_a_batch_is_told(api):
    good = {"type": "order.add", "payload": {"customer": "ada", "amount": 1}}
    body = problem(api.post("/v1/jobs/batch", json=[good, {"type": "order.add", "payload": BAD_ORDER}]), 422, "invalid")
    assert places(body["errors"]) == sorted(("/1/payload" + pointer, keyword, detail) for pointer, keyword, detail in BAD_PLACES)


def test_many_faults_are_counted(api):
    order = {"customer": "ada", "amount": 1, "lines": [5] * 100}
    body = problem(api.post_job("order.add", order), 422, "payload-refused")
    assert len(body["errors"]) == 64 and body["more_errors"] == 36


def test_faults_of_long_names_are_short(api):
    long = {"customer": "ada", "amount": 1, **{"ä" * 1000 + str(n): n for n in range(20)}}
    answer = api.post_job("order.add", long)
    problem(answer, 422, "payload-refused")
    assert len(answer.content) < 20_000


def test_scheduled(api):
    soon = api.post_job("note.add", {"who": "x"}, delay="1h").json()
    assert soon["state"] == "scheduled"
    at = api.post_job("note.add", {"who": "x"}, run_at="2126-01-01T00:00:00Z")
    problem(at, 422, "invalid")
    assert "due_at" in api.get_job(soon["id"])


def test_refusals(api):
    assert problem(api.post_job("nobody"), 422, "unknown-type")["errors"][0]["pointer"] == "/type"
    assert problem(api.post_job("note.add", {}), 422, "payload-refused")["errors"][0]["pointer"] == "/payload/who"
    assert problem(api.post_job("mail.send", priority="urgent"), 422, "invalid")["errors"][0]["pointer"] == "/priority"
    assert problem(api.post_job("mail.send", state="completed"), 422, "invalid")["errors"][0]["pointer"] == "/state"
    problem(api.post_job("mail.send", id=uuid7(time.time() - 90000)), 422, "invalid")
    json_header = {"Content-Type": "application/json"}
    bad = problem(api.post("/v1/jobs", data='{"type":"mail.send",\n "x" 1}', headers=json_header), 400, "malformed-json")
    assert bad["line"] == 2 and bad["column"] >= 5
    for text in ('{"type":"mail.send","type":"x"}', '{"type":"mail.send","payload":' + "[" * 70 + "]" * 70 + "}",
                 '{"type":"mail.send","payload":1e400}', '{"type":"mail.send"} x', "", '{"a":"\\u0000"}'):
        problem(api.post("/v1/jobs", data=text, headers=json_header), 400, "malformed-json")
    problem(api.post("/v1/jobs", data=b'{"type":"\xff"}', headers=json_header), 400, "malformed-json")
    problem(api.post("/v1/jobs", data="[]", headers=json_header), 422, "invalid")
    problem(api.post("/v1/jobs", data="{}", headers={"Content-Type": "text/plain"}), 415, "wrong-content-type")
    problem(api.post("/v1/jobs", data="{}"), 415, "wrong-content-type")
    problem(api.post_job("mail.send", {"x": "y" * 300000}), 413, "body-too-large")


def test_unknown_jobs_and_paths(api):
    problem(api.get(f"/v1/jobs/{uuid7()}"), 404, "unknown-job")
    problem(api.get("/v1/jobs/banana"), 404, "unknown-job")
    problem(api.get(f"/v1/jobs/{uuid7(time.time() - 30 * 86400)}"), 410, "past-retention")
    problem(api.get("/v2"), 404, "unknown-path")
    wrong = api.request("DELETE", "/v1/jobs")
    problem(wrong, 405, "wrong-method")
    assert set(wrong.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}
    problem(api.get("/v1/jobs?stat=x"), 400, "bad-parameter")
    problem(api.get("/v1/jobs?limit=0"), 400, "bad-parameter")
    problem(api.get("/v1/jobs?cursor=abc"), 400, "bad-parameter")
    problem(api.get(f"/v1/jobs/{uuid7()}?wait=1h"), 400, "bad-parameter")
    assert api.request("HEAD", "/v1/queues").status_code == 200


def test_idempotency_key(api):
    row("Idempotency", "the same key: the same job; another payload 422; longer than 255 characters 400", 5)
    first = api.post_job("note.add", {"who": "x"}, headers={"Idempotency-Key": '"k-1"'})
    assert first.status_code == 202 and "Idempotency-Replayed" not in first.headers
    again = api.post_job("note.add", {"who": "x"}, headers={"Idempotency-Key": "k-1"})
    assert again.status_code == 202 and again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    problem(api.post_job("note.add", {"who": "y"}, headers={"Idempotency-Key": "k-1"}), 422, "idempotency-key-reused")
    problem(api.post_job("note.add", {"who": "y"}, headers={"Idempotency-Key": "k" * 256}), 400, "bad-idempotency-key")
    api.post(f"/v1/jobs/{first.json()['id']}/cancel")
    assert api.post_job("note.add", {"who": "x"}, headers={"Idempotency-Key": "k-1"}).json()["state"] == "cancelled"


def test_concurrent_twins_are_one_job(gateway):
    row("Idempotency", "the same key at the same time: one job", 48)

    def post(_):
        return gateway.api().post_job("note.add", {"who": "x"}, headers={"Idempotency-Key": "same"})

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(post, range(48)))
    assert {a.status_code for a in answers} == {202}
    assert len({a.json()["id"] for a in answers}) == 1
    assert sum("Idempotency-Replayed" not in a.headers for a in answers) == 1


def test_client_made_id(api):
    id = uuid7()
    assert api.post_job("note.add", {"who": "x"}, id=id).json()["id"] == id
    again = api.post_job("note.add", {"who": "x"}, id=id)
    assert again.status_code == 202 and again.headers["Idempotency-Replayed"] == "true"
    problem(api.post_job("note.add", {"who": "y"}, id=id), 422, "id-taken")


def test_unique(api):
    first = api.post_job("note.add", {"who": "x"}, unique={"key": "u"}).json()
    second = api.post_job("note.add", {"who": "y"}, unique={"key": "u"})
    assert second.status_code == 202
    assert second.json()["id"] == first["id"] and second.json()["unique_conflict"] is True
    third = api.post_job("note.add", {"who": "z"}, unique={"key": "u", "on_conflict": "replace"}).json()
    assert third["id"] != first["id"] and third["replaced"] == first["id"]
    assert api.get_job(first["id"])["state"] == "cancelled"
    assert api.post_job("mail.send", unique={"key": "u"}).json()["id"] != third["id"]


def test_batch(api):
    ids = api.enqueue_batch([{"type": "note.add", "payload": {"who": str(n)}} for n in range(500)])
    assert len(set(ids)) == 500
    assert api.get_job(ids[499])["payload"] == {"who": "499"}
    lines = "\n".join(json.dumps({"type": "note.add", "payload": {"who": n}}) for n in ("a", "b")) + "\n\n"
    ndjson = api.post("/v1/jobs/batch", data=lines, headers={"Content-Type": "application/x-ndjson"})
    assert ndjson.status_code == 202 and len(ndjson.json()["ids"]) == 2


def test_batch_is_all_or_nothing(api):
    good = {"type": "note.add", "payload": {"who": "x"}}
    bad = problem(api.post("/v1/jobs/batch", json=[good, {"type": "nobody"}, good, {"type": "note.add"}]), 422, "invalid")
    assert [e["pointer"] for e in bad["errors"]] == ["/1/type", "/3/payload/who"]
    assert api.get("/v1/jobs").json()["items"] == []
    problem(api.post("/v1/jobs/batch", json=[]), 422, "invalid")
    problem(api.post("/v1/jobs/batch", json={}), 422, "invalid")
    problem(api.post("/v1/jobs/batch", json=[{"type": "mail.send"}] * 10001), 422, "batch-too-large")
    twin = {**good, "unique": {"key": "u"}}
    assert problem(api.post("/v1/jobs/batch", json=[twin, twin]), 422, "invalid")["errors"][0]["pointer"] == "/1"
    broken = api.post("/v1/jobs/batch", data='{"type":"mail.send"}\n{"type":\n', headers={"Content-Type": "application/x-ndjson"})
    assert problem(broken, 400, "malformed-json")["line"] == 2
    headers = {"Idempotency-Key": "b"}
    first = api.post("/v1/jobs/batch", json=[good, good], headers=headers).json()["ids"]
    again = api.post("/v1/jobs/batch", json=[good, good], headers=headers)
    assert again.json()["ids"] == first and again.headers["Idempotency-Replayed"] == "true"


def test_large_batch(api):
    assert len(api.enqueue_batch([{"type": "mail.send", "payload": {"n": n}} for n in range(10000)])) == 10000


def test_list(api):
    ids = api.enqueue_batch([{"type": "note.add", "payload": {"who": "x"}, "tags": ["even"] if n % 2 == 0 else []} for n in range(25)])
    api.enqueue("mail.send")
    seen, cursor = [], None
    while True:
        page = api.get("/v1/jobs", params={"type": "note.add", "limit": 10, **({"cursor": cursor} if cursor else {})}).json()
        seen += [job["id"] for job in page["items"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert seen == ids[::-1]
    even = api.get("/v1/jobs", params={"tag": "even", "limit": 100}).json()["items"]
    assert {job["id"] for job in even} == set(ids[::2]) and "payload" not in even[0]
    assert len(api.get("/v1/jobs?queue=notes&state=available").json()["items"]) == 25
    assert api.get("/v1/jobs?state=completed").json() == {"items": [], "next_cursor": None}
    stale = api.get("/v1/jobs", params={"type": "note.add", "limit": 10}).json()["next_cursor"]
    problem(api.get("/v1/jobs", params={"type": "mail.send", "cursor": stale}), 400, "bad-parameter")


def test_cancel_and_retry(api):
    id = api.enqueue("note.add", {"who": "x"})
    answer = api.post(f"/v1/jobs/{id}/cancel", json={"reason": "not wanted"})
    assert answer.status_code == 200 and answer.json() == {"id": id, "state": "cancelled"}
    job = api.get_job(id)
    assert job["state"] == "cancelled" and job["reason"] == "not wanted" and "finished_at" in job
    assert "cancelled" in problem(api.post(f"/v1/jobs/{id}/cancel"), 409, "wrong-state")["detail"]
    assert api.post(f"/v1/jobs/{id}/retry").status_code == 202
    assert api.get_job(id)["state"] == "available"
    problem(api.post(f"/v1/jobs/{uuid7()}/cancel"), 404, "unknown-job")
    problem(api.post(f"/v1/jobs/{id}/cancel", json={"why": "x"}), 422, "invalid")


def commit_step(url, id):
    """What a worker leaves of a job that has got half-way."""
    job, prefix = (uuid.UUID(id).bytes, "windlass_") if url.startswith("sqlite:") else (id, "windlass.")
    at = "0" if url.startswith("sqlite:") else "now()"
    rows(url, f"INSERT INTO {prefix}step (id, step, attempt, value, at) VALUES (?, 'reserve', 1, '7', {at})", job)


def test_a_compensated_job_is_copied_not_retried(gateway, store_url):
    api = gateway.api()
    id = api.enqueue("note.book")
    commit_step(store_url, id)
    assert api.post(f"/v1/jobs/{id}/cancel").status_code == 200
    (release,) = api.get("/v1/jobs", params={"type": "note.count"}).json()["items"]
    assert release["state"] == "available"
    detail = problem(api.post(f"/v1/jobs/{id}/retry"), 409, "wrong-state")["detail"]
    assert "compensated" in detail and "copy" in detail
    assert api.post("/v1/jobs/redrive", json={"state": "cancelled"}).json()["count"] == 0
    assert api.get_job(id)["state"] == "cancelled"
    copy = api.post(f"/v1/jobs/{id}/copy").json()["id"]
    assert copy != id and api.get_job(copy)["state"] == "available"


def test_copy(api):
    id = api.enqueue("note.add", {"who": "x"}, priority="low", tags=["t"], max_attempts=3, order_key="o")
    copy = api.post(f"/v1/jobs/{id}/copy")
    assert copy.status_code == 202 and copy.json()["id"] != id
    job = api.get_job(copy.json()["id"])
    assert job["payload"] == {"who": "x"} and job["priority"] == "low" and job["tags"] == ["t"]
    assert job["max_attempts"] == 3 and job["order_key"] == "o"
    other = api.post(f"/v1/jobs/{id}/copy", json={"payload": {"who": "y"}, "priority": "high"}).json()
    job = api.get_job(other["id"])
    assert job["payload"] == {"who": "y"} and job["priority"] == "high" and job["tags"] == ["t"]
    problem(api.post(f"/v1/jobs/{id}/copy", json={"nonsense": 1}), 422, "invalid")
    problem(api.post(f"/v1/jobs/{uuid7()}/copy"), 404, "unknown-job")


def test_redrive(api):
    ids = api.enqueue_batch([{"type": "note.add", "payload": {"who": "x"}} for _ in range(5)])
    for id in ids:
        api.post(f"/v1/jobs/{id}/cancel")
    wanted = {"state": "cancelled", "type": "note.add"}
    assert api.post("/v1/jobs/redrive", json={**wanted, "dry_run": True}).json() == {"count": 5, "dry_run": True}
    assert api.post("/v1/jobs/redrive", json={**wanted, "limit": 2}).json() == {"count": 2, "dry_run": False}
    assert api.post("/v1/jobs/redrive", json=wanted).json()["count"] == 3
    assert {api.get_job(id)["state"] for id in ids} <= {"available", "scheduled", "retryable"}
    for wrong in ({"state": "running"}, {"limit": 0}, {"rate": -1}, {"dry_run": 1}, {"type": ""}):
        problem(api.post("/v1/jobs/redrive", json=wrong), 422, "invalid")


def test_queues(api):
    api.enqueue("note.add", {"who": "x"})
    queues = {q["name"]: q for q in api.get("/v1/queues").json()["items"]}
    assert {"notes", "small", "default"} <= set(queues)
    assert queues["notes"]["available"] == 1 and not queues["notes"]["paused"] and queues["notes"]["oldest_seconds"] >= 0
    assert queues["small"]["oldest_seconds"] is None
    assert api.post("/v1/queues/notes/pause").json() == {"name": "notes", "paused": True}
    assert {q["name"]: q["paused"] for q in api.get("/v1/queues").json()["items"]}["notes"] is True
    assert api.post("/v1/queues/notes/resume").json()["paused"] is False
    problem(api.post("/v1/queues/a%20b/pause"), 404, "unknown-queue")
    problem(api.post("/v1/queues/nowhere/pause"), 404, "unknown-queue")


def test_queue_is_full(api):
    for _ in range(3):
        api.enqueue("tiny")
    full = api.post_job("tiny")
    assert "small" in problem(full, 429, "queue-full")["detail"]
    assert int(full.headers["Retry-After"]) > 0
    api.enqueue("mail.send")


def test_wait(api, gateway):
    id = api.enqueue("note.add", {"who": "x"})
    began = time.monotonic()
    late = api.get(f"/v1/jobs/{id}?wait=250ms")
    assert late.status_code == 200 and late.json()["state"] == "available" and 0.2 < time.monotonic() - began < 2
    timer = threading.Timer(0.3, lambda: gateway.api().post(f"/v1/jobs/{id}/cancel"))
    timer.start()
    began = time.monotonic()
    ended = api.get(f"/v1/jobs/{id}", headers={"Prefer": "respond-async, wait=20"})
    assert ended.json()["state"] == "cancelled" and time.monotonic() - began < 3
    assert ended.headers["Preference-Applied"] == "wait=20"
    assert api.get(f"/v1/jobs/{id}?wait=20s").json()["state"] == "cancelled"


def test_post_and_wait(api, gateway):
    late = api.post_job("note.add", {"who": "x"}, wait="200ms")
    assert late.status_code == 202 and late.json()["state"] == "available"
    id = uuid7()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lambda: gateway.api().post_job("note.add", {"who": "x"}, wait="20s", id=id))
        time.sleep(0.4)
        assert api.post(f"/v1/jobs/{id}/cancel").status_code == 200
        answer = asked.result(5)
    job = answer.json()
    assert answer.status_code == 200 and job["state"] == "cancelled" and job["payload"] == {"who": "x"}
    replay = api.post_job("note.add", {"who": "x"}, wait="20s", id=id)
    assert replay.status_code == 200 and replay.headers["Idempotency-Replayed"] == "true"


def test_many_waiters(api, gateway):
    ids = api.enqueue_batch([{"type": "note.add", "payload": {"who": str(n)}} for n in range(20)])
    apis = [gateway.api() for _ in range(200)]
    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        asked = [pool.submit(a.get_job, ids[n % 20], "30s") for n, a in enumerate(apis)]
        deadline = time.monotonic() + 10
        while gateway.metrics().get("windlass_waiters", 0) < 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for id in ids:
            api.post(f"/v1/jobs/{id}/cancel")
        assert {job.result(10)["state"] for job in asked} == {"cancelled"}
    assert gateway.metrics()["windlass_waiters"] == 0


def test_a_waiter_that_leaves_is_forgotten(api, gateway):
    id = api.enqueue("note.add", {"who": "x"})
    with pytest.raises(Exception):
        api.get(f"/v1/jobs/{id}?wait=60s", timeout=0.3)
    deadline = time.monotonic() + 5
    while gateway.metrics()["windlass_waiters"] > 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_probes(api, gateway):
    assert api.get("/healthz").json() == {"status": "ok"}
    assert api.get("/readyz").json() == {"ready": True, "reasons": []}
    api.enqueue("note.add", {"who": "x"})
    metrics = gateway.metrics()
    assert metrics['windlass_jobs_accepted_total{type="note.add"}'] == 1
    counted = lambda name: name.startswith("windlass_http_requests_total") and "POST /v1/jobs" in name  # noqa: E731
    wait_for(lambda: any(map(counted, gateway.metrics())))  # an answer is counted once it is sent

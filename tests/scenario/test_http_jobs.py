# SPDX-License-Identifier: Apache-2.0
"""Jobs that are one declared call: what each class of answer makes of them, and that a call whose fate is unknown is sent again,
asked about, or left to a person, as its type says; on both stores."""

import json
import signal
import time

import pytest

from harness.rig import Rig, attempts
from harness.windlass import ROOT, wait_for


@pytest.fixture
def rig(store_url, windlass, third):
    rig = Rig(windlass, store_url, ROOT / "tests/scenario/http_jobs.yaml")
    rig.settings["THIRD"] = third.url
    return rig


def resolve(rig, id, **verdict):
    return rig.api.post(f"/v1/jobs/{id}/resolve", json=verdict)


CLASSES = [
    # script, state, requests, reason, outcomes
    ([200], "completed", 1, None, ["done"]),
    ([500, 201], "completed", 2, None, ["retry", "done"]),
    ([404], "discarded", 1, "status 404", ["discard"]),
    ([302], "discarded", 1, "status 302", ["discard"]),
    ([409], "discarded", 1, "status 409", ["discard"]),
    ([500, 409, 200], "completed", 3, None, ["retry", "retry", "done"]),
    ([503], "discarded", 3, "status 503", ["retry"] * 3),
    ([{"reset": True}, 200], "completed", 2, None, ["retry", "done"]),
    ([429, 200], "completed", 2, None, ["retry", "done"]),
]


@pytest.mark.parametrize("script,state,requests,reason,outcomes", CLASSES)
def test_classes(rig, third, script, state, requests, reason, outcomes):
    third.script("/a", *script)
    worker = rig.work()
    job = rig.run("send", {"path": "a", "who": "me & you"})
    assert job["state"] == state and (reason or "") in (job.get("reason") or ""), job
    seen = third.to("/a")
    assert len(seen) == requests and len({r["key"] for r in seen}) == 1
    assert seen[0]["path"] == "/a?who=me%20%26%20you" and seen[0]["headers"]["X-Job"] == job["id"]
    assert json.loads(seen[0]["body"]) == {"path": "a", "who": "me & you"}
    wait_for(lambda: len(attempts(worker, job["id"])) >= len(outcomes))
    assert [line["outcome"] for line in attempts(worker, job["id"])] == outcomes


def test_retry_after_wins(rig, third):
    third.script("/a", {"status": 503, "headers": {"Retry-After": "2"}}, 200)
    rig.work()
    assert rig.run("send", {"path": "a", "who": "x"})["state"] == "completed"
    first, second = third.to("/a")
    assert 1.8 <= second["at"] - first["at"] <= 3.5


def test_values_stay_in_their_place(rig, third):
    rig.work()
    who = 'a"b\\c\r\n{}/../?#%'
    job = rig.run("shape", {"who": who, "n": [1, {"x": None}]})
    assert job["state"] == "completed" and job["result"] == {"seen": 1}
    assert json.loads(third.to("/shape")[0]["body"]) == {
        "who": who, "text": f"for {who}!", "n": 3, "list": [True, [1, {"x": None}], None], "plain": "${payload}"}
    rig.run("send", {"path": who, "who": who})
    assert third.requests[-1]["path"].startswith("/a%22b%5Cc%0D%0A%7B%7D%2F..%2F%3F%23%25?who=a%22b")
    for path in ("..", ".", "", None):
        job = rig.run("send", {"path": path, "who": "x"})
        assert job["state"] == "discarded" and "payload.path" in job["reason"], job


def test_own_classes(rig, third):
    rig.work()
    third.script("/picky", 404)
    assert rig.run("picky")["result"]["status"] == 404
    third.script("/picky", 418, 200)
    assert rig.run("picky")["state"] == "completed"
    third.script("/picky", 500)
    assert rig.run("picky")["reason"] == "status 500"
    third.script("/picky", {"reset": True})
    assert rig.run("picky")["state"] == "discarded"


def test_what_was_not_sent_is_no_attempt(rig):
    worker = rig.work()
    job = rig.run("nobody")
    assert job["state"] == "discarded" and "not sent" in job["reason"]
    outcomes = wait_for(lambda: (a := attempts(worker, job["id"])) and len(a) >= 5 and a)
    assert [line["outcome"] for line in outcomes] == ["snooze"] * 4 + ["retry"]


def test_address_of_the_payload_is_guarded(rig, third):
    rig.work()
    for url in (f"{third.url}/inside", "https://169.254.169.254/", "gopher://example.com/", "nonsense"):
        job = rig.run("anywhere", {"url": url})
        assert job["state"] == "discarded" and "not sent" in job["reason"], job
    assert not third.requests


def test_large_answer_completes(rig, third):
    third.script("/a", {"status": 200, "body": {"x": "y" * 300000}})
    rig.work()
    job = rig.run("send", {"path": "a", "who": "x"})
    assert job["state"] == "completed" and job["result"]["body"] is None and job["result"]["body_bytes"] > 300000


def test_cancel_aborts_the_call(rig, third):
    third.script("/a", {"delay": 30})
    rig.work()
    id = rig.api.enqueue("send", {"path": "a", "who": "x"})
    wait_for(lambda: third.to("/a"))
    rig.api.post(f"/v1/jobs/{id}/cancel")
    assert rig.api.wait(id, timeout_s=5)["state"] == "cancelled"


# ---- park

@pytest.mark.parametrize("script", [{"reset": True}, {"status": 500}, {"status": 429}, {"delay": 5}])
def test_unknown_fate_parks(rig, third, script):
    third.script("/park", script, 200)
    rig.work()
    id = rig.api.enqueue("park", {"n": 1})
    job = rig.api.wait(id, "parked")
    assert "its fate is unknown" in job["reason"]
    assert [(j["id"], j["open_calls"]) for j in rig.api.get("/v1/jobs?state=parked").json()["items"]] == [(id, ["http"])]
    (queue,) = [q for q in rig.api.get("/v1/queues").json()["items"] if q["name"] == "default"]
    assert (queue["parked"], queue["scheduled"]) == (1, 0)
    assert rig.api.get("/v1/jobs?state=retryable").json()["items"] == []
    assert rig.api.post(f"/v1/jobs/{id}/retry").status_code == 409
    assert resolve(rig, id, call="other", verdict="not_sent").status_code == 422
    assert resolve(rig, id, call="http", verdict="perhaps").status_code == 422
    assert len(third.to("/park")) == 1
    assert resolve(rig, id, call="http", verdict="succeeded", status=201, body={"id": 7}).json()["state"] == "available"
    job = rig.api.wait(id)
    assert job["state"] == "completed" and job["result"] == {"status": 201, "body": {"id": 7}}
    assert len(third.to("/park")) == 1
    assert resolve(rig, id, call="http", verdict="not_sent").status_code == 409


def test_parked_job_sent_again_when_told_so(rig, third):
    third.script("/park", {"status": 502}, 200)
    rig.work()
    id = rig.api.enqueue("park", {"n": 1})
    rig.api.wait(id, "parked")
    cli = rig.windlass.command("jobs", "resolve", id, "--call", "http", "--verdict", "not_sent", WINDLASS_URL=rig.gateway.url)
    assert cli.stdout.split() == [id, "available"]
    assert rig.api.wait(id)["state"] == "completed"
    assert len(third.to("/park")) == 2


def test_parked_job_cancelled(rig, third):
    third.script("/park", {"reset": True})
    rig.work()
    id = rig.api.enqueue("park", {"n": 1})
    rig.api.wait(id, "parked")
    assert rig.api.post(f"/v1/jobs/{id}/cancel").json()["state"] == "cancelled"
    assert rig.api.get("/v1/jobs?state=parked").json()["items"] == []


def test_permanent_answer_closes_the_intent(rig, third):
    third.script("/park", {"status": 400}, 200)
    rig.work()
    id = rig.api.enqueue("park", {"n": 1})
    assert rig.api.wait(id)["state"] == "discarded"
    assert rig.api.post(f"/v1/jobs/{id}/retry").status_code == 202
    assert rig.api.wait(id)["state"] == "completed"


POINTS = ["after_fetch", "after_intent_commit", "after_http_send", "after_http_recv", "before_commit", "commit_sent",
          "after_commit_before_ack"]


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_sends_once(rig, third, point):
    """kill -9 at every point of a job that must not be sent twice: it completes, or is parked after its one request."""
    rig.windlass.expect("leases-released")
    third.script("/park", {"status": 200, "delay": 0.05})
    dying = rig.windlass.work(**rig.settings, WINDLASS_FAILPOINT=f"{point}:3:kill")
    ids = [rig.api.enqueue("park", {"n": n}) for n in range(8)]
    wait_for(lambda: dying.popen.poll() is not None, 20)
    dying.kill()
    rig.work()
    jobs = {id: wait_for(lambda: (j := rig.api.get_job(id))["state"] in ("completed", "parked") and j, 30) for id in ids}
    keys = [r["key"] for r in third.to("/park")]
    assert len(keys) == len(set(keys)), "a call was made twice"
    parked = [id for id in ids if jobs[id]["state"] == "parked"]
    for id in parked:
        resolve(rig, id, call="http", verdict="not_sent")
        assert rig.api.wait(id)["state"] == "completed"
    assert len(third.answers) == len(ids)


def test_keys_are_applied_once_on_reused_connections(rig, third):
    """The other side does what it is asked and closes: with a key it may be asked again, with park it is not."""
    third.script("/a", {"status": 200, "reset_reused": True})
    third.script("/park", {"status": 200, "reset_reused": True})
    rig.work()
    sent = [rig.api.enqueue("send", {"path": "a", "who": "x"}) for _ in range(20)]
    parked = [rig.api.enqueue("park", {"n": n}) for n in range(20)]
    for id in sent:
        assert rig.api.wait(id)["state"] in ("completed", "discarded")
    for id in parked:
        wait_for(lambda: rig.api.get_job(id)["state"] in ("completed", "parked"), 20)
    keys = [r["key"] for r in third.to("/park")]
    assert len(keys) == len(set(keys)) == 20
    assert len({r["key"] for r in third.to("/a")}) == 20


@pytest.mark.parametrize("point", ["after_intent_commit", "after_http_send", "after_http_recv"])
def test_killed_with_a_message_open(pg_url, rabbit, windlass, third, point):
    """A job that a broker delivered is adopted before its intent: the next delivery of its message must not send again."""
    windlass.expect("leases-released")
    rig = Rig(windlass, pg_url, ROOT / "tests/scenario/http_jobs.yaml")
    rig.settings.update(rabbit.settings, WINDLASS_DISPATCH_LEASE="3s", THIRD=third.url)
    third.script("/park", {"delay": 0.05})
    windlass.dispatch(**rig.settings)
    dying = rig.work(wait=False, WINDLASS_FAILPOINT=f"{point}:3:kill")
    ids = [rig.api.enqueue("park", {"n": n}) for n in range(8)]
    wait_for(lambda: dying.popen.poll() is not None, 30)
    dying.kill()
    rig.work()
    for id in ids:
        wait_for(lambda: rig.api.get_job(id)["state"] in ("completed", "parked"), 40)
    keys = [r["key"] for r in third.to("/park")]
    assert len(keys) == len(set(keys)), "a call was made twice"


# ---- lookup

def test_lookup_finds_it(rig, third):
    third.script("/look", {"reset": True})
    third.script("/found", 503, {"status": 200, "body": {"id": 9}})
    rig.work()
    job = rig.run("look", {"n": 1})
    assert job["state"] == "completed" and job["result"] == {"status": 200, "body": {"id": 9}}
    assert len(third.to("/look")) == 1
    assert {r["path"].split("key=")[1] for r in third.to("/found")} == {third.to("/look")[0]["key"]}


def test_lookup_does_not_find_it(rig, third):
    third.script("/look", {"status": 500}, 201)
    third.script("/found", 404)
    rig.work()
    assert rig.run("look", {"n": 1})["state"] == "completed"
    assert len(third.to("/look")) == 2 and len({r["key"] for r in third.to("/look")}) == 1


def test_lookup_comes_before_a_second_request(rig, third):
    """The other side does what it is asked and closes a connection that was used before: nobody sends again without having asked."""
    third.script("/look", {"status": 201, "reset_reused": True})
    rig.work()
    for id in [rig.api.enqueue("look", {"n": n}) for n in range(20)]:
        assert rig.api.wait(id)["state"] == "completed"
    keys = [r["key"] for r in third.to("/look")]
    assert len(keys) == len(set(keys)) == 20


# ---- many at once, and the end

def test_many_wait_without_a_host(rig, third):
    """One worker with two hosts has far more than two of them under way."""
    third.script("/slow", {"delay": 3})
    worker = rig.work(WINDLASS_CONCURRENCY=2)
    ids = rig.api.enqueue_batch([{"type": "slow", "payload": {"n": n}} for n in range(200)])
    most = 0
    while worker.metrics().get('windlass_jobs_finished_total{type="slow",outcome="done"}', 0) < len(ids):
        most = max(most, worker.metrics().get("windlass_jobs_in_flight", 0))
        time.sleep(0.2)
    assert most > 20
    assert all(rig.api.get_job(id)["state"] == "completed" for id in ids)


def test_drain_waits_for_the_answer(rig, third):
    third.script("/park", {"delay": 0.8})
    worker = rig.work()
    id = rig.api.enqueue("park", {"n": 1})
    wait_for(lambda: third.to("/park"))
    worker.signal(signal.SIGTERM)
    assert rig.api.wait(id)["state"] == "completed"


# ---- calls of handlers, by the policy of their target

def test_handlers_call_parks(rig, third):
    third.script("/t/park", {"reset": True}, 200)
    rig.work()
    id = rig.api.enqueue("charge_park")
    assert "call `charge`" in rig.api.wait(id, "parked")["reason"]
    assert len(third.to("/t/park")) == 1
    assert resolve(rig, id, call="charge", verdict="succeeded", status=201).status_code == 202
    assert rig.api.wait(id)["result"] == {"status": 201}
    assert len(third.to("/t/park")) == 1


def test_handlers_call_is_looked_up(rig, third):
    third.script("/t/look/charges", {"status": 500}, {"status": 201})
    third.script("/t/look/found/*", 503, 404)
    rig.work()
    id = rig.api.enqueue("charge_look")
    assert rig.api.wait(id)["state"] == "completed"
    first, second = third.to("/t/look/charges")
    key = first["key"]
    assert key == second["key"]
    asked = [r for r in third.requests if "/found/" in r["path"]]
    assert asked and asked[0]["path"].endswith(key)


def test_rate_of_a_type(rig, third):
    rig.work()
    ids = rig.api.enqueue_batch([{"type": "limited", "payload": {"n": n}} for n in range(40)])
    for id in ids:
        assert rig.api.wait(id, timeout_s=60)["state"] == "completed"
    times = sorted(r["at"] for r in third.to("/limited"))
    assert 10 <= len(times) / max(times[-1] - times[0], 0.1) <= 21, times[-1] - times[0]

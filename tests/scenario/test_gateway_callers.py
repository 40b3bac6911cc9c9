# SPDX-License-Identifier: Apache-2.0
"""What callers may do: scopes by verb, type and queue, watch tokens, rates and quotas, keys that change while it runs."""

import re
import signal
import time

import pytest

from harness.gateway import JOBS, make_key, start, uuid7
from harness.issuer import Issuer, Key, token


def gateway_with(windlass, url, keys, jobs=JOBS, **settings):
    """A gateway and what gives the API of one of these keys: {name: (scopes, more of the line)}."""
    made = {name: make_key(name, scopes) for name, (scopes, _) in keys.items()}
    lines = [f"{made[name][1]} {more}" for name, (_, more) in keys.items()]
    gateway = windlass.gateway(DATABASE_URL=url, WINDLASS_JOBS=str(jobs), WINDLASS_API_KEYS="\n".join(lines), **settings)
    return gateway, lambda name: gateway.api(made[name][0])


# ---- scopes

SCOPES = {
    # scopes: the verbs that work on [note.add in notes, mail.send in default, note.count in small]
    "enqueue,read,cancel,retry": [{"enqueue", "read", "cancel", "retry"}] * 3,
    "enqueue:note.*": [{"enqueue"}, set(), {"enqueue"}],
    "enqueue:queue=notes,read:queue=small": [{"enqueue"}, set(), {"read"}],
    "enqueue:note.*+queue=small,read": [{"read"}, {"read"}, {"enqueue", "read"}],
    "read:note.add,cancel:queue=small,retry:mail.*": [{"read"}, {"retry"}, {"cancel"}],
    "cancel:m*,cancel:note.?dd": [{"cancel"}, {"cancel"}, set()],
    "retry,read:*+queue=default": [{"retry"}, {"read", "retry"}, {"retry"}],
    "admin": [{"enqueue", "read", "cancel", "retry"}] * 3,
}


def test_scopes_matrix(store_url, windlass, tmp_path):
    (tmp_path / "jobs.yaml").write_text(JOBS.read_text().replace("{max: 3}", "{max: 1000}").replace("schemas/", f"{JOBS.parent}/schemas/"))
    keys = {f"k{n}": (scopes, "tenant=acme") for n, scopes in enumerate(SCOPES)}
    gateway, api = gateway_with(windlass, store_url, {**keys, "root": ("admin", "tenant=acme")}, tmp_path / "jobs.yaml")
    jobs = [{"type": "note.add", "payload": {"who": "x"}}, {"type": "mail.send"}, {"type": "note.count", "queue": "small"}]
    kinds = [(job["type"], job.get("queue", "default" if job["type"] == "mail.send" else "notes")) for job in jobs]

    def waiting(state):
        return api("root").get(f"/v1/jobs?limit=1000&state={state}").json()["items"]

    for n, (scopes, want) in enumerate(SCOPES.items()):
        caller, verbs = api(f"k{n}"), {word.partition(":")[0] for word in scopes.split(",")}
        ids = api("root").enqueue_batch(jobs)
        refused = 404 if "read" in verbs or "admin" in verbs else 403
        for job, id, allowed in zip(jobs, ids, want):
            told = (scopes, job["type"])
            assert caller.post("/v1/jobs", json=job).status_code == (202 if "enqueue" in allowed else 403), told
            batch = caller.post("/v1/jobs/batch", json=[job])
            assert batch.status_code == (202 if "enqueue" in allowed else 422 if verbs & {"enqueue", "admin"} else 403), told
            assert caller.get(f"/v1/jobs/{id}").status_code == (200 if "read" in allowed else refused), told
            copied = caller.post(f"/v1/jobs/{id}/copy").status_code
            assert copied == (refused if "read" not in allowed else 202 if "enqueue" in allowed else 403), told
            answer = caller.post(f"/v1/jobs/{id}/cancel").status_code
            assert answer == (200 if "cancel" in allowed else 404 if "cancel" in verbs else 403), told
            api("root").post(f"/v1/jobs/{id}/cancel")
            answer = caller.post(f"/v1/jobs/{id}/retry").status_code
            assert answer == (202 if "retry" in allowed else 404 if "retry" in verbs else 403), told
            api("root").post(f"/v1/jobs/{id}/cancel")
        listed = caller.get("/v1/jobs?limit=1000")
        if refused == 403:
            assert listed.status_code == 403, scopes
        else:
            assert {id for id in ids if id in {j["id"] for j in listed.json()["items"]}} == {i for i, a in zip(ids, want) if "read" in a}, scopes
        for job in waiting("available"):
            api("root").post(f"/v1/jobs/{job['id']}/cancel")
        retried = {kind for kind, allowed in zip(kinds, want) if "retry" in allowed}
        count = sum((job["type"], job["queue"]) in retried for job in waiting("cancelled"))
        redriven = caller.post("/v1/jobs/redrive", json={"state": "cancelled", "dry_run": True})
        assert redriven.status_code == (200 if verbs & {"retry", "admin"} else 403), scopes
        assert redriven.status_code == 403 or redriven.json()["count"] == count, scopes


def test_pages_are_the_callers_own(windlass, sqlite_url):
    """Jobs outside a key's patterns take no place on its pages and no cursor loses any."""
    gateway, api = gateway_with(windlass, sqlite_url, {"root": ("admin", ""), "some": ("read:note.*+queue=notes", "")})
    ids = []
    for n in range(30):
        mixed = api("root").enqueue_batch([{"type": "mail.send"}, {"type": "note.count"}, {"type": "note.count", "queue": "default"}])
        ids.append(mixed[1])
    seen, cursor = [], None
    while True:
        page = api("some").get("/v1/jobs", params={"limit": 7, **({"cursor": cursor} if cursor else {})}).json()
        seen += [j["id"] for j in page["items"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
        assert len(page["items"]) == 7
    assert seen == ids[::-1]
    queues = {q["name"] for q in api("some").get("/v1/queues").json()["items"]}
    assert queues == {"notes"} and len(api("root").get("/v1/queues").json()["items"]) > 1


def test_dead_letters_need_read(windlass, sqlite_url):
    gateway, api = gateway_with(windlass, sqlite_url, {"push": ("enqueue", ""), "ops": ("admin", "")})
    id = api("push").enqueue("mail.send")
    assert api("ops").post(f"/v1/jobs/{id}/cancel").status_code == 200
    for path in ("/v1/jobs?state=discarded", "/v1/jobs?state=cancelled", f"/v1/jobs/{id}", f"/v1/jobs/{id}?wait=1s"):
        assert api("push").get(path).status_code == 403, path
    assert api("push").post("/v1/jobs/redrive", json={}).status_code == 403


def test_what_the_server_sets_cannot_be_set(windlass, sqlite_url):
    gateway, api = gateway_with(windlass, sqlite_url, {"web": ("enqueue,read", "tenant=acme"), "ops": ("admin", "")})
    for name, value in (("state", "completed"), ("attempt", 5), ("attempts", []), ("tenant", "beta"), ("owner", "ops"), ("result", {}),
                        ("created_at", "2020-01-01T00:00:00Z"), ("finished_at", "2020-01-01T00:00:00Z"), ("reason", "x"), ("source", "x"),
                        ("steps", {}), ("cancel_asked", True), ("watch_token", "x"), ("seq", 1), ("progress", {})):
        answer = api("web").post_job("mail.send", **{name: value})
        assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == f"/{name}", (name, answer.text)
        answer = api("web").post("/v1/jobs/batch", json=[{"type": "mail.send", name: value}])
        assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == f"/0/{name}", (name, answer.text)
    id = api("web").enqueue("mail.send", {"state": "completed", "tenant": "beta"})
    job = api("ops").get_job(id)
    assert (job["state"], job["tenant"], job["owner"], job["attempt"]) == ("available", "acme", "web", 0)
    answer = api("web").post(f"/v1/jobs/{id}/copy", json={"tenant": "beta"})
    assert answer.status_code == 422


# ---- watch tokens

def test_watch_tokens(windlass, sqlite_url):
    gateway, api = gateway_with(windlass, sqlite_url, {"push": ("enqueue", "tenant=acme"), "ops": ("admin", "")}, WINDLASS_LOG="debug")
    nobody = gateway.api()
    accepted = api("push").post_job("note.add", {"who": "x"}).json()
    other = api("push").post_job("note.add", {"who": "y"}).json()
    id, text = accepted["id"], accepted["watch_token"]
    assert re.fullmatch("[0-9a-f]{40}", text) and other["watch_token"] != text

    def watch(text, id=id, more="", method="GET", path=""):
        return nobody.request(method, f"/v1/jobs/{id}{path}?watch_token={text}{more}")

    assert watch(text).status_code == 200 and watch(text).json()["id"] == id
    assert watch(text, more="&wait=50ms").status_code == 200
    assert nobody.request("HEAD", f"/v1/jobs/{id}?watch_token={text}").status_code == 200
    assert watch(text, id=id.upper()).status_code == 200
    wrong = [(text, other["id"]), (text, uuid7()), (text, "x"), ("", id), (text[:-1], id), (text + "0", id), (text.upper(), id)]
    for place in range(len(text)):
        wrong += [(text[:place] + c + text[place + 1:], id) for c in (chr(ord(text[place]) ^ 1), "0" if text[place] != "0" else "1")]
    for candidate, of in wrong:
        answer = watch(candidate, id=of) if re.fullmatch(r"\w*", candidate) else nobody.get(f"/v1/jobs/{of}", params={"watch_token": candidate})
        assert answer.status_code == 401 and answer.json()["type"] == "urn:windlass:problem:bad-watch-token", (candidate, of)
        assert not candidate or candidate not in answer.text
    later = f"{int(text[:8], 16) + 3600:08x}" + text[8:]
    assert watch(later).status_code == 401
    # it reads, and nothing else, and only there
    for path in ("/cancel", "/retry", "/copy"):
        assert watch(text, method="POST", path=path).status_code == 401
    assert nobody.get(f"/v1/jobs?watch_token={text}").status_code == 401
    assert nobody.post(f"/v1/jobs?watch_token={text}", json={"type": "mail.send"}).status_code == 401
    assert nobody.get("/v1/jobs", headers={"Authorization": f"Bearer {text}"}).status_code == 401
    # a wrong one is not made good by a key
    assert api("ops").get(f"/v1/jobs/{id}?watch_token={'0' * 40}").status_code == 401
    assert nobody.get(f"/v1/jobs/{id}?watch_token={text}&watch_token={text}").status_code in (200, 400)
    assert api("push").get(f"/v1/jobs/{id}").status_code == 403
    time.sleep(0.2)
    assert text not in gateway.log() and text[8:] not in gateway.log()


def test_every_202_has_a_watch_token(windlass, sqlite_url):
    gateway, api = gateway_with(windlass, sqlite_url, {"web": ("enqueue,read,cancel,retry", ""), "blind": ("enqueue,cancel,retry", "")})
    nobody = gateway.api()

    def good(id, text):
        return nobody.get(f"/v1/jobs/{id}", params={"watch_token": text}).status_code == 200

    for answer in (api("web").post_job("mail.send"), api("web").post_job("mail.send", wait="50ms"),
                   api("web").post_job("mail.send", headers={"Idempotency-Key": "k"}), api("web").post_job("mail.send", headers={"Idempotency-Key": "k"})):
        assert answer.status_code == 202 and good(answer.json()["id"], answer.json()["watch_token"])
    id = answer.json()["id"]
    copy = api("web").post(f"/v1/jobs/{id}/copy").json()
    assert good(copy["id"], copy["watch_token"]) and not good(id, copy["watch_token"])
    batch = api("blind").post("/v1/jobs/batch", json=[{"type": "mail.send"}] * 3).json()
    assert all(good(id, text) for id, text in zip(batch["ids"], batch["watch_tokens"], strict=True))
    api("web").post(f"/v1/jobs/{id}/cancel")
    retried = api("web").post(f"/v1/jobs/{id}/retry")
    assert retried.status_code == 202 and good(id, retried.json()["watch_token"])
    api("web").post(f"/v1/jobs/{id}/cancel")
    # who may not read gets no token of what is not its own
    assert "watch_token" not in api("blind").post(f"/v1/jobs/{id}/retry").json()


def test_no_watch_token_of_somebody_elses_job(windlass, sqlite_url):
    key = Key("one")
    issuer = Issuer(key)
    gateway = start(windlass, sqlite_url, **issuer.settings())
    while gateway.api(token(key)).get("/v1/jobs").status_code == 503:
        time.sleep(0.02)
    ann, bob = gateway.api(token(key)), gateway.api(token(key, sub="bob"))
    first = ann.post_job("mail.send", unique={"key": "u"}).json()
    for answer in (bob.post_job("mail.send", unique={"key": "u"}), bob.post_job("mail.send", unique={"key": "u"}, wait="1s")):
        assert answer.status_code == 202 and answer.json()["unique_conflict"] and answer.json()["id"] == first["id"]
        assert "watch_token" not in answer.json()
    batch = bob.post("/v1/jobs/batch", json=[{"type": "mail.send", "unique": {"key": "u"}}, {"type": "mail.send"}]).json()
    assert batch["watch_tokens"][0] is None and batch["watch_tokens"][1]
    headers = {"Idempotency-Key": "again"}
    for _ in range(2):  # a replay says no more than the first answer
        assert "watch_token" not in bob.post_job("mail.send", unique={"key": "u"}, headers=headers).json()
    issuer.close()


def test_gateways_of_one_store_know_each_others_watch_tokens(store_url, windlass):
    keys = {"web": ("enqueue", "")}
    one, api = gateway_with(windlass, store_url, keys)
    two, _ = gateway_with(windlass, store_url, keys)
    accepted = api("web").post_job("mail.send").json()
    assert two.api().get(f"/v1/jobs/{accepted['id']}?watch_token={accepted['watch_token']}").status_code == 200


def test_watch_secret_is_changed(windlass, sqlite_url):
    old, new = "o" * 32, "n" * 40
    keys = {"web": ("enqueue", "")}

    def good(gateway, accepted):
        return gateway.api().get(f"/v1/jobs/{accepted['id']}?watch_token={accepted['watch_token']}").status_code == 200

    before, api = gateway_with(windlass, sqlite_url, keys, WINDLASS_WATCH_SECRET=old)
    first = api("web").post_job("mail.send").json()
    between, api = gateway_with(windlass, sqlite_url, keys, WINDLASS_WATCH_SECRET=f"{new},{old}")
    second = api("web").post_job("mail.send").json()
    after, _ = gateway_with(windlass, sqlite_url, keys, WINDLASS_WATCH_SECRET=new)
    assert [good(g, first) for g in (before, between, after)] == [True, True, False]
    assert [good(g, second) for g in (before, between, after)] == [False, True, True]
    windlass.expect("gateway-refused")
    for secret in ("short", f"{old},short", f"{old},{new},{old}"):
        assert start(windlass, sqlite_url, wait=False, WINDLASS_WATCH_SECRET=secret).popen.wait(10) == 78, secret


# ---- rates and quotas

def test_rate(windlass, sqlite_url):
    gateway, api = gateway_with(windlass, sqlite_url, {"slow": ("read", "rate=6/m burst=3"), "free": ("read", "")})
    for left in (2, 1, 0):
        answer = api("slow").get("/v1/jobs")
        assert answer.status_code == 200 and answer.headers["RateLimit-Remaining"] == str(left)
        assert answer.headers["RateLimit-Limit"] == "3" and 0 < int(answer.headers["RateLimit-Reset"]) <= 30
    answer = api("slow").get("/v1/jobs")
    assert answer.status_code == 429 and answer.json()["type"] == "urn:windlass:problem:too-many-requests"
    assert 1 <= int(answer.headers["Retry-After"]) <= 10
    assert api("slow").post_job("mail.send").status_code == 429
    for _ in range(20):
        assert "RateLimit-Limit" not in api("free").get("/v1/jobs").headers
    assert gateway.api().get("/healthz").status_code == 200


def test_rate_comes_back(windlass, sqlite_url):
    gateway, api = gateway_with(windlass, sqlite_url, {"quick": ("read", "rate=10/s burst=1")})
    assert api("quick").get("/v1/jobs").status_code == 200
    answer = api("quick").get("/v1/jobs")
    while answer.status_code == 429:
        time.sleep(0.05)
        answer = api("quick").get("/v1/jobs")
    assert answer.status_code == 200


def test_two_keys_of_an_id_have_one_rate(windlass, sqlite_url):
    old, old_line = make_key("web", "read")
    new, new_line = make_key("web", "read")
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=f"{old_line} rate=1/m burst=2;{new_line} rate=1/m burst=2")
    assert [gateway.api(k).get("/v1/jobs").status_code for k in (old, new, old, new)] == [200, 200, 429, 429]


def test_quota_of_unfinished_jobs(windlass, sqlite_url):
    gateway, api = gateway_with(windlass, sqlite_url, {"web": ("enqueue,cancel", "waiting=3"), "other": ("enqueue", "waiting=3"), "ops": ("admin", "")})
    job = {"type": "mail.send"}
    ids = api("web").enqueue_batch([job, job])
    too_many = api("web").post("/v1/jobs/batch", json=[job, job])
    assert too_many.status_code == 429 and too_many.headers["Retry-After"] and too_many.json()["type"] == "urn:windlass:problem:quota-reached"
    headers = {"Idempotency-Key": "k"}
    last = api("web").post_job("mail.send", headers=headers)
    assert last.status_code == 202
    assert api("web").post_job("mail.send").status_code == 429
    assert api("web").post_job("mail.send", wait="5s").status_code == 429
    assert api("other").post_job("mail.send").status_code == 202
    assert api("web").post(f"/v1/jobs/{ids[0]}/cancel").status_code == 200
    deadline = time.monotonic() + 5
    while (answer := api("web").post_job("mail.send")).status_code == 429:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert answer.status_code == 202
    assert api("web").post_job("mail.send").status_code == 429
    # a replay is no new job
    assert api("web").post_job("mail.send", headers=headers).status_code == 429


def test_limits_of_tokens(windlass, sqlite_url):
    key = Key("one")
    issuer = Issuer(key)
    gateway = start(windlass, sqlite_url, **issuer.settings(WINDLASS_JWT_RATE="4/m", WINDLASS_JWT_WAITING="1"))
    while gateway.api(token(key, sub="first")).get("/v1/jobs").status_code == 503:
        time.sleep(0.02)
    # each sub has its own, whatever token it brings
    assert gateway.api(token(key)).get("/v1/jobs").status_code == 200
    assert gateway.api(token(key, jti="2")).get("/v1/jobs").status_code == 429
    bob = token(key, sub="bob")
    assert gateway.api(bob).post_job("mail.send").status_code == 202
    issuer.close()


# ---- keys that change

def test_keys_are_read_again(windlass, sqlite_url, tmp_path):
    windlass.expect("keys-refused")
    old, old_line = make_key("web", "read")
    new, new_line = make_key("web", "read")
    path = tmp_path / "keys"
    path.write_text(old_line + "\n")
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS_FILE=str(path))

    def status():
        return [gateway.api(k).get("/v1/jobs").status_code for k in (old, new)]

    def reload(text, event, count):
        path.write_text(text)
        gateway.signal(signal.SIGHUP)
        gateway.wait_event(event, count)

    assert status() == [200, 401]
    reload(f"{old_line}\n{new_line}\n", "keys-reloaded", 1)
    assert status() == [200, 200]
    for n, bad in enumerate(("id=web", "", f"{old_line};{old_line};{old_line}"), 1):
        reload(bad, "keys-refused", n)
        assert status() == [200, 200]
    reload(new_line, "keys-reloaded", 2)
    assert status() == [401, 200]


def test_keys_are_read_again_under_run(windlass, sqlite_url, tmp_path):
    old, old_line = make_key("web", "read")
    new, new_line = make_key("web", "read")
    path = tmp_path / "keys"
    path.write_text(old_line)
    run = windlass.run(DATABASE_URL=sqlite_url, WINDLASS_API_KEYS_FILE=str(path))
    run.wait_event("worker-started")  # before that, a signal ends it
    path.write_text(new_line)
    run.signal(signal.SIGHUP)
    run.wait_event("keys-reloaded")
    assert [run.api(k).get("/v1/jobs").status_code for k in (old, new)] == [401, 200]

# SPDX-License-Identifier: Apache-2.0
"""Who may do what: keys, scopes, tenants, origins, hosts, listeners. Every route at once: test_access_matrix.py."""

import time

import pytest

from harness.checklist import row
from harness.gateway import make_key, start
from harness.ports import free_port


@pytest.fixture
def keys():
    return {
        "acme": make_key("acme", "enqueue:note.*,read,cancel", tenant="acme"),
        "beta": make_key("beta", "enqueue:*,read,cancel", tenant="beta"),
        "boss": make_key("boss", "admin", tenant="acme"),
        "ops": make_key("ops", "admin"),
        "look": make_key("look", "read", tenant="acme"),
        "push": make_key("push", "enqueue:note.add", tenant="acme"),
        "old": make_key("old", "read", expires="2020-01-01T00:00:00Z"),
        "soon": make_key("soon", "read", expires="2126-01-01T00:00:00Z"),
    }


@pytest.fixture
def gateway(windlass, sqlite_url, keys):
    return start(windlass, sqlite_url, WINDLASS_API_KEYS="\n".join(line for _, line in keys.values()))


@pytest.fixture
def api(gateway, keys):
    return lambda name: gateway.api(keys[name][0])


def test_scopes(api):
    def post(name, type="note.add"):
        return api(name).post_job(type, {"who": "x"}).status_code

    assert (post("acme"), post("push"), post("boss"), post("ops"), post("look")) == (202, 202, 202, 202, 403)
    assert (post("acme", "mail.send"), post("beta", "mail.send"), post("push", "note.count")) == (403, 202, 403)
    assert api("push").get("/v1/jobs").status_code == 403
    assert api("look").get("/v1/jobs").status_code == 200
    assert api("soon").get("/v1/jobs").status_code == 200
    id = api("acme").enqueue("note.add", {"who": "x"})
    assert api("look").post(f"/v1/jobs/{id}/cancel").status_code == 403
    assert api("acme").post(f"/v1/jobs/{id}/retry").status_code == 403
    assert api("acme").post("/v1/jobs/redrive", json={}).status_code == 403
    assert api("look").post(f"/v1/jobs/{id}/copy").status_code == 403
    assert api("acme").post(f"/v1/jobs/{id}/copy").status_code == 202
    assert api("acme").post(f"/v1/jobs/{id}/cancel").status_code == 200
    assert api("boss").post(f"/v1/jobs/{id}/retry").status_code == 202
    assert api("boss").post("/v1/queues/notes/pause").status_code == 403
    assert api("boss").get("/metrics").status_code == 403
    assert api("ops").post("/v1/queues/notes/pause").status_code == 200
    assert api("ops").get("/metrics").status_code == 200
    assert api("beta").post("/v1/jobs/batch", json=[{"type": "mail.send"}]).status_code == 202
    bad = api("push").post("/v1/jobs/batch", json=[{"type": "mail.send"}])
    assert bad.status_code == 422 and bad.json()["errors"][0]["pointer"] == "/0/type"


def test_tenants_do_not_see_each_other(api):
    id = api("acme").enqueue("note.add", {"who": "x"})
    for method, path in (("GET", ""), ("GET", "?wait=5s"), ("POST", "/cancel"), ("POST", "/copy")):
        assert api("beta").request(method, f"/v1/jobs/{id}{path}").status_code == 404
    assert api("beta").get("/v1/jobs").json()["items"] == []
    assert api("acme").get_job(id)["tenant"] == "acme" and api("ops").get_job(id)["owner"] == "acme"
    taken = api("beta").post_job("note.add", {"who": "x"}, id=id)
    assert taken.status_code == 422
    assert [j["id"] for j in api("look").get("/v1/jobs").json()["items"]] == [id]
    api("acme").post(f"/v1/jobs/{id}/cancel")
    assert api("boss").post("/v1/jobs/redrive", json={"state": "cancelled"}).json()["count"] == 1


def test_idempotency_is_each_callers_own(api):
    row("Idempotency", "the same key of another caller is independent", 3)
    headers = {"Idempotency-Key": "same"}
    ids = {name: api(name).post_job("note.add", {"who": name}, headers=headers).json()["id"] for name in ("acme", "beta", "push")}
    assert len(set(ids.values())) == 3
    assert api("acme").post_job("note.add", {"who": "acme"}, headers=headers).json()["id"] == ids["acme"]


def test_key_rotation_and_unique_scope(windlass, sqlite_url):
    old, old_line = make_key("web", "enqueue:*,read")
    new, new_line = make_key("web", "enqueue:*,read")
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=f"{old_line};{new_line}")
    headers = {"Idempotency-Key": "same"}
    first = gateway.api(old).post_job("mail.send", headers=headers).json()["id"]
    assert gateway.api(new).post_job("mail.send", headers=headers).json()["id"] == first
    assert gateway.api().post_job("mail.send").status_code == 401


def test_refuses_to_start(windlass, sqlite_url):
    row("Authn", "no key and not on loopback, or a key list with a mistake: no start", 4)
    windlass.expect("gateway-refused", "gateway-not-started")
    for settings in ({"WINDLASS_HTTP_LISTEN": f"0.0.0.0:{free_port()}"}, {"WINDLASS_API_KEYS": "id=x scopes=read"},
                     {"WINDLASS_API_KEYS": "id=x hash=00 scopes=read"}, {"WINDLASS_CORS_ORIGINS": "*"}):
        process = start(windlass, sqlite_url, wait=False, **settings)
        assert process.popen.wait(10) == 78, settings
        assert process.log().strip()
    key, line = make_key("x", "read")
    open_to_all = start(windlass, sqlite_url, WINDLASS_HTTP_LISTEN=f"0.0.0.0:{free_port()}", WINDLASS_API_KEYS=line,
                        WINDLASS_ADMIN_LISTEN=f"127.0.0.1:{free_port()}", wait=False)
    open_to_all.url = open_to_all.url.replace("0.0.0.0", "127.0.0.1")
    open_to_all.wait_ready()


def test_web_pages_cannot_reach_a_gateway_without_keys(windlass, sqlite_url):
    row("CORS", "without keys: foreign Host 421, foreign Origin 403, in every spelling", 28)
    gateway = start(windlass, sqlite_url, WINDLASS_CORS_ORIGINS="https://app.example.com")
    port = gateway.url.rpartition(":")[2]

    def ask(host=None, origin=None, path="/v1/jobs"):
        headers = {k: v for k, v in (("Host", host), ("Origin", origin)) if v}
        return gateway.api().get(path, headers=headers).status_code

    assert ask(f"localhost:{port}") == ask(f"127.0.0.1:{port}") == ask(f"[::1]:{port}") == ask(f"LOCALHOST:{port}") == 200
    for host in ("evil.example", f"evil.example:{port}", "localhost", "127.0.0.1", "127.0.0.1:1", f"127.0.0.1.evil:{port}",
                 f"localhost.:{port}0", f"127.0.0.1:{port}@evil", f"user@127.0.0.1:{port}"):
        assert ask(host) == 421, host
        assert ask(host, path="/healthz") == 421, host
    assert ask(origin=f"http://127.0.0.1:{port}") == 200
    assert ask(origin="https://app.example.com") == 200
    for origin in ("null", "https://evil.example", f"https://127.0.0.1:{port}", f"http://localhost:{port}", "https://app.example.com.evil",
                   "https://evil-app.example.com", "http://app.example.com", "https://app.example.com:444", "https://APP.example.com"):
        assert ask(origin=origin) == 403, origin
    assert gateway.api().post_job("mail.send", headers={"Origin": "https://evil.example"}).status_code == 403
    assert gateway.api().get("/v1/jobs").json()["items"] == []


def test_cors(windlass, sqlite_url):
    row("CORS", "origins as bare fields: exact match, never reflected, no credentials, Vary; preflights do no work", 17)
    key, line = make_key("web", "enqueue:*,read")
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=line, WINDLASS_CORS_ORIGINS="https://app.example.com, https://b.example")
    api = gateway.api()
    preflight = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST",
                 "Access-Control-Request-Headers": "authorization,content-type"}
    answer = api.request("OPTIONS", "/v1/jobs", headers=preflight)
    assert answer.status_code == 204 and answer.content == b""
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "Idempotency-Key" in answer.headers["Access-Control-Allow-Headers"]
    assert answer.headers["Access-Control-Max-Age"] and answer.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    for origin in ("null", "https://evil-app.example.com", "https://app.example.com.evil", "https://APP.example.com",
                   "http://app.example.com", "https://app.example.com:8443"):
        answer = api.request("OPTIONS", "/v1/jobs", headers={**preflight, "Origin": origin})
        assert answer.status_code == 403 and "Access-Control-Allow-Origin" not in answer.headers
        answer = gateway.api(key).get("/v1/jobs", headers={"Origin": origin})
        assert answer.status_code == 200 and "Access-Control-Allow-Origin" not in answer.headers
    allowed = {"Origin": "https://b.example"}
    large = {"type": "mail.send", "payload": "x" * 300000}
    for answer in (api.get("/v1/jobs", headers=allowed), gateway.api(key).get("/v1/jobs", headers=allowed),
                   gateway.api(key).get("/nowhere", headers=allowed), gateway.api(key).post("/v1/jobs", json=large, headers=allowed),
                   gateway.api(key).post_job("mail.send", headers=allowed)):
        assert answer.headers["Access-Control-Allow-Origin"] == "https://b.example", answer.text
        assert "Location" in answer.headers["Access-Control-Expose-Headers"] and answer.headers["Vary"] == "Origin"
    assert api.request("OPTIONS", "/v1/jobs").headers["Allow"]


def test_admin_listener(windlass, sqlite_url):
    row("Authn", "a separate admin listener asks for no key on loopback names alone, and for jobs it does", 5)
    key, line = make_key("web", "enqueue:*,read")
    admin = f"127.0.0.1:{free_port()}"
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=line, WINDLASS_ADMIN_LISTEN=admin)
    assert gateway.api().get("/metrics").status_code == 401
    api = gateway.api()
    api.url = f"http://{admin}"
    assert api.get("/metrics").status_code == 200 and api.post("/v1/queues/notes/pause").status_code == 200
    assert api.get("/v1/jobs").status_code == 401
    assert api.get("/metrics", headers={"Host": "evil.example"}).status_code == 421
    assert api.get("/metrics", headers={"Origin": "https://evil.example"}).status_code == 403


def test_keys_do_not_leak(windlass, sqlite_url):
    key, line = make_key("web", "read")
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=line, WINDLASS_LOG="debug")
    gateway.api(key).get("/v1/jobs")
    gateway.api(key + "x").get("/v1/jobs")
    time.sleep(0.2)
    secret = key.rpartition("_")[2]
    with open(f"/proc/{gateway.pid}/environ", "rb") as environ:
        assert b"hash=" not in environ.read()
    assert secret not in gateway.log() and line not in gateway.log()

# SPDX-License-Identifier: Apache-2.0
"""Authentication and authorization on every route of /openapi.json: a new route is in these tests by itself, with deny as its default."""

import base64
import contextlib
import http.client
import itertools
import json
import pathlib
import re
import subprocess
import time

import pytest
import urllib3

from harness.checklist import row
from harness.gateway import make_key, start, uuid7
from harness.windlass import BUILD

PUBLIC = {"/openapi.json", "/asyncapi.json", "/healthz", "/readyz", "/client.js"}
SOCKET = "/v1/ws"  # asks in messages, too: tests/scenario/test_websocket.py
FILES = "/pages/{name}"  # open to everybody, if they are there
TENANTS = ("acme", "beta", "gamma")
# Which of these scopes lets somebody in; all others are refused with 403. A route that is not named here fails the test.
SCOPES = ("enqueue:*", "read", "cancel", "retry", "admin tenant", "admin")
MAY = {
    "post /v1/jobs": {"enqueue:*", "admin tenant", "admin"},
    "post /v1/jobs/batch": {"enqueue:*", "admin tenant", "admin"},
    "get /v1/jobs": {"read", "admin tenant", "admin"},
    "get /v1/jobs/{id}": {"read", "admin tenant", "admin"},
    "get /v1/jobs/{id}/events": {"read", "admin tenant", "admin"},
    "get /v1/events": {"read", "admin tenant", "admin"},
    "post /v1/jobs/{id}/cancel": {"cancel", "admin tenant", "admin"},
    "post /v1/jobs/{id}/retry": {"retry", "admin tenant", "admin"},
    "post /v1/jobs/{id}/resolve": {"retry", "admin tenant", "admin"},
    "post /v1/jobs/{id}/copy": {"admin tenant", "admin"},  # reading and enqueuing
    "post /v1/jobs/redrive": {"retry", "admin tenant", "admin"},
    "post /v1/batches": {"enqueue:*", "admin tenant", "admin"},
    "get /v1/batches": {"read", "admin tenant", "admin"},
    "get /v1/batches/{id}": {"read", "admin tenant", "admin"},
    "post /v1/batches/{id}/rows": {"enqueue:*", "admin tenant", "admin"},
    "post /v1/batches/{id}/cancel": {"cancel", "admin tenant", "admin"},
    "post /v1/batches/{id}/retry": {"retry", "admin tenant", "admin"},
    "get /v1/queues": {"read", "admin tenant", "admin"},
    "post /v1/queues/{name}/pause": {"admin"},
    "post /v1/queues/{name}/resume": {"admin"},
    "get /v1/limits": {"admin"},
    "get /v1/queues/{name}/limits": {"admin"},
    "put /v1/queues/{name}/limits": {"admin"},
    "get /v1/types/{name}/limits": {"admin"},
    "put /v1/types/{name}/limits": {"admin"},
    "get /v1/schedules": {"read", "admin tenant", "admin"},
    "get /v1/schedules/{name}": {"read", "admin tenant", "admin"},
    "get /v1/schedules/{name}/next": {"read", "admin tenant", "admin"},
    "get /v1/schedules/{name}/runs": {"read", "admin tenant", "admin"},
    **dict.fromkeys(["post /v1/schedules", "put /v1/schedules/{name}", "delete /v1/schedules/{name}", "post /v1/schedules/{name}/pause",
                     "post /v1/schedules/{name}/resume", "post /v1/schedules/{name}/run"], {"admin"}),
    "get /v1/targets": {"admin"},
    "get /v1/audit": {"admin"},
    "get /v1/pools": {"admin"},
    "put /v1/workers/{name}": {"admin"},
    "get /v1/scaling/{name}": {"admin"},
    "get /stoppable": {"admin"},
    "get /v1/workers": {"admin"},
    "post /graphql": set(SCOPES),  # its fields ask for their own
    "get /graphql": set(SCOPES),
    "get /v1/webhooks/disabled": {"admin"},
    "post /v1/webhooks/enable": {"admin"},
    "get /metrics": {"admin"},
}
BODIES = {
    "post /v1/jobs": {"type": "note.add", "payload": {"who": "x"}},
    "post /v1/jobs/batch": [{"type": "note.add", "payload": {"who": "x"}}],
    "post /v1/batches": {"source": {"upload": True}, "job": {"type": "note.add", "payload": {"who": "x"}}},
    "post /v1/batches/{id}/rows": [],
    "post /v1/jobs/{id}/resolve": {"call": "http", "verdict": "succeeded"},
}


class Routes:
    """The operations of the document that a gateway serves."""

    def __init__(self, gateway):
        self.document = gateway.api().get("/openapi.json").json()
        self.all = [(m, p) for p, item in self.document["paths"].items() for m in item if not m.startswith("x-")]
        self.keyed = [f"{m} {p}" for m, p in self.all if p not in PUBLIC and p not in (FILES, SOCKET)]

    def schema(self, name):
        return set(self.document["components"]["schemas"][name]["properties"])


def call(api, route, id=None, **options):
    """One request to a route of the document, with a body that it takes."""
    method, path = route.split()
    path = path.replace("{id}", id or uuid7()).replace("{name}", "notes")
    assert "{" not in path, f"say in this test what stands for the parameter of {path}"
    if method in ("post", "put") and "json" not in options:
        options["json"] = BODIES.get(route, {})
    return so_far(api.request(method.upper(), path, **options, stream=True))


def so_far(answer):
    """A stream of events is what has come of it, as it does not end."""
    if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
        answer.content
        return answer
    text = b""
    answer.raw.connection.sock.settimeout(0.3)
    with contextlib.suppress(urllib3.exceptions.ReadTimeoutError):
        while part := answer.raw.read1(100_000):
            text += part
    answer.close()
    answer._content = text
    return answer


@pytest.fixture
def ring():
    """One key of each tenant that may do everything there, one for each scope, and those that are no good."""
    keys = {name: make_key(name, "admin", tenant=name) for name in TENANTS}
    keys |= {scope: make_key("only-" + scope.split(":")[0].replace(" ", "-"), scope.split()[0], tenant="acme" if scope != "admin" else None)
             for scope in SCOPES}
    keys["expired"] = make_key("expired", "admin", expires="2020-01-01T00:00:00Z")
    return keys


@pytest.fixture
def gateway(windlass, sqlite_url, ring):
    return start(windlass, sqlite_url, WINDLASS_API_KEYS="\n".join(line for _, line in ring.values()))


# ---- authentication


def flipped(key):
    return key[:-1] + ("A" if key[-1] != "A" else "B")


def no_good(ring):
    """What is no key: header fields by name."""
    key, expired = ring["acme"][0], ring["expired"][0]
    id, secret = key.split("_")[1], key.split("_", 2)[2]
    basic = base64.b64encode(f"acme:{key}".encode()).decode()
    words = ["", "Bearer", "Bearer ", "Bearer wl_", "Bearer wl_acme", "Bearer wl_acme_", f"Bearer {flipped(key)}", f"Bearer {key}x", f"Bearer {key[:-1]}",
             f"Bearer {key.upper()}", f"Bearer {secret}", f"Bearer wl_nobody_{secret}", f"Bearer wl_beta_{secret}", f"Bearer wl__{secret}",
             f"Bearer {expired}", f"Token {key}", key, f"Bearer  x {key}", f"Bearer {key} {key}", f"Bearer {key},{key}", f"Bearer \"{key}\"",
             f"Basic {basic}", "Bearer null", "Bearer undefined", "Bearer " + "x" * 4000, f"Bearer wl_{id}_" + "y" * 4000,
             "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.", f"Bearer%20{key}"]
    fields = [{"Authorization": word} if word else {} for word in words]
    return fields + [{"X-API-Key": key}, {"Cookie": f"authorization=Bearer {key}; key={key}"}, {"Proxy-Authorization": f"Bearer {key}"},
                     {"X-Original-URL": "/healthz"}, {"X-HTTP-Method-Override": "OPTIONS"}, {"X-Forwarded-For": "127.0.0.1"}]


def test_no_key_no_route(gateway, ring):
    routes, bad, api = Routes(gateway), no_good(ring), gateway.api()
    told = row("Authn", "no, malformed, wrong or expired key: 401 on every route but the public ones", 0)
    for route in routes.keyed:
        for fields in bad:
            answer = call(api, route, headers=fields)
            assert answer.status_code == 401, (route, fields, answer.text)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer") and answer.json()["status"] == 401
            told["cases"] += 1
        answer = call(api, route, params={"key": ring["acme"][0], "access_token": ring["acme"][0], "api_key": ring["acme"][0]})
        assert answer.status_code == 401, route
    assert len(routes.keyed) >= 12 and PUBLIC <= {path for _, path in routes.all}
    for path in PUBLIC:
        assert api.get(path).status_code == 200


def as_it_stands(gateway, method, target):
    """The status of a request whose target no client library made tidy."""
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=10)
    connection.putrequest(method, target)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def test_other_spellings_open_nothing(gateway):
    """A path that a proxy may read as another one, a method that the document does not have."""
    routes = Routes(gateway)
    told = row("Authn", "other methods and spellings of a path reach no handler", 0)
    paths = {path.replace("{id}", uuid7()).replace("{name}", "notes") for _, path in routes.all}
    for path in paths - PUBLIC - {SOCKET}:
        rest = path[1:]
        spelt = [path + "/", "/" + path, f"//evil{path}", "/./" + rest, "/healthz/../" + rest, "/healthz/..%2f" + rest, "/healthz%2f..%2f" + rest,
                 "/healthz;" + path, path.swapcase(), "/" + rest.replace("/", ";x=y/"), "/" + rest.replace("/", "%2f"), "/" + rest.replace("/", "\\"),
                 path + "%20", path + "%3fx", path + ".json", path + "%00", path + "%0d%0a", "".join(f"%{ord(c):02x}" if c != "/" else c for c in path)]
        for method, spelling in [("GET", s) for s in spelt] + [(m, path) for m in ("PUT", "DELETE", "PATCH", "TRACE", "HEAD", "CONNECT", "FOO")]:
            status = as_it_stands(gateway, method, spelling)
            assert status in (400, 401, 404, 405, 501), (method, spelling, status)
            told["cases"] += 1


def test_a_revoked_key_is_nobody(windlass, sqlite_url):
    kept, revoked, other = make_key("web", "admin"), make_key("web", "admin"), make_key("old", "admin")
    told = row("Authn", "a revoked key is 401 on every route; of two live keys of one id the other goes on", 0)
    before = start(windlass, sqlite_url, WINDLASS_API_KEYS=";".join((kept[1], revoked[1], other[1])))
    for key, _ in (kept, revoked, other):
        assert before.api(key).get("/v1/jobs").status_code == 200
    before.stop()
    after = start(windlass, sqlite_url, WINDLASS_API_KEYS=kept[1])
    for route in Routes(after).keyed:
        for key, _ in (revoked, other):
            assert call(after.api(key), route).status_code == 401, route
            told["cases"] += 1
    assert after.api(kept[0]).get("/v1/jobs").status_code == 200


def test_keys_are_kept_as_hashes(windlass, sqlite_url):
    told = row("Authn", "keys have 128 random bits or more and are stored as SHA-256 alone", 0)
    secrets = []
    for n in range(8):
        text = windlass.command("key", "new", f"web{n}", "--scopes", "read").stdout
        key = re.search(rf"wl_web{n}_(\S+)", text)
        line = next(line for line in text.splitlines() if "hash=" in line)
        assert key[1] not in line and len(base64.urlsafe_b64decode(key[1] + "==")) >= 16
        secrets.append((key[0], line[line.index("id="):]))
    assert len({key for key, _ in secrets}) == 8
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS="\n".join(line for _, line in secrets), WINDLASS_LOG="debug")
    files = [pathlib.Path(sqlite_url.removeprefix("sqlite:") + ending) for ending in ("", "-wal", "-bell")]
    for key, _ in secrets:
        assert gateway.api(key).get("/v1/jobs").status_code == 200
        assert gateway.api(flipped(key)).get("/v1/jobs").status_code == 401
    for key, _ in secrets:
        secret = key.split("_", 2)[2]
        assert secret not in gateway.log() and not any(secret.encode() in file.read_bytes() for file in files if file.exists())
        told["cases"] += 1


def test_comparison_takes_the_same_time(windlass):
    """By construction: a hash of the whole token is compared, by a function whose time does not depend on what it finds."""
    row("Authn", "keys are found by their public id and compared in constant time", 2)

    def needs(object):
        return subprocess.run(["nm", "-u", BUILD / "obj" / object], stdout=subprocess.PIPE, text=True, check=True).stdout.split()

    assert "CRYPTO_memcmp" in needs("common/base/digest.o")
    assert {"digest_equal", "digest_sha256"} <= set(needs("producers/gateway/keyring.o"))


# ---- authorization


def test_scopes_by_verb(gateway, ring):
    told = row("Authz", "a key without the verb: 403 on every route, with it not", 0)
    routes = Routes(gateway)
    assert set(routes.keyed) == set(MAY), "say in MAY who may use a new route"
    for route, scope in itertools.product(routes.keyed, SCOPES):
        id = gateway.api(ring["acme"][0]).enqueue("note.add", {"who": "x"}) if "{id}" in route else None
        status = call(gateway.api(ring[scope][0]), route, id).status_code
        assert (status != 403) == (scope in MAY[route]) and status < 500, (route, scope, status)
        told["cases"] += 1


def jobs_of(api, tenant):
    """A job in each state that one gets to without a worker: waiting, scheduled, cancelled."""
    body = {"who": f"canary-of-{tenant}"}
    jobs = [api.enqueue("note.add", body, tags=["shared"]), api.enqueue("note.add", body, delay="1h", order_key="shared"),
            api.enqueue("note.add", body, unique={"key": "shared"})]
    ended = api.enqueue("note.add", body, tags=["shared", tenant])
    assert api.post(f"/v1/jobs/{ended}/cancel").status_code == 200
    return jobs + [ended]


def test_tenants_and_foreign_ids(store_url, windlass, ring):
    """Each tenant tries all routes on the jobs of each other one, with every right at home."""
    gateway = start(windlass, store_url, WINDLASS_API_KEYS="\n".join(line for _, line in ring.values()))
    told = row("Authz", "3 tenants x all routes x foreign ids: 404, nothing seen, nothing changed", 0)
    routes, boss = Routes(gateway), gateway.api(ring["admin"][0])
    jobs = {tenant: jobs_of(gateway.api(ring[tenant][0]), tenant) for tenant in TENANTS}
    before = {id: boss.get_job(id) for ids in jobs.values() for id in ids}
    for mine, other in itertools.permutations(TENANTS, 2):
        api = gateway.api(ring[mine][0])
        for route, id in itertools.product((r for r in routes.keyed if "{id}" in r), jobs[other]):
            answer = call(api, route, id)
            assert answer.status_code == 404, (mine, other, route, answer.text)
            assert "canary" not in answer.text and answer.json()["detail"] == call(api, route).json()["detail"]  # as if it did not exist
            told["cases"] += 1
        for route in (r for r in routes.keyed if "{id}" not in r):
            for options in foreign_options(route, other, jobs[other]):
                answer = call(api, route, **options)
                assert f"canary-of-{other}" not in answer.text and not any(id in answer.text for id in jobs[other]), (mine, other, route)
                assert route != "post /v1/jobs/redrive" or answer.json()["count"] == options["json"].get("dry_run", 0), (mine, other, options)
                told["cases"] += 1
    assert {id: boss.get_job(id) for id in before} == before
    for tenant in TENANTS:
        seen = {job["id"] for job in gateway.api(ring[tenant][0]).get("/v1/jobs", params={"limit": 100}).json()["items"]}
        assert set(jobs[tenant]) <= seen and not seen & {id for t in TENANTS if t != tenant for id in jobs[t]}


def foreign_options(route, other, ids):
    """Ways to point a route without an id in its path at the jobs of another tenant."""
    body = {"type": "note.add", "payload": {"who": "x"}}
    if route == "post /v1/jobs":
        return [{"json": {**body, "id": id}} for id in ids] + [{"json": {**body, "unique": {"key": "shared"}}}]
    if route == "post /v1/jobs/batch":
        return [{"json": [{**body, "id": id}]} for id in ids]
    if route == "post /v1/jobs/redrive":
        return [{"json": {"state": "cancelled", "tag": other}}, {"json": {"state": "cancelled", "queue": "notes", "dry_run": True}}]
    if route == "post /graphql":
        queries = ('{ job(id: "%s") { payload } }', 'mutation { cancel(id: "%s") { state } }', 'mutation { retry(id: "%s") { state } }')
        return [{"json": {"query": query % id}} for query, id in itertools.product(queries, ids)] + [{"json": {"query": "{ jobs { nodes { id payload } } }"}}]
    if route == "get /v1/jobs":
        return [{"params": q} for q in ({}, {"limit": 100}, {"state": "cancelled"}, {"tag": "shared"}, {"tenant": other})]
    if route == "get /v1/events":
        since = f"{int(time.time() * 1000) - 60_000:012x}" + "1" * 16
        return [{"params": q} for q in ({}, {"last_event_id": since}, {"last_event_id": since, "tag": "shared"})]
    return [{}]


SERVER_SET = {"state": "completed", "attempt": 7, "attempts": [], "tenant": "beta", "owner": "boss", "created_at": "2020-01-01T00:00:00Z",
              "due_at": "2020-01-01T00:00:00Z", "finished_at": "2020-01-01T00:00:00Z", "result": {"ok": True}, "reason": "x", "progress": {"note": "x"},
              "cancel_asked": True, "steps": ["charge"], "source": "/bank", "unique_key": "x", "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01",
              "seq": 1, "lease": "x", "calls": [], "scopes": ["admin"], "__proto__": {"state": "completed"}}


def test_what_the_server_sets_cannot_be_posted(gateway, ring):
    told = row("Authz", "members that the server sets (state, attempts, tenant, ...) have no effect when posted", 0)
    routes, api = Routes(gateway), gateway.api(ring["acme"][0])
    fields = (routes.schema("Job") | set(SERVER_SET)) - routes.schema("JobRequest")
    assert {"state", "attempts", "tenant", "owner"} <= fields
    id = api.enqueue("note.add", {"who": "x"})
    job, before = {"type": "note.add", "payload": {"who": "x"}}, len(api.get("/v1/jobs").json()["items"])
    for field in sorted(fields):
        value = SERVER_SET.get(field, "x")
        for route, body in (("post /v1/jobs", {**job, field: value}), ("post /v1/jobs/batch", [{**job, field: value}]), ("post /v1/jobs/{id}/copy", {field: value})):
            answer = call(api, route, id, json=body)
            assert answer.status_code == 422 and field in answer.text, (field, route, answer.text)
            told["cases"] += 1
    for place in ({"headers": {"X-Tenant": "beta", "X-Owner": "boss", "X-Forwarded-User": "boss", "Tenant": "beta"}}, {"json": {**job, "payload": {"who": "x", **SERVER_SET}}}):
        answer = call(api, "post /v1/jobs", **place)
        stored = gateway.api(ring["admin"][0]).get_job(answer.json()["id"])
        assert (stored["state"], stored["tenant"], stored["owner"], stored["attempt"]) == ("available", "acme", "acme", 0)
    assert len(api.get("/v1/jobs").json()["items"]) == before + 2


def test_dead_letters_have_their_queues_keys(gateway, ring):
    """What was refused or given up is as private as what waits."""
    told = row("Payload at rest", "dead letters with a key that may only enqueue: 403", 0)
    id = gateway.api(ring["acme"][0]).enqueue("note.add", {"who": "secret"})
    gateway.api(ring["acme"][0]).post(f"/v1/jobs/{id}/cancel")
    api = gateway.api(ring["enqueue:*"][0])
    for method, path in (("GET", "/v1/jobs"), ("GET", "/v1/jobs?state=discarded"), ("GET", "/v1/jobs?state=cancelled&queue=notes"),
                         ("GET", f"/v1/jobs/{id}"), ("POST", "/v1/jobs/redrive"), ("POST", f"/v1/jobs/{id}/retry"), ("POST", f"/v1/jobs/{id}/copy"),
                         ("POST", f"/v1/jobs/{id}/resolve")):
        answer = api.request(method, path, json={} if method == "POST" else None)
        assert answer.status_code == 403 and "secret" not in answer.text, (path, answer.text)
        told["cases"] += 1
    assert "secret" in json.dumps(gateway.api(ring["read"][0]).get_job(id))

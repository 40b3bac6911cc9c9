# SPDX-License-Identifier: Apache-2.0
"""CORS of every HTTP door: each route of /openapi.json x origins, errors of the server's own guard, and what a preflight costs: nothing.
What a browser makes of it is in test_cors_browser.py."""

import contextlib
import json
import pathlib
import sqlite3

from harness.checklist import row
from harness.gateway import make_key, start, uuid7

ALLOWED = "https://allowed.com"
ORIGINS = {
    "allowed": ALLOWED, "null": "null", "suffix": "https://evil-allowed.com", "prefix": "https://allowed.com.evil", "case": "https://ALLOWED.com",
    "port": "https://allowed.com:8443", "scheme": "http://allowed.com", "empty": "", "list": f"{ALLOWED}, https://evil.example",
}


def routes(api):
    """Method and path of each, with something in its braces."""
    for path, item in api.get("/openapi.json").json()["paths"].items():
        for method in item:
            yield method.upper(), path.replace("{id}", uuid7()).replace("{name}", "notes")


def judge(answer, allowed):
    """The header fields of one answer are those of an allowed origin, or there are none."""
    told = {name.lower() for name in answer.headers if name.lower().startswith("access-control-")}
    assert "access-control-allow-credentials" not in told and answer.headers.get("Access-Control-Allow-Origin") != "*"
    assert "Origin" in answer.headers.get("Vary", ""), answer.headers
    if not allowed:
        assert not told, (answer.status_code, answer.headers)
        return
    assert answer.headers["Access-Control-Allow-Origin"] == ALLOWED and "access-control-expose-headers" in told, answer.headers


def test_every_route(windlass, sqlite_url):
    told = row("CORS", "every route of every HTTP door x origins x {simple, preflight, credentials}, without a key", 0)
    _, line = make_key("web", "enqueue:*,read")
    api = start(windlass, sqlite_url, WINDLASS_API_KEYS=line, WINDLASS_CORS_ORIGINS=ALLOWED).api()
    assert len(list(routes(api))) >= 20
    for method, path in routes(api):
        for name, origin in ORIGINS.items():
            simple = api.request(method, path, headers={"Origin": origin, "Cookie": "a=b"})
            judge(simple, name == "allowed")
            asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
            preflight = api.request("OPTIONS", path, headers=asked)
            judge(preflight, name == "allowed")
            assert preflight.status_code == (204 if name == "allowed" else 403), (path, name, preflight.status_code)
            assert (method in preflight.headers.get("Access-Control-Allow-Methods", "")) == (name == "allowed")
            told["cases"] += 2


def test_errors(windlass, sqlite_url):
    """Those that the server gives before the gateway has seen the request, too."""
    told = row("CORS", "errors carry the header fields too: 400 401 404 405 413 414 415 422 429 431 503", 0)
    windlass.expect()
    key, line = make_key("web", "enqueue:*,read")
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=line, WINDLASS_CORS_ORIGINS=ALLOWED)
    api, none, body = gateway.api(key), gateway.api(), {"Content-Type": "application/json"}
    job = json.dumps({"type": "tiny"})
    errors = [
        (401, none, "GET", "/v1/jobs", {}, None), (404, api, "GET", "/nowhere", {}, None), (405, api, "PATCH", "/v1/jobs", {}, None),
        (400, api, "POST", "/v1/jobs", body, "{"), (415, api, "POST", "/v1/jobs", {"Content-Type": "text/plain"}, "x"),
        (413, api, "POST", "/v1/jobs", body, "x" * 300_000), (422, api, "POST", "/v1/jobs", body, '{"type":"nobody"}'),
        (414, api, "GET", "/v1/jobs?type=" + "x" * 9000, {}, None), (431, api, "GET", "/v1/jobs", {"X-Large": "x" * 17000}, None),
        (431, api, "GET", "/v1/jobs", {f"X-{number}": "x" for number in range(110)}, None),
        (400, api, "GET", "/%00", {}, None), *[(202, api, "POST", "/v1/jobs", body, job)] * 3, (429, api, "POST", "/v1/jobs", body, job),
    ]
    for origin in (ALLOWED, "https://evil.example"):
        for status, who, method, path, headers, data in errors:
            answer = who.request(method, path, data=data, headers={**headers, "Origin": origin})
            status = 429 if status == 202 and origin != ALLOWED else status  # the queue has been full since
            assert answer.status_code == status, (method, path[:40], answer.status_code, answer.text)
            judge(answer, origin == ALLOWED)
            told["cases"] += status != 202
    with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:"), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        for origin in (ALLOWED, "https://evil.example"):
            answer = api.post("/v1/jobs", data='{"type":"mail.send"}', headers={**body, "Origin": origin})
            assert answer.status_code in (503, 504)
            judge(answer, origin == ALLOWED)
            told["cases"] += 1
        connection.execute("ROLLBACK")


def test_preflights_cost_nothing(windlass, sqlite_url):
    """Neither of a caller's rate, nor of the store, which nobody can get into meanwhile."""
    told = row("CORS", "preflights are answered without the store and off no rate", 0)
    windlass.expect()
    key, line = make_key("web", "enqueue:*,read")
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=f"{line} rate=5/m burst=5", WINDLASS_CORS_ORIGINS=ALLOWED)
    api, all_routes = gateway.api(key), list(routes(gateway.api()))
    asked = {"Origin": ALLOWED, "Access-Control-Request-Headers": "authorization"}
    with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:"), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        for method, path in all_routes:
            answer = api.request("OPTIONS", path, headers={**asked, "Access-Control-Request-Method": method}, timeout=10)
            assert answer.status_code == 204 and answer.content == b"" and "RateLimit-Remaining" not in answer.headers
            told["cases"] += 1
        connection.execute("ROLLBACK")
    assert int(api.get("/v1/queues").headers["RateLimit-Remaining"]) == 4


def test_files(windlass, sqlite_url, tmp_path):
    """/client.js and pages: their tags, types and policies; nothing else of the folder or around it."""
    pages = tmp_path / "pages"
    pages.mkdir()
    (tmp_path / "secret.html").write_text("secret")
    for name, text in {"order.html": "<!doctype html>", "order.js": "let a", "order.css": "a {}", "logo.svg": "<svg/>", ".hidden.html": "hidden"}.items():
        (pages / name).write_text(text)
    gateway = start(windlass, sqlite_url, WINDLASS_PAGES=pages)
    api = gateway.api()
    module = api.get("/client.js")
    assert module.text == pathlib.Path(__file__).parents[2].joinpath("producers/gateway/client.js").read_text()
    assert len(module.text.splitlines()) <= 200
    assert module.headers["Content-Type"] == "text/javascript; charset=utf-8" and module.headers["Cache-Control"] == "public, max-age=300"
    for path, kind in (("client.js", "text/javascript"), ("pages/order.html", "text/html"), ("pages/order.js", "text/javascript"), ("pages/order.css", "text/css"), ("pages/logo.svg", "image/svg+xml")):
        answer = api.get("/" + path)
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith(kind) and answer.headers["X-Content-Type-Options"] == "nosniff"
        tag = answer.headers["ETag"]
        assert tag.startswith('"') and len(tag) == 34
        for field, status in ((tag, 304), (f'"x", {tag}', 304), (f"W/{tag}", 304), ("*", 304), ('"x"', 200), (tag.strip('"'), 200)):
            again = api.get("/" + path, headers={"If-None-Match": field})
            assert again.status_code == status and again.headers["ETag"] == tag and bool(again.content) == (status == 200), (path, field)
        if path.startswith("pages/"):
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    for path in ("/pages", "/pages/", "/pages/.hidden.html", "/pages/..%2fsecret.html", "/pages/%2e%2e/secret.html", "/pages/order", "/pages/order.html%00", "/pages/x.html"):
        assert api.get(path).status_code in (400, 404), path
    assert api.post("/pages/order.html").status_code == 405
    for wrong in ("notes.txt", "link.html"):
        odd = tmp_path / wrong.replace(".", "-")
        odd.mkdir()
        (odd / wrong).symlink_to(tmp_path / "secret.html") if wrong == "link.html" else (odd / wrong).write_text("x")
        done = windlass.command("gateway", check=False, DATABASE_URL=sqlite_url, WINDLASS_PAGES=odd)
        assert done.returncode == 78 and wrong in done.stderr, done.stderr

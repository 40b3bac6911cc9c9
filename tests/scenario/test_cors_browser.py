# SPDX-License-Identifier: Apache-2.0
"""Who may read what from a web page, as a real Chromium judges it: origins x kinds of request x methods and header fields. The same
origins as bare header fields, in spellings that no browser makes, are in test_gateway_access.py."""

import contextlib
import json
import sqlite3

import pytest

from harness import browser
from harness.checklist import row
from harness.gateway import make_key, start

ALLOWED = "https://allowed.com"
STRANGERS = ("https://evil-allowed.com", "https://allowed.com.evil", "https://sub.allowed.com", "https://allowed.com:8443", "http://allowed.com",
             "http://evil.example", "null")

# Asks each [method, path, header fields, body, fetch options] and says what the page gets to see of it.
ASK = """
    const seen = [];
    for (const [method, path, headers, body, options] of args[1]) {
        try {
            const init = {method, headers, cache: "no-store", ...options};
            if (body !== null) init.body = body;
            const answer = await fetch(args[0] + path, init);
            seen.push({status: answer.status, kind: answer.type, text: await answer.text(), fields: Object.fromEntries(answer.headers)});
        } catch (e) {
            seen.push({status: null, kind: "blocked", text: String(e), fields: {}});
        }
    }
    return seen;
"""
# The same in a frame whose origin is "null".
ASK_SANDBOXED = """
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    const code = `onmessage = async ({data: args}) => {
        const ask = async () => {%s}; parent.postMessage(await ask().catch(e => "failed: " + e), "*") }; parent.postMessage("ready", "*")`;
    frame.srcdoc = "<script>" + code + "</" + "script>";
    return await new Promise(resolve => {
        onmessage = ({data}) => data === "ready" ? frame.contentWindow.postMessage(args, "*") : resolve(data);
        document.body.append(frame);
    });
""" % ASK

JOB = json.dumps({"type": "mail.send", "payload": {"from": "page"}})


class Pages:
    """Pages of chosen origins, and one gateway that they ask."""

    def __init__(self, chromium, gateway, key):
        self.chromium, self.gateway, self.key = chromium, gateway, key
        self.json = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, origin, *requests):
        self.chromium.open((ALLOWED if origin == "null" else origin) + "/page")
        here = self.chromium.run("return location.origin")
        assert here == {"null": ALLOWED}.get(origin, origin.lower().removesuffix(":443")), here  # no upgrade to https behind our back
        seen = self.chromium.run(ASK_SANDBOXED if origin == "null" else ASK, self.gateway.url, list(requests))
        assert len(seen) == len(requests) and not isinstance(seen, str), seen
        return seen

    def jobs(self):
        return len(self.gateway.api(self.key).get("/v1/jobs", params={"limit": 100}).json()["items"])


def matrix(pages):
    """Each request and whether the allowed origin may send and read it: the status, or None."""
    key, none = {"Authorization": f"Bearer {pages.key}"}, {}
    return [
        (["GET", "/healthz", none, None, none], 200),
        (["GET", "/v1/jobs", none, None, none], 401),
        (["GET", "/v1/jobs", key, None, none], 200),
        (["HEAD", "/v1/jobs", key, None, none], 200),
        (["POST", "/v1/jobs", pages.json, JOB, none], 202),
        (["POST", "/v1/jobs", {**pages.json, "Idempotency-Key": "page", "Prefer": "wait=1", "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}, JOB, none], 202),
        (["POST", "/v1/jobs/redrive", pages.json, "{}", none], 403),
        (["POST", "/v1/jobs", {"Content-Type": "text/plain"}, JOB, none], 401),  # simple: is sent without asking
        (["POST", "/v1/jobs", {"Content-Type": "application/x-www-form-urlencoded"}, "type=mail.send", none], 401),
        (["PUT", "/v1/jobs", pages.json, JOB, none], None),
        (["PATCH", "/v1/jobs", pages.json, JOB, none], None),
        (["DELETE", "/v1/jobs", key, None, none], None),
        (["GET", "/v1/jobs", {**key, "X-Other": "y"}, None, none], None),
        (["GET", "/nowhere", key, None, none], None),  # no such path: nothing to ask leave for
        (["GET", "/nowhere", none, None, none], 404),
        (["GET", "/healthz", none, None, {"credentials": "include"}], None),
        (["GET", "/v1/jobs", key, None, {"credentials": "include"}], None),
        (["POST", "/v1/jobs", pages.json, JOB, {"credentials": "include"}], None),
    ]


def check_origins(pages):
    told = row("CORS", "origins x {simple, preflight, credentials} x methods and fields in Chromium: only the allowed one reads", 0)
    stored = pages.jobs()
    requests = [request for request, _ in matrix(pages)]
    for origin in STRANGERS:
        for request, answer in zip(requests, pages.ask(origin, *requests)):
            assert answer["kind"] == "blocked", (origin, request, answer)
            told["cases"] += 1
        for answer in pages.ask(origin, ["GET", "/healthz", {}, None, {"mode": "no-cors"}], ["POST", "/v1/jobs", {}, JOB, {"mode": "no-cors"}]):
            assert (answer["kind"], answer["text"]) == ("opaque", ""), (origin, answer)
            told["cases"] += 1
    assert pages.jobs() == stored  # preflights, and what is sent without one, did no work
    for spelling in (ALLOWED, "HTTPS://ALLOWED.COM", "https://allowed.com:443"):  # a browser makes these one origin
        for (request, status), answer in zip(matrix(pages), pages.ask(spelling, *requests)):
            assert answer["status"] == status, (spelling, request, answer)
            told["cases"] += 1
    assert pages.jobs() == stored + 3 + 1  # one each without a key, one with the same key thrice


@contextlib.contextmanager
def locked(url):
    """Nobody else writes to the store meanwhile."""
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:"), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def check_errors(pages, store_url):
    told = row("CORS", "errors are readable by the allowed origin too", 0)
    post, tiny = ["POST", "/v1/jobs", pages.json], json.dumps({"type": "tiny"})
    key = {"Authorization": f"Bearer {pages.key}"}
    errors = [
        (401, ["POST", "/v1/jobs", {**pages.json, "Authorization": "Bearer x"}, JOB, {}]),
        (403, ["POST", "/v1/jobs/redrive", pages.json, "{}", {}]),
        (404, ["GET", "/v1/jobs/no-such", key, None, {}]),
        (400, [*post, "{", {}]),
        (413, [*post, json.dumps({"type": "mail.send", "payload": "x" * 300000}), {}]),
        (413, [*post, json.dumps({"type": "mail.send", "payload": "x" * 900000}), {}]),
        (415, ["POST", "/v1/jobs", {**key, "Content-Type": "text/html"}, JOB, {}]),
        (422, [*post, json.dumps({"type": "nobody.knows"}), {}]),
        (400, ["GET", "/v1/jobs?limit=x", key, None, {}]),
        (414, ["GET", "/v1/jobs?type=" + "x" * 9000, {}, None, {}]),
        (405, ["POST", "/healthz", {"Content-Type": "text/plain"}, "x", {}]),
        (431, ["GET", "/v1/jobs", {"Authorization": "Bearer " + "x" * 17000}, None, {}]),
        *[(202, [*post, tiny, {}])] * 3,
        (429, [*post, tiny, {}]),
    ]
    for (status, request), answer in zip(errors, pages.ask(ALLOWED, *[request for _, request in errors])):
        assert answer["status"] == status, (request[:3], answer)
        assert status == 202 or json.loads(answer["text"])["status"] == status
        assert status != 429 or int(answer["fields"]["retry-after"]) > 0
        told["cases"] += status != 202
    with locked(store_url):
        [answer] = pages.ask(ALLOWED, [*post, JOB, {}])
        assert answer["status"] in (503, 504), answer
        told["cases"] += 1


def check_gateway_without_keys(pages):
    """On loopback nobody needs a key, so no page may get there: neither by its origin nor by a name that it made point here."""
    told = row("CORS", "a gateway without keys does nothing for a page of another origin, nor for a rebound name", 0)
    api, port = pages.gateway.api(), pages.gateway.url.rpartition(":")[2]
    for origin in STRANGERS:
        requests = [["POST", path, {"Content-Type": "text/plain"}, JOB, {"mode": mode}]
                    for mode in ("cors", "no-cors") for path in ("/v1/jobs", "/v1/queues/notes/pause")]
        for answer in pages.ask(origin, *requests):
            assert answer["kind"] in ("blocked", "opaque") and answer["status"] in (None, 0), (origin, answer)
            told["cases"] += 1
    for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}"):
        assert api.get("/v1/jobs", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 421
        told["cases"] += 1
    assert api.get("/v1/jobs").json()["items"] == [] and not any(queue["paused"] for queue in api.get("/v1/queues").json()["items"])


@pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing()))
def test_pages_in_chromium(windlass, sqlite_url, tmp_path):
    """One browser for all: it takes its time to start."""
    windlass.expect()  # a store that is locked
    key, line = make_key("web", "enqueue:*,read")
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=line, WINDLASS_CORS_ORIGINS=ALLOWED)
    open_to_all = start(windlass, f"sqlite:{tmp_path / 'open.db'}")
    with browser.Browser(tmp_path) as chromium:
        pages = Pages(chromium, gateway, key)
        check_origins(pages)
        check_errors(pages, sqlite_url)
        check_gateway_without_keys(Pages(chromium, open_to_all, ""))

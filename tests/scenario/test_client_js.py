# SPDX-License-Identifier: Apache-2.0
"""/client.js as its users have it: in a real Chromium, same-origin and cross-origin, and in Node. Each transport, the fallback from one to the
next, a gateway that is killed in the middle, and the example page."""

import json
import shutil
import signal
import subprocess

import pytest
import requests

from harness import browser, store
from harness.gateway import make_key, start
from harness.ports import free_port
from harness.windlass import BUILD, ROOT, wait_for

ALLOWED, STRANGER = "https://allowed.com", "https://evil.example"
in_chromium = pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing()))

# A page watches one job by each transport; what it saw is kept in `seen` for the test to look at.
WATCH = """
    const { Windlass } = await import(args[0] + "/client.js");
    window.seen = {};
    window.windlass = new Windlass({ url: args[0], token: args[1] || undefined, transports: args[3] });
    const job = args[2].watch_token ? args[2] : args[2].id;
    (async () => { for await (const now of window.windlass.watch(job)) (window.seen[job.id ?? job] ??= []).push(now.state) })()
        .catch(error => (window.seen.failed = String(error)));
    return "watching";
"""
CALL = """
    const { Windlass } = await import(args[0] + "/client.js");
    const windlass = new Windlass({ url: args[0], token: args[1] || undefined });
    return await windlass[args[2]](...args[3]).catch(error => ({ error: String(error), status: error.status ?? null }));
"""


def transports(gateway):
    """Those that this gateway has."""
    paths = gateway.api().get("/openapi.json").json()["paths"]
    return [name for name, path in (("websocket", "/v1/ws"), ("sse", "/v1/jobs/{id}/events")) if path in paths] + ["poll"]


def saw(chromium, id, state):
    def look():
        seen = chromium.run("return window.seen")
        assert "failed" not in seen, seen
        return state in seen.get(id, []) and seen[id]
    return wait_for(look, timeout_s=60, every_s=0.1)


def check_calls(chromium, page, gateway, key):
    """enqueue, get, cancel, wait, and errors as they are."""
    chromium.open(page)
    same = [{"type": "mail.send", "payload": {"a": 1}}, {"key": f"of {page}"}]
    job = chromium.run(CALL, gateway.url, key, "enqueue", same)
    assert job.get("state") == "available" and job["watch_token"], job
    assert chromium.run(CALL, gateway.url, key, "enqueue", same)["id"] == job["id"]
    assert chromium.run(CALL, gateway.url, key, "get", [job["id"]])["id"] == job["id"]
    assert chromium.run(CALL, gateway.url, key, "cancel", [job["id"]])["state"] == "cancelled"
    assert chromium.run(CALL, gateway.url, key, "wait", [job["id"]])["state"] == "cancelled"
    assert chromium.run(CALL, gateway.url, "", "wait", [job])["state"] == "cancelled"  # its watch token is enough
    refused = chromium.run(CALL, gateway.url, key, "enqueue", [{"type": "nobody.knows"}])
    assert refused["status"] == 422 and "nobody.knows" in refused["error"], refused
    assert chromium.run(CALL, gateway.url, "wl_web_wrong", "enqueue", [{"type": "mail.send"}])["status"] == 401
    assert chromium.run(CALL, gateway.url, key, "wait", ["01980000-0000-7000-8000-000000000000"])["status"] in (404, 410)


def check_transports(chromium, page, gateway, key):
    api = gateway.api(key)
    for way in transports(gateway):
        for token in (key, ""):
            job = api.post_job("mail.send").json()
            chromium.open(page)
            chromium.run(WATCH, gateway.url, token, job, [way])
            saw(chromium, job["id"], "available")
            api.post(f"/v1/jobs/{job['id']}/cancel")
            assert saw(chromium, job["id"], "cancelled")[-1] == "cancelled", way


BLOCK = """
    window.asked = [];
    const real = window.fetch;
    if (args[0].includes("websocket"))
        window.WebSocket = class { constructor(url) { window.asked.push(url); setTimeout(() => this.onerror?.()); } close() {} };
    window.fetch = (url, options) => (window.asked.push(url), args[0].includes("sse") && url.includes("/events")
        ? Promise.resolve(new Response("<html>blocked by a proxy", { status: 403 })) : real(url, options));
"""


def check_fallback(chromium, page, gateway, key):
    """What a proxy in between does not let through is gone around."""
    api = gateway.api(key)
    for blocked in ([], ["websocket"], ["websocket", "sse"]):
        job = api.post_job("mail.send").json()
        chromium.open(page)
        chromium.run(BLOCK, blocked)
        chromium.run(WATCH, gateway.url, key, job, ["websocket", "sse", "poll"])
        saw(chromium, job["id"], "available")
        api.post(f"/v1/jobs/{job['id']}/cancel")
        saw(chromium, job["id"], "cancelled")
        asked = chromium.run("return window.asked")
        assert not blocked or any("/v1/ws" in url for url in asked)
        assert any("?wait=" in url for url in asked) == (blocked == ["websocket", "sse"] or transports(gateway) == ["poll"]), (blocked, asked)


def check_lost_gateway(chromium, page, gateway, windlass, url, settings, key):
    """Killed while a page watches, and started anew: by each transport the page sees the end. One that enqueues meanwhile is accepted once."""
    for way in transports(gateway):
        job = gateway.api(key).post_job("mail.send").json()
        chromium.open(page)
        chromium.run(WATCH, gateway.url, key, job, [way])
        saw(chromium, job["id"], "available")
        gateway.kill()
        chromium.run("window.sent = window.windlass.enqueue({type: 'mail.send', payload: {late: true}}, {timeout: 120000}).catch(String); return 1")
        gateway = start(windlass, url, **settings)
        api = gateway.api(key)
        api.post(f"/v1/jobs/{job['id']}/cancel")
        states = saw(chromium, job["id"], "cancelled")
        assert states.count("cancelled") == 1, (way, states)
        late = chromium.run("return await window.sent")
        assert api.get_job(late["id"])["state"] == "available"
        assert sum(each["id"] == late["id"] for each in api.get("/v1/jobs", params={"limit": 100}).json()["items"]) == 1
    return gateway


def check_strangers(chromium, gateway, key):
    chromium.open(STRANGER + "/page")
    answer = chromium.run(CALL, gateway.url, key, "enqueue", [{"type": "mail.send"}])
    assert isinstance(answer, str) and answer.startswith("failed:"), answer  # not even the module
    seen = chromium.run("return await fetch(args[0] + '/client.js').then(a => a.status, String)", gateway.url)
    assert "TypeError" in str(seen), seen


@in_chromium
@pytest.mark.timeout(400)
def test_in_chromium(windlass, sqlite_url, tmp_path):
    windlass.expect()  # a gateway that is killed
    key, line = make_key("web", "enqueue:*,read,cancel")
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "empty.html").write_text("<!doctype html><title>empty</title>")
    settings = {"WINDLASS_API_KEYS": line, "WINDLASS_CORS_ORIGINS": ALLOWED, "WINDLASS_PAGES": pages, "WINDLASS_HTTP_LISTEN": f"127.0.0.1:{free_port()}"}
    gateway = start(windlass, sqlite_url, **settings)
    own, other = gateway.url + "/pages/empty.html", ALLOWED + "/page"
    with browser.Browser(tmp_path) as chromium:
        for page in (own, other):
            check_calls(chromium, page, gateway, key)
            check_transports(chromium, page, gateway, key)
        certs = tmp_path / "certs"  # made by the browser's fixture, which takes them
        tls = start(windlass, f"sqlite:{tmp_path / 'tls.db'}", WINDLASS_API_KEYS=line, WINDLASS_PAGES=pages,
                    WINDLASS_TLS_CERT=certs / "server.pem", WINDLASS_TLS_KEY=certs / "server.key")
        check_calls(chromium, tls.url + "/pages/empty.html", tls, key)
        check_transports(chromium, tls.url + "/pages/empty.html", tls, key)
        check_fallback(chromium, other, gateway, key)
        check_strangers(chromium, gateway, key)
        gateway = check_lost_gateway(chromium, own, gateway, windlass, sqlite_url, settings, key)


ORDER = """
    document.getElementById("sku").value = args[0];
    document.getElementById("qty").value = args[1];
    document.getElementById("send").click();
    return 1;
"""


@in_chromium
def test_example_page(windlass, sqlite_url, tmp_path):
    """Submit an order, watch it, see what came of it; and nothing that is written into the page runs."""
    log = tmp_path / "pay.log"
    provider = subprocess.Popen(["python3", ROOT / "tests/stub/payment.py"], stdout=log.open("wb"), stdin=subprocess.DEVNULL)
    try:
        pay = wait_for(lambda: log.read_text().rpartition(" on ")[2].strip())
        database = {"DATABASE_URL": sqlite_url, "PAY_URL": pay}
        windlass.migrate(**database)
        store.script(sqlite_url, (ROOT / "workers/jobs/schema.sql").read_text())
        engine = windlass.run(**database, WINDLASS_PAGES=BUILD / "jobs/pages")
        with browser.Browser(tmp_path) as chromium:
            chromium.open(engine.url + "/pages/order.html")
            chromium.run(ORDER, "espresso", 2)
            shown = wait_for(lambda: (text := chromium.run("return document.getElementById('result').textContent")) and json.loads(text), timeout_s=60)
            assert shown["total"] == 500 and shown["charge"]
            assert chromium.run("return [document.getElementById('state').textContent, document.getElementById('progress').value]") == ["completed", 1]
            chromium.run(ORDER, "beans-1kg", 99)
            wait_for(lambda: "out of stock" in chromium.run("return document.getElementById('state').textContent"), timeout_s=60)
            ran = chromium.run("""const s = document.createElement("script"); s.textContent = "window.ran = true"; document.body.append(s);
                return [window.ran ?? null, await fetch("https://allowed.com/").then(() => "came", () => "blocked")]""")
            assert ran == [None, "blocked"]
    finally:
        provider.send_signal(signal.SIGTERM)
        provider.wait(10)


NODE = """
    import { Windlass, WindlassError } from %s;
    const windlass = new Windlass({ url: %s, token: async () => %s });
    const job = await windlass.enqueue({ type: "mail.send" });
    const seen = [];
    for await (const now of windlass.watch(job)) {
        seen.push(now.state);
        if (seen.length === 1) await windlass.cancel(job);
    }
    const refused = await windlass.enqueue({ type: "nobody" }).catch((error) => error);
    const stopped = await windlass.wait(await windlass.enqueue({ type: "mail.send" }), { signal: AbortSignal.timeout(500) }).catch((error) => error.name);
    console.log(JSON.stringify({ seen, ended: (await windlass.wait(job.id)).state, refused: [refused instanceof WindlassError, refused.status, refused.problem.title], stopped }));
"""


def node():
    found = shutil.which("node")
    version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout if found else "none"
    return found, int(version.lstrip("v").partition(".")[0] or 0) if found else 0


@pytest.mark.skipif(node()[1] < 20, reason="Node 20 is not installed")
def test_in_node(windlass, sqlite_url, tmp_path):
    key, line = make_key("web", "enqueue:*,read,cancel")
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=line)
    module = tmp_path / "client.mjs"
    module.write_bytes(requests.get(gateway.url + "/client.js", timeout=10, proxies={"http": ""}).content)
    script = tmp_path / "test.mjs"
    script.write_text(NODE % tuple(json.dumps(text) for text in (module.as_uri(), gateway.url, key)))
    done = subprocess.run([node()[0], script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["seen"][0] == "available" and told["seen"][-1] == told["ended"] == "cancelled"
    assert told["refused"] == [True, 422, "Unprocessable Content"] and told["stopped"] == "TimeoutError", told

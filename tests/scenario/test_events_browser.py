# SPDX-License-Identifier: Apache-2.0
"""EventSource in a real Chromium, on a page of another origin: token in the query, resuming by itself, no coming back after the end."""

import pytest

from harness import browser
from harness.gateway import make_key
from harness.rig import Rig

ALLOWED = "https://allowed.com"

# Watches one job: every event, and what became of the source when it was over.
WATCH = """
    const [url, enough] = args, seen = [];
    const source = new EventSource(url);
    return await new Promise(resolve => {
        const note = e => { seen.push({name: e.type, id: e.lastEventId, job: JSON.parse(e.data)}); if (seen.length === enough) end("enough"); };
        const end = why => { source.close(); resolve({why, seen}); };
        source.addEventListener("state", note);
        source.addEventListener("progress", note);
        source.onerror = () => { if (source.readyState === EventSource.CLOSED) end("closed"); };
        setTimeout(() => end("late"), 50000);
    });
"""


@pytest.fixture
def chromium(tmp_path):
    why = browser.missing()
    if why:
        pytest.skip(why)
    with browser.Browser(tmp_path) as started:
        yield started


def test_event_source(windlass, sqlite_url, engine_jobs, chromium):
    key, line = make_key("page", "enqueue,read")
    rig = Rig.__new__(Rig)
    rig.settings = {"DATABASE_URL": sqlite_url, "WINDLASS_JOBS": engine_jobs, "WINDLASS_CONCURRENCY": 2}
    gateway = windlass.gateway(**rig.settings, WINDLASS_API_KEYS=line, WINDLASS_CORS_ORIGINS=ALLOWED)
    accepted = gateway.api(key).post_job("snooze").json()
    chromium.open(ALLOWED + "/page")
    url = f"{gateway.url}/v1/jobs/{accepted['id']}/events"
    assert chromium.run(WATCH, url + "?token=wrong", 1)["why"] == "closed"
    seen = chromium.run(WATCH, f"{url}?token={accepted['watch_token']}", 1)
    assert seen["why"] == "enough" and seen["seen"][0]["job"]["state"] == "available", seen
    windlass.work(**rig.settings)
    seen = chromium.run(WATCH, f"{url}?token={accepted['watch_token']}", 0)
    assert seen["why"] == "closed", seen  # it came again with the last id, was told 204, and stays away
    assert seen["seen"][-1]["job"]["state"] == "completed" and len({e["id"] for e in seen["seen"]}) == len(seen["seen"])
    chromium.open("https://evil.example/page")
    assert chromium.run(WATCH, f"{url}?token={key}", 1) == {"why": "closed", "seen": []}, "another origin reads nothing"

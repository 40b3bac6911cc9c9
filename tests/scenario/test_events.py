# SPDX-License-Identifier: Apache-2.0
"""Server-Sent Events: a job from its acceptance to its end, jobs by filter, resuming, who may see what, limits, slow readers."""

import json
import threading
import time

import pytest

from harness.gateway import make_key, start, uuid7
from harness.rig import napping
from harness.sse import Stream
from harness.windlass import wait_for


def watch(rig, path, **options):
    return Stream(rig.gateway.url, path, **options)


def test_a_job_from_acceptance_to_its_end(rig):
    id = rig.api.enqueue("nap", {"ms": 3000})
    with watch(rig, f"/v1/jobs/{id}/events") as stream:
        assert (stream.status, stream.headers["content-type"], stream.headers["cache-control"]) == (200, "text/event-stream", "no-store")
        first = stream.next()
        assert (first.name, first.job()["state"], first.job()["id"]) == ("state", "available", id) and stream.retry_ms == 1000
        rig.work()
        events = stream.rest()
    states = [event.job()["state"] for event in events]
    assert states[0] == "running" and states[-1] == "completed" and set(states) == {"running", "completed"}
    progress = [event.job()["progress"]["part"] for event in events if event.name == "progress"]
    assert len(progress) >= 2 and progress == sorted(set(progress)), "while somebody watches, progress is saved soon"
    shown, told = rig.api.get_job(id), events[-1].job()
    shown.pop("progress", None), told.pop("progress", None)  # what is left of it goes away soon
    assert events[-1].name == "state" and told == shown, "the data is the job as GET shows it"
    assert len({event.id for event in events}) == len(events)


def test_retries_and_cancels_are_seen(rig):
    failing, endless = rig.api.enqueue("fail", {"times": 2}), rig.api.enqueue("nap", {"ms": 3000, "deaf": 1})
    with watch(rig, f"/v1/jobs/{failing}/events") as stream, watch(rig, f"/v1/jobs/{endless}/events") as other:
        rig.work()
        assert stream.rest()[-1].job()["state"] in ("completed", "discarded")
        napping(rig, endless)
        rig.api.post(f"/v1/jobs/{endless}/cancel")
        jobs = [event.job() for event in other.rest()]
    assert any(job.get("cancel_asked") for job in jobs if job["state"] == "running") and jobs[-1]["state"] in ("cancelled", "completed")


def test_one_that_has_ended(rig):
    rig.work()
    id = rig.run("put")["id"]
    with watch(rig, f"/v1/jobs/{id}/events") as stream:
        events = stream.rest()
    assert [event.job()["state"] for event in events] == ["completed"]
    for how in ({"Last_Event_ID": events[0].id}, {}):
        query = "" if how else f"?lastEventId={events[0].id}"
        with watch(rig, f"/v1/jobs/{id}/events{query}", **how) as again:
            assert again.status == 204, "so that an EventSource does not come again"


def test_resuming_one_job(rig):
    id = rig.api.enqueue("put")
    with watch(rig, f"/v1/jobs/{id}/events") as stream:
        seen = stream.next()
    with watch(rig, f"/v1/jobs/{id}/events", Last_Event_ID=seen.id) as stream:
        assert stream.status == 200
        rig.work()
        events = stream.rest()
    assert events[0].job()["state"] != "available" and events[-1].job()["state"] == "completed"
    with watch(rig, f"/v1/jobs/{id}/events", Last_Event_ID="nonsense") as stream:
        assert [event.job()["state"] for event in stream.rest()] == ["completed"]


def test_by_type_queue_and_tag(rig):
    paths = ["/v1/events?type=put", "/v1/events?queue=elsewhere", "/v1/events?tag=red", "/v1/events"]
    streams = [watch(rig, path) for path in paths]
    wanted = [rig.api.enqueue("put"), rig.api.enqueue("audit", {"who": "x"}, queue="elsewhere"), rig.api.enqueue("audit", {"who": "y"}, tags=["blue", "red"])]
    rig.work()
    for stream, ids in zip(streams, [*([id] for id in wanted), wanted]):
        ended = set()
        while ended != set(ids):
            job = stream.next().job()
            assert job["id"] in ids
            if job["state"] == "completed":
                ended.add(job["id"])
        stream.close()


def test_no_gap_while_a_watcher_comes_and_goes(rig):
    """Jobs end all the time; the reader leaves again and again, each time a little later, and comes again with the last id."""
    count, ids, ended = 400, [], set()
    rig.work()

    def submit():
        for _ in range(count // 20):
            ids.extend(rig.api.enqueue_batch([{"type": "put"}] * 20))

    stream = watch(rig, "/v1/events?type=put")
    submitting = threading.Thread(target=submit)
    submitting.start()
    last, breaks = None, 0
    while len(ended) < count:
        for _ in range(100 * (breaks + 1)):
            event = stream.next()
            last = event.id
            if event.job()["state"] == "completed":
                ended.add(event.job()["id"])
            if len(ended) == count:
                break
        stream.close()
        breaks += 1
        stream = watch(rig, "/v1/events?type=put", Last_Event_ID=last)
    submitting.join()
    stream.close()
    assert ended == set(ids) and breaks >= 3


def test_run_on_one_gateway_watched_at_another(rig):
    other = rig.windlass.gateway(**rig.settings)
    with Stream(other.url, "/v1/events?type=put") as stream:
        id = rig.api.enqueue("put")
        with Stream(other.url, f"/v1/jobs/{id}/events") as one:
            rig.work()
            assert one.rest()[-1].job()["state"] == "completed"
        while (event := stream.next()).job()["state"] != "completed":
            pass
        assert event.job()["id"] == id


def test_data_of_a_payload_with_lines(rig):
    body = '{"type": "put", "payload":\n {"text":\r\n "a\\nb",\r "n": 1}}'
    id = rig.api.post("/v1/jobs", data=body, headers={"Content-Type": "application/json"}).json()["id"]
    with watch(rig, f"/v1/jobs/{id}/events") as stream:
        assert stream.next().job() == rig.api.get_job(id)


def test_refusals(rig):
    id = rig.api.enqueue("put")
    old = f"{int((time.time() - 7200) * 1000):012x}" + "0" * 15 + "1"
    cases = [(f"/v1/jobs/{uuid7()}/events", 404, "unknown-job"), (f"/v1/jobs/{uuid7(time.time() - 90 * 86400)}/events", 410, "past-retention"),
             ("/v1/jobs/x/events", 404, "unknown-job"), (f"/v1/jobs/{id}/events?colour=red", 400, "bad-parameter"),
             ("/v1/events?type=%20", 400, "bad-parameter"), (f"/v1/events?last_event_id={old}", 410, "past-retention"),
             (f"/v1/jobs/{id}/events?watch_token={'0' * 40}", 401, "bad-watch-token")]
    for path, status, slug in cases:
        with watch(rig, path) as stream:
            assert (stream.status, stream.body()["type"]) == (status, f"urn:windlass:problem:{slug}"), path
    assert rig.api.request("HEAD", f"/v1/jobs/{id}/events").status_code == 200


@pytest.fixture
def keys():
    return {id: make_key(id, scopes, tenant) for id, scopes, tenant in
            [("all", "enqueue,read", None), ("puts", "read:put", None), ("other", "enqueue,read", "elsewhere"), ("writer", "enqueue", None),
             ("root", "admin", None)]}


def watchers(gateway, keys):
    (line,) = [line for line in gateway.api(keys["root"][0]).get("/metrics").text.splitlines() if line.startswith("windlass_watchers ")]
    return int(line.split()[1])


def test_who_may_watch_what(store_url, windlass, engine_jobs, keys):
    gateway = windlass.gateway(DATABASE_URL=store_url, WINDLASS_JOBS=engine_jobs, WINDLASS_API_KEYS="\n".join(line for _, line in keys.values()))
    api = gateway.api(keys["all"][0])
    answer = api.post_job("put").json()
    id, token, fail = answer["id"], answer["watch_token"], api.enqueue("fail")

    def status(path, who=None, **headers):
        if who:
            headers["Authorization"] = f"Bearer {keys[who][0]}"
        with Stream(gateway.url, path, **headers) as stream:
            return stream.status

    job, params = f"/v1/jobs/{id}/events", {name: f"?token={key}" for name, (key, _) in keys.items()}
    assert [status(job), status(job, "all"), status(job, "puts"), status(job, "other"), status(job, "writer")] == [401, 200, 200, 404, 403]
    assert [status(f"/v1/jobs/{fail}/events", "puts"), status("/v1/events"), status("/v1/events", "writer")] == [404, 401, 403]
    assert [status(job + params[name]) for name in ("all", "puts", "other")] == [200, 200, 404], "as an EventSource brings a key"
    assert [status(job + f"?token={token}"), status(job + f"?watch_token={token}")] == [200, 200]
    assert [status(f"/v1/jobs/{fail}/events?token={token}"), status(f"/v1/events?token={token}"), status(f"/v1/jobs/{id}?token={params['all']}")] == [401, 401, 401]
    with Stream(gateway.url, "/v1/events" + params["puts"]) as mine, Stream(gateway.url, "/v1/events" + params["other"]) as theirs:
        wait_for(lambda: watchers(gateway, keys) == 2)
        api.enqueue("fail")
        seen = api.enqueue("put")
        own = gateway.api(keys["other"][0]).enqueue("put")
        while (told := mine.next().job()["id"]) == id:  # of what moved just before it watched, it may be told again
            pass
        assert told in (seen, own)
        assert theirs.next().job()["id"] == own


def test_no_more_watches_than_allowed(windlass, sqlite_url, keys):
    gateway = start(windlass, sqlite_url, WINDLASS_WATCHERS_PER_CALLER=2, WINDLASS_WATCHERS_MAX=3,
                    WINDLASS_API_KEYS="\n".join(line for _, line in keys.values()))
    open_ = [Stream(gateway.url, "/v1/events", Authorization=f"Bearer {keys['all'][0]}") for _ in range(2)]
    with Stream(gateway.url, "/v1/events", Authorization=f"Bearer {keys['all'][0]}") as third:
        assert third.status == 429 and third.body()["type"].endswith("too-many-watches") and third.headers["retry-after"]
    open_.append(Stream(gateway.url, "/v1/events", Authorization=f"Bearer {keys['other'][0]}"))
    with Stream(gateway.url, "/v1/events", Authorization=f"Bearer {keys['other'][0]}") as fourth:
        assert fourth.status == 429
    for stream in open_:
        assert stream.status == 200
        stream.close()
    wait_for(lambda: watchers(gateway, keys) == 0, timeout_s=60)  # who left is noticed without an event


def test_slow_readers_are_ended_and_cost_no_memory(windlass, sqlite_url):
    gateway = start(windlass, sqlite_url)
    api, text = gateway.api(), "x" * 100_000
    slow = [Stream(gateway.url, "/v1/events", receive_bytes=4096) for _ in range(20)]
    with Stream(gateway.url, "/v1/events", timeout_s=60) as good:
        api.post_job("note.add", {"who": "x", "text": text})
        good.next()
        before, ids = gateway.resident_kib(), set()
        for _ in range(120):
            ids.add(api.enqueue("note.add", {"who": "x", "text": text}))
            while good.next().job()["id"] not in ids:
                pass
        wait_for(lambda: gateway.metrics().get('windlass_watch_ends_total{why="overrun"}') == len(slow), timeout_s=30)
        wait_for(lambda: gateway.metrics().get("windlass_watchers") == 1, timeout_s=60)
        assert gateway.resident_kib() - before < 40_000
    said = []
    for stream in slow:
        try:
            said += [event.name for event in stream.rest()]
        except (EOFError, OSError, ValueError):
            pass
        stream.close()
    assert said.count("state") < 120 * len(slow)


def test_a_stream_is_told_that_the_gateway_stops(rig):
    id = rig.api.enqueue("put")
    with watch(rig, f"/v1/jobs/{id}/events") as stream, watch(rig, "/v1/events") as other:
        assert stream.next().job()["state"] == "available"
        rig.gateway.signal(15)
        assert json.loads(stream.next().data) == json.loads(other.next().data) == {"reason": "drain"}
        assert stream.next() is None and other.next() is None
    assert rig.gateway.popen.wait(30) == 0


def test_a_quiet_stream_has_heartbeats_and_stays(windlass, sqlite_url, long_form):
    if not long_form:
        pytest.skip("takes 35 s: --long")
    gateway = start(windlass, sqlite_url)
    id = gateway.api().enqueue("note.add", {"who": "x"})
    with Stream(gateway.url, f"/v1/jobs/{id}/events", timeout_s=40) as stream:
        stream.next()
        time.sleep(34)
        gateway.api().post(f"/v1/jobs/{id}/cancel")
        assert stream.next().job()["state"] == "cancelled" and stream.comments >= 2

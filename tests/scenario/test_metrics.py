# SPDX-License-Identifier: Apache-2.0
"""/metrics: every figure that the operations page names is there, in Prometheus' text format, with the jobs' true numbers."""

import re

import requests

from harness.windlass import ROOT, wait_for

SAMPLE = re.compile(r'^(windlass_[a-z_]+)(\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})? (-?[0-9.e+-]+|\+Inf|NaN)$')


def page(process):
    answer = requests.get(process.url + "/metrics", timeout=10, proxies={"http": ""})
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return answer.text


def test_format_and_names(store_url, windlass, engine_jobs):
    process = windlass.run(DATABASE_URL=store_url, WINDLASS_JOBS=engine_jobs)
    windlass.expect("host-died")
    api = process.api()
    for type in ("put", "refuse", "snooze", "crash"):  # no table: put is retried
        api.enqueue(type, max_attempts=1)
    wait_for(lambda: len(api.get("/v1/jobs?state=discarded").json()["items"]) == 3)
    wait_for(lambda: "windlass_queue_oldest_seconds{" in page(process))  # counted once a second
    typed, seen = {}, set()
    for line in page(process).splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in typed and kind in ("counter", "gauge", "histogram"), line
            typed[name] = kind
        elif not line.startswith("#"):
            match = SAMPLE.match(line)
            assert match, line
            base = re.sub(r"_(bucket|sum|count)$", "", match[1]) if match[1] not in typed else match[1]
            assert base in typed, f"{line} has no TYPE"
            assert line.rpartition(" ")[0] not in seen, f"{line} twice"
            seen.add(line.rpartition(" ")[0])
    told = re.findall(r"`(windlass_[a-z_]+)", (ROOT / "docs/operations.md").read_text())
    assert len(told) >= 6 and set(told) <= set(typed)
    for name in ("windlass_jobs_in_flight", "windlass_commit_batch_jobs", "windlass_waiters", "windlass_http_requests_total"):
        assert name in typed


def test_histograms_add_up(sqlite_url, windlass, engine_jobs):
    process = windlass.run(DATABASE_URL=sqlite_url, WINDLASS_JOBS=engine_jobs)
    api = process.api()
    ids = api.enqueue_batch([{"type": "refuse"}] * 50)
    for id in ids:
        api.wait(id)
    figures = process.metrics()
    assert figures['windlass_jobs_accepted_total{type="refuse"}'] == 50
    assert figures['windlass_jobs_finished_total{type="refuse",outcome="discard"}'] == 50
    for stage in ("accept", "queue_wait", "handler", "commit", "total"):
        label = f'stage="{stage}"'
        buckets = [v for name, v in figures.items() if name.startswith("windlass_stage_seconds_bucket{" + label)]
        count = figures["windlass_stage_seconds_count{" + label + "}"]
        assert buckets == sorted(buckets) and buckets[-1] == count >= 1, stage
    assert figures['windlass_stage_seconds_count{stage="total"}'] == 50
    depth = lambda: process.metrics()  # noqa: E731
    wait_for(lambda: depth().get('windlass_queue_depth{queue="default",state="available"}') == 0)
    api.post("/v1/queues/elsewhere/pause")
    api.enqueue("put", queue="elsewhere")
    wait_for(lambda: depth().get('windlass_queue_depth{queue="elsewhere",state="available"}') == 1)
    wait_for(lambda: depth().get('windlass_queue_oldest_seconds{queue="elsewhere"}', 0) > 0.5)


def test_a_role_alone_serves_its_own(rig):
    worker = rig.work()
    rig.run("put")
    # The client is answered at the commit; the count follows when the engine hears of it.
    wait_for(lambda: worker.metrics().get('windlass_jobs_finished_total{type="put",outcome="done"}') == 1)
    assert rig.gateway.metrics()['windlass_jobs_accepted_total{type="put"}'] == 1
    for path in ("/healthz", "/readyz"):
        assert requests.get(worker.url + path, timeout=10, proxies={"http": ""}).status_code == 200

# SPDX-License-Identifier: Apache-2.0
"""Pools of workers: over the API, the command line and signals; the autoscaler; a fake KEDA that reads the scaling endpoint."""

import json
import math
import signal

import pytest

from harness.windlass import wait_for

POOLS = """
pools:
  naps: {{queues: [naps], workers: 1, hosts: 2{more}}}
"""
TYPES = "  nap: {module: engine_jobs.so, queue: naps, timeout: 60s}\n  add: {sql: SELECT 1}\n"


@pytest.fixture
def jobs(engine_jobs):
    """A definitions file beside the module, with one pool by name and the one for everything else."""
    def write(more=""):
        path = engine_jobs.parent / "pools.yaml"
        path.write_text("jobs:\n" + TYPES + POOLS.format(more=more))
        return path
    return write


def pool(api, name="naps"):
    return next(p for p in api.get("/v1/pools").json()["items"] if p["name"] == name)


def put(api, body, name="naps"):
    return api.request("PUT", f"/v1/workers/{name}", json=body)


def test_pools_are_followed(windlass, sqlite_url, jobs):
    settings = {"DATABASE_URL": sqlite_url, "WINDLASS_JOBS": jobs(), "WINDLASS_CONCURRENCY": 3, "WINDLASS_NODE": "here"}
    run = windlass.run(**settings)
    api = run.api()
    wait_for(lambda: pool(api)["running"] == 1 and pool(api, "default")["running"] == 1)
    assert (pool(api)["workers"], pool(api)["hosts"], pool(api)["by"], pool(api)["queues"]) == (1, 2, "file", ["naps"])
    assert pool(api, "default")["hosts"] == 3 and "naps" not in pool(api, "default")["queues"]

    answer = put(api, {"workers": 3, "hosts": 5})
    assert answer.status_code == 200 and answer.json()["workers"] == 3 and answer.json()["by"] == "operator"
    wait_for(lambda: pool(api)["running"] == 3 and pool(api)["hosts_running"] == 15)
    workers = [w for w in api.get("/v1/workers").json()["items"] if w["pool"] == "naps"]
    assert {(w["node"], w["leaving"]) for w in workers} == {("here", False)} and len({w["pid"] for w in workers}) == 3
    entry = api.get("/v1/audit", params={"action": "pool.scale"}).json()["items"][0]
    assert (entry["who"], entry["object"], entry["detail"]) == ("operator", "naps", {"workers": 3, "hosts": 5})

    for body, status in (({"workers": 65}, 422), ({"workers": -1}, 422), ({"hosts": 0}, 422), ({"workers": "3"}, 422), ({}, 422),
                         ({"threads": 3}, 422), ({"node": "a b", "workers": 1}, 422)):
        assert put(api, body).status_code == status, body
    assert put(api, {"workers": 1}, "nobody").status_code == 404

    run.signal(signal.SIGTTIN)  # the first pool of the file, on this node
    wait_for(lambda: pool(api)["running"] == 4)
    assert [(n["node"], n["workers"], n["by"]) for n in pool(api)["nodes"]] == [("here", 4, "signal")]
    run.signal(signal.SIGTTOU)
    wait_for(lambda: pool(api)["running"] == 3)
    run.stop()

    again = windlass.run(**settings)  # what was said is kept
    wait_for(lambda: pool(again.api())["running"] == 3)
    url = {**settings, "WINDLASS_URL": again.url}
    assert "naps" in windlass.command("scale", **url).stdout
    windlass.command("scale", "naps=file", "--node", "here", **url)
    assert "1 workers with 4 hosts each" in windlass.command("scale", "naps=1", "--hosts", "4", **url).stdout
    wait_for(lambda: pool(again.api())["running"] == 1 and pool(again.api())["nodes"] == [])
    shown = json.loads(windlass.command("scale", "--json", **url).stdout)["items"][0]
    assert (shown["name"], shown["workers"], shown["hosts"]) == ("naps", 1, 4)
    assert windlass.command("scale", "naps=x", check=False, **url).returncode == 64
    assert windlass.command("scale", "nobody=1", check=False, **url).returncode == 65
    wait_for(lambda: again.metrics()['windlass_pool_workers{pool="naps",state="wanted"}'] == 1)
    wait_for(lambda: again.metrics()['windlass_pool_workers{pool="naps",state="running"}'] == 1)


def test_a_pool_that_leaves_the_file(windlass, sqlite_url, jobs):
    path = jobs()
    run = windlass.run(DATABASE_URL=sqlite_url, WINDLASS_JOBS=path)
    api = run.api()
    wait_for(lambda: pool(api)["running"] == 1 and pool(api, "default")["running"] == 1)
    path.write_text("jobs:\n" + TYPES)
    run.signal(signal.SIGHUP)
    wait_for(lambda: [w["pool"] for w in api.get("/v1/workers").json()["items"]] == ["default"])
    assert [p["name"] for p in api.get("/v1/pools").json()["items"]] == ["default"]
    api.wait(api.enqueue("add"))


def test_the_autoscaler_stays_within_its_bounds(windlass, sqlite_url, jobs):
    path = jobs(more=", autoscale: {min: 1, max: 3, age: 500ms, calm: 2s}")
    run = windlass.run(DATABASE_URL=sqlite_url, WINDLASS_JOBS=path)
    api = run.api()
    wait_for(lambda: pool(api)["running"] == 1)
    assert put(api, {"workers": 4}).status_code == 422 and put(api, {"workers": 0}).status_code == 422
    naps = [api.enqueue("nap", {}) for _ in range(12)]
    wait_for(lambda: pool(api)["running"] == 3, 40)
    assert pool(api)["by"] == "autoscaler"
    for id in naps:
        api.post(f"/v1/jobs/{id}/cancel")
    wait_for(lambda: pool(api)["workers"] == 1, 60)
    steps = [e["detail"] for e in api.get("/v1/audit", params={"who": "autoscaler"}).json()["items"]]
    assert all(1 <= step["workers"] <= 3 and step["workers"] != step["from"] for step in steps), steps


class Keda:
    """Reads the endpoint as KEDA's metrics-api scaler does and changes the number of pods as a horizontal autoscaler would."""

    def __init__(self, api, start, target, most):
        self.api, self.start, self.target, self.most, self.pods = api, start, target, most, []

    def turn(self):
        figures = self.api.get("/v1/scaling/naps").json()
        value = float(figures["queued"] + figures["in_flight"])
        wanted = min(self.most, math.ceil(value / self.target))
        while len(self.pods) < wanted:
            self.pods.append(self.start())
        while len(self.pods) > wanted:
            self.pods.pop().stop(timeout_s=60)
        return wanted


def test_keda(windlass, sqlite_url, jobs):
    settings = {"DATABASE_URL": sqlite_url, "WINDLASS_JOBS": jobs(), "WINDLASS_CONCURRENCY": 2, "WINDLASS_POOL": "naps"}
    windlass.migrate(**settings)
    api = windlass.gateway(**settings).api()
    keda = Keda(api, lambda: windlass.work(wait=False, **settings), target=2, most=3)
    assert keda.turn() == 0 and api.get("/v1/scaling/naps").json()["drain_estimate_s"] == 0
    naps = [api.enqueue("nap", {}) for _ in range(6)]
    figures = api.get("/v1/scaling/naps").json()
    assert (figures["kind"], figures["queued"], figures["in_flight"], figures["drain_estimate_s"]) == ("pool", 6, 0, None)
    assert wait_for(lambda: keda.turn() == 3 and len(keda.pods) == 3)
    for pod in keda.pods:
        pod.wait_ready()
    wait_for(lambda: api.get("/v1/scaling/naps").json()["in_flight"] == 6, 30)
    assert keda.pods[0].api().get("/stoppable").status_code == 503
    for id in naps:
        api.post(f"/v1/jobs/{id}/cancel")
    wait_for(lambda: keda.pods[0].api().get("/stoppable").json() == {"stoppable": True, "in_hand": 0})
    wait_for(lambda: keda.turn() == 0 and not keda.pods, 60, every_s=0.2)
    assert {api.get_job(id)["state"] for id in naps} == {"cancelled"}
    for bad in ("/v1/scaling/nobody", "/v1/scaling/no%20name"):
        assert api.get(bad).status_code == 404

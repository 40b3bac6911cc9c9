# SPDX-License-Identifier: Apache-2.0
"""What every line of the benchmark stands on: a PostgreSQL, fresh stores, the probes, and Windlass with the bench handlers.

Rates of Windlass are taken from the store (when its first and its last job were finished), not from a clock beside it."""

import contextlib
import http.client
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.parse

import conditions
from harness import brokers
from harness import postgres as pg
from harness import store
from harness.windlass import ROOT, Windlass, wait_for
from harness.ports import free_port

HERE = ROOT / "tests/bench"
BATCH_JOBS = 10_000
PAYLOAD = {"pad": "x" * 190}  # 200 bytes
TABLES = {
    "postgres": """CREATE TABLE bench_rows(job_id uuid PRIMARY KEY, payload text);
                   CREATE TABLE bench_kept(job_id uuid PRIMARY KEY, payload jsonb, at timestamptz DEFAULT now());
                   CREATE TABLE bench_hot(id int PRIMARY KEY, n bigint) WITH (fillfactor = 50);
                   INSERT INTO bench_hot SELECT generate_series(0, 19), 0""",
    "sqlite": """CREATE TABLE bench_rows(job_id text PRIMARY KEY, payload text);
                 CREATE TABLE bench_hot(id integer PRIMARY KEY, n integer)""",
}
DONE = {
    "postgres": "SELECT count(*), coalesce(extract(epoch FROM max(finished) - min(finished)), 0)::float8 FROM windlass.done WHERE state = 8",
    "sqlite": "SELECT count(*), coalesce(max(finished) - min(finished), 0) / 1000.0 FROM windlass_done WHERE state = 8",
}
LATE_US = {
    "postgres": "SELECT (result::json ->> 'us')::bigint FROM windlass.done WHERE result IS NOT NULL ORDER BY 1",
    "sqlite": "SELECT json_extract(result, '$.us') FROM windlass_done WHERE result IS NOT NULL ORDER BY 1",
}
# The log's outcome lines are thinned: no peer writes a line a job.
SETTINGS = {"WINDLASS_LOG": "warn", "WINDLASS_LOG_JOBS": "failures", "WINDLASS_GRACE": "5s"}


class Wrong(Exception):
    """A figure that must not be printed: jobs lost or doubled, a deadlock, a probe that failed."""


def kind_of(url):
    return "sqlite" if url.startswith("sqlite:") else "postgres"


def done(url):
    """(jobs completed, seconds from the first to the last of them)"""
    return store.rows(url, DONE[kind_of(url)])[0]


class Rig:
    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        self.numbers = itertools.count(1)
        self.postgres = pg.Postgres(folder / "services")
        self.jobs_file = None

    def start(self):
        shutil.rmtree(self.folder / "runs", ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        compiler = os.environ.get("CC", "gcc").split()
        subprocess.run([*compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", f"-I{ROOT}/workers/handlers",
                        "-o", self.folder / "bench.so", HERE / "jobs/bench.c"], check=True)
        self.jobs_file = shutil.copy(HERE / "jobs/jobs.yaml", self.folder)
        self.servers = []
        self.postgres.start()
        self.postmaster = int((self.folder / "services/run/postgres.pid").read_text().split()[0])

    def stop(self):
        for server in self.servers:
            server.wipe()
        self.postgres.wipe()
        shutil.rmtree(self.folder / "runs", ignore_errors=True)

    def watch(self):
        return conditions.Watch(lambda: (os.getpid(), *self.service_pids().values()))

    def service_pids(self):
        """PostgreSQL and the brokers that run."""
        return {path.stem: int(path.read_text().split()[0]) for path in (self.folder / "services/run").glob("*.pid")}

    @contextlib.contextmanager
    def services_cpu(self, figures, jobs):
        """Adds to the figures what store and broker took for one job."""
        before = {name: conditions.tree_cpu_s(pid) for name, pid in self.service_pids().items()}
        yield
        after = {name: conditions.tree_cpu_s(pid) for name, pid in self.service_pids().items()}
        figures["services_us_per_job"] = {name: round((s - before.get(name, 0)) / jobs * 1e6, 1) for name, s in after.items()}

    def scratch(self):
        folder = self.folder / "runs" / str(next(self.numbers))
        folder.mkdir(parents=True)
        return folder

    @contextlib.contextmanager
    def database(self):
        """A fresh database on a server that has just written its checkpoint."""
        url = self.postgres.new_database()
        store.rows(self.postgres.admin_url, "CHECKPOINT")
        yield url
        pg.drop_database(self.postgres.admin_url, url)

    @contextlib.contextmanager
    def broker(self, kind):
        """A view of the RabbitMQ or Kafka of this run, with names of its own."""
        view = {"rabbit": brokers.Rabbit, "kafka": brokers.Kafka}[kind](self.folder / "services")
        if kind not in {type(server).name for server in self.servers}:
            self.servers.append(view)
        view.start()
        yield view
        view.close()

    def fill_broker(self, view, topic, count, **declared):
        """Messages of 200 bytes that wait: (protocol, host, port, name), for whoever reads them."""
        name = view.topic(topic)
        view.declare(name, **declared)
        place = ("amqp" if view.name == "rabbit" else "kafka", "127.0.0.1", urllib.parse.urlsplit(view.url).port, name)
        self.probe("broker_probe", "fill", *place, count)
        return place

    @contextlib.contextmanager
    def sqlite(self):
        folder = self.scratch()
        yield f"sqlite:{folder / 'bench.db'}"
        shutil.rmtree(folder)

    def probe(self, name, *arguments, jobs=None, timeout_s=120):
        """The figures of a program of tests/bench; with what it used for each of `jobs`."""
        ended = conditions.run_measured([self.build / "bench" / name, *arguments], timeout_s)
        if ended.returncode:
            raise Wrong(f"{name} {arguments}: exit code {ended.returncode} {ended.stdout}")
        figures = json.loads(ended.stdout.splitlines()[-1])
        if jobs:
            figures.update(rss_mib=ended.rss_mib, cpu_us_per_job={"worker": round(ended.cpu_s / jobs * 1e6, 1)})
        return figures

    def load(self, port, path="/v1/jobs", body=None, **options):
        flags = [part for key, value in options.items() for part in (f"--{key}", value)]
        return self.probe("http_load", "--port", port, "--path", path, "--body", json.dumps(body), *flags)

    @contextlib.contextmanager
    def watchers(self, port, path, streams, events=0, timeout_s=120, message=None):
        """So many open streams of events, or WebSockets that begin with `message`; figures() gives what they saw."""
        command = [self.build / "bench/events_probe", port, path, streams, events, timeout_s, *([json.dumps(message)] if message else [])]
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def figures():
            seen = json.loads(process.communicate(timeout=timeout_s + 10)[0])
            if seen["missing"]:
                raise Wrong(f"{seen['missing']} of {streams} watchers missed ends of jobs: {seen}")
            return seen

        try:
            if process.stdout.readline() != "ready\n":
                raise Wrong("the watchers were not let in")
            yield figures
        finally:
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def server(self, name, *arguments):
        """A program of tests/bench that listens on the port which is its last argument."""
        port = free_port()
        process = subprocess.Popen([self.build / "bench" / name, *arguments, str(port)])
        try:
            wait_for(lambda: answers(port))
            yield port
        finally:
            process.terminate()
            process.wait(10)

    @contextlib.contextmanager
    def windlass(self, url, broker=None):
        """A migrated store with the bench tables, and roles on it, with a broker's view: see System."""
        system = System(self, url, broker)
        try:
            yield system
            system.machine.close()
        except BaseException:
            for process in system.machine.processes:
                process.kill()
            print(system.machine.tail(), file=sys.stderr)
            raise


def answers(port):
    try:
        http.client.HTTPConnection("127.0.0.1", port, timeout=5).connect()
        return True
    except OSError:
        return False


class System:
    """Windlass on one store."""

    def __init__(self, rig, url, broker=None):
        self.rig, self.url = rig, url
        self.machine = Windlass(rig.scratch())
        self.machine.binary = rig.build / "windlass"
        self.machine.settings = {**SETTINGS, "DATABASE_URL": url, "WINDLASS_JOBS": str(rig.jobs_file)}
        if broker:
            jobs = rig.folder / f"{broker.prefix}jobs.yaml"
            jobs.write_text((HERE / "jobs/brokers.yaml").read_text().replace("{prefix}", broker.prefix))
            self.machine.settings.update(broker.settings, WINDLASS_JOBS=str(jobs))
        self.machine.expect()
        self.machine.migrate()
        store.script(url, TABLES[kind_of(url)])

    def port(self, process):
        return int(process.url.rsplit(":", 1)[1])

    def fill(self, process, type, count, batch=BATCH_JOBS, payload=None):
        """Posts `count` jobs through the gateway, `batch` a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port(process), timeout=60)
        job = json.dumps({"type": type, "payload": payload or PAYLOAD})
        body, sent = "", 0
        while sent < count:
            step = min(batch, count - sent)
            if not body or step != batch:
                body = "[" + ",".join([job] * step) + "]"
            connection.request("POST", "/v1/jobs/batch", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 429:
                time.sleep(0.2)
                continue
            if answer.status not in (200, 202):
                raise Wrong(f"batch refused: {answer.status} {text[:300]}")
            sent += step
        connection.close()

    def filled(self, type, count, **options):
        """Jobs that wait for a worker, posted through a gateway that is gone again."""
        gateway = self.machine.gateway()
        self.fill(gateway, type, count, **options)
        gateway.stop()

    def wait_done(self, count, timeout_s=180, every_s=0.3, look=lambda: None):
        """Waits until that many jobs have completed: seconds from the first to the last."""
        deadline = time.monotonic() + timeout_s
        while True:
            have, seconds = done(self.url)
            if have >= count:
                break
            if time.monotonic() > deadline:
                raise Wrong(f"{have} of {count} jobs done after {timeout_s} s")
            look()
            time.sleep(every_s)
        if have != count:
            raise Wrong(f"{have} jobs done, {count} accepted")
        return seconds

    def drain(self, count, workers=1):
        """Starts workers on what waits. Figures, with the CPU that each part took for one job."""
        before = conditions.tree_cpu_s(self.rig.postmaster)
        started = [self.machine.work(wait=False) for _ in range(workers)]
        rss_mib = [0.0]
        seconds = self.wait_done(count, look=lambda: rss_mib.append(self.rss_mib(started)))
        parts = self.cpu_parts(started)
        parts["postgres"] = conditions.tree_cpu_s(self.rig.postmaster) - before
        for worker in started:
            worker.stop()
        return {"rate": count / seconds, "rss_mib": max(rss_mib), "cpu_us_per_job": {name: round(s / count * 1e6, 1) for name, s in parts.items()}}

    def rss_mib(self, workers):
        return conditions.tree_rss_mib([worker.pid for worker in workers])

    def cpu_parts(self, workers):
        all = conditions.processes()
        engines = {worker.pid for worker in workers}
        hosts = set().union(*(conditions.family(all, pid) for pid in engines)) - engines
        return {"engine": sum(all[pid][1] for pid in engines), "hosts": sum(all[pid][1] for pid in hosts)}

    def late_ms(self):
        """p50 and p99 of what the stamp handlers saw."""
        values = [row[0] for row in store.rows(self.url, LATE_US[kind_of(self.url)])]
        if not values:
            raise Wrong("no stamp job has completed")
        return {"p50_ms": values[len(values) // 2] / 1000, "p99_ms": values[int(len(values) * 0.99)] / 1000}


def private_kib(pid):
    """RSS and what of it no other process shares."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return sizes["Rss"], sizes["Private_Clean"] + sizes["Private_Dirty"]

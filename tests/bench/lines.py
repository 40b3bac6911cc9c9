# SPDX-License-Identifier: Apache-2.0
"""The lines of the table. A line names its contenders; each is called once a round and returns its figures. `ours` is Windlass; `limit`
is bare C doing the same rows on two connections (or, where it says so, ours under easier conditions); `two workers` is Windlass with a
second engine; the rest are peers, where they are installed."""

import json
import threading
import time

import psycopg

import conditions
import peers
from harness import store
from harness.ports import free_port
from rig import Wrong, private_kib

STAMP = 10**18  # http_load writes the time over it
SCHEDULES = 10_000


class Line:
    """figure: what is compared (a rate: more is better; a latency or a size: less is). goal: what the project asks of `ours`;
    below: the most that its other figures may be."""

    def __init__(self, name, title, contenders, figure="rate", goal=None, ratio_goal=None, below=None, limit="limit probe"):
        self.name, self.title, self.contenders = name, title, contenders
        self.figure, self.goal, self.ratio_goal, self.below, self.limit = figure, goal, ratio_goal, below or {}, limit


# ---- accept

def accept_ours(rig, size):
    with rig.database() as url, rig.windlass(url) as system:
        gateway = system.machine.gateway()
        return load_32(rig, size, system.port(gateway), {"type": "bench.noop", "payload": {"pad": "x" * 190}})


def accept_limit(rig, size):
    with rig.database() as url, rig.server("accept_probe", url) as port:
        return load_32(rig, size, port, {"type": "bench.noop", "payload": {"pad": "x" * 190}})


def load_32(rig, size, port, body, path="/v1/jobs"):
    return rig.load(port, path=path, body=body, connections=32, warm=1, seconds=size.load_s)


def accept_graphql(rig, size):
    """The same job as the mutation `enqueue`."""
    query = "mutation ($in: EnqueueInput!) { enqueue(input: $in) { id state } }"
    variables = {"in": {"type": "bench.noop", "payload": {"pad": "x" * 190}}}
    with rig.database() as url, rig.windlass(url) as system:
        gateway = system.machine.gateway()
        return load_32(rig, size, system.port(gateway), {"query": query, "variables": variables}, path="/graphql")


def accept_grpc(rig, size):
    listen = f"127.0.0.1:{free_port()}"
    with rig.database() as url, rig.windlass(url) as system:
        system.machine.gateway(WINDLASS_GRPC_LISTEN=listen)
        return rig.probe("grpc_load", "--port", listen.rpartition(":")[2], "--payload", json.dumps({"pad": "x" * 190}), "--connections", 4,
                         "--streams", 8, "--warm", 1, "--seconds", size.load_s)


# ---- a source fanned out

def batch_ours(rig, size):
    """A batch run of a table, from its request until its last row is a job; each row once."""
    count = size.batch_jobs
    with rig.database() as url, rig.windlass(url) as system:
        store.script(url, f"CREATE TABLE source(id bigint PRIMARY KEY, pad text); INSERT INTO source SELECT i, repeat('x', 180) FROM"
                          f" generate_series(1, {count}) AS i; ANALYZE source")
        gateway = system.machine.gateway(WINDLASS_QUEUE_MAX=10 * count)
        api, used, begun = gateway.api(), conditions.tree_cpu_s(rig.postmaster), time.monotonic()
        id = api.post("/v1/batches", json={"source": {"sql": "SELECT id, pad FROM source", "key": "id"}, "job": {"type": "bench.noop"}}).json()["id"]
        while not api.get(f"/v1/batches/{id}").json()["total_known"]:
            time.sleep(0.02)
        seconds = time.monotonic() - begun
        parts = {"gateway": conditions.processes()[gateway.pid][1], "postgres": conditions.tree_cpu_s(rig.postmaster) - used}
        stored = store.rows(url, "SELECT count(*), count(DISTINCT payload::json ->> 'id') FROM windlass.jobs")[0]
        if stored != (count, count):
            raise Wrong(f"{stored} jobs and rows of {count}")
        return {"rate": count / seconds, "rss_mib": conditions.tree_rss_mib([gateway.pid]),
                "cpu_us_per_job": {name: round(s / count * 1e6, 1) for name, s in parts.items()}}


# ---- schedules

def schedules_ours(gateways):
    def run(rig, size):
        """Schedules that are all due in one second: from that moment until the last one's job is stored, each once. By the store's clock."""
        with rig.database() as url, rig.windlass(url) as system:
            for _ in range(gateways):
                system.machine.gateway(WINDLASS_QUEUE_MAX=10 * SCHEDULES)
            at = int(store.rows(url, "SELECT (extract(epoch FROM clock_timestamp()) + 5)::int8")[0][0])
            when = time.gmtime(at)
            definition = {"cron": f"{when.tm_sec} {when.tm_min} {when.tm_hour} {when.tm_mday} {when.tm_mon} *", "job": "bench.noop",
                          "payload": {"tick": "${schedule.tick}", "name": "${schedule.name}"}}
            store.script(url, f"INSERT INTO windlass.schedule (name, tenant, definition, version, of_file, next_ms) SELECT 's' || i, '',"
                              f" '{json.dumps(definition)}', i, false, {at}000 FROM generate_series(1, {SCHEDULES}) AS i")
            look = f"SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8 - {at}000, (SELECT count(*) FROM windlass.jobs)"
            time.sleep(4)  # looking costs the store something
            while (seen := store.rows(url, look)[0])[1] < SCHEDULES:
                if seen[0] > 60_000:
                    raise Wrong(f"{seen[1]} jobs of {SCHEDULES} after a minute")
                time.sleep(0.05)
            stored = store.rows(url, "SELECT count(*), count(DISTINCT payload) FROM windlass.jobs")[0]
            if stored != (SCHEDULES, SCHEDULES):
                raise Wrong(f"{stored} jobs and schedules of {SCHEDULES}")
            return {"rate": SCHEDULES / (seen[0] / 1000), "seconds": seen[0] / 1000}
    return run


# ---- drain

def drain_ours(type, jobs, check=None, workers=1):
    def run(rig, size):
        count = getattr(size, jobs)
        with rig.database() as url, rig.windlass(url) as system:
            system.filled(type, count)
            figures = system.drain(count, workers)
            if check:
                check(url, count)
            return figures
    return run


def drain_limit(work, jobs):
    def run(rig, size):
        with rig.database() as url:
            return rig.probe("drain_probe", url, getattr(size, jobs), work)
    return run


def drain_peer(name, work):
    def run(rig, size):
        with rig.database() as url:
            return peers.run(rig, name, url, size.peer_jobs[name, work], work)
    return run


def rows_are_exact(url, count, table="bench_rows"):
    rows, ids = store.rows(url, f"SELECT count(*), count(DISTINCT job_id) FROM {table}")[0]
    if (rows, ids) != (count, count):
        raise Wrong(f"{rows} rows of {ids} jobs, {count} accepted")


def hot_is_exact(url, count):
    total = store.rows(url, "SELECT sum(n) FROM bench_hot")[0][0]
    deadlocks = store.rows(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0]
    if total != count or deadlocks:
        raise Wrong(f"{total} updates of {count} jobs, {deadlocks} deadlocks")


def snapshot_held(rig, size):
    """A drain while another session holds a snapshot from before it began, so that no dead row goes away."""
    with rig.database() as url, rig.windlass(url) as system:
        system.filled("bench.noop", size.snapshot_jobs)
        with psycopg.connect(url) as holder:
            holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            holder.execute("SELECT 1 FROM windlass.ready LIMIT 1")
            return system.drain(size.snapshot_jobs)


# ---- SQLite

def sqlite_ours(rig, size):
    """Accepted in requests of 256 jobs and drained at the same time."""
    with rig.sqlite() as url, rig.windlass(url) as system:
        process = system.machine.run()
        feeder = threading.Thread(target=system.fill, args=(process, "bench.row", size.sqlite_jobs), kwargs={"batch": 256})
        began = time.time()
        feeder.start()
        system.wait_done(size.sqlite_jobs)
        feeder.join()
        rows_are_exact(url, size.sqlite_jobs)
        last_ms = store.rows(url, "SELECT max(finished) FROM windlass_done")[0][0]
        return {"rate": size.sqlite_jobs / (last_ms / 1000 - began)}


def sqlite_limit(rig, size):
    with rig.sqlite() as url:
        return rig.probe("sqlite_probe", url.removeprefix("sqlite:"), size.sqlite_jobs, 0)


# ---- latency

def start_ours(kind):
    def run(rig, size):
        with getattr(rig, kind)() as url, rig.windlass(url) as system:
            process = system.machine.run()
            warm(rig, system.port(process))
            store.script(url, "DELETE FROM " + ("windlass_done" if kind == "sqlite" else "windlass.done"))
            rig.load(system.port(process), body={"type": "bench.stamp", "payload": {"sent": STAMP}}, rate=200, warm=0, seconds=size.latency_s)
            time.sleep(0.3)
            return system.late_ms()
    return run


def warm(rig, port):
    """Hosts are up and plans are made before anything is timed."""
    rig.load(port, path="/v1/jobs?wait=5s", body={"type": "bench.noop", "payload": {}}, connections=4, warm=0, seconds=1)


def start_limit_postgres(rig, size):
    with rig.database() as url:
        return rig.probe("latency_probe", url, 200, size.latency_s)


def start_limit_sqlite(rig, size):
    with rig.sqlite() as url:
        return rig.probe("sqlite_probe", url.removeprefix("sqlite:"), int(200 * size.latency_s), 200)


def round_trip_ours(rig, size):
    with rig.database() as url, rig.windlass(url) as system:
        port = system.port(system.machine.run())
        warm(rig, port)
        return rig.load(port, path="/v1/jobs?wait=10s", body={"type": "bench.noop", "payload": {}}, rate=200, warm=0.5, seconds=size.latency_s)


def round_trip_limit(rig, size):
    with rig.database() as url, rig.server("accept_probe", url) as port:
        return rig.load(port, body={"type": "bench.noop", "payload": {}}, rate=200, warm=0.5, seconds=size.latency_s)


# ---- events

WATCHERS = {"WINDLASS_WATCHERS_PER_CALLER": 20_000}
TYPE = "/v1/events?type=bench.noop"


def event_latency(kind):
    """1,000 jobs a second, each watched by one client; from the stamp of a job's end (before its commit) to the client."""
    def run(rig, size):
        jobs = "SELECT count(*) FROM " + ("windlass_jobs" if kind == "sqlite" else "windlass.jobs")
        with getattr(rig, kind)() as url, rig.windlass(url) as system:
            process = system.machine.run(**WATCHERS)
            warm(rig, system.port(process))
            before = store.rows(url, jobs)[0][0]
            with rig.watchers(system.port(process), TYPE, 1) as figures:
                rig.load(system.port(process), body={"type": "bench.noop", "payload": {}}, rate=1000, warm=0, seconds=size.latency_s)
                count = store.rows(url, jobs)[0][0]
                system.wait_done(count)
                time.sleep(0.5)
                seen = figures()
            if seen["events"] < count - before:
                raise Wrong(f"{count - before} jobs have ended, {seen['events']} events came")
            return seen
    return run


def fan_out(path, message=None):
    """Jobs end while 1,000 clients watch their type: events a second, and for each second of the gateway's CPU."""
    def run(rig, size):
        with rig.database() as url, rig.windlass(url) as system:
            gateway = system.machine.gateway(**WATCHERS)
            with rig.watchers(system.port(gateway), path, size.watchers, size.watched_jobs, message=message) as figures:
                before = conditions.processes()[gateway.pid][1]
                system.fill(gateway, "bench.noop", size.watched_jobs)
                system.machine.work()
                seen = figures()
                cpu_s = conditions.processes()[gateway.pid][1] - before
            return {"rate": seen["events"] / cpu_s, "wall_rate": seen["rate"], "p99_ms": seen["p99_ms"]}
    return run


def idle_watchers(path, message=lambda id: None):
    """What 10,000 clients cost that watch a job each and hear nothing."""
    def run(rig, size):
        with rig.database() as url, rig.windlass(url) as system:
            gateway = system.machine.gateway(**WATCHERS)
            system.fill(gateway, "bench.noop", 1, batch=1)
            (id,) = store.rows(url, "SELECT id::text FROM windlass.jobs")[0]
            time.sleep(1)
            before = private_kib(gateway.pid)[0]
            with rig.watchers(system.port(gateway), path.format(id=id), 10_000, message=message(id)):
                time.sleep(2)
                after, cpu = private_kib(gateway.pid)[0], conditions.processes()[gateway.pid][1]
                time.sleep(10)
                return {"watcher_kib": (after - before) / 10_000, "idle_cpu_percent": (conditions.processes()[gateway.pid][1] - cpu) * 10}
    return run


def subscribing(id):
    return {"op": "subscribe", "ref": 1, "id": id}


# ---- brokers

def source_rows(kind, workers=1, source="rows", **declared):
    """Messages of another service wait on the broker; each becomes one row, exactly once."""
    def run(rig, size):
        count = size.broker_jobs[kind]
        with rig.database() as url, rig.broker(kind) as view, rig.windlass(url, view) as system:
            rig.fill_broker(view, source, count, **declared)
            figures = {}
            with rig.services_cpu(figures, count):
                figures.update(system.drain(count, workers))
            rows_are_exact(url, count, "bench_kept")
            return figures
    return run


def source_limit(kind, work, **declared):
    def run(rig, size):
        count = size.broker_jobs[kind] if work == "row" else size.stream_jobs
        with rig.database() as url, rig.broker(kind) as view:
            place, figures = rig.fill_broker(view, "rows", count, **declared), {}
            with rig.services_cpu(figures, count):
                figures.update(rig.probe("broker_probe", "drain", *place, count, work, url, jobs=count))
            return figures
    return run


def source_peer(kind, name, **declared):
    def run(rig, size):
        with rig.database() as url, rig.broker(kind) as view:
            count = size.peer_jobs.get((name, "row"), size.broker_jobs[kind])
            place, figures = rig.fill_broker(view, "rows", count, **declared), {}
            with rig.services_cpu(figures, count):
                figures.update(peers.run(rig, name, url, count, "row", view.url, place[-1]))
            return figures
    return run


def stream_ours(rig, size):
    """No-ops whose success is not recorded: done when the group's offsets are at the end."""
    with rig.database() as url, rig.broker("kafka") as view, rig.windlass(url, view) as system:
        rig.fill_broker(view, "noops", size.stream_jobs, partitions=6)
        began = time.monotonic()
        worker = system.machine.work(wait=False)
        first, rss_mib = None, []
        while (have := done_jobs(worker)) < size.stream_jobs:
            if first is None and have:
                first = time.monotonic(), have
            if time.monotonic() > began + 120:
                raise Wrong(f"{have} of {size.stream_jobs} after 120 s")
            if len(rss_mib) < time.monotonic() - began:
                rss_mib.append(system.rss_mib([worker]))
            time.sleep(0.05)
        seconds = time.monotonic() - first[0]
        parts = system.cpu_parts([worker])
        worker.stop()
        return {"rate": (size.stream_jobs - first[1]) / seconds, "rss_mib": max(rss_mib),
                "cpu_us_per_job": {name: round(s / size.stream_jobs * 1e6, 1) for name, s in parts.items()}}


def done_jobs(worker):
    try:
        return int(sum(v for k, v in worker.metrics().items() if k.startswith("windlass_jobs_finished_total") and 'outcome="done"' in k))
    except OSError:
        return 0


def broker_trip(kind, **load):
    """HTTP accept, broker, effect, and the answer of the client that waits."""
    def run(rig, size):
        with rig.database() as url, rig.broker(kind) as view, rig.windlass(url, view) as system:
            process = system.machine.run()
            body = {"type": "bench.trip", "payload": {"pad": "x" * 190}}
            port = system.port(process)
            rig.load(port, path="/v1/jobs?wait=10s", body=body, connections=16, warm=0, seconds=3)
            return rig.load(port, path="/v1/jobs?wait=10s", body=body, warm=1, seconds=size.latency_s, **load)
    return run


# ---- memory

def memory(rig, size):
    """What the engine and its hosts hold when idle, and how the engine grows while that many jobs go through."""
    with rig.database() as url, rig.windlass(url) as system:
        gateway, worker = system.machine.gateway(), system.machine.work(wait=False)
        system.fill(gateway, "bench.noop", 8, batch=1)
        system.wait_done(8)
        time.sleep(1)
        hosts = conditions.family(conditions.processes(), worker.pid) - {worker.pid}
        figures = {"engine_idle_mib": private_kib(worker.pid)[0] / 1024, "host_private_mib": max(private_kib(pid)[1] for pid in hosts) / 1024}
        feeder = threading.Thread(target=system.fill, args=(gateway, "bench.noop", size.memory_jobs - 8))
        feeder.start()
        sizes = grow(system, worker, gateway, size.memory_jobs)
        feeder.join()
        quarter, end = sizes[len(sizes) // 4], sizes[-1]
        return {**figures, "jobs": size.memory_jobs, "engine_quarter_mib": quarter[0] / 1024, "engine_end_mib": end[0] / 1024, "gateway_quarter_mib": quarter[1] / 1024,
                "gateway_end_mib": end[1] / 1024, "growth": end[0] / quarter[0]}


def grow(system, worker, gateway, jobs):
    """RSS of engine and gateway, sampled until all jobs are done."""
    sizes = []
    deadline = time.monotonic() + 300
    while store.rows(system.url, "SELECT count(*) FROM windlass.done")[0][0] < jobs:
        sizes.append((private_kib(worker.pid)[0], private_kib(gateway.pid)[0]))
        if time.monotonic() > deadline:
            raise Wrong("not all jobs done in time")
        time.sleep(0.5)
    return sizes or [(private_kib(worker.pid)[0], private_kib(gateway.pid)[0])]


def schema_probe(*what):
    return lambda rig, size: rig.probe("schema_probe", str(size.load_s), *what)


def calls_probe(in_flight, *what):
    return lambda rig, size: rig.probe("calls_probe", str(in_flight), str(size.load_s), *what)


def calls_peer(name, in_flight):
    def run(rig, size):
        with rig.server("calls_probe", "serve") as port:
            return peers.call(rig, name, f"http://127.0.0.1:{port}/charges", in_flight, size.load_s)
    return run


LINES = [
    Line("accept", "durable accept over HTTP, 32 connections", {"ours": accept_ours, "limit": accept_limit}, goal=12_000, ratio_goal=0.8,
         below={"p99_ms": 12}, limit="libmicrohttpd + group commit"),
    Line("graphql", "durable accept by a GraphQL mutation, 32 connections", {"ours": accept_graphql, "limit": accept_ours}, ratio_goal=0.75,
         limit="the same over REST"),
    Line("accept-grpc", "the same over gRPC, 4 connections of 8 calls", {"ours": accept_grpc, "limit": accept_ours}, ratio_goal=0.75,
         limit="ours over REST"),
    Line("batch", "a SQL source fanned out, a row a job of 200 bytes, PostgreSQL", {"ours": batch_ours}, goal=40_000),
    Line("schedules", "10,000 schedules due in the same second, until all are jobs, PostgreSQL", {"ours": schedules_ours(1), "two gateways": schedules_ours(2)},
         goal=SCHEDULES / 2, below={"seconds": 2}),
    Line("drain", "drain of 200-byte no-ops, PostgreSQL",
         {"ours": drain_ours("bench.noop", "drain_jobs"), "limit": drain_limit("noop", "drain_jobs"),
          "two workers": drain_ours("bench.noop", "drain_jobs", workers=2),
          "river": drain_peer("river", "noop"), "graphile": drain_peer("graphile", "noop")}, goal=40_000, limit="bare SQL"),
    Line("drain-row", "the same, one row a job, exactly once",
         {"ours": drain_ours("bench.row", "row_jobs", rows_are_exact), "limit": drain_limit("row", "row_jobs"),
          "two workers": drain_ours("bench.row", "row_jobs", rows_are_exact, workers=2),
          "river": drain_peer("river", "row"), "graphile": drain_peer("graphile", "row")}, goal=25_000, ratio_goal=0.6, limit="bare SQL"),
    Line("hot", "two workers, one update a job of 20 hot rows",
         {"ours": drain_ours("bench.hot", "hot_jobs", hot_is_exact, workers=2), "limit": drain_limit("hot", "hot_jobs")}, goal=15_000,
         limit="bare SQL, sorted locks"),
    Line("sqlite", "SQLite, accepted and drained at once, one row a job", {"ours": sqlite_ours, "limit": sqlite_limit}, goal=15_000,
         limit="bare SQL"),
    Line("start-postgres", "enqueue to handler start, 200/s, PostgreSQL", {"ours": start_ours("database"), "limit": start_limit_postgres},
         figure="p50_ms", goal=2, below={"p99_ms": 10}, limit="commit, NOTIFY, claim"),
    Line("start-sqlite", "enqueue to handler start, 200/s, SQLite", {"ours": start_ours("sqlite"), "limit": start_limit_sqlite},
         figure="p50_ms", goal=2, below={"p99_ms": 20}, limit="commit, claim"),
    Line("round-trip", "HTTP enqueue and wait, 200/s, PostgreSQL", {"ours": round_trip_ours, "limit": round_trip_limit}, figure="p99_ms",
         goal=15, limit="one accept, no job"),
    Line("events-postgres", "end of a job to its watcher, 1,000/s, PostgreSQL", {"ours": event_latency("database")}, figure="p99_ms", goal=50),
    Line("events-sqlite", "the same on SQLite", {"ours": event_latency("sqlite")}, figure="p99_ms", goal=50),
    Line("fan-out", "events to 1,000 watchers, for a second of the gateway's CPU", {"ours": fan_out(TYPE)}, goal=50_000),
    Line("fan-out-ws", "the same over WebSockets", {"ours": fan_out("/v1/ws", {"op": "subscribe", "ref": 1, "type": "bench.noop"})}, goal=50_000),
    Line("watchers", "memory of one of 10,000 idle watchers (SSE)", {"ours": idle_watchers("/v1/jobs/{id}/events")},
         figure="watcher_kib", below={"idle_cpu_percent": 2}),
    Line("watchers-ws", "the same over WebSockets", {"ours": idle_watchers("/v1/ws", subscribing)}, figure="watcher_kib", goal=20,
         below={"idle_cpu_percent": 2}),
    Line("rabbit-row", "RabbitMQ (classic) to one row a message, exactly once",
         {"ours": source_rows("rabbit", classic=True), "limit": source_limit("rabbit", "row", classic=True),
          "quorum": source_rows("rabbit"), "quorum limit": source_limit("rabbit", "row"),
          "go-rabbit": source_peer("rabbit", "go-rabbit", classic=True), "celery": source_peer("rabbit", "celery", classic=True)}, ratio_goal=0.7,
         limit="bare C, at least once"),
    Line("kafka-row", "Kafka to one row a message, exactly once",
         {"ours": source_rows("kafka", partitions=6), "declared": source_rows("kafka", source="kept", partitions=6),
          "limit": source_limit("kafka", "row", partitions=6), "two workers": source_rows("kafka", workers=2, partitions=6),
          "go-kafka": source_peer("kafka", "go-kafka", partitions=6)}, ratio_goal=0.5, limit="bare C, at least once"),
    Line("kafka-noop", "Kafka no-ops, only failures recorded", {"ours": stream_ours, "limit": source_limit("kafka", "noop", partitions=6)},
         limit="bare C, consume and commit"),
    Line("rabbit-trip", "HTTP, RabbitMQ, effect, answer; 128 clients", {"ours": broker_trip("rabbit", connections=128)}, goal=4_000),
    Line("rabbit-trip-200", "the same at 200/s", {"ours": broker_trip("rabbit", rate=200)}, figure="p99_ms", goal=40),
    Line("kafka-trip", "HTTP, Kafka, effect, answer; 128 clients", {"ours": broker_trip("kafka", connections=128)}, goal=4_000),
    Line("kafka-trip-200", "the same at 200/s", {"ours": broker_trip("kafka", rate=200)}, figure="p99_ms", goal=40),
    Line("snapshot", "drain while a snapshot is held, PostgreSQL", {"ours": snapshot_held, "limit": drain_ours("bench.noop", "snapshot_jobs")},
         ratio_goal=1 / 3, limit="ours without it"),
    Line("schema", "payload schema, 300 bytes, checks a CPU second", {"ours": schema_probe(), "limit": schema_probe("parse")}, goal=200_000,
         limit="making the tree"),
    Line("calls-500", "calls to a server that takes 50 ms, 500 in flight", {"ours": calls_probe(500), "limit": calls_probe(500, "bare"), "go-calls": calls_peer("go-calls", 500)}, goal=6_500,
         ratio_goal=0.8, limit="bare libcurl on epoll"),
    Line("calls-2000", "the same, 2,000 in flight", {"ours": calls_probe(2000), "limit": calls_probe(2000, "bare"), "go-calls": calls_peer("go-calls", 2000)}, goal=6_500, ratio_goal=0.8,
         below={"rss_mib": 60}, limit="bare libcurl on epoll"),
    Line("calls-guarded", "the same, to an address out of a payload", {"ours": calls_probe(2000, "guarded"), "limit": calls_probe(2000, "plain")},
         ratio_goal=0.87, limit="ours without guard and breaker"),
    Line("memory", "memory of an engine", {"ours": memory}, figure="engine_idle_mib", goal=15, below={"host_private_mib": 3, "growth": 1.1}),
]

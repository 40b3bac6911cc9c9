# SPDX-License-Identifier: Apache-2.0
"""Celery on the work of `make bench`: main.py PGURL JOBS row AMQPURL QUEUE. Its messages have its own format, so it fills a queue of its
own beside QUEUE with JSON of 200 bytes. acks_late (at least once), prefork: 16 children that hide each other's fsync. Prints one JSON line."""

import json
import os
import pathlib
import resource
import subprocess
import sys
import time
import uuid

import psycopg

CHILDREN = 16
TABLE = "CREATE TABLE bench_kept(job_id uuid PRIMARY KEY, payload jsonb, at timestamptz DEFAULT clock_timestamp())"
MEASURE = "SELECT count(*), coalesce(extract(epoch FROM max(at) - min(at)), 0)::float8 FROM bench_kept"


def fill(jobs):
    from tasks import app, row
    with app.producer_pool.acquire() as producer:
        for _ in range(jobs):
            row.apply_async(({"id": str(uuid.uuid4()), "pad": "x" * 146},), producer=producer)


def tree_rss_mib(root):
    """Of a process and its children, shared pages counted once."""
    pids = [root, *map(int, pathlib.Path(f"/proc/{root}/task/{root}/children").read_text().split())]
    lines = [line for pid in pids for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")]
    return sum(int(line.split()[1]) for line in lines) / 1024


def drain(url, jobs):
    """(rows, seconds from the first to the last of them, RSS of the worker's tree, its CPU seconds)"""
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-P", "prefork", "-c", str(CHILDREN), "--without-gossip", "--without-mingle",
               "--without-heartbeat", "-l", "ERROR"]
    worker = subprocess.Popen(command, stdout=sys.stderr)
    with psycopg.connect(url, autocommit=True) as connection:
        rows, deadline = 0, time.monotonic() + 90
        while rows < jobs and time.monotonic() < deadline:
            time.sleep(0.3)
            rows, seconds = connection.execute(MEASURE).fetchone()
    rss_mib = tree_rss_mib(worker.pid)
    worker.terminate()
    worker.wait(20)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return rows, seconds, rss_mib, usage.ru_utime + usage.ru_stime


def main():
    url, jobs, broker, queue = sys.argv[1], int(sys.argv[2]), sys.argv[4], sys.argv[5] + "-celery"
    os.environ.update(PEER_STORE=url, PEER_BROKER=broker, PEER_QUEUE=queue)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE)
    fill(jobs)
    rows, seconds, rss_mib, cpu_s = drain(url, jobs)
    if rows != jobs:
        sys.exit(f"celery: {rows} rows of {jobs} jobs")
    print(json.dumps({"rate": jobs / seconds, "seconds": seconds, "rss_mib": rss_mib, "cpu_us_per_job": {"worker": cpu_s / jobs * 1e6}}))


main()

# SPDX-License-Identifier: Apache-2.0
"""F02, F30, F32, F33, F52: crashes at every durable step, and a store that restarts, hangs up, says nothing or is full."""

import contextlib
import os
import pathlib
import re
import subprocess
import time
import urllib.parse

import pytest
import requests

from faults.nemesis import Nemesis, wait_struck
from faults.oracle import Load
from faults.tcpfault import TcpFault
from faults.test_workers import finish, mixed
from harness.api import Api
from harness.ports import free_port
from harness.windlass import wait_for

FAILPOINTS = {  # name: the role that passes it
    "after_fetch": "work", "before_commit": "work", "commit_sent": "work", "after_commit": "work",
    "after_commit_before_ack": "work", "claim_before_commit": "work", "claim_after_commit": "work",
    "accept_before_enqueue": "gateway", "accept_before_commit": "gateway", "accept_after_commit": "gateway",
    "confirmed_before_202": "gateway",
}


@pytest.mark.parametrize("point", FAILPOINTS)
def test_f02_killed_at(rig, report, long_form, point):
    """The process dies by its own hand at the k-th passage; another takes over."""
    struck, took = 0, 0.0
    for k in range(1, 11) if long_form else (1, 3):
        armed = {"WINDLASS_FAILPOINT": f"{point}:{k}:kill"}
        role = FAILPOINTS[point]
        gateway = rig.gateway(wait=False, **(armed if role == "gateway" else {}))
        worker = rig.work(wait=False, **(armed if role == "work" else {}))
        victim = worker if role == "work" else gateway
        wait_for(lambda: victim.popen.poll() is not None or gateway.ready())
        load = Load(gateway.url, mixed(5), threads=2)
        deadline = time.monotonic() + 20
        while victim.popen.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert victim.popen.poll() == -9, f"{point} was not passed {k} times"
        victim.killed = True
        struck += 1
        sent = load.stop()
        rest = rig.run()
        took = max(took, rig.oracle.drained())
        for process in (gateway, worker, rest):
            if not process.killed:
                process.stop()
        rig.sent = merge(getattr(rig, "sent", None), sent)
    report(f"F02 {point}", struck, rig.oracle.judge(rig.sent), took)


def merge(before, sent):
    if before is not None:
        for kind in ("must", "may", "never"):
            getattr(sent, kind).update(getattr(before, kind))
    return sent


def test_f30_postgres_restarts(pg_rig, report, long_form):
    """Immediate shutdown and start again: nothing accepted while it is away, everything goes on afterwards."""
    process = pg_rig.run()
    load = Load(process.url, mixed(10), threads=4)
    restarts = 12 if long_form else 2
    for _ in range(restarts):
        time.sleep(10 if long_form else 1)
        pg_rig.postgres.immediate()
        time.sleep(1)
        pg_rig.postgres.start()
        wait_for(process.ready, timeout_s=20)
    finish(pg_rig, load, report, "F30 PostgreSQL restart", restarts)


@pytest.fixture
def proxied(pg_rig):
    """The rig with a misbehaving proxy between Windlass and PostgreSQL; the oracle goes round it."""
    url = urllib.parse.urlparse(pg_rig.url)
    proxy = TcpFault(url.hostname, url.port)
    pg_rig.settings["DATABASE_URL"] = pg_rig.url.replace(f":{url.port}/", f":{proxy.port}/")
    pg_rig.proxy = proxy
    yield pg_rig
    proxy.close()


def test_f32_connections_reset(proxied, report, long_form):
    process = proxied.run()
    load = Load(process.url, mixed(10), threads=4)
    with Nemesis(0.2 if long_form else 0.4, lambda _: proxied.proxy.reset_all()) as nemesis:
        wait_struck(nemesis, 600 if long_form else 30)
    finish(proxied, load, report, "F32 connections reset", nemesis.struck)


def test_f32_half_open(proxied, report, long_form):
    """Nothing passes for a while and nobody is told; then it does again."""
    process = proxied.run()
    load = Load(process.url, mixed(10), threads=2)
    rounds = 4 if long_form else 1
    for _ in range(rounds):
        time.sleep(1)
        proxied.proxy.silent.set()
        time.sleep(20 if long_form else 6)
        proxied.proxy.silent.clear()
    finish(proxied, load, report, "F32 half-open", rounds, timeout_s=90)


def test_f33_commit_without_an_answer(proxied, report, long_form):
    """The COMMIT arrives, its answer does not: found out by reading back, nothing lost, nothing twice."""
    process = proxied.run()
    proxied.proxy.swallow_part = 0.2
    load = Load(process.url, mixed(5), threads=4)
    wanted = 200 if long_form else 15
    deadline = time.monotonic() + 170
    while proxied.proxy.swallowed < wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    proxied.proxy.swallow_part = 0.0
    assert proxied.proxy.swallowed >= wanted, f"only {proxied.proxy.swallowed} answers were swallowed"
    finish(proxied, load, report, "F33 COMMIT unanswered", proxied.proxy.swallowed)


def unshared():
    """Can this machine mount a tmpfs of its own?"""
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not unshared(), reason="needs a mount namespace")
def test_f52_disk_full(windlass, fault_jobs, tmp_path, report, long_form):
    """SQLite on a small disk that fills up: never a false 202; when there is room again it goes on by itself."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(small)], check=True)
    try:
        from faults.conftest import Rig
        rig = Rig(windlass, f"sqlite:{small}/windlass.db", fault_jobs)
        process = rig.run()
        filler = pathlib.Path(small, "filler")
        load, rounds = Load(process.url, mixed(1), threads=4), 3 if long_form else 1
        for _ in range(rounds):
            time.sleep(1)
            free = os.statvfs(small)
            with contextlib.suppress(OSError):  # Windlass took some of it meanwhile: full is full
                filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize))
            wait_for(lambda: load.sent.never, timeout_s=20)
            time.sleep(1)
            assert process.popen.poll() is None, "the service must live"
            filler.unlink()
            wait_for(process.ready, timeout_s=20)
            before = len(load.sent)
            wait_for(lambda: len(load.sent) > before + 10, timeout_s=20)
        refused = len(load.sent.never)
        assert refused > 0
        finish(rig, load, report, "F52 disk full (sqlite)", rounds)
        for process in windlass.processes:
            if process.popen.poll() is None:
                process.stop()
    finally:
        windlass.close()
        subprocess.run(["umount", "-l", str(small)], check=False)


def test_f52_log_full(rig, report):
    """Every write to the log fails with ENOSPC: lines are dropped and counted, jobs are not."""
    listen = f"127.0.0.1:{free_port()}"
    settings = {**rig.settings, "WINDLASS_HTTP_LISTEN": listen}
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen([rig.windlass.binary, "run"], env=rig.windlass.environment(settings), stdin=subprocess.DEVNULL,
                                   stdout=full, stderr=full, start_new_session=True)
    try:
        api = Api(f"http://{listen}")
        wait_for(lambda: answers(api))
        sent = Load(api.url, mixed(1), threads=2, count=100).join()
        took = rig.oracle.drained()
        figures = rig.oracle.judge(sent)
        dropped = wait_for(lambda: float(re.search(r"^windlass_log_dropped_total(?:{.*})? (.*)$", api.get("/metrics").text, re.M)[1]))
        process.terminate()
        assert process.wait(15) == 0
    finally:
        process.kill()
    report("F52 log full", int(dropped), figures, took)


def answers(api):
    try:
        return api.get("/readyz").status_code == 200
    except requests.RequestException:
        return False

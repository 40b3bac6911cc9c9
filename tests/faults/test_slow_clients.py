# SPDX-License-Identifier: Apache-2.0
"""Clients that are slow on purpose, by the thousand, and more of them than there are file descriptors: who behaves is served as if they
were not there. How fast is judged in the long form, against the same run without them."""

import contextlib
import json
import os
import pathlib
import resource
import socket
import statistics
import subprocess
import sys
import time

import pytest

from harness.checklist import row
from harness.gateway import start
from harness.windlass import wait_for

HERE = pathlib.Path(__file__).parent
CUT_S = {"header": 10, "silence": 10, "body": 30, "read": 30}  # what the gateway gives each of them
SAMPLES, CALM_MS = 400, 50  # fewer, or slower without them: the machine is too busy with other things to judge


@contextlib.contextmanager
def slow_clients(gateway, seconds, **counts):
    """All connected. The process tells at its end; see slow_clients.py."""
    words = [f"{kind}={count}" for kind, count in counts.items()]
    port = gateway.url.rpartition(":")[2]
    process = subprocess.Popen([sys.executable, HERE / "slow_clients.py", port, str(seconds), *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


def good_client(gateway, seconds):
    """Milliseconds of requests one after the other, on one connection and on fresh ones; each must be answered well."""
    kept, times, until = gateway.api(), [], time.monotonic() + seconds
    while time.monotonic() < until:
        for api in (kept, kept, kept, gateway.api()):
            began = time.monotonic()
            answers = api.post_job("mail.send"), api.get("/healthz")
            times.append((time.monotonic() - began) * 1000)
            assert [a.status_code for a in answers] == [202, 200]
        time.sleep(0.005)
    return times


def p99(times):
    return statistics.quantiles(times, n=100)[98]


def open_files(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def test_slow_clients_harm_nobody(windlass, sqlite_url, long_form):
    count, seconds = (500, 42) if long_form else (60, 19)
    row("Limits", "slow heads, bodies, readers and silence are cut off, a good client is served all the while", 4 * count)
    gateway = start(windlass, sqlite_url)
    calm = good_client(gateway, 8 if long_form else 1)
    before = open_files(gateway)
    with slow_clients(gateway, seconds, header=count, body=count, read=count, silence=count) as crowd:
        wait_for(lambda: gateway.metrics()["windlass_http_connections"] >= 2 * count)
        amid = good_client(gateway, 8 if long_form else 2)
        left = count * sum(limit_s >= seconds - 8 for limit_s in CUT_S.values())
        wait_for(lambda: gateway.metrics()["windlass_http_connections"] <= left + 3, seconds)  # a slow reader does not see that it was cut off
        ended = json.loads(crowd.communicate(timeout=seconds + 30)[0])
    for kind, limit_s in CUT_S.items():
        if kind == "read":
            continue
        if limit_s < seconds - 8:
            assert ended[kind]["cut"] == count, (kind, ended)
            assert limit_s - 1 < ended[kind]["least_s"], (kind, ended)
        else:
            assert ended[kind]["cut"] == 0, (kind, ended)
    wait_for(lambda: open_files(gateway) <= before + 2)
    assert gateway.api().post_job("mail.send").status_code == 202
    if long_form:
        calm += good_client(gateway, 8)
        figures = row("Limits", f"{4 * count} slow connections: a good client's p99 {p99(amid):.1f} ms, {p99(calm):.1f} ms without them (limit: twice)", len(amid))
        busy = len(calm) < 2 * SAMPLES or p99(calm) > CALM_MS
        if p99(amid) >= 2 * p99(calm) and busy:
            figures["verdict"] = "skipped: the machine is too busy to judge"
        else:
            assert p99(amid) < 2 * p99(calm), (p99(amid), p99(calm))


def cpu_s(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("room", [0, 40])
def test_f50_no_descriptors_left(windlass, sqlite_url, long_form, room):
    """accept() fails: it waits for a descriptor instead of asking for one again and again, serves those it has, and recovers."""
    row("Limits", "no file descriptors left: served are those who are in, no busy loop, and it recovers", 500)
    windlass.expect()
    gateway = start(windlass, sqlite_url)
    inside = gateway.api()
    assert inside.get("/healthz").status_code == 200
    plenty = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (open_files(gateway) + room, plenty[1]))
    port = int(gateway.url.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(b"GET /healthz HTTP/1.1\r\n")
        time.sleep(0.5)
        shares = []  # of a core; a busy loop is one in every window, a neighbour's noise is not
        while not shares or (shares[-1] >= (0.2 if long_form else 0.5) and len(shares) < 4):
            before, began = cpu_s(gateway), time.monotonic()
            while time.monotonic() - began < 3:
                assert inside.get("/healthz").status_code == 200
                time.sleep(0.1)
            shares.append((cpu_s(gateway) - before) / (time.monotonic() - began))
    assert shares[-1] < (0.2 if long_form else 0.5), shares
    if room:
        assert gateway.api().get("/healthz", timeout=15).status_code == 200
    assert inside.post_job("mail.send").status_code in ((202,) if room else (202, 503))  # the store needs some, too
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, plenty)
    assert gateway.api().get("/healthz", timeout=15).status_code == 200
    wait_for(lambda: inside.post_job("mail.send").status_code == 202)
    assert len(gateway.log().splitlines()) < 100

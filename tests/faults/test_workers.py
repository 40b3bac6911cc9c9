# SPDX-License-Identifier: Apache-2.0
"""F01, F03, F04, F06, F07, F21: workers that die, stop, drain and come back while jobs run."""

import collections
import contextlib
import random
import signal
import time

import pytest

from faults.nemesis import Nemesis, age_s, kill_tree, role_pids, send, wait_struck
from faults.oracle import ACCOUNTS, Load
from harness.windlass import wait_for


def mixed(work_ms=5):
    """A third each of: one effect, two effects with a step, a step that is undone."""
    def make():
        account, kind = random.randrange(ACCOUNTS), random.randrange(3)
        payload = {"account": account, "amount": random.randint(1, 50), "work_ms": work_ms}
        if kind == 0:
            return {"type": "fault.deposit", "payload": payload}
        return {"type": "fault.steps", "payload": {**payload, "discard": int(kind == 2)}}
    return make


def finish(rig, load, report, fault, struck, timeout_s=60):
    """Stops the load, waits for the backlog, judges twice as the oracle asks, and adds the row."""
    sent = load.stop() if not isinstance(load, tuple) else load[0]
    took = rig.oracle.drained(timeout_s)
    figures = rig.oracle.judge(sent)
    report(fault, struck, figures, took)
    return sent, figures


def test_f01_hosts_killed(rig, report, long_form):
    process = rig.run()
    load = Load(process.url, mixed(10), threads=4)

    def strike(dice):
        hosts = role_pids(process, "host")
        return int(bool(hosts) and send(dice.choice(hosts), signal.SIGKILL))

    with Nemesis(0.3 if long_form else 0.1, strike) as nemesis:
        wait_struck(nemesis, 150 if long_form else 15)
    _, figures = finish(rig, load, report, "F01 host kill -9", nemesis.struck)
    assert figures["retried"] >= 1, "O10: nothing was ever retried"


@pytest.mark.parametrize("role", ["work", "gateway"])
def test_f01_roles_killed(rig, report, long_form, role):
    process = rig.run(WINDLASS_WORKERS=2)
    load = Load(process.url, mixed(10), threads=4)

    def strike(dice):
        """One that is at work, not one that is coming up: the supervisor lets who dies again and again wait up to 5 s."""
        pids = [pid for pid in role_pids(process, role) if age_s(pid) > 0.5]
        return int(bool(pids) and send(dice.choice(pids), signal.SIGKILL))

    with Nemesis(0.5, strike) as nemesis:
        wait_struck(nemesis, 20 if long_form else 4)
    sent, _ = finish(rig, load, report, f"F01 {role} kill -9", nemesis.struck)
    assert len(sent) > 20


def test_f03_tree_killed(rig, report, long_form):
    rounds, recovered, sent_before = (20 if long_form else 3), [], None
    for _ in range(rounds):
        process = rig.run()
        load = Load(process.url, mixed(10), threads=4)
        time.sleep(0.7)
        kill_tree(process)
        sent = load.stop()
        if sent_before is not None:
            for kind in ("must", "may", "never"):
                getattr(sent, kind).update(getattr(sent_before, kind))
        sent_before = sent
    process = rig.run()
    began = time.monotonic()
    took = rig.oracle.drained()
    recovered.append(time.monotonic() - began)
    report("F03 tree kill -9", rounds, rig.oracle.judge(sent_before), took)


@contextlib.contextmanager
def stopped(process):
    send(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        send(process.pid, signal.SIGCONT)


def test_f04_engine_stopped_beyond_its_lease(rig, report, long_form):
    """A zombie: it wakes up after its jobs were given to another and tries to commit them.

    A stop may meet it with no job in hand or, on SQLite, in the middle of a write, when nobody else gets on either: such
    a stop fences nothing, and another follows.
    """
    settings = {"WINDLASS_CONCURRENCY": 8}
    zombie, gateway = rig.work(**settings), rig.gateway()
    load = Load(gateway.url, mixed(300), threads=2, pause_s=0.1)
    workers, late = [zombie], 0
    rounds, wanted = (8, 30) if long_form else (2, 2)
    while len(workers) <= rounds or (late < wanted and len(workers) <= 3 * rounds):
        time.sleep(1)
        with stopped(zombie):
            workers.append(rig.work(wait=False, **settings))  # on SQLite it comes up later when the zombie was just writing
            time.sleep(4.5 if not long_form else random.choice([3, 5, 10]))
        time.sleep(1)
        workers[-1].wait_ready().stop()
        late = sum(event["outcome"] == "lost" for worker in workers for event in worker.events("attempt"))
    finish(rig, load, report, "F04 SIGSTOP beyond lease", late)
    assert late >= wanted, f"O10: only {late} late commits were fenced"


def test_f04_host_stopped(rig, report, long_form):
    process = rig.run()
    load = Load(process.url, mixed(20), threads=2, count=400 if not long_form else 5000)

    def strike(dice):
        hosts = role_pids(process, "host")
        if not hosts:
            return 0
        pid = dice.choice(hosts)
        send(pid, signal.SIGSTOP)
        time.sleep(0.3)
        return int(send(pid, signal.SIGCONT))

    with Nemesis(0.2, strike) as nemesis:
        wait_struck(nemesis, 40 if long_form else 5)
    finish(rig, load, report, "F04 host SIGSTOP", nemesis.struck)


def test_f06_drain_under_load(rig, report, long_form):
    """SIGTERM: short jobs finish, what has not started is given back at once, exit 0 within the grace time."""
    gateway = rig.gateway()
    load = Load(gateway.url, mixed(20), threads=4)
    drains = 12 if long_form else 3
    for _ in range(drains):
        worker = rig.work()
        time.sleep(0.8)
        began = time.monotonic()
        worker.stop(timeout_s=12)
        assert time.monotonic() - began < 12
    rig.work()
    finish(rig, load, report, "F06 SIGTERM drain", drains)


def test_f06_second_sigterm_is_now(rig, report):
    gateway, worker = rig.gateway(), rig.work()
    load = Load(gateway.url, lambda: {"type": "fault.deposit", "payload": {"account": 1, "work_ms": 5000}}, threads=2, count=4)
    wait_for(lambda: worker.metrics().get("windlass_jobs_in_flight", 0) >= 4)
    send(worker.pid, signal.SIGTERM)
    time.sleep(0.5)
    assert worker.popen.poll() is None, "it must wait for its jobs"
    began = time.monotonic()
    send(worker.pid, signal.SIGTERM)
    worker.popen.wait(5)
    assert time.monotonic() - began < 3
    rig.work()
    finish(rig, load, report, "F06 second SIGTERM", 1)


def test_f07_reload_and_scaling(rig, report, long_form):
    """SIGHUP again and again, every tenth time with a broken file, while workers come and go."""
    jobs = rig.windlass.folder / "jobs.yaml"
    good = open(rig.settings["WINDLASS_JOBS"]).read().replace("faults.so", rig.settings["WINDLASS_JOBS"].replace("jobs.yaml", "faults.so"))
    jobs.write_text(good)
    process = rig.run(WINDLASS_JOBS=jobs)
    load = Load(process.url, mixed(10), threads=2)
    rounds = 200 if long_form else 20
    for n in range(rounds):
        jobs.write_text("jobs: [" if n % 10 == 9 else good)
        send(process.pid, signal.SIGHUP)
        if n % 7 == 3:
            extra = rig.work(WINDLASS_JOBS=rig.settings["WINDLASS_JOBS"])
            extra.stop()
        time.sleep(0.05)
    jobs.write_text(good)
    finish(rig, load, report, "F07 SIGHUP, scaling", rounds)


def test_f21_duplicates(rig, report, long_form):
    """Every request is sent three times; each job has one effect."""
    process = rig.run(WINDLASS_WORKERS=2)
    load = Load(process.url, mixed(2), threads=4, count=5000 if long_form else 200, duplicates=2)
    load.join()
    assert load.resent >= 0.3 * len(load.sent)
    finish(rig, load, report, "F21 duplicates", load.resent)


def test_cancels_and_retries_under_fire(rig, report, long_form):
    """Clients cancel and retry jobs at random, in whatever state they are, while hosts and workers are killed."""
    process = rig.run(WINDLASS_WORKERS=2)
    load = Load(process.url, mixed(50), threads=4)
    api, answers = process.api(), collections.Counter()

    def meddle(dice):
        with load.sent.lock:
            ids = list(load.sent.must)[-200:]
        for id in dice.sample(ids, min(len(ids), 10)):
            verb = dice.choice(["cancel", "cancel", "retry"])
            answers[verb, api.post(f"/v1/jobs/{id}/{verb}").status_code] += 1
        return 0

    def strike(dice):
        pids = [pid for role in ("host", "work") for pid in role_pids(process, role) if age_s(pid) > 0.5]
        return int(bool(pids) and send(dice.choice(pids), signal.SIGKILL))

    with Nemesis(0.05, meddle), Nemesis(0.4, strike) as nemesis:
        wait_struck(nemesis, 60 if long_form else 8)
    finish(rig, load, report, "cancel, retry, kill -9", nemesis.struck)
    assert answers["cancel", 200] and answers["cancel", 202] and answers["retry", 202] + answers["retry", 200], answers
    assert not [code for _, code in answers if code >= 500], answers

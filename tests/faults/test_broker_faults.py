# SPDX-License-Identifier: Apache-2.0
"""F10, F11, F14 to F18, F20, F80 and what belongs to them: brokers that die, freeze, run full or lose their queues, consumers that come
and go, messages that come twice, while jobs travel. Jobs sent over HTTP are judged by the oracle; messages that are sent to a source
carry a number each as their amount, and each number must have one effect."""

import collections
import contextlib
import itertools
import json
import random
import signal
import statistics
import threading
import time
import uuid

import pytest

from faults.conftest import Rig
from faults.nemesis import Nemesis, age_s, role_pids, send, wait_struck
from faults.oracle import ACCOUNTS, Load
from harness.windlass import wait_for

BROKERS = ["rabbit", "kafka", "sqs"]


class BrokerRig(Rig):
    def __init__(self, windlass, url, broker, fault_jobs, folder):
        self.broker = broker
        jobs = folder / "jobs.yaml"
        text = (fault_jobs.parent / "broker_jobs.yaml").read_text().replace("{prefix}", broker.prefix)
        jobs.write_text(text.replace("module: ", f"module: {fault_jobs.parent}/"))
        super().__init__(windlass, url, jobs)
        self.settings.update(broker.settings, WINDLASS_DISPATCH_LEASE="5s", WINDLASS_WORKERS="2", WINDLASS_GRACE="15s")
        if broker.name == "sqs":  # what a killed worker had in hand is back soon
            self.settings["BROKER_URL"] += "&visibility=5"
        self.numbers = itertools.count(1)
        self.sent, self.maybe = [], []

    def send(self, count, duplicates=0.0, work_ms=0):
        """Messages to the source; some of them again. Their numbers must each have one effect in the end."""
        numbers, bodies = list(itertools.islice(self.numbers, count)), []
        for n in numbers:
            body = {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "/shop", "type": "fault.deposit",
                    "data": {"account": n % ACCOUNTS, "amount": n, "work_ms": work_ms}}
            bodies += [body] * (1 + int(random.random() < duplicates) * random.randint(1, 4))
        random.shuffle(bodies)
        self.maybe += numbers
        for left in reversed(range(4)):
            try:
                self.broker.send(self.broker.topic("deposits"), *bodies)
                break
            except self.broker.not_now:
                if not left:
                    raise
                time.sleep(1)
        self.sent += numbers
        return len(bodies)

    def ready(self):
        """The places exist: quorum queues that were made just before a crash are lost with it."""
        def made():
            with contextlib.suppress(Exception):
                return self.broker.depth(self.broker.topic("deposits")) is not None
        wait_for(made, 60, 0.2)

    def effects(self):
        return [n for (n,) in self.oracle.rows("SELECT amt FROM effects WHERE step = 'only' AND amt > 0")]

    def fates(self):
        """number -> what the store says of its job, of jobs that it has a row of: those that did not just succeed."""
        rows = self.oracle.rows("SELECT j.payload, s.state, s.attempts, s.reason FROM windlass.jobs j JOIN windlass.job_states s"
                                " ON s.job_id = j.id WHERE j.owner = 'source:deposits'")
        return {json.loads(payload).get("amount"): rest for payload, *rest in rows}

    def struck_out(self):
        """Numbers whose hosts were killed under them so often that their jobs were discarded, as DESIGN says."""
        return {n for n, (state, _, reason) in self.fates().items() if state == "discarded" and "killed by signal 9" in (reason or "")}

    def where(self, numbers):
        """Of numbers without effect, for people: what the store knows of them, and what the broker still has."""
        topic, fates = self.broker.topic("deposits"), self.fates()
        left = {"waiting": self.broker.depth(topic)}
        if self.broker.name == "sqs":
            left["in hand"] = self.broker.in_hand(topic)
        return f"{ {n: fates.get(n, 'not in the store') for n in sorted(numbers)[:20]} }, in the source: {left}"

    def numbers_done(self, timeout_s=90):
        """Each number sent has one effect, or was struck out. Returns the seconds it took."""
        began = time.monotonic()
        while open_numbers := set(self.sent) - set(done := self.effects()):
            if not (open_numbers := open_numbers - self.struck_out()):
                break
            assert time.monotonic() - began < timeout_s, \
                f"{len(open_numbers)} of {len(self.sent)} messages without effect: {self.where(open_numbers)}"
            time.sleep(0.2)
        doubled = [n for n, count in collections.Counter(done).items() if count > 1]
        assert not doubled and set(done) <= set(self.maybe), doubled[:5]
        return time.monotonic() - began


@pytest.fixture(params=BROKERS)
def broker_rig(request, windlass, pg_url, fault_jobs, tmp_path):
    broker = request.getfixturevalue("own_" + request.param)
    broker.start()
    return BrokerRig(windlass, pg_url, broker, fault_jobs, tmp_path)


def one_broker(name):
    return pytest.mark.parametrize("broker_rig", [name], indirect=True)


def deposits(work_ms=0):
    def make():
        return {"type": "fault.deposit", "payload": {"account": random.randrange(ACCOUNTS), "amount": -1, "work_ms": work_ms}}
    return make


def finish(rig, load, report, fault, struck, timeout_s=120):
    """Stops the load, waits until all is done, messages too (a late one would look like nobody's job), and judges."""
    sent = load.stop()
    took = rig.oracle.drained(timeout_s)
    rig.numbers_done()
    figures = rig.oracle.judge_all(sent)
    report(f"{fault} {rig.broker.name}", struck, figures, took)
    return figures


def settle(rig):
    """A broker that is killed within seconds of a queue's declaration may lose it; that is its own affair."""
    rig.ready()
    if rig.broker.name == "rabbit":
        rig.broker.settle()


def test_f10_f14_broker_killed(broker_rig, report, long_form):
    """kill -9 and restart: acceptance goes on, everything ends once, and the backlog goes when the broker is back."""
    rig = broker_rig
    process = rig.run()
    settle(rig)
    # ElasticMQ writes each step of each message down by itself: a hundred jobs a second, less beside other work.
    load = Load(process.url, deposits(), threads=1 if rig.broker.name == "sqs" else 4)
    down_s, strikes, waits = 2, 10 if long_form else 2, []
    for _ in range(strikes):
        rig.send(100)
        rig.broker.crash()
        before = len(load.sent)
        time.sleep(down_s)
        waits.append(len(load.sent) - before)
        rig.broker.start()
        time.sleep(3 if long_form else 2)
    figures = finish(rig, load, report, "F10/F14 broker kill -9", strikes)
    assert min(waits) > 20, f"acceptance stood still while the broker was away: {waits}"
    assert figures["accepted"] > 50 * strikes


def test_f17_broker_frozen(broker_rig, report, long_form):
    """Silent, not gone: connections stay open and nobody answers."""
    rig = broker_rig
    process = rig.run()
    rig.ready()
    load = Load(process.url, deposits(), threads=2)
    frozen_s = 45 if long_form else 12
    rig.send(200)
    cpu_before = sum(cpu_s(pid) for pid in role_pids(process, "work") + role_pids(process, "dispatch"))
    rig.broker.freeze()
    time.sleep(frozen_s)
    burnt = sum(cpu_s(pid) for pid in role_pids(process, "work") + role_pids(process, "dispatch")) - cpu_before
    rig.broker.thaw()
    finish(rig, load, report, "F17 broker SIGSTOP", 1)
    assert burnt < frozen_s * 0.5, f"{burnt:.1f} s of CPU in {frozen_s} s of silence"


def cpu_s(pid):
    with contextlib.suppress(OSError):
        fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100
    return 0


@pytest.mark.parametrize("role", ["work", "dispatch"])
def test_f01_roles_killed(broker_rig, report, long_form, role):
    """kill -9 of workers and dispatchers while jobs travel: F02's durable steps are all passed by chance."""
    rig = broker_rig
    process = rig.run()
    rig.ready()
    load = Load(process.url, deposits(5), threads=4)

    def strike(dice):
        rig.send(20)
        pids = [pid for pid in role_pids(process, role) if age_s(pid) > 0.5]
        return int(bool(pids) and send(dice.choice(pids), signal.SIGKILL))

    with Nemesis(0.5, strike) as nemesis:
        wait_struck(nemesis, 20 if long_form else 4)
    finish(rig, load, report, f"F01 {role} kill -9", nemesis.struck)


POINTS = ["published_unconfirmed", "confirmed_before_outbox_delete", "dispatch_taken", "after_commit_before_ack", "before_ack"]


@pytest.mark.parametrize("point", POINTS)
def test_f02_killed_at(broker_rig, report, long_form, point):
    rig = broker_rig
    struck = 0
    gateway = rig.gateway()
    role = rig.windlass.dispatch if point in POINTS[:3] else rig.windlass.work
    other = rig.windlass.work if point in POINTS[:3] else rig.windlass.dispatch
    other(wait=False, **rig.settings)
    load = Load(gateway.url, deposits(), threads=2)
    for k in range(1, (10 if long_form else 2) + 1):
        victim = role(wait=False, **rig.settings, WINDLASS_FAILPOINT=f"{point}:{k}:kill")
        rig.ready()
        rig.send(20)
        wait_for(lambda: victim.popen.poll() is not None, 30)
        assert victim.popen.returncode == -signal.SIGKILL, victim.popen.returncode
        victim.kill()
        struck += 1
    role(**rig.settings)
    finish(rig, load, report, f"F02 {point}", struck)


def test_f06_drains_under_load(broker_rig, report, long_form):
    rig = broker_rig
    gateway = rig.gateway()
    rig.windlass.dispatch(**rig.settings)
    load = Load(gateway.url, deposits(20), threads=4)
    drains = 10 if long_form else 3
    for _ in range(drains):
        worker = rig.work()
        rig.ready()
        rig.send(50)
        time.sleep(1)
        worker.stop(timeout_s=20)
    rig.work()
    finish(rig, load, report, "F06 drain", drains)


@one_broker("kafka")
def test_f11_rebalance_storm(broker_rig, report, long_form):
    """Consumers come and go every few seconds."""
    rig = broker_rig
    gateway = rig.gateway()
    rig.windlass.dispatch(**rig.settings)
    first = rig.work()
    rig.ready()
    load = Load(gateway.url, deposits(5), threads=2)
    rebalances, others = 0, []
    for _ in range(15 if long_form else 3):
        rig.send(200)
        others.append(rig.work())
        time.sleep(3)
        others.pop(0).stop(timeout_s=20)
        rebalances += 2
        time.sleep(1)
    finish(rig, load, report, "F11 rebalance storm", rebalances)
    assert first.popen.poll() is None


def assignments(process):
    """How often partitions came or went."""
    return sum(line["count"] > 0 for event in ("kafka-partitions-assigned", "kafka-partitions-revoked") for line in process.events(event))


@pytest.mark.parametrize("detach_after", ["1s", "1h"])
@one_broker("kafka")
def test_f12_longer_than_the_poll_interval(broker_rig, report, long_form, detach_after):
    """A job that runs longer than the group waits for its members to poll: nobody else gets it."""
    rig = broker_rig
    process = rig.run(WINDLASS_DETACH_AFTER=detach_after)
    rig.ready()
    wait_for(lambda: assignments(process) > 1, 30)
    time.sleep(5)
    before = assignments(process)
    api = process.api()
    id = api.enqueue("fault.slow", {"account": 1, "amount": -1, "work_ms": 35000 if long_form else 6000})
    time.sleep(2)
    rig.send(200)
    rig.numbers_done(20)  # meanwhile
    assert api.get_job(id)["state"] in ("queued", "running")
    api.wait(id, "completed", 60)
    assert rig.oracle.states()[id] == ("completed", 1, None)
    assert rig.oracle.rows("SELECT count(*) FROM effects WHERE job_id = ?", id) == [(1,)]
    assert assignments(process) == before
    report(f"F12 long job, detached after {detach_after}", 1, {"accepted": 201, "lost": 0, "doubled": 0}, 0)


@one_broker("kafka")
def test_f12_worker_frozen(broker_rig, report, long_form):
    """A member that is silent for longer than the group waits is put out of it, and comes back."""
    if not long_form:
        pytest.skip("long form")
    rig = broker_rig
    gateway = rig.gateway()
    rig.windlass.dispatch(**rig.settings)
    victim, other = rig.work(), rig.work()
    rig.ready()
    load = Load(gateway.url, deposits(5), threads=2)
    time.sleep(3)
    rig.send(200)
    victim.signal(signal.SIGSTOP)
    for _ in range(4):
        time.sleep(10)
        rig.send(100)
    victim.signal(signal.SIGCONT)
    time.sleep(5)
    rig.send(200)
    finish(rig, load, report, "F12 worker SIGSTOP 40 s", 1)
    assert victim.ready() and other.ready()


def test_f10_leaders_killed(request, windlass, pg_url, fault_jobs, tmp_path, report, long_form):
    """Three nodes, three copies, two needed: the one that leads is killed, and everything goes on without it."""
    if not long_form:
        pytest.skip("long form")
    broker = request.getfixturevalue("own_kafka3")
    broker.start()
    rig = BrokerRig(windlass, pg_url, broker, fault_jobs, tmp_path)
    process = rig.run()
    rig.ready()
    load = Load(process.url, deposits(), threads=2)
    strikes = 5
    for _ in range(strikes):
        rig.send(100)
        leader = wait_for(lambda: broker.leader(broker.topic("deposits")), 30)
        broker.crash(leader)
        rig.send(100)
        rig.numbers_done(60)
        broker.start(leader)
        time.sleep(8)
    finish(rig, load, report, "F10 leader kill -9, three nodes", strikes)


@one_broker("rabbit")
@pytest.mark.parametrize("alarm", ["memory", "disk"])
def test_f15_alarms(broker_rig, report, long_form, alarm):
    """An alarm blocks who publishes: acceptance and consumption go on, dispatch waits and catches up."""
    rig = broker_rig
    process = rig.run()
    rig.ready()
    rig.send(100)
    load = Load(process.url, deposits(), threads=2)
    raise_it, end_it = {"memory": (["set_vm_memory_high_watermark", "0"], ["set_vm_memory_high_watermark", "0.4"]),
                        "disk": (["set_disk_free_limit", "999GB"], ["set_disk_free_limit", "50MB"])}[alarm]
    rig.broker.ctl(*raise_it)
    before, took = len(load.sent), []
    end = time.monotonic() + (30 if long_form else 6)
    api = process.api()
    while time.monotonic() < end:
        began = time.monotonic()
        load.sent.note("must", [{"id": api.enqueue("fault.deposit", {"account": 1, "amount": -1}), "type": "fault.deposit"}])
        took.append(time.monotonic() - began)
        time.sleep(0.05)
    assert len(load.sent) > before + 20
    rig.broker.ctl(*end_it)
    finish(rig, load, report, f"F15 {alarm} alarm", 1)
    assert statistics.quantiles(took, n=100)[98] < 0.5, f"acceptance p99 {statistics.quantiles(took, n=100)[98]:.3f} s"


def test_f16_consumer_timeout(request, report, windlass, pg_url, fault_jobs, tmp_path, own_rabbit):
    """A job that runs three times as long as the broker lets a message be unacknowledged."""
    own_rabbit.knobs.update(RMQ_CONSUMER_TIMEOUT=5000, RMQ_CHANNEL_TICK=1000)
    own_rabbit.start()
    rig = BrokerRig(windlass, pg_url, own_rabbit, fault_jobs, tmp_path)
    process = rig.run(WINDLASS_DETACH_AFTER="1s")
    rig.ready()
    load = Load(process.url, deposits(), threads=1)
    id = process.api().enqueue("fault.slow", {"account": 1, "amount": -1, "work_ms": 15000})
    process.api().wait(id, "completed", 60)
    finish(rig, load, report, "F16 consumer_timeout", 1)
    assert rig.oracle.rows("SELECT count(*) FROM effects WHERE job_id = ?", id) == [(1,)]
    assert "PRECONDITION_FAILED" not in process.log()


@one_broker("rabbit")
def test_f18_queues_deleted(broker_rig, report, long_form):
    rig = broker_rig
    process = rig.run()
    rig.ready()
    load = Load(process.url, deposits(), threads=2)
    strikes = 5 if long_form else 1
    for _ in range(strikes):
        time.sleep(1)
        rig.broker.delete(rig.broker.topic("faults"))
        time.sleep(2)
    finish(rig, load, report, "F18 queue deleted", strikes)
    assert rig.broker.depth(rig.broker.topic("faults")) == 0


@one_broker("rabbit")
def test_f18_queue_made_again_at_once(broker_rig, report, long_form):
    """RabbitMQ moves consumers to the new queue and never delivers to them; they renew themselves within a minute or so."""
    if not long_form:
        pytest.skip("long form")
    rig = broker_rig
    process = rig.run()
    rig.ready()
    load = Load(process.url, deposits(), threads=2)
    time.sleep(1)
    with rig.broker.channel() as channel:
        channel.queue_delete(rig.broker.topic("faults"))
        channel.queue_declare(rig.broker.topic("faults"), durable=True, arguments={"x-queue-type": "quorum"})
    time.sleep(2)
    finish(rig, load, report, "F18 queue made again at once", 1)


def test_queues_purged(broker_rig, report, long_form):
    """What is lost on the broker is not lost: leases run out and the jobs are sent again."""
    rig = broker_rig
    gateway = rig.gateway()
    rig.windlass.dispatch(**rig.settings)
    worker = rig.work(WINDLASS_CONCURRENCY=1)
    rig.ready()
    api = gateway.api()
    load = Load(gateway.url, deposits(), threads=1, count=300, batch=100)
    load.join()
    worker.popen.send_signal(signal.SIGSTOP)
    time.sleep(1)
    more = Load(gateway.url, deposits(), threads=1, count=300, batch=100)
    more.join()
    time.sleep(2)
    rig.broker.purge(rig.broker.topic("faults"))
    worker.popen.send_signal(signal.SIGCONT)
    load.sent.must.update(more.sent.must)
    finish(rig, load, report, "queue purged", 1)
    assert api.get("/v1/queues").status_code == 200


def test_f21_duplicates(broker_rig, report, long_form):
    """A third of the messages come two to five times."""
    rig = broker_rig
    process = rig.run()
    rig.ready()
    load = Load(process.url, deposits(), threads=1)
    copies = 0
    for _ in range(20 if long_form else 2):
        copies += rig.send(500, duplicates=0.35)
    rig.numbers_done(180)
    finish(rig, load, report, "F21 duplicates", copies - len(rig.sent))
    assert copies - len(rig.sent) > 0.3 * len(rig.sent)


def test_f80_outbox(broker_rig, report, long_form):
    """Nobody publishes while results pile up; then all of them are there, each at least once."""
    rig = broker_rig
    count = 20000 if long_form else 500 if rig.broker.name == "sqs" else 2000  # sent by ten
    gateway = rig.gateway()
    rig.work()
    dispatcher = rig.windlass.dispatch(**rig.settings)
    rig.ready()
    dispatcher.stop(20)
    rig.send(count)
    rig.numbers_done(180)
    assert rig.oracle.rows("SELECT count(*) FROM windlass.outbox")[0][0] == count
    began = time.monotonic()
    dispatcher = rig.windlass.dispatch(**rig.settings)
    wait_for(lambda: rig.oracle.rows("SELECT count(*) FROM windlass.outbox")[0][0] == 0, 120, 0.05)
    took = time.monotonic() - began
    ids = {m.json()["id"] for m in rig.broker.read(rig.broker.topic("results"), count, 120)}
    assert len(ids) == count
    report(f"F80 outbox {rig.broker.name}", 1, {"accepted": count, "lost": 0, "doubled": 0}, took)
    assert gateway.popen.poll() is None


@one_broker("sqs")
def test_f20_longer_than_the_visibility(broker_rig, report, long_form):
    """Everything that was taken stays ours, also what waits for a host: the last of 8 jobs begins after 9 s, and 5 s are agreed."""
    rig = broker_rig
    process = rig.run(WINDLASS_DETACH_AFTER="1h", WINDLASS_DISPATCH_LEASE="1h", WINDLASS_WORKERS=1, WINDLASS_CONCURRENCY=2)
    rig.ready()
    rig.send(8, work_ms=3000)
    took = rig.numbers_done(60)
    assert took > 9, "two at a time"
    assert len(process.wait_event("attempt", 8)) == 8, "none of them was handed out twice"
    assert not process.events("sqs-handle-expired")
    wait_for(lambda: rig.broker.depth(rig.broker.topic("deposits")) + rig.broker.in_hand(rig.broker.topic("deposits")) == 0, 10)
    report("F20 visibility", 8, {"accepted": 8, "lost": 0, "doubled": 0}, took)


def test_soak(broker_rig, report, long_form):
    """Everything at once, for ten minutes in the long form: processes are killed at random, messages doubled, the broker restarted."""
    rig = broker_rig
    process = rig.run()
    (settle if long_form else BrokerRig.ready)(rig)
    load = Load(process.url, deposits(5), threads=2, pause_s=0.05)
    lock = threading.Lock()

    def strike(dice):
        with lock:
            with contextlib.suppress(Exception):
                rig.send(20, duplicates=0.3)
            pids = [pid for role in ("work", "dispatch", "gateway", "host") for pid in role_pids(process, role) if age_s(pid) > 0.5]
            return int(bool(pids) and send(dice.choice(pids), signal.SIGKILL))

    seconds = 600 if long_form else 10
    with Nemesis(1.0, strike) as nemesis:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(60, seconds / 2))
            if long_form:
                with lock:
                    rig.broker.crash()
                    time.sleep(1)
                    rig.broker.start()
    finish(rig, load, report, f"soak {seconds} s", nemesis.struck, timeout_s=180)

# SPDX-License-Identifier: Apache-2.0
"""F40 and F42: third parties that are slow, silent, failing or hostile. Jobs that have nothing to do with them must not feel it, nobody
is asked more often than the retry budget and Retry-After allow, and an answer of any size costs a bounded amount of memory."""

import collections
import json
import random
import time

import pytest

from faults.bad_parties import Deaf, cut, drip, hostile_answers, in_seconds, later
from faults.conftest import Rig
from faults.oracle import ACCOUNTS, Sent, uuid7
from harness.listener import Listener
from harness.third_party import ThirdParty
from harness.windlass import wait_for

DEAF = ("hangs", "drops", "refuses")
SCRIPTS = {
    "drips": {"raw": drip},
    "cuts": {"raw": cut},
    "broken": 500,
    "seconds": later(lambda: "2"),
    "date": later(lambda: in_seconds(3)),
    "for_ever": {"status": 429, "headers": {"Retry-After": "999999"}},
}
KINDS = (*DEAF, *SCRIPTS, "fails")
NOT_HEALED = ("broken", "for_ever")
OTHERS = ("fault.deposit", "good")
RETRY_AFTER_S = {"seconds": (2, 2), "date": (2, 3)}  # a date has whole seconds
WINDOW_S = 10
RSS_GROWTH_KIB = 64 * 1024


class World:
    """The rig, its third parties, and what was sent of each kind."""

    def __init__(self, rig, third, good, deaf):
        self.rig, self.third, self.good, self.deaf = rig, third, good, deaf
        self.api, self.worker, self.began = rig.gateway().api(), rig.work(), time.monotonic()
        self.sent, self.calls = Sent(), collections.defaultdict(dict)  # kind -> id -> n
        dice = random.Random(40)
        third.script("/fails", lambda _: {"status": 500 if dice.random() < 0.3 else 200})
        for kind, step in SCRIPTS.items():
            third.script("/" + kind, step)

    def post(self, kind, count):
        jobs = [{"id": uuid7(), "type": kind, "payload": {"account": n % ACCOUNTS, "amount": 1, "n": n}} for n in range(count)]
        if jobs:
            self.api.enqueue_batch(jobs)
        if kind == "fault.deposit":
            self.sent.note("must", jobs)
        else:
            self.calls[kind].update((job["id"], job["payload"]["n"]) for job in jobs)

    def others_done(self):
        samples = self.worker.metrics()
        return sum(samples.get(f'windlass_jobs_finished_total{{type="{type}",outcome="done"}}', 0) for type in OTHERS)

    def others_sent(self):
        return len(self.sent) + len(self.calls["good"])

    def open_ids(self, kind):
        states = self.rig.oracle.states()
        return [id for id in self.calls[kind] if states[id][0] not in ("completed", "discarded", "cancelled")]

    def requests(self, kind):
        """Those that were seen, healed parties' included."""
        if kind in self.deaf:
            return list(self.deaf[kind].party.requests)
        return (self.good if kind == "good" else self.third).to("/" + kind)

    def heal(self):
        for deaf in self.deaf.values():
            deaf.heal()
        for kind in SCRIPTS:
            if kind not in RETRY_AFTER_S and kind not in NOT_HEALED:
                self.third.script("/" + kind, 200)
        for kind in NOT_HEALED:
            for id in self.open_ids(kind):
                self.api.post(f"/v1/jobs/{id}/cancel")

    def judge(self, kind):
        """Each job ended, and was applied once if it completed; all its requests had one key."""
        states, keys = self.rig.oracle.states(), collections.defaultdict(set)
        party = self.good if kind == "good" else self.deaf[kind].party if kind in self.deaf else self.third
        for request in self.requests(kind):
            keys[request["headers"]["Idempotency-Key"]].add(json.loads(request["body"])["n"])
        assert all(len(ns) == 1 for ns in keys.values()), f"{kind}: one key for several jobs"
        applied = sum(key in party.answers for key in keys)
        ended = collections.Counter(states[id][0] for id in self.calls[kind])
        assert set(ended) <= ({"cancelled"} if kind in NOT_HEALED else {"completed"}), (kind, ended)
        assert len(keys) <= len(self.calls[kind]) and applied == ended["completed"], (kind, len(keys), applied, ended)
        return {"accepted": len(self.calls[kind]), "unknown": 0, "lost": 0, "doubled": 0, "retried": len(self.requests(kind)) - len(keys)}


@pytest.fixture
def world(windlass, store_url, fault_jobs):
    third, good = ThirdParty(), ThirdParty()
    deaf = {how: Deaf(how) for how in DEAF}
    rig = Rig(windlass, store_url, fault_jobs.parent / "call_jobs.yaml")
    rig.settings.update(THIRD=third.url, GOOD=good.url, **{how.upper(): it.url for how, it in deaf.items()})
    yield World(rig, third, good, deaf)
    for party in (third, good, *deaf.values()):
        party.close()


def offer(world, per_s, seconds, kind=None):
    """Others at a fixed rate, beside some of a kind: the part of them that was done within the time."""
    done, sent, began = world.others_done(), world.others_sent(), time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        due = int(per_s * now) - (world.others_sent() - sent)
        for type in OTHERS:
            world.post(type, due // 2)
        if kind:
            world.post(kind, 4)
        time.sleep(0.1)
    return (world.others_done() - done) / (world.others_sent() - sent)


def measured(world, count=1000):
    """Others a second, when there is nothing else to do."""
    began = time.monotonic()
    for type in OTHERS:
        world.post(type, count // 2)
    wait_for(lambda: world.others_done() == count, 60)
    return count / (time.monotonic() - began)


def rates_are_kept(world):
    """Each window of a fault stands beside one without. A machine that has more to do than this disturbs one of the two: up to three pairs."""
    per_s = measured(world) / 3
    for kind in KINDS:
        for _ in range(3):
            alone = offer(world, per_s, WINDOW_S)
            beside = offer(world, per_s, WINDOW_S, kind)
            print(f"F40 {kind}: {per_s:.0f}/s offered, done {alone:.1%} alone, {beside:.1%} beside it", flush=True)
            if beside >= 0.95 * alone:
                break
        assert beside >= 0.95 * alone, f"beside {kind} others kept {beside / alone:.1%} of their rate, three times"


def others_end(world):
    for kind in KINDS:
        world.post(kind, 40 if kind in ("drips", "hangs", "broken") else 10)
    for type in OTHERS:
        world.post(type, 60)
    wait_for(lambda: world.others_done() == world.others_sent(), 30)
    assert world.open_ids("hangs") and world.open_ids("drips"), "they were gone before the others"


def judge_budget(world, kind):
    """What was tried again and failed again is bounded by the bucket: ten, a tenth of the calls, one a second."""
    seen, failed = set(), 0
    for request in world.requests(kind):
        failed += request["key"] in seen and request["status"] >= 500
        seen.add(request["key"])
    budget = 10 + 0.1 * len(world.requests(kind)) + (time.monotonic() - world.began) + 1
    assert failed <= budget, f"{kind}: {failed} retries of {len(seen)} calls failed, the budget is {budget:.0f}"


def judge_retry_after(world, kind, slack_s):
    least, most = RETRY_AFTER_S[kind]
    times = collections.defaultdict(list)
    for request in world.requests(kind):
        times[request["key"]].append(request["at"])
    assert times and all(len(at) == 2 for at in times.values()), f"{kind}: answered 429 once each"
    for first, second in times.values():
        assert least - 0.1 <= second - first <= most + slack_s, f"{kind}: came again after {second - first:.2f} s"


def judge_cap(world):
    now = time.time()
    for id in world.open_ids("for_ever"):
        due = world.api.get_job(id)["due_at"]
        at = time.mktime(time.strptime(due[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        assert now - 600 + 3600 <= at <= now + 3601, f"a Retry-After of 11 days: due at {due}"
    return len(world.open_ids("for_ever"))


def test_f40_third_parties(world, report, long_form):
    (rates_are_kept if long_form else others_end)(world)
    wait_for(lambda: not world.open_ids("seconds") and not world.open_ids("date"), 60, 0.2)
    wait_for(lambda: len(world.requests("for_ever")) == len(world.calls["for_ever"]), 60, 0.2)
    assert judge_cap(world) == len(world.calls["for_ever"])
    judge_budget(world, "broken")
    struck = {kind: len(world.requests(kind)) for kind in SCRIPTS}
    world.heal()
    took = world.rig.oracle.drained(300 if long_form else 90)
    judge_budget(world, "fails")
    for kind in RETRY_AFTER_S:
        judge_retry_after(world, kind, 5)
    for kind in KINDS:
        report(f"F40 {kind}", struck.get(kind, len(world.calls[kind])), world.judge(kind), took)
    world.judge("good")
    report("F40 others beside them", len(world.calls["good"]), world.rig.oracle.judge(world.sent), took)


# ---- F42

def memory_kib(process, field):
    """Of the worker and all that belongs to it."""
    total = 0
    for pid in process.members():
        with open(f"/proc/{pid}/status") as status:
            total += next(int(line.split()[1]) for line in status if line.startswith(field))
    return total


def test_f42_hostile_answers(world, report, long_form):
    inside, written = Listener("127.0.0.1"), {}
    answers = hostile_answers(f"http://127.0.0.1:{inside.port}/", written)
    for path, step in answers.items():
        world.third.script("/hostile/" + path, step)
    world.api.wait(world.api.enqueue("hostile", {"path": "warm"}))
    before, began = memory_kib(world.worker, "VmRSS"), time.monotonic()
    jobs = [{"id": uuid7(), "type": "hostile", "payload": {"path": path}} for path in answers for _ in range(20 if long_form else 5)]
    world.api.enqueue_batch(jobs)
    took = world.rig.oracle.drained(120)
    growth = memory_kib(world.worker, "VmHWM") - before
    states = world.rig.oracle.states()
    for job in jobs:
        state, _, reason = states[job["id"]]
        path = job["payload"]["path"]
        words = f"status {path[-3:]}" if path.startswith("redirect") else "too large"
        assert state == "discarded" and words in reason, (path, state, reason)
    most = {path: max(sizes) for path, sizes in written.items()}
    assert growth < RSS_GROWTH_KIB, f"{growth} KiB more for {len(jobs)} answers"
    assert len(most) == len(answers) - 5 and max(most.values()) < 32 << 20, f"read on: {most}"
    asked = {path: len(world.third.to("/hostile/" + path)) for path in answers}
    assert all(asked[path] == (1 if path.startswith("redirect") else 2) * len(jobs) // len(answers) for path in asked), asked
    assert not inside.connections, "a redirect led inside"
    inside.close()
    print(f"F42: {growth} KiB more, {most}, {time.monotonic() - began:.1f} s", flush=True)
    figures = {"accepted": len(jobs), "unknown": 0, "lost": 0, "doubled": 0, "retried": sum(asked.values()) - len(jobs)}
    report("F42 hostile answers", len(world.third.requests), figures, took)

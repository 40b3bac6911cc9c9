# SPDX-License-Identifier: Apache-2.0
"""The oracle of the fault tests: what was sent, what the tables say, and whether the two agree.

Ids are made by the client, so an id is known whatever becomes of its request: `must` was accepted, `may` has an unknown fate,
`never` was refused. The tables `effects` and `accounts` have no unique keys: a double effect shows."""

import collections
import dataclasses
import http.client
import json
import os
import secrets
import threading
import time
import urllib.parse

from harness import store

ACCOUNTS = 20
SCHEMA = f"""
CREATE TABLE effects(job_id text NOT NULL, step text NOT NULL, amt bigint NOT NULL, pid bigint NOT NULL);
CREATE TABLE accounts(id bigint NOT NULL, balance bigint NOT NULL);
CREATE TABLE checked(n bigint NOT NULL CHECK (n >= 0));
CREATE TABLE parents(id bigint PRIMARY KEY);
CREATE TABLE deferred(parent bigint NOT NULL REFERENCES parents(id) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO accounts(id, balance) VALUES {", ".join(f"({n}, 1000)" for n in range(ACCOUNTS))};
"""
OPENING = ACCOUNTS * 1000
STEPS = {"fault.deposit": ["only"], "fault.charge": ["only"], "fault.sql": ["only"], "fault.poison": ["only"],
         "fault.steps": ["first", "second"], "fault.noop": [], "fault.flood": [], "fault.slow": ["only"]}


def uuid7():
    value = int(time.time() * 1000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(3 << 62) | 2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclasses.dataclass
class Sent:
    """What the load generator knows. Written before and after each request, so that a crash of it loses nothing either."""
    must: dict = dataclasses.field(default_factory=dict)  # id -> type
    may: dict = dataclasses.field(default_factory=dict)
    never: dict = dataclasses.field(default_factory=dict)
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def note(self, kind, jobs):
        with self.lock:
            getattr(self, kind).update({job["id"]: job["type"] for job in jobs})

    def __len__(self):
        return len(self.must)


class Load:
    """Threads that post jobs, singly or in batches, until told to stop or until `count` were sent. Without a count they pause
    between two requests, so that the workers can follow."""

    def __init__(self, url, make, threads=4, batch=1, count=None, duplicates=0, pause_s=0.02):
        self.host = urllib.parse.urlparse(url).netloc
        self.make, self.batch, self.left, self.duplicates = make, batch, count, duplicates
        self.pause_s = pause_s if count is None else 0
        self.sent, self.stopped, self.resent = Sent(), threading.Event(), 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def _take(self):
        with self.lock:
            if self.left is None:
                return self.batch
            n = min(self.batch, self.left)
            self.left -= n
            return n

    def _post(self, connection, jobs):
        """The status, or None when nobody knows."""
        body = json.dumps(jobs if self.batch > 1 else jobs[0])
        path = "/v1/jobs/batch" if self.batch > 1 else "/v1/jobs"
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except ConnectionRefusedError:
            connection.close()  # else it would take the next request for one that was begun
            return 503  # nothing was sent
        except (OSError, http.client.HTTPException):
            connection.close()
            return None

    def _run(self):
        connection = http.client.HTTPConnection(self.host, timeout=20)
        while not self.stopped.is_set() and (n := self._take()):
            jobs = [{"id": uuid7(), **self.make()} for _ in range(n)]
            for again in range(1 + self.duplicates):
                status = self._post(connection, jobs)
                known = {202: "must", 200: "must", 504: "may", None: "may"}.get(status, "never")
                self.sent.note(known, jobs)
                self.resent += again > 0
                if known == "never":
                    assert status in (429, 503, 507), f"unexpected answer {status}"
                    time.sleep(0.05)
            time.sleep(self.pause_s)
        connection.close()

    def stop(self):
        self.stopped.set()
        return self.join()

    def join(self, timeout_s=300):
        for thread in self.threads:
            thread.join(timeout_s)
            assert not thread.is_alive(), "the load generator hangs"
        for kind in ("may", "never"):  # a duplicate that was accepted settles the matter
            for id in list(getattr(self.sent, kind)):
                if id in self.sent.must or (kind == "never" and id in self.sent.may):
                    del getattr(self.sent, kind)[id]
        return self.sent


class Breach(AssertionError):
    """A guarantee did not hold. Such a test is never run again to see whether it passes then (tests/run)."""


class Oracle:
    def __init__(self, url):
        self.url = url
        self.sqlite = url.startswith("sqlite:")
        self.view = "windlass_job_states" if self.sqlite else "windlass.job_states"

    def prepare(self):
        store.script(self.url, SCHEMA)

    def rows(self, sql, *args):
        deadline = time.monotonic() + 20
        while True:
            try:
                return store.rows(self.url, sql, *args)
            except Exception as error:  # noqa: BLE001 - a busy SQLite file or a server that is coming up: both pass
                if time.monotonic() > deadline:
                    raise AssertionError(f"the store does not answer: {error}") from error
                time.sleep(0.1)

    def states(self):
        """id -> (state, attempts, reason) of every job."""
        return {str(id): (state, attempts, reason)
                for id, state, attempts, reason in self.rows(f"SELECT job_id, state, attempts, reason FROM {self.view}")}

    def drained(self, timeout_s=60):
        """Waits until every job has ended; O7. Returns the seconds it took."""
        began = time.monotonic()
        while True:
            open_jobs = self.rows(f"SELECT state, count(*) FROM {self.view} "
                                  "WHERE state NOT IN ('completed', 'discarded', 'cancelled') GROUP BY 1")
            if not open_jobs:
                return time.monotonic() - began
            assert time.monotonic() - began < timeout_s, f"not drained after {timeout_s} s: {open_jobs}"
            time.sleep(0.1)

    def judge(self, sent):
        """O1 to O4 over everything that was sent. Returns figures for the table. Breach: one does not hold."""
        try:
            return self._judged(sent)
        except AssertionError as error:
            raise Breach(*error.args) from None

    def _judged(self, sent):
        states = self.states()
        effects = collections.defaultdict(list)
        for job, step, _ in self.rows("SELECT job_id, step, amt FROM effects"):
            effects[str(job)].append(step)
        lost = [id for id in sent.must if states.get(id, ("gone",))[0] not in ("completed", "discarded", "cancelled")]
        doubled = [id for id, steps in effects.items() if len(steps) != len(set(steps))]
        assert not lost, f"O1: {len(lost)} of {len(sent.must)} accepted jobs lost: {[(i, states.get(i)) for i in lost[:5]]}"
        assert not doubled, f"O2: {len(doubled)} jobs with a double effect: {[(i, effects[i]) for i in doubled[:5]]}"
        self._partial(sent, states, effects)
        balance, amounts = (self.rows(f"SELECT coalesce(sum({c}), 0) FROM {t}")[0][0]
                            for c, t in (("balance", "accounts"), ("amt", "effects")))
        assert balance == OPENING + amounts, f"O3: balances {balance} differ from {OPENING} + effects {amounts}"
        phantom = [id for id in effects if id not in sent.must and id not in sent.may]
        assert not phantom, f"O4: effects of jobs that were never accepted: {phantom[:5]}"
        refused = [id for id in sent.never if id in states]
        assert not refused, f"O4: jobs that were refused are there: {refused[:5]}"
        return {"accepted": len(sent.must), "unknown": len(sent.may), "lost": 0, "doubled": 0,
                "retried": sum(attempts > 1 for _, attempts, _ in states.values())}

    def judge_all(self, sent):
        """As judge, when jobs came by messages too: what is in the store and was not sent over HTTP came from a source."""
        foreign = {id: "fault.deposit" for id in self.states() if id not in sent.must and id not in sent.may}
        sent.may.update(foreign)
        return self.judge(sent)

    def _partial(self, sent, states, effects):
        """O2b: completed <=> all steps; otherwise none, or a committed first step with its undo."""
        for id, type in {**sent.must, **sent.may}.items():
            if id not in states:
                continue
            state, steps = states[id][0], sorted(effects.get(id, []))
            if state == "completed":
                assert steps == sorted(STEPS[type]), f"O2b: {id} {type} completed with the effects {steps}"
            else:
                assert steps in ([], ["first", "undo"]), f"O2b: {id} {type} {state} with the effects {steps}"


def kill_quietly(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False

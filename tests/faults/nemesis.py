# SPDX-License-Identifier: Apache-2.0
"""Finds the processes of a running Windlass and hurts them, with a seed that a failed run can be repeated with."""

import os
import pathlib
import random
import signal
import threading
import time


def stat(pid):
    """(ppid, state) or None when it is gone."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), fields[0]


def age_s(pid):
    """How long it has been running; 0 when it is gone."""
    try:
        started = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


def command(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def descendants(root):
    """Live processes below root, in no order."""
    parents = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        if (found := stat(entry.name)) and found[1] != "Z":
            parents.setdefault(found[0], []).append(int(entry.name))
    below, todo = [], [root]
    while todo:
        for child in parents.get(todo.pop(), []):
            below.append(child)
            todo.append(child)
    return below


def role_pids(process, role):
    """Processes of a started `windlass` that run this role: host, work, gateway."""
    return [pid for pid in [process.pid, *descendants(process.pid)] if role in command(pid)[1:2]]


def send(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def kill_tree(process):
    """kill -9 of everything at once, hosts in sessions of their own included."""
    pids = [process.pid, *descendants(process.pid)]
    for pid in pids:
        send(pid, signal.SIGKILL)
    process.killed = True
    process.popen.wait(10)
    return len(pids)


class Nemesis:
    """Strikes every period_s in a thread until stopped: `with Nemesis(0.3, strike) as n: ...; n.struck`. strike(random) returns
    how many it hit."""

    def __init__(self, period_s, strike, seed=None):
        self.period_s, self.strike, self.struck = period_s, strike, 0
        self.seed = seed if seed is not None else int(os.environ.get("FAULT_SEED", random.randrange(1 << 30)))
        self.stop, self.error = threading.Event(), None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        dice = random.Random(self.seed)
        try:
            while not self.stop.wait(self.period_s):
                self.struck += self.strike(dice) or 0
        except Exception as error:  # noqa: BLE001 - shown in the test's own thread
            self.error = error

    def __enter__(self):
        print(f"repeat with FAULT_SEED={self.seed}")
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(60)
        if self.error:
            raise self.error


def wait_struck(nemesis, count, timeout_s=120):
    deadline = time.monotonic() + timeout_s
    while nemesis.struck < count:
        assert not nemesis.error, nemesis.error
        assert time.monotonic() < deadline, f"struck {nemesis.struck} of {count} times in {timeout_s} s"
        time.sleep(0.05)

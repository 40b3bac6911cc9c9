# SPDX-License-Identifier: Apache-2.0
"""Under what conditions a figure was taken: how fast the machine was at that moment, and who else used it."""

import dataclasses
import os
import pathlib
import platform
import subprocess
import time

import psycopg

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PG_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers",
               "max_wal_size", "checkpoint_timeout")


def cpu_probe_ms():
    """A fixed piece of work. Shared machines change their speed by 2x within minutes; this shows it."""
    began = time.perf_counter()
    total = 0
    for i in range(200_000):
        total += i * i % 7
    return (time.perf_counter() - began) * 1000


def fsync_us(folder, rounds=100):
    """The median of 8 KiB appended and made durable, as a commit does."""
    path = pathlib.Path(folder) / "fsync-probe"
    times = []
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    try:
        for _ in range(rounds):
            began = time.perf_counter()
            os.write(fd, b"x" * 8192)
            os.fdatasync(fd)
            times.append((time.perf_counter() - began) * 1e6)
    finally:
        os.close(fd)
        path.unlink()
    return sorted(times)[rounds // 2]


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), platform.machine())
    memory_kib = int(pathlib.Path("/proc/meminfo").read_text().split()[1])
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory_kib / 2**20, 1),
            "kernel": platform.release()}


def postgres(url):
    with psycopg.connect(url, autocommit=True) as connection:
        return {name: connection.execute(f"SHOW {name}").fetchone()[0].split(" ")[0] for name in PG_SETTINGS}


def processes():
    """{pid: (parent, CPU seconds with those of reaped children, command line)} of every live process."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        found[int(folder.name)] = (int(fields[1]), sum(map(int, fields[11:15])) * TICK_S, command)
    return found


def family(all, root):
    """The pids of root and everything below it."""
    members, added = {root}, True
    while added:
        children = {pid for pid, (parent, _, _) in all.items() if parent in members} - members
        members |= children
        added = bool(children)
    return members & set(all)


def tree_cpu_s(root, all=None):
    all = all or processes()
    return sum(all[pid][1] for pid in family(all, root))


def tree_rss_mib(roots):
    """Of the trees of these pids, shared pages counted once: the sum of their PSS."""
    all, total_kib = processes(), 0
    for pid in set().union(*(family(all, root) for root in roots)):
        try:
            lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # has ended meanwhile
        total_kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kib / 1024


@dataclasses.dataclass
class Ended:
    stdout: str
    returncode: int
    cpu_s: float
    rss_mib: float  # of its tree at its peak, looked at now and then


def run_measured(command, timeout_s, cwd=None, every_s=0.2):
    """Runs a program that prints little to its end, and tells what it and its children have used."""
    process = subprocess.Popen([str(part) for part in command], cwd=cwd, stdout=subprocess.PIPE, text=True)
    deadline, next_look, rss_mib = time.monotonic() + timeout_s, 0, 0.0
    with process.stdout:
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                process.kill()
            if time.monotonic() > next_look:
                rss_mib, next_look = max(rss_mib, tree_rss_mib([process.pid])), time.monotonic() + every_s
            time.sleep(0.01)
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        return Ended(process.stdout.read(), process.returncode, ended[2].ru_utime + ended[2].ru_stime, rss_mib)


def busy_s():
    fields = list(map(int, pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    return (sum(fields) - fields[3] - fields[4]) * TICK_S


def wait_calm(limit_s, busy_cores=0.3):
    """Waits until the machine has been almost idle for a second, at most so long. Nothing of ours must run."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        before, began = busy_s(), time.monotonic()
        time.sleep(1)
        if (busy_s() - before) / (time.monotonic() - began) < busy_cores:
            return


class Watch:
    """with Watch(roots) as watch: … ; then watch.foreign_cores: the cores that others than the trees of `roots()` kept busy."""

    def __init__(self, roots):
        self.roots = roots

    def own_s(self):
        all = processes()
        return sum(all[pid][1] for pid in set().union(*(family(all, root) for root in self.roots())))

    def __enter__(self):
        self.cpu_probe_ms = cpu_probe_ms()
        self.before = busy_s(), self.own_s(), time.monotonic()
        return self

    def __exit__(self, *_):
        busy, own, at = busy_s(), self.own_s(), time.monotonic()
        seconds = max(at - self.before[2], 0.01)
        self.foreign_cores = max(0.0, (busy - self.before[0] - own + self.before[1]) / seconds)

    def figures(self):
        return {"cpu_probe_ms": round(self.cpu_probe_ms, 1), "foreign_cores": round(self.foreign_cores, 2)}

# SPDX-License-Identifier: Apache-2.0
"""Starts the roles of the binary under test, reads their logs, and sees to it that nothing is left when a test ends."""

import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import requests

from harness.api import Api
from harness.ports import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("WINDLASS_BUILD", ROOT / "build/test"))
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:")
BAD_LEVELS = ("warn", "error", "fatal")


def wait_for(what, timeout_s=15, every_s=0.02):
    """The first true value of what(); fails when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, f"not so after {timeout_s} s: {getattr(what, '__doc__', None) or what}"
        time.sleep(every_s)


def session_members(sid):
    """Live processes of a session, whatever their parent is by now."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = pathlib.Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == sid and fields[0] != "Z":
            found.append(int(entry))
    return found


class Process:
    """One started command: in a session of its own, log in a file."""

    def __init__(self, arguments, env, log_path, url=None):
        self.arguments, self.env, self.log_path, self.url = arguments, env, log_path, url
        cert = env.get("WINDLASS_TLS_CERT")
        self.ca = str(pathlib.Path(cert).parent / "ca.pem") if cert else True  # as tests/services/certs lays them
        self.killed = False
        with open(log_path, "wb") as log:
            self.popen = subprocess.Popen(
                arguments, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.pid = self.popen.pid

    def resident_kib(self):
        """Memory of this one process; 0 under AddressSanitizer and ThreadSanitizer, which keep what is freed."""
        if BUILD.name in ("asan", "tsan"):
            return 0
        with open(f"/proc/{self.pid}/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

    def log(self):
        return self.log_path.read_text(errors="replace")

    def events(self, name=None):
        """The log's JSON lines as dicts, all or those of one event."""
        lines = []
        for line in self.log().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and (name is None or record.get("event") == name):
                lines.append(record)
        return lines

    def wait_event(self, name, count=1, timeout_s=15):
        return wait_for(lambda: len(found := self.events(name)) >= count and found, timeout_s)

    def ready(self):
        assert self.popen.poll() is None, f"ended with {self.popen.returncode}:\n{self.log()[-4000:]}"
        try:
            return requests.get(self.url + "/readyz", timeout=5, proxies={"http": "", "https": ""}, verify=self.ca).status_code == 200
        except requests.RequestException:
            return False

    def wait_ready(self, timeout_s=30):
        wait_for(self.ready, timeout_s)
        return self

    def api(self, key=None):
        return Api(self.url, key, self.ca)

    def metrics(self):
        """Samples of /metrics: {'name{labels}': value}."""
        text = requests.get(self.url + "/metrics", timeout=10, proxies={"http": "", "https": ""}, verify=self.ca).text
        pairs = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def members(self):
        return session_members(self.pid)

    def signal(self, number):
        self.popen.send_signal(number)

    def stop(self, timeout_s=30):
        """SIGTERM; it must drain and exit with 0, and leave nobody behind."""
        if self.popen.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running {timeout_s} s after SIGTERM:\n{self.log()[-4000:]}") from None
        left = self.members()
        self.kill()
        assert code == 0, f"exit code {code} after SIGTERM:\n{self.log()[-4000:]}"
        assert not left, f"processes left behind: {left}"

    def kill(self):
        """kill -9 of the whole tree at once."""
        self.killed = True
        for _ in range(50):
            members = self.members()
            if not members:
                break
            for pid in members:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.01)
        self.popen.wait(10)


class Windlass:
    """What the `windlass` fixture gives: starts roles on one store with one folder for logs."""

    binary = BUILD / "windlass"

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.processes = []
        self.expected = set()
        self.settings = {"WINDLASS_JOBS": str(BUILD / "jobs/jobs.yaml"), "WINDLASS_LOG": "info", "WINDLASS_GRACE": "10s"}
        self.counts = collections.Counter()

    def expect(self, *events):
        """These warnings or errors belong to the test; any other one fails it. No argument: all do."""
        self.expected.update(events or ("*",))

    def environment(self, settings):
        """Only what is meant: no setting leaks in from the caller's shell."""
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TZ", "TMPDIR") or k.endswith("SAN_OPTIONS")}
        return {**kept, **self.settings, **{k: str(v) for k, v in settings.items()}}

    def start(self, *arguments, url=None, **settings):
        name = arguments[0]
        self.counts[name] += 1
        log = self.folder / f"{name}-{self.counts[name]}.log"
        process = Process([str(self.binary), *arguments], self.environment(settings), log, url)
        self.processes.append(process)
        return process

    def command(self, *arguments, check=True, input=None, timeout_s=60, **settings):
        """A subcommand that ends by itself: CompletedProcess with text."""
        done = subprocess.run(
            [str(self.binary), *arguments], env=self.environment(settings), input=input, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout_s,
        )
        assert not check or done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def migrate(self, **settings):
        return self.command("migrate", **settings)

    def _role(self, role, listen_setting, settings, wait):
        listen = settings.setdefault(listen_setting, f"127.0.0.1:{free_port()}")
        tls = "WINDLASS_TLS_CERT" in settings and role != "work" and role != "dispatch"
        process = self.start(role, url=f"{'https' if tls else 'http'}://{listen}", **settings)
        return process.wait_ready() if wait else process

    def run(self, wait=True, **settings):
        return self._role("run", "WINDLASS_HTTP_LISTEN", settings, wait)

    def gateway(self, wait=True, **settings):
        return self._role("gateway", "WINDLASS_HTTP_LISTEN", settings, wait)

    def work(self, wait=True, **settings):
        return self._role("work", "WINDLASS_ADMIN_LISTEN", settings, wait)

    def dispatch(self, wait=True, **settings):
        return self._role("dispatch", "WINDLASS_ADMIN_LISTEN", settings, wait)

    def tail(self, bytes=6000):
        return "\n".join(f"--- {p.log_path.name}\n{p.log()[-bytes:]}" for p in self.processes)

    def close(self):
        """Stops what runs (it must end well), then judges the logs."""
        problems = []
        for process in reversed(self.processes):
            try:
                if not process.killed and process.popen.poll() is None:
                    process.stop()
            except AssertionError as failure:
                problems.append(str(failure))
            finally:
                process.kill()
        for process in self.processes:
            problems += self.judge(process)
        assert not problems, "\n".join(problems)

    def judge(self, process):
        bad = [line for line in process.log().splitlines() if SANITIZER.search(line)]
        if "*" not in self.expected:
            for record in process.events():
                if record.get("level") in BAD_LEVELS and record.get("event") not in self.expected:
                    bad.append(f"not declared by windlass.expect(): {json.dumps(record, ensure_ascii=False)}")
        return bad

# SPDX-License-Identifier: Apache-2.0
"""The example jobs, and `make run` as a newcomer has it: what is printed works, Ctrl-C finishes what runs and leaves nobody behind."""

import base64
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import threading
import time
import zlib

import pytest
import requests

from harness import store
from harness.ports import free_port
from harness.windlass import BUILD, ROOT, session_members, wait_for


@pytest.fixture
def api(store_url, windlass):
    settings = {"DATABASE_URL": store_url, "PAY_URL": "http://127.0.0.1:1"}
    windlass.migrate(**settings)
    store.script(store_url, (ROOT / "workers/jobs/schema.sql").read_text())
    return windlass.run(**settings).api()


def ppm(width, height):
    """Red above, blue below."""
    top, bottom = b"\xff\0\0" * (width * (height // 2)), b"\0\0\xff" * (width * (height - height // 2))
    return base64.b64encode(b"P6\n# a comment\n%d %d\n255\n" % (width, height) + top + bottom).decode()


def pixels(png, width):
    """The rows of an RGB PNG whose rows are unfiltered."""
    at, data = 8, b""
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at:at + 8])
        body, check = png[at + 8:at + 8 + size], png[at + 8 + size:at + 12 + size]
        assert struct.unpack(">I", check)[0] == zlib.crc32(kind + body)
        data += body if kind == b"IDAT" else b""
        at += 12 + size
    raw = zlib.decompress(data)
    return [raw[n + 1:n + 1 + 3 * width] for n in range(0, len(raw), 3 * width + 1)]


def test_thumbnail(api):
    job = api.wait(api.enqueue("thumbnail.make", {"image": ppm(200, 100), "max": 50}))
    assert job["state"] == "completed", job
    result = job["result"]
    assert (result["width"], result["height"]) == (50, 25)
    png = base64.b64decode(result["png"])
    assert png.startswith(b"\x89PNG\r\n\x1a\n") and struct.unpack(">II", png[16:24]) == (50, 25)
    rows = pixels(png, 50)
    assert rows[0] == b"\xff\0\0" * 50 and rows[-1] == b"\0\0\xff" * 50
    for bad in ("####", base64.b64encode(b"GIF89a").decode(), base64.b64encode(b"P6 9 9 255\nx").decode()):
        refused = api.wait(api.enqueue("thumbnail.make", {"image": bad}))
        assert refused["state"] == "discarded" and "bad image" in refused["reason"], refused
    assert api.post_job("thumbnail.make").status_code == 422


def test_audit(api, store_url):
    jobs = [api.enqueue("audit.append", {"who": f"user {n}", "what": "Zoë's \"login\"; DROP TABLE audit"}) for n in range(20)]
    assert {api.wait(id)["state"] for id in jobs} == {"completed"}
    found = store.rows(store_url, "SELECT job_id, who, what FROM audit ORDER BY job_id")
    assert found == [(id, f"user {n}", "Zoë's \"login\"; DROP TABLE audit") for n, id in enumerate(jobs)]


def clean_environment():
    """A newcomer's: without the settings of the test run."""
    return {k: v for k, v in os.environ.items() if not k.startswith("WINDLASS_")}


class Demo:
    """workers/jobs/demo.sh at a terminal of its own."""

    def __init__(self, folder):
        self.port, self.output = free_port(), b""
        settings = {"WINDLASS_HTTP_LISTEN": f"127.0.0.1:{self.port}", "DATABASE_URL": f"sqlite:{folder}/demo.db"}
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            for number in (signal.SIGINT, signal.SIGHUP):  # a background job or nohup ignores them, and so would its children
                signal.signal(number, signal.SIG_DFL)
            os.execve(ROOT / "workers/jobs/demo.sh", ["demo.sh", str(BUILD)], {**clean_environment(), **settings})
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.url = f"http://127.0.0.1:{self.port}"

    def _read(self):
        while True:
            try:
                if not select.select([self.terminal], [], [], 0.1)[0]:
                    continue
                data = os.read(self.terminal, 65536)
            except (OSError, ValueError):  # closed by either side
                return
            if not data:
                return
            self.output += data

    def text(self):
        return self.output.decode(errors="replace").replace("\r\n", "\n")

    def commands(self):
        """What it prints to try."""
        wait_for(lambda: "windlass queues" in self.text(), 40)
        return re.search(r"Try in another terminal:\n\n(.*?)\n\n", self.text(), re.S)[1]

    def processes(self):
        """Its own session and the two that it starts."""
        mine = session_members(self.pid)
        for pid in re.findall(r'"pid":(\d+)', self.text()):
            mine += session_members(os.getsid(int(pid))) if os.path.exists(f"/proc/{pid}") else []
        return mine

    def interrupt(self):
        os.write(self.terminal, b"\x03")

    def wait(self, timeout_s=30):
        deadline = time.monotonic() + timeout_s
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, f"still there after {timeout_s} s:\n{self.text()}"
            time.sleep(0.05)


@pytest.fixture
def demo(tmp_path):
    started = Demo(tmp_path)
    yield started
    for pid in started.processes():  # of a test that failed
        os.kill(pid, signal.SIGKILL)


def test_make_run(demo, tmp_path):
    done = subprocess.run(["bash", "-euc", demo.commands()], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    job, _ = json.JSONDecoder().raw_decode(done.stdout)
    assert job["state"] == "completed" and job["result"]["total"] == 500 and job["result"]["charge"].startswith("ch_")
    assert job["id"] in done.stdout.partition('{"items"')[2] and "orders  " in done.stdout
    demo.interrupt()
    assert demo.wait() == 0
    wait_for(lambda: not demo.processes(), 5)
    with pytest.raises(requests.ConnectionError):
        requests.get(demo.url + "/healthz", timeout=5)


def test_ctrl_c_finishes_what_runs(demo, tmp_path):
    """A thumbnail that takes a while is in hand when Ctrl-C comes; the next `make run` shows it done."""
    demo.commands()
    made = requests.post(demo.url + "/v1/jobs", json={"type": "thumbnail.make", "payload": {"image": ppm(240, 240), "max": 120}}, timeout=10)
    id = made.json()["id"]
    wait_for(lambda: requests.get(f"{demo.url}/v1/jobs/{id}", timeout=10).json()["state"] in ("running", "completed"), every_s=0.005)
    demo.interrupt()
    assert demo.wait() == 0
    wait_for(lambda: not demo.processes(), 5)
    assert store.rows(f"sqlite:{tmp_path}/demo.db", "SELECT state FROM windlass_job_states WHERE job_id = ?", id) == [("completed",)]


def test_a_closed_terminal_leaves_nobody_behind(demo):
    demo.commands()
    mine = demo.processes()
    assert len(mine) > 3
    os.close(demo.terminal)
    demo.wait()
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in mine), 20)

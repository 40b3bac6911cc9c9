# SPDX-License-Identifier: Apache-2.0
"""Run by test_security_calls.py in a network and mount namespace of its own, where we are the name server and own a public address.

The last line of its output is JSON; an assertion that fails ends it with another code than 0."""

import json
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import threading

from harness.listener import Listener
from harness.windlass import Windlass

HERE = pathlib.Path(__file__).parent
PUBLIC, METADATA = "93.184.216.34", "169.254.169.254"
A, AAAA, CNAME = 1, 28, 5
# name: what it resolves to, by type of record; FLIP: the first, then the second, and so on
NAMES = {
    "public": {A: [PUBLIC]},
    "inside": {A: ["127.0.0.1"]},
    "INSIDE-upper": {A: ["127.0.0.1"]},
    "zero": {A: ["0.0.0.0"]},
    "metadata": {A: [METADATA]},
    "six": {AAAA: ["::1"]},
    "mapped": {AAAA: ["::ffff:127.0.0.1"]},
    "compatible": {AAAA: ["::127.0.0.1"]},
    "nat": {AAAA: ["64:ff9b::7f00:1"]},
    "alias": {CNAME: "inside.test", A: ["127.0.0.1"]},
    "two": {A: ["127.0.0.1", METADATA]},
}
MIXED = {"mixed1": {A: ["127.0.0.1", PUBLIC]}, "mixed2": {A: [PUBLIC, "127.0.0.1"]}, "mixed3": {A: [PUBLIC], AAAA: ["::1"]}}
FLIPS = [f"flip{n}" for n in range(12)]


class Resolver:
    """A name server: a flip name is public at one question and inside at the next; of odd ones the first answer is inside."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        self.asked, self.told = {}, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            question, peer = self.socket.recvfrom(4096)
            self.socket.sendto(self.answer(question), peer)

    def addresses(self, name, kind):
        name = name.removesuffix(".test")
        if name in FLIPS and kind == A:
            count = self.asked[name] = self.asked.get(name, FLIPS.index(name) % 2) + 1
            self.told.append((name, "public" if count % 2 else "inside"))
            return [PUBLIC if count % 2 else "127.0.0.1"]
        found = {key.lower(): value for key, value in {**NAMES, **MIXED}.items()}.get(name.lower(), {})
        return found.get(kind, [])

    def answer(self, question):
        labels, at = [], 12
        while length := question[at]:
            labels.append(question[at + 1:at + 1 + length].decode())
            at += 1 + length
        kind = struct.unpack(">H", question[at + 1:at + 3])[0]
        records = b""
        found = self.addresses(".".join(labels), kind)
        for address in found:
            data = socket.inet_pton(socket.AF_INET if kind == A else socket.AF_INET6, address)
            records += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(data)) + data
        return question[:2] + struct.pack(">HHHHH", 0x8580, 1, len(found), 0, 0) + question[12:at + 5] + records


def prepare(folder):
    def run(*command):
        subprocess.run(command, check=True)

    run("ip", "link", "set", "lo", "up")
    for address in (PUBLIC, METADATA):
        run("ip", "addr", "add", f"{address}/32", "dev", "lo")
    for path, text in (("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n"), ("/etc/nsswitch.conf", "hosts: files dns\n"),
                       ("/etc/hosts", "127.0.0.1 localhost\n127.0.0.1 intranet.corp\n::1 intranet6.corp\n")):
        own = folder / pathlib.Path(path).name
        own.write_text(text)
        run("mount", "--bind", own, path)


class Calls:
    def __init__(self, windlass, folder):
        for name in ("caller.py", "caller_jobs.yaml"):
            shutil.copy(HERE / name, folder)
        self.settings = {"DATABASE_URL": f"sqlite:{folder / 'windlass.db'}", "WINDLASS_JOBS": folder / "caller_jobs.yaml", "WINDLASS_CONCURRENCY": 1}
        windlass.migrate(**self.settings)
        self.windlass, self.api, self.worker = windlass, windlass.gateway(**self.settings).api(), None

    def restart(self):
        """Forgets connections and names."""
        if self.worker:
            self.worker.stop()
        self.worker = self.windlass.work(**self.settings)

    def __call__(self, type, names, port):
        job = self.api.wait(self.api.enqueue(type, {"calls": [{"url": f"http://{name}:{port}/{name}"} for name in names]}), timeout_s=60)
        assert job["state"] == "completed", job
        return dict(zip(names, job["result"]))


def always_inside(calls, port):
    names = [f"{name}.test" for name in NAMES if name != "public"] + ["intranet.corp", "intranet6.corp", "localhost"]
    for name, answer in calls("call", names, port).items():
        assert answer["fate"] == "not_sent" and answer["error"] == f"the address of host {name} is not public", (name, answer)
    assert calls("call", ["public.test"], port)["public.test"]["status"] == 200
    return len(names)


def sometimes_inside(calls, resolver, port):
    names = [f"{name}.test" for name in FLIPS]
    for _ in range(4):
        calls.restart()
        resolver.told.clear()
        answers = calls("call", names, port)
        told = dict(resolver.told)
        assert len(told) == len(FLIPS) and set(told.values()) == {"public", "inside"}, told
        for name in FLIPS:
            answer = answers[f"{name}.test"]
            assert answer["fate"] == ("answered" if told[name] == "public" else "not_sent"), (name, told[name], answer)
    return 4 * len(FLIPS)


def main():
    folder = pathlib.Path(sys.argv[1])
    prepare(folder)
    public = Listener(PUBLIC)
    inside = [Listener(host, public.port) for host in ("127.0.0.1", "::1", METADATA)]
    resolver = Resolver()
    (folder / "log").mkdir()
    windlass = Windlass(folder / "log")
    try:
        calls = Calls(windlass, folder)
        calls.restart()
        cases = always_inside(calls, public.port)
        for name, answer in calls("call", [f"{name}.test" for name in MIXED], public.port).items():
            assert answer["fate"] == "answered", (name, answer)  # by its public address
        cases += len(MIXED) + sometimes_inside(calls, resolver, public.port)
        assert not any(listener.connections for listener in inside), [listener.connections for listener in inside]
        # The same names without the guard arrive, so that silence above means something.
        calls.restart()
        answers = calls("call_anywhere", ["inside.test", "six.test", "metadata.test", "intranet.corp"], public.port)
        assert all(answer["status"] == 200 for answer in answers.values()), answers
        assert all(listener.connections for listener in inside)
    finally:
        windlass.close()
    print(json.dumps({"cases": cases}))


main()

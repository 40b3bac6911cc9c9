# SPDX-License-Identifier: Apache-2.0
"""Hosts that try to read the engine's secrets, to look into it, to harm it: tests/scenario/snoop.c and snoop.py, and cannot."""

import errno
import os
import pathlib
import platform
import shutil
import socket
import subprocess
import time

import pytest

from harness.checklist import row
from harness.rig import attempts
from harness.windlass import BUILD, ROOT, wait_for

HERE = ROOT / "tests/scenario"
SECRET = "the-engine-knows-it"
REFUSED = {errno.EACCES, errno.EPERM}
SANITIZED = BUILD.name in ("asan", "tsan")  # their runtimes attach to their own process: module hosts go without seccomp
CALLS = {"ptrace", "process_vm_readv", "execve", "socket"}
BPF = {"x86_64": 321, "aarch64": 280}.get(platform.machine())


def kernel():
    """What it has: (Landlock's version, seccomp)."""
    text = subprocess.run([str(BUILD / "windlass"), "doctor", "--json"], env={"PATH": os.environ["PATH"], "DATABASE_URL": "sqlite:/nowhere"},
                          capture_output=True, text=True).stdout
    return "Landlock" in text and "no Landlock" not in text, "no seccomp" not in text


LANDLOCK, SECCOMP = kernel()
needs_landlock = pytest.mark.skipif(not LANDLOCK, reason="this kernel has no Landlock")
needs_seccomp = pytest.mark.skipif(not SECCOMP or SANITIZED, reason="no seccomp here")


class Den:
    """A worker with the handlers that snoop; its secrets in files beside the definitions."""

    def __init__(self, windlass, folder, outside):
        self.windlass, self.folder, self.outside = windlass, folder, outside
        for name in ("read", "write"):
            (outside / name).mkdir()
            (outside / name / "there").write_text("shown")
        flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-D_GNU_SOURCE", f"-I{ROOT}/workers/handlers"]
        subprocess.run([*os.environ.get("CC", "gcc").split(), *flags, "-o", folder / "snoop.so", HERE / "snoop.c"], check=True)
        shutil.copy(HERE / "snoop.py", folder)
        (folder / "jobs.yaml").write_text((HERE / "snoop.yaml").read_text().replace("@", str(outside)))
        (folder / ".env").write_text(SECRET)
        (folder / ".shown").write_text("shown")
        (folder / "template.txt").write_text("shown")
        self.url_file = folder / "database.url"
        self.url_file.write_text(f"sqlite:{folder}/windlass.db")
        self.settings = {"DATABASE_URL_FILE": self.url_file, "WINDLASS_JOBS": folder / "jobs.yaml", "WINDLASS_CONCURRENCY": 2,
                    "TMPDIR": outside, "SNOOP_SECRET": SECRET}
        self.gateway = windlass.gateway(**self.settings)
        self.api = self.gateway.api()
        self.work()

    def work(self):
        self.worker = self.windlass.work(**self.settings)

    def job(self, type, **payload):
        return self.api.wait(self.api.enqueue(type, payload, **({"max_attempts": 1} if type != "snoop" else {})), timeout_s=30)

    def result(self, type, **payload):
        job = self.job(type, **payload)
        assert job["state"] == "completed", job
        return job["result"]

    def module(self, what, type="snoop", **payload):
        return self.result(type, what=what, **payload)

    def program(self, do, type="program"):
        return self.result(type, do=do)


@pytest.fixture
def den(windlass, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "outside").mkdir()
    return Den(windlass, tmp_path / "jobs", tmp_path / "outside")


@needs_landlock
def test_the_engine_is_closed(den):
    """Environment, memory, descriptors, secrets, store, signals: of the engine nothing can be seen or changed."""
    told = row("Process sandbox", "a host cannot read the engine's environment, memory, descriptors or secret files, nor signal it", cases=0)
    pid, folder = den.worker.pid, den.folder
    secret_files = [den.url_file, folder / "windlass.db", folder / "windlass.db-wal", folder / "jobs.yaml", folder / ".env",
                    den.worker.log_path, "/etc/shadow"]
    paths = [*(f"/proc/{pid}/{name}" for name in ("environ", "mem", "maps", "fd/0", "fd/3", "root/etc/passwd")), *secret_files]
    for path in map(str, paths):
        assert den.module("read", path=path)["errno"] in REFUSED, path
        assert den.program(f"open({path!r}, 'rb').read(1)").get("errno") in REFUSED, path
        told["cases"] += 2
    for path in map(str, secret_files):
        assert den.program(f"open({path!r}, 'ab')").get("errno") in REFUSED, path
        assert den.program(f"os.unlink({path!r})").get("errno") in REFUSED, path
    assert den.module("kill", pid=pid)["errno"] in REFUSED
    assert den.program(f"os.kill({pid}, 9)").get("errno") in REFUSED
    assert den.worker.popen.poll() is None


def test_only_what_it_asked_for_is_inherited(den):
    """Three descriptors and its own folders; none of the store's, the listener's or another host's, and no secret."""
    row("Process sandbox", "nothing is inherited but three pipes and what env: names", cases=2)
    den.program("1")  # hosts of both kinds are up
    open_ones = dict(pair.split("=", 1) for pair in den.module("descriptors")["text"].split())
    kinds = {fd: target.split(":")[0] for fd, target in open_ones.items()}
    assert kinds.pop("0") == "/dev/null" and kinds.pop("1") == "pipe" and kinds.pop("2") == "pipe"
    assert sorted(kinds.values()) == ["/proc/" + open_ones_own(open_ones), "pipe", "pipe"], open_ones
    listed = den.program("[os.readlink('/proc/self/fd/' + f) for f in os.listdir('/proc/self/fd') if os.path.lexists('/proc/self/fd/' + f)]")
    assert listed["value"].count("pipe:") == 3 and "socket" not in listed["value"] and "windlass.db" not in listed["value"], listed
    names = set(eval(den.program("sorted(os.environ)")["value"]))
    assert {"PATH", "TMPDIR"} <= names and not any(n.startswith(("WINDLASS", "DATABASE", "SNOOP")) for n in names), names
    assert SECRET not in den.program("open('/proc/self/environ').read().replace(chr(0), ' ')")["value"]


def open_ones_own(open_ones):
    return next(target for target in open_ones.values() if target.startswith("/proc/")).removeprefix("/proc/")


@needs_seccomp
@pytest.mark.parametrize("what", sorted(CALLS))
def test_forbidden_calls_are_strikes(den, what):
    row("Process sandbox", f"{what} of a module kills it: a strike with the reason", cases=3)
    den.windlass.expect("host-died")
    job = den.job("snoop", what=what, pid=den.worker.pid)
    assert job["state"] == "discarded" and job["reason"] == f"crashed: forbidden system call ({what})", job
    lines = wait_for(lambda: len(found := attempts(den.worker, job["id"])) == 3 and found)
    assert [line["outcome"] for line in lines] == ["crashed"] * 3, "the third strike discards"
    assert den.module("cwd")["errno"] == 0, "the next host is well"


@needs_seccomp
def test_forbidden_calls_of_programs(den):
    """A program may start others; what looks into processes or administers the machine kills it as well."""
    den.windlass.expect("host-died")
    assert "hello" in den.program("subprocess.run(['echo', 'hello'], capture_output=True).stdout")["value"]
    libc = "ctypes.CDLL(None, use_errno=True)"
    for call in (f"{libc}.ptrace(16, {den.worker.pid}, 0, 0)", f"{libc}.mount(b'x', b'/mnt', b'tmpfs', 0, 0)",
                 "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)"):
        job = den.job("program", do=call)
        assert job["state"] != "completed" and "forbidden system call" in job["reason"], job
    assert den.program("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)").get("errno") in REFUSED
    assert den.program("socket.socket(38, socket.SOCK_SEQPACKET, 0)").get("errno") == errno.EAFNOSUPPORT
    assert den.program(f"{libc}.unshare(0x10000000)")["value"] == "-1"


@needs_seccomp
def test_calls_without_a_purpose_fail(den):
    assert den.module("alg")["errno"] == errno.EAFNOSUPPORT
    assert den.module("raw")["errno"] == errno.EPERM
    if BPF:  # not in libc
        den.windlass.expect("host-died")
        assert "(bpf)" in den.job("snoop", what="number", number=BPF)["reason"]


def test_a_folder_of_its_own(den):
    """Each host has one, closed to others; it goes with the host, whatever is in it."""
    where = den.module("cwd")["text"]
    assert os.path.dirname(os.path.dirname(where)) == str(den.outside) and os.stat(where).st_mode & 0o777 == 0o700
    assert den.module("make", path="here")["errno"] == 0 and pathlib.Path(where, "here").exists()
    assert den.program("os.getcwd()")["value"] == str(den.folder)
    assert den.program("tempfile.gettempdir()")["value"] != where
    assert den.program("os.getcwd() == tempfile.gettempdir()", "program.own")["value"] == "True"
    deep = "[(os.makedirs('d' * 200), os.chdir('d' * 200)) for _ in range(60)] and os.symlink('/', 'out') or os.chmod('.', 0)"
    job = den.program(f"os.chdir(tempfile.gettempdir()) or {deep}")
    assert "value" in job, job
    hosts = pathlib.Path(where).parent
    assert any(hosts.iterdir())
    den.worker.stop()
    assert not hosts.exists() and list(den.outside.glob("windlass-*")) == []


def test_folders_of_the_killed_are_removed(den):
    """By the next engine; that of a living one it leaves alone."""
    where = pathlib.Path(den.module("cwd")["text"]).parent
    den.worker.kill()
    assert where.exists()
    den.work()
    wait_for(lambda: not where.exists())
    where = pathlib.Path(den.module("cwd")["text"]).parent
    den.work()
    time.sleep(0.5)
    assert where.exists()


@needs_landlock
def test_it_writes_where_it_may(den):
    row("Process sandbox", "a host writes only in its own folder and where files: says", cases=8)
    folder, outside = den.folder, den.outside
    for path in (folder / "new", "/tmp/windlass-snoop", outside / "write/new", "/dev/shm/windlass-snoop"):
        assert den.module("make", path=str(path))["errno"] in REFUSED, path
        assert den.program(f"open({str(path)!r}, 'w')").get("errno") in REFUSED, path
        assert not pathlib.Path(path).exists()
    assert den.program("open('template.txt').read()")["value"] == "shown"
    assert den.program("open('template.txt', 'a')").get("errno") in REFUSED
    files = "program.files"
    assert den.program(f"open('{outside}/write/new', 'w').write('x')", files)["value"] == "1"
    assert den.program(f"os.rename('{outside}/write/new', '{outside}/write/newer')", files) == {"value": "None"}
    assert den.program(f"open('{outside}/read/there').read()", files)["value"] == "shown"
    assert den.program("open('.shown').read()", files)["value"] == "shown"
    assert den.program(f"open('{outside}/read/there', 'w')", files).get("errno") in REFUSED
    assert den.program("open('.env')", files).get("errno") in REFUSED
    assert den.program(f"open('{outside}/read/there')").get("errno") in REFUSED


@needs_landlock
def test_paths_that_cannot_be_given(den):
    den.windlass.expect("handler-unready", "host-died")
    assert "nowhere: No such file" in den.job("program.lost", do="1")["reason"]
    assert "files of Windlass's own" in den.job("program.greedy", do="1")["reason"]


def test_limits(den):
    den.windlass.expect("host-died")
    core, files, size = map(int, den.module("limits")["text"].split())
    assert core == 0 and files <= 4096 and size == 2**30
    job = den.job("program.files", do=f"open('{den.outside}/write/big', 'wb').write(b'x' * 100000)")
    assert job["state"] == "completed" and job["result"]["errno"] == errno.EFBIG, job  # Python ignores SIGXFSZ


def test_trusted_handlers(den):
    """sandbox: off gives all of it back."""
    den.windlass.expect("host-died")
    assert den.module("read", "snoop.trusted", path=str(den.url_file))["text"].startswith("sqlite:")
    assert den.program(f"open('{den.folder}/new', 'w').write('x')", "program.trusted")["value"] == "1"


def test_root_has_no_privileges(den):
    """Also a host that root runs cannot do what root can."""
    line = den.program("[l for l in open('/proc/self/status') if l.startswith(('CapEff', 'CapBnd', 'NoNewPrivs', 'Seccomp:'))]")["value"]
    assert "CapEff:\\t0000000000000000" in line and "CapBnd:\\t0000000000000000" in line and "NoNewPrivs:\\t1" in line, line


def test_the_network_stays_open(den):
    server = socket.create_server(("127.0.0.1", 0))
    assert "None" == den.program(f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]})).close()")["value"]
    server.close()

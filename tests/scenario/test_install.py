# SPDX-License-Identifier: Apache-2.0
"""What `make install` lays down is enough to write a handler and run it: with the examples of the documentation, as they stand there."""

import json
import os
import re
import subprocess

import pytest

from harness import store
from harness.windlass import BUILD, ROOT, Windlass

VERSION = re.search(r"^VERSION\s*:=\s*(\S+)", (ROOT / "Makefile").read_text(), re.M)[1]


def blocks(path, language):
    """The fenced blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / path).read_text(), re.S)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """(the folder, how a user finds it with pkg-config)"""
    to = tmp_path_factory.mktemp("installed")
    subprocess.run([ROOT / "tests/services/install", BUILD, to, "/opt/windlass", VERSION], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    found = {**os.environ, "PKG_CONFIG_PATH": str(to / "opt/windlass/lib/pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": str(to)}
    return to / "opt/windlass", found


def pkg_config(env, *arguments):
    return subprocess.run(["pkg-config", *arguments, "windlass"], env=env, check=True, stdout=subprocess.PIPE, text=True).stdout.split()


def compile_module(env, folder, name, source, compiler="gcc"):
    (folder / f"{name}.c").write_text(source if "windlass.h" in source else f'#include "windlass.h"\n{source}')
    command = [*os.environ.get("CC", compiler).split(), "-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", f"{name}.so", f"{name}.c", *pkg_config(env, "--cflags")], cwd=folder, env=env, check=True)


@pytest.fixture
def program(installed, tmp_path):
    """The installed binary, driven like the built one."""
    folder = tmp_path / "log"
    folder.mkdir()
    machine = Windlass(folder)
    machine.binary = installed[0] / "bin/windlass"
    yield machine
    machine.close()


def test_layout(installed, program):
    root, env = installed
    assert pkg_config(env, "--modversion") == [VERSION]
    assert (root / "include/windlass.h").is_file() and (root / "share/doc/windlass/LICENSE").is_file()
    assert program.command("version").stdout == f"windlass {VERSION}\n"
    jobs = root / "share/windlass/jobs"
    assert pkg_config(env, "--variable=jobsdir") == [str(jobs)] or (jobs / "jobs.yaml").is_file()
    assert program.command("check", WINDLASS_JOBS=jobs / "jobs.yaml").returncode == 0


def test_header_is_plain_c_and_c_plus_plus(installed, tmp_path):
    source = '#include "windlass.h"\nint main(void) { return WL_ABI == 1u ? 0 : 1; }\n'
    flags = ["-Wall", "-Wextra", "-Werror", "-pedantic", *pkg_config(installed[1], "--cflags")]
    for compiler, name, standard in (("gcc", "c", "c11"), ("g++", "cc", "c++17")):
        (tmp_path / f"one.{name}").write_text(source)
        subprocess.run([compiler, f"-std={standard}", *flags, "-o", tmp_path / name, f"one.{name}"], cwd=tmp_path, check=True)
        assert subprocess.run([tmp_path / name]).returncode == 0


def test_documented_handlers(installed, tmp_path, store_url, program):
    """README's greet, and the handlers' guide's transfer, hello and audit, in one definitions file."""
    _, env = installed
    compile_module(env, tmp_path, "greet", blocks("README.md", "c")[0])
    compile_module(env, tmp_path, "transfer", blocks("docs/handlers.md", "c")[0])
    (tmp_path / "hello.py").write_text(blocks("docs/handlers.md", "python")[0])
    told = blocks("README.md", "yaml")[:1] + blocks("docs/handlers.md", "yaml")
    (tmp_path / "jobs.yaml").write_text("jobs:\n" + "".join(text.removeprefix("jobs:\n") for text in told))
    settings = {"DATABASE_URL": store_url, "WINDLASS_JOBS": tmp_path / "jobs.yaml", "MAIL_URL": "http://127.0.0.1:1", "MAIL_TOKEN": "t"}
    program.migrate(**settings)
    store.script(store_url, "CREATE TABLE greetings(job_id text, who text); CREATE TABLE accounts(id text, cents bigint); "
                            "CREATE TABLE audit(job_id text, who text, what text); INSERT INTO accounts VALUES ('a', 100), ('b', 0)")
    api = program.run(**settings).api()
    greeted = api.wait(api.enqueue("greet", {"who": "Ada"}))
    assert greeted["result"] == {"greeted": "Ada"}
    assert store.rows(store_url, "SELECT job_id, who FROM greetings") == [(greeted["id"], "Ada")]
    assert api.wait(api.enqueue("transfer", {"from": "a", "to": "b", "cents": 60}))["result"] == {"moved": 60}
    poor = api.wait(api.enqueue("transfer", {"from": "a", "to": "b", "cents": 60}, max_attempts=1))
    assert poor["state"] == "discarded"
    assert store.rows(store_url, "SELECT id, cents FROM accounts ORDER BY id") == [("a", 40), ("b", 60)]
    assert api.wait(api.enqueue("hello", {"who": "Grace"}))["result"] == {"hello": "Grace"}
    audit = api.wait(api.enqueue("audit.append", {"who": "x'); --", "what": "y"}))
    assert store.rows(store_url, "SELECT job_id, who, what FROM audit") == [(audit["id"], "x'); --", "y")]
    assert api.post_job("audit.append", {"who": "x"}).status_code == 422
    assert api.wait(api.enqueue("hello.politely", {"who": "Ada"}))["result"] == {"hello": "Ada"}
    assert api.post_job("hello.politely", {"who": ""}).status_code == 422


def test_module_of_another_abi_is_refused(installed, tmp_path, program, sqlite_url):
    source = """
static enum wl_outcome run(struct wl_job *job) { return wl_done(job, NULL); }
extern const struct wl_module windlass_module;
const struct wl_module windlass_module = { WL_ABI + 1, sizeof(struct wl_module), (const struct wl_handler[]){ { "new", run, 0 }, { 0 } }, 0, 0 };
"""
    compile_module(installed[1], tmp_path, "new", source.replace("{ 0 }", "{ 0, 0, 0 }"))
    (tmp_path / "jobs.yaml").write_text("jobs:\n  new: {module: new.so, retry: {max_attempts: 1}}\n")
    program.expect("handler-unready", "host-died")
    process = program.run(DATABASE_URL=sqlite_url, WINDLASS_JOBS=tmp_path / "jobs.yaml")
    process.api().enqueue("new")
    [line] = process.wait_event("handler-unready")[:1]
    assert "ABI" in json.dumps(line) or "abi" in json.dumps(line), line

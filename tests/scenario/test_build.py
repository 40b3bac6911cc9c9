# SPDX-License-Identifier: Apache-2.0
"""What was built: how the program and the example modules are hardened, and which packages they are made of."""

import json
import pathlib
import platform
import re
import subprocess

import pytest

from harness.checklist import row
from harness.windlass import BUILD, ROOT

WANTED_FLAGS = ("-fstack-protector-strong", "-fstack-clash-protection", "-ftrivial-auto-var-init=zero", "-fno-strict-aliasing", "-fno-strict-overflow",
                "-fno-delete-null-pointer-checks", "-Wformat=2", "-Werror")


def readelf(*arguments):
    return subprocess.run(["readelf", "-W", *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def binaries():
    return [BUILD / "windlass", *sorted((BUILD / "jobs").glob("*.so"))]


@pytest.mark.skipif(BUILD.name in ("asan", "ubsan", "tsan"), reason="a sanitizer's build has other guards")
def test_hardened(windlass):
    told = row("Build flags", "PIE, full RELRO, no executable stack, canaries, FORTIFY, no rpath: program and modules", 0)
    for file in binaries():
        segments, dynamic = readelf("-l", file), readelf("-d", file)
        assert re.search(r"GNU_STACK .* RW +0x", segments) and "GNU_RELRO" in segments, file
        assert not re.search(r"^ *LOAD .* RWE ", segments, re.M), file
        assert "BIND_NOW" in dynamic and not re.search(r"TEXTREL|RPATH|RUNPATH", dynamic), file
        assert "DYN" in readelf("-h", file), file
        told["cases"] += 6
    symbols = subprocess.run(["nm", "-D", BUILD / "windlass"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "Flags: NOW PIE" in readelf("-d", BUILD / "windlass")
    assert "__stack_chk_fail" in symbols and "__memcpy_chk" in symbols and "__snprintf_chk" in symbols
    assert not re.search(r" U (gets|strcpy|strcat|sprintf|vsprintf|tmpnam|mktemp|system|popen)(@|$)", symbols, re.M)


@pytest.mark.skipif(BUILD.name in ("asan", "ubsan", "tsan"), reason="a sanitizer's build has other guards")
def test_compiled_with(windlass):
    told = row("Build flags", "each flag that the compiler takes is on its command line", 0)
    line = (BUILD / "flags").read_text()
    words = line.split()
    taken = [f for f in WANTED_FLAGS if "gcc" in words[0] or f != "-fstack-clash-protection"]
    assert [f for f in taken if f not in words] == [] and re.search(r"-D_FORTIFY_SOURCE=[23]", line)
    told["cases"] = len(taken) + 1
    if platform.machine() == "x86_64":
        assert re.search(r"IBT, SHSTK", readelf("-n", BUILD / "obj/common/base/arena.o"))
        told["cases"] += 1


def test_packages_are_listed(windlass):
    """Of every library that the program loads: package and version. RabbitMQ's client has known holes in versions that nobody mended."""
    told = row("Supply chain", "the packages that the program is made of are listed with their versions (make sbom)", 0)
    done = subprocess.run([ROOT / "tests/services/sbom", BUILD / "windlass"], stdout=subprocess.PIPE, text=True)
    if done.returncode == 69:
        pytest.skip("not a Debian system")
    assert done.returncode == 0
    listed = json.loads(done.stdout)
    versions = {part["name"]: part["version"] for part in listed["components"]}
    told["cases"] = len(versions)
    for name in ("libmicrohttpd12", "libjansson4", "libpq5", "libsqlite3-0", "librdkafka1", "librabbitmq4", "libssl3", "libc6"):
        assert re.match(r"[0-9]", versions[name]), versions
    linked = subprocess.run(["ldd", BUILD / "windlass"], stdout=subprocess.PIPE, text=True, check=True).stdout.count("=> /")
    assert sum(len(part["files"]) for part in listed["components"]) == linked
    mended = ["dpkg", "--compare-versions", versions["librabbitmq4"], "ge", "0.11.0-1+deb12u1"]
    assert subprocess.run(mended).returncode == 0, "librabbitmq4 without the distribution's security updates"
    assert pathlib.Path(ROOT / "SECURITY.md").exists()

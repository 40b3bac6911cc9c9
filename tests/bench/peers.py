# SPDX-License-Identifier: Apache-2.0
"""The peers of tests/bench/peers: fetched by their own package managers into the build folder, only when asked for."""

import json
import shutil
import subprocess

from harness.windlass import ROOT
from rig import Wrong

BUILD = {"river": (["go", "build", "-o", "river", "."],),
         "graphile": (["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"],)}
START = {"river": ["./river"], "graphile": ["node", "main.mjs"]}
NAMES = tuple(BUILD)


def prepare(build, name):
    """None when it can run, else why not."""
    folder = build / "peers" / name
    shutil.copytree(ROOT / "tests/bench/peers" / name, folder, dirs_exist_ok=True)
    for command in BUILD[name]:
        if not shutil.which(command[0]):
            return f"{command[0]} is not installed"
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
        if done.returncode:
            return f"{' '.join(command)}: {done.stdout.strip().splitlines()[-1:]}"
    return None


def run(rig, name, url, jobs, work):
    done = subprocess.run([*START[name], url, str(jobs), work], cwd=rig.build / "peers" / name, stdout=subprocess.PIPE, text=True,
                          timeout=120)
    if done.returncode:
        raise Wrong(f"{name}: exit code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])

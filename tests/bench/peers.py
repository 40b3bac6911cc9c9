# SPDX-License-Identifier: Apache-2.0
"""The peers of tests/bench/peers: fetched by their own package managers into the build folder, only when asked for."""

import json
import shutil
import subprocess

import conditions
from harness.windlass import ROOT
from rig import Wrong

BUILD = {"river": (["go", "build", "-o", "river", "."],),
         "graphile": (["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"],),
         "go-rabbit": (["go", "build", "-o", "go-rabbit", "."],),
         "go-kafka": (["go", "build", "-o", "go-kafka", "."],),
         "go-calls": (["go", "build", "-o", "go-calls", "."],),
         "celery": (["python3", "-m", "venv", "venv"], ["venv/bin/pip", "install", "-q", "--disable-pip-version-check", "-r", "requirements.txt"])}
START = {"river": ["./river"], "graphile": ["node", "main.mjs"], "go-rabbit": ["./go-rabbit"], "go-kafka": ["./go-kafka"], "go-calls": ["./go-calls"],
         "celery": ["venv/bin/python", "main.py"]}
NAMES = tuple(BUILD)


def prepare(build, name):
    """None when it can run, else why not."""
    folder = build / "peers" / name
    shutil.copytree(ROOT / "tests/bench/peers" / name, folder, dirs_exist_ok=True)
    for command in BUILD[name]:
        if not shutil.which(command[0]) and not (folder / command[0]).exists():
            return f"{command[0]} is not installed"
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
        if done.returncode:
            return f"{' '.join(command)}: {done.stdout.strip().splitlines()[-1:]}"
    return None


def run(rig, name, url, jobs, work, broker_url=None, place=None):
    """Drains `jobs` jobs that do `work`, from its own tables or from the queue or topic `place` of a broker."""
    figures, ended = measured(rig, name, url, jobs, work, *([broker_url, place] if broker_url else []))
    return {"rss_mib": ended.rss_mib, "cpu_us_per_job": {"worker": round(ended.cpu_s / jobs * 1e6, 1)}, **figures}


def call(rig, name, url, in_flight, seconds):
    """Calls a server, so many at once; it counts its own CPU, as the probe does."""
    figures, ended = measured(rig, name, url, in_flight, seconds)
    return {"rss_mib": ended.rss_mib, **figures}


def measured(rig, name, *arguments):
    ended = conditions.run_measured([*START[name], *arguments], cwd=rig.build / "peers" / name, timeout_s=120)
    if ended.returncode:
        raise Wrong(f"{name}: exit code {ended.returncode}")
    return json.loads(ended.stdout.splitlines()[-1]), ended

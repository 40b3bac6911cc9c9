# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the scenarios: the module of engine_jobs.c, freshly built, and a rig that runs it."""

import os
import shutil
import subprocess

import pytest

from harness.broker_rig import BrokerRig
from harness.rig import Rig
from harness.windlass import ROOT

HERE = ROOT / "tests/scenario"


@pytest.fixture(scope="session")
def engine_jobs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    command = [*os.environ.get("CC", "gcc").split(), *flags, f"-I{ROOT}/workers/handlers"]
    subprocess.run([*command, "-o", folder / "engine_jobs.so", HERE / "engine_jobs.c"], check=True)
    shutil.copy(HERE / "engine_jobs.yaml", folder / "jobs.yaml")
    return folder / "jobs.yaml"


@pytest.fixture
def broker_rig(pg_url, broker, windlass, engine_jobs, tmp_path):
    """On PostgreSQL, without a broker and on each."""
    return BrokerRig(windlass, pg_url, broker, engine_jobs, tmp_path)


@pytest.fixture
def rig(store_url, windlass, engine_jobs):
    return Rig(windlass, store_url, engine_jobs)

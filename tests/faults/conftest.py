# SPDX-License-Identifier: Apache-2.0
"""What every fault test stands on: the handlers, a store with the oracle's tables, and rows of the table printed at the end."""

import os
import shutil
import subprocess

import pytest

from faults.oracle import Oracle
from harness import tables
from harness.windlass import BUILD, ROOT

HERE = ROOT / "tests/faults"


# In the short form each fault of a broker strikes where it is most of a fault, and some strike on one store; the long form strikes all.
SHORT_ON = {
    "test_f17_broker_frozen": ("rabbit",),
    "test_f01_roles_killed": ("kafka",),
    "test_f02_killed_at": ("rabbit",),
    "test_f06_drains_under_load": ("sqs",),
    "test_queues_purged": ("sqs",),
    "test_f21_duplicates": ("kafka",),
    "test_f80_outbox": ("rabbit",),
    "test_soak": ("kafka",),
    "test_f40_third_parties": ("sqlite",),
    "test_f42_hostile_answers": ("sqlite",),
    "test_f60_over_http": ("sqlite",),
    "test_f60_from_a_source": ("kafka",),
}


def pytest_collection_modifyitems(config, items):
    if config.getoption("--long") or config.option.keyword:  # or asked for by name
        return
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        where = params.get("broker_rig") or params.get("store_url")
        if where and where not in SHORT_ON.get(item.originalname, (where,)):
            item.add_marker(pytest.mark.skip(reason=f"on {where} in the long form"))


@pytest.fixture(scope="session")
def fault_jobs():
    """The definitions file of the fault handlers, beside its freshly built module."""
    folder = BUILD / "faults"
    folder.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC", "gcc").split()
    flags = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    scratch = folder / f"faults-{os.getpid()}.so"
    subprocess.run([*compiler, *flags, f"-I{ROOT}/workers/handlers", "-o", scratch, HERE / "jobs/faults.c"], check=True)
    scratch.replace(folder / "faults.so")
    for name in ("flood.py", "jobs.yaml", "broker_jobs.yaml", "call_jobs.yaml", "scale_jobs.yaml"):
        shutil.copy(HERE / "jobs" / name, folder / name)
    return folder / "jobs.yaml"


class Rig:
    """One store with the oracle beside it, and the settings that every role of the test gets."""

    def __init__(self, windlass, url, jobs):
        self.windlass, self.url, self.oracle = windlass, url, Oracle(url)
        self.settings = {"DATABASE_URL": url, "WINDLASS_JOBS": str(jobs), "WINDLASS_LEASE": "2s", "WINDLASS_CONCURRENCY": "4",
                         "WINDLASS_LOG_JOBS": "all", "WINDLASS_GRACE": "10s"}
        windlass.expect()  # faults make warnings; the oracle judges
        windlass.migrate(**self.settings)
        self.oracle.prepare()

    def run(self, **settings):
        return self.windlass.run(**{**self.settings, **settings})

    def gateway(self, **settings):
        return self.windlass.gateway(**{**self.settings, **settings})

    def work(self, **settings):
        return self.windlass.work(**{**self.settings, **settings})


@pytest.fixture
def rig(windlass, store_url, fault_jobs):
    return Rig(windlass, store_url, fault_jobs)


@pytest.fixture
def pg_rig(windlass, own_postgres, fault_jobs):
    """On a PostgreSQL of its own, which the test may hurt: rig.postgres."""
    own_postgres.start()
    made = Rig(windlass, own_postgres.new_database(), fault_jobs)
    made.postgres = own_postgres
    return made


@pytest.fixture
def report(request):
    """report(fault, struck, figures, recovery_s): a row of the closing table."""
    def add(fault, struck, figures, recovery_s):
        store = "sqlite" if "sqlite" in request.node.name else "postgres"
        tables.tell("faults", {"fault": fault, "store": store, "struck": struck, **figures, "recovery_s": round(recovery_s, 2)})
    return add

# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every Python suite shares. A test that touches PostgreSQL is marked `server` by its fixtures."""

import os
import pathlib

import pytest

from harness import postgres as pg
from harness.windlass import BUILD, Windlass

SERVER_FIXTURES = {"services", "pg_url", "own_postgres"}


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="the long form of the fault tests")


def pytest_collection_modifyitems(items):
    for item in items:
        callspec = getattr(item, "callspec", None)
        on_postgres = callspec and "postgres" in (callspec.params.get("store_url"), callspec.params.get("store"))
        if on_postgres or SERVER_FIXTURES & set(item.fixturenames):
            item.add_marker(pytest.mark.server)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    windlass = getattr(item, "funcargs", {}).get("windlass")
    if report.failed and windlass and windlass.processes:
        report.sections.append(("windlass log", windlass.tail()))


@pytest.fixture(scope="session")
def long_form(request):
    return request.config.getoption("--long")


@pytest.fixture(scope="session")
def services():
    """The session's PostgreSQL; tests/run has started one, else it is started here. Do not hurt it: see own_postgres."""
    if url := os.environ.get("TEST_POSTGRES_URL"):
        server = pg.Postgres("/nonexistent")
        server.admin_url = url
        yield server
        return
    server = pg.Postgres(BUILD / f"services-{os.getpid()}")
    server.start()
    yield server
    server.wipe()


@pytest.fixture
def own_postgres(tmp_path_factory):
    """A server of this test's own, to be stopped, crashed and frozen. Not started yet."""
    server = pg.Postgres(BUILD / f"services-{os.getpid()}-{tmp_path_factory.mktemp('pg').name}")
    yield server
    server.wipe()


@pytest.fixture
def pg_url(services):
    url = services.new_database()
    yield url
    pg.drop_database(services.admin_url, url)


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:{tmp_path / 'windlass.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request):
    """Runs the test on both stores."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "pg_url")


@pytest.fixture
def windlass(tmp_path):
    """Starts the binary's roles; see harness/windlass.py. Give the store: windlass.run(DATABASE_URL=store_url)."""
    folder = pathlib.Path(tmp_path) / "log"
    folder.mkdir()
    machine = Windlass(folder)
    yield machine
    machine.close()

# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every Python suite shares. A test that touches a server is marked `server` by its fixtures."""

import os
import pathlib

import pytest

from harness import brokers
from harness import postgres as pg
from harness.services import Service
from harness.third_party import ThirdParty
from harness.windlass import BUILD, Windlass

pytest_plugins = ["harness.tables"]
SERVER_FIXTURES = {"services", "pg_url", "own_postgres", "rabbit", "kafka", "sqs", "own_rabbit", "own_kafka", "own_kafka3", "own_sqs"}


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="the long form of the fault tests")


def pytest_collection_modifyitems(items):
    for item in items:
        callspec = getattr(item, "callspec", None)
        params = callspec.params if callspec else {}
        chosen = "postgres" in (params.get("store_url"), params.get("store")) or params.get("broker", "none") != "none"
        if chosen or SERVER_FIXTURES & set(item.fixturenames):
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
def servers_root():
    """Where the servers live that tests share. They start when the first test asks; tests/run ends them, else we do."""
    if root := os.environ.get("TEST_SERVICES"):
        yield pathlib.Path(root)
        return
    root = BUILD / f"services-{os.getpid()}"
    yield root
    Service(root).wipe()


@pytest.fixture(scope="session")
def services(servers_root):
    """The session's PostgreSQL. Do not hurt it: see own_postgres."""
    server = pg.Postgres(servers_root)
    server.start()
    return server


def own_server(kind, tmp_path_factory):
    server = kind(BUILD / f"services-{os.getpid()}-{tmp_path_factory.mktemp(kind.__name__.lower()).name}")
    yield server
    server.wipe()


@pytest.fixture
def own_postgres(tmp_path_factory):
    """A server of this test's own, to be stopped, crashed and frozen. Not started yet."""
    yield from own_server(pg.Postgres, tmp_path_factory)


@pytest.fixture
def own_rabbit(tmp_path_factory):
    """Not started yet: own_rabbit.knobs.update(RMQ_CONSUMER_TIMEOUT=5000) comes before own_rabbit.start()."""
    yield from own_server(brokers.Rabbit, tmp_path_factory)


@pytest.fixture
def own_kafka(tmp_path_factory):
    yield from own_server(brokers.Kafka, tmp_path_factory)


@pytest.fixture
def own_kafka3(tmp_path_factory):
    """A cluster of three nodes."""
    yield from own_server(brokers.Kafka3, tmp_path_factory)


@pytest.fixture
def own_sqs(tmp_path_factory):
    yield from own_server(brokers.Sqs, tmp_path_factory)


def shared_server(kind, root):
    server = kind(root)
    server.start()
    yield server
    server.close()


@pytest.fixture
def rabbit(servers_root):
    """This test's view of the RabbitMQ that all share; see harness/brokers.py. Do not hurt it: see own_rabbit."""
    yield from shared_server(brokers.Rabbit, servers_root)


@pytest.fixture
def kafka(servers_root):
    yield from shared_server(brokers.Kafka, servers_root)


@pytest.fixture
def sqs(servers_root):
    yield from shared_server(brokers.Sqs, servers_root)


@pytest.fixture(params=["none", "rabbit", "kafka", "sqs"])
def broker(request):
    """Runs the test without a broker and on each. windlass.run(DATABASE_URL=…, **broker.settings)."""
    return brokers.NoBroker() if request.param == "none" else request.getfixturevalue(request.param)


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
def third():
    """A party that jobs call; see harness/third_party.py."""
    party = ThirdParty()
    yield party
    party.close()


@pytest.fixture
def windlass(tmp_path):
    """Starts the binary's roles; see harness/windlass.py. Give the store: windlass.run(DATABASE_URL=store_url)."""
    folder = pathlib.Path(tmp_path) / "log"
    folder.mkdir()
    machine = Windlass(folder)
    yield machine
    machine.close()

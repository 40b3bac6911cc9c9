# SPDX-License-Identifier: Apache-2.0
"""What the command line says about brokers: names that are checked, sources and their positions, a broker that answers or does not."""

import contextlib
import json
import socket

import pytest

from harness.ports import free_port
from harness.windlass import wait_for

USAGE, DATAERR, UNAVAILABLE, CONFIG = 64, 65, 69, 78
JOBS = """
queues:
  a.b: {}
jobs:
  take: {sql: SELECT 1, queue: a.b, result: {to: out}}
sources:
  orders: {topic: orders, type: take}
"""


@pytest.fixture
def alone(windlass, tmp_path):
    """alone(arguments..., settings...) with a file of its own and nobody to talk to."""
    jobs = tmp_path / "jobs.yaml"
    jobs.write_text(JOBS)
    defaults = {"DATABASE_URL": f"sqlite:{tmp_path}/alone.db", "WINDLASS_JOBS": str(jobs)}
    return lambda *arguments, **settings: windlass.command(*arguments, check=False, **{**defaults, **settings})


def findings(done, subject):
    return [(row["finding"], row["text"]) for row in json.loads(done.stdout) if row["subject"] == subject]


def test_without_a_broker(alone):
    checked = alone("check")
    assert checked.returncode == 0 and "1 sources: good" in checked.stdout
    assert "jobs.yaml:7:3: source `orders` is not read: BROKER_URL is not set" in checked.stdout
    assert "results of `take` wait in the store" in checked.stdout
    refused = alone("dispatch")
    assert refused.returncode == CONFIG and "BROKER_URL is not set" in refused.stderr
    listed = alone("sources")
    assert listed.returncode == 0 and "not read" in listed.stdout
    assert findings(alone("doctor", "--json"), "broker") == [("doubtful", "sources are not read: BROKER_URL is not set")]


def test_dispatch_beside_somebody_on_the_default_address(windlass, tmp_path):
    windlass.expect("broker-away", "dispatch-held", "results-held")
    jobs = tmp_path / "jobs.yaml"
    jobs.write_text(JOBS)
    settings = {"DATABASE_URL": f"sqlite:{tmp_path}/taken.db", "WINDLASS_JOBS": str(jobs), "BROKER_URL": f"amqp://127.0.0.1:{free_port()}"}
    windlass.migrate(**settings)
    with contextlib.closing(socket.socket()) as somebody:
        with contextlib.suppress(OSError):  # then somebody has it already
            somebody.bind(("127.0.0.1", 8081))
            somebody.listen()
        dispatch = windlass.start("dispatch", **settings)
        dispatch.wait_event("dispatch-not-listening")
        dispatch.stop()


def test_names_are_checked_for_the_broker(alone, tmp_path):
    good = alone("check", BROKER_URL="kafka://127.0.0.1")
    assert good.returncode == 0 and "not read" not in good.stdout
    clash = tmp_path / "clash.yaml"
    clash.write_text(JOBS.replace("a.b: {}", "a.b: {}\n  a-b: {}"))
    for url, code in (("amqp://127.0.0.1", 0), ("kafka://127.0.0.1", 0), ("sqs://eu-west-1", CONFIG)):
        assert alone("check", BROKER_URL=url, WINDLASS_JOBS=clash).returncode == code, url
    secret = alone("check", BROKER_URL="amqp://u:geheim@elsewhere")
    assert secret.returncode == CONFIG and "unencrypted" in secret.stderr and "geheim" not in secret.stderr


def test_seek_is_refused(alone):
    port = free_port()
    for arguments, settings, code, said in (
        (["seek", "orders"], {}, USAGE, "--to"),
        (["seek", "orders", "--to", "yesterday"], {}, USAGE, "yesterday"),
        (["seek", "orders", "--to", "5", "--partition", "-1"], {}, USAGE, "partition"),
        (["seek", "nobody", "--to", "5"], {}, DATAERR, "nobody"),
        (["seek", "orders", "--to", "earliest"], {}, DATAERR, "only Kafka"),
        (["seek", "orders", "--to", "earliest"], {"BROKER_URL": "amqp://127.0.0.1"}, DATAERR, "only Kafka"),
        (["seek", "orders", "--to", "earliest"], {"BROKER_URL": f"kafka://127.0.0.1:{port}"}, UNAVAILABLE, ""),
    ):
        refused = alone("source", *arguments, **settings)
        assert refused.returncode == code and said in refused.stderr, refused


@pytest.mark.parametrize("scheme", ["amqp", "kafka", "sqs"])
def test_doctor_of_a_broker_that_is_away(alone, scheme):
    port = free_port()
    url = f"sqs://eu-west-1?endpoint=http://127.0.0.1:{port}" if scheme == "sqs" else f"{scheme}://127.0.0.1:{port}"
    done = alone("doctor", "--json", BROKER_URL=url, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    assert done.returncode == UNAVAILABLE
    assert [finding for finding, _ in findings(done, "broker")] == ["wrong"]


def test_doctor_of_one_that_answers(alone, broker):
    if broker.name == "none":
        pytest.skip("there is none")
    done = alone("doctor", "--json", **broker.settings)
    found = findings(done, "broker")
    assert found[0][0] == "good", found
    if broker.name != "rabbit":  # which says nothing of queues without making them
        assert found[1][0] == "doubtful" and "orders" in found[1][1], found


def test_sources_and_seek(broker_rig):
    rig = broker_rig
    if rig.broker.name != "kafka":
        pytest.skip("only Kafka keeps messages to go back to")

    def cli(*arguments):
        return rig.windlass.command(*arguments, check=False, **rig.settings)

    worker = rig.work()
    rig.wait_sources()
    for n in range(5):
        rig.send("orders", {"who": f"n{n}"})
    wait_for(lambda: len(rig.rows("SELECT 1 FROM effects")) == 5 or len(worker.events("attempt")) >= 5, 30)
    rows = []

    def read():
        rows[:] = [row for row in json.loads(cli("sources", "--json").stdout) if row["source"] == "orders"]
        return sum(row.get("position", 0) for row in rows) == 5

    wait_for(read, 30)
    assert sum(row["lag"] for row in rows if "lag" in row) == 0
    busy = cli("source", "seek", "orders", "--to", "earliest")
    assert busy.returncode == UNAVAILABLE and "stop them first" in busy.stderr
    worker.stop(15)
    wait_for(lambda: cli("source", "seek", "orders", "--to", "earliest").returncode == 0, 60, 1)
    assert not read() and sum(row["lag"] for row in rows) == 5
    assert cli("source", "seek", "orders", "--to", "5", "--partition", "999").returncode == DATAERR
    assert cli("source", "seek", "orders", "--to", "latest").returncode == 0 and read()

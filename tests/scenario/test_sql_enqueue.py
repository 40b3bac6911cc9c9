# SPDX-License-Identifier: Apache-2.0
"""windlass.enqueue() in PostgreSQL: a job that is part of somebody's own transaction."""

import json
import time

import psycopg
import pytest

from harness.rig import Rig
from harness.windlass import wait_for

PROMPT_S = 0.1


@pytest.fixture
def rig(pg_url, windlass, engine_jobs):
    return Rig(windlass, pg_url, engine_jobs)


def enqueue(connection, type, payload=None, **options):
    sql = "SELECT windlass.enqueue(%s, %s::jsonb, %s::jsonb)"
    return str(connection.execute(sql, (type, json.dumps(payload or {}), json.dumps(options))).fetchone()[0])


def test_is_picked_up_at_once(rig):
    """Not at the next poll: the third best of ten is told, so that a busy machine does not decide."""
    rig.work()
    rig.run("put")
    delays = []
    with psycopg.connect(rig.url) as mine, psycopg.connect(rig.url, autocommit=True) as other:
        for n in range(10):
            id = enqueue(mine, "put", {"who": str(n)})
            time.sleep(0.15)
            assert other.execute("SELECT 1 FROM effects WHERE id = %s", (id,)).fetchone() is None, "before the commit"
            mine.commit()
            began = time.monotonic()
            while not other.execute("SELECT 1 FROM effects WHERE id = %s", (id,)).fetchone():
                assert time.monotonic() < began + 10, "never"
                time.sleep(0.001)
            delays.append(time.monotonic() - began)
    assert sorted(delays)[2] < PROMPT_S, delays


def test_rolled_back_with_what_it_belongs_to(rig):
    rig.work()
    with psycopg.connect(rig.url) as connection:
        connection.execute("INSERT INTO stock VALUES ('a', 1)")
        gone = enqueue(connection, "put")
        connection.rollback()
        connection.execute("INSERT INTO stock VALUES ('b', 1)")
        kept = enqueue(connection, "put", {"who": "kept"})
        connection.commit()
    assert rig.api.wait(kept)["state"] == "completed" and rig.effects(kept) == ["kept"]
    assert rig.api.get(f"/v1/jobs/{gone}").status_code == 404 and rig.effects(gone) == []
    assert rig.rows("SELECT sku FROM stock") == [("b",)]


def test_by_a_trigger(rig):
    """A thousand rows in one statement are a thousand jobs."""
    rig.work()
    rig.rows("CREATE FUNCTION on_stock() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
             "PERFORM windlass.enqueue('put', jsonb_build_object('who', NEW.sku)); RETURN NEW; END $$")
    rig.rows("CREATE TRIGGER stocked AFTER INSERT ON stock FOR EACH ROW EXECUTE FUNCTION on_stock()")
    rig.rows("INSERT INTO stock SELECT 's' || n, n FROM generate_series(1, 1000) AS n")
    wait_for(lambda: rig.rows("SELECT count(*), count(DISTINCT who) FROM effects") == [(1000, 1000)], 30)


def test_options(rig):
    with psycopg.connect(rig.url, autocommit=True) as connection:
        id = enqueue(connection, "put", {"a": 1}, priority="high", delay="1h", queue="elsewhere", tags=["t"], max_attempts=3)
    job = rig.api.get_job(id)
    assert (job["state"], job["priority"], job["queue"], job["tags"], job["max_attempts"], job["payload"]) == (
        "scheduled", "high", "elsewhere", ["t"], 3, {"a": 1})


@pytest.mark.parametrize("type,options,said", [
    ("nobody", {}, "nobody"), ("put", {"priority": "urgent"}, "priority"), ("put", {"colour": 1}, "colour"), ("put", {"delay": "soon"}, "soon")])
def test_refused_in_the_statement(rig, type, options, said):
    with psycopg.connect(rig.url, autocommit=True) as connection, pytest.raises(psycopg.errors.InvalidParameterValue, match=said):
        enqueue(connection, type, **options)


def test_payload_is_checked_by_the_worker(rig):
    """The database knows types, not what they require: such a job is discarded before a handler sees it."""
    rig.work()
    with psycopg.connect(rig.url, autocommit=True) as connection:
        id = enqueue(connection, "strict", {"what": "x"})
    job = rig.api.wait(id)
    assert job["state"] == "discarded" and "who" in job["reason"] and rig.effects(id) == []

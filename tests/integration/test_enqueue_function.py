# SPDX-License-Identifier: Apache-2.0
"""windlass.enqueue() in PostgreSQL: jobs come and go with the caller's own transaction."""

import concurrent.futures
import json
import time

import psycopg
import pytest

from harness.store import rows


@pytest.fixture
def url(windlass, pg_url):
    windlass.migrate(DATABASE_URL=pg_url)
    rows(pg_url, "INSERT INTO windlass.job_type (name, queue, priority) VALUES ('mail', 'mails', 1)")
    rows(pg_url, "CREATE TABLE orders (id int PRIMARY KEY)")
    return pg_url


@pytest.fixture
def client(url):
    with psycopg.connect(url) as connection:
        yield connection


def enqueue(connection, type="mail", payload="{}", opts="{}"):
    return connection.execute("SELECT windlass.enqueue(%s, %s, %s)", (type, payload, opts)).fetchone()[0]


def waiting(url):
    """Ids that may be taken, and what the figures of the queues say."""
    ids = [id for (id,) in rows(url, "SELECT id FROM windlass.jobs JOIN windlass.ready USING (id) ORDER BY ready.seq")]
    ((tally,),) = rows(url, "SELECT coalesce(sum(available + scheduled), 0) FROM windlass.tally")
    assert tally == len(ids)
    return ids


def rings(url, connection, end):
    """Whether the bell rings for what `end` does."""
    with psycopg.connect(url, autocommit=True) as listener:
        listener.execute("LISTEN windlass_ready")
        end(connection)
        return bool(list(listener.notifies(timeout=0.3, stop_after=1)))


def test_comes_with_the_callers_commit(url, client):
    client.execute("INSERT INTO orders VALUES (1)")
    ids = [enqueue(client), enqueue(client)]
    assert waiting(url) == []
    assert rings(url, client, lambda c: c.commit())
    assert waiting(url) == ids


def test_goes_with_the_callers_rollback(url, client):
    client.execute("INSERT INTO orders VALUES (1)")
    enqueue(client)
    assert not rings(url, client, lambda c: c.rollback())
    assert waiting(url) == []
    assert rows(url, "SELECT * FROM orders") == []


def test_goes_with_a_savepoint(url, client):
    kept = enqueue(client)
    with pytest.raises(psycopg.errors.UniqueViolation), client.transaction():
        enqueue(client)
        client.execute("INSERT INTO orders VALUES (1), (1)")
    client.commit()
    assert waiting(url) == [kept]


REFUSED = [
    # type, payload, opts, message
    ("male", "{}", "{}", "unknown job type: male"),
    (None, "{}", "{}", "unknown job type: <NULL>"),
    ("mail", None, "{}", "payload must not be NULL"),
    ("mail", "{}", "[]", "opts must be an object"),
    ("mail", "{}", None, "opts must be an object"),
    ("mail", "{}", '{"delai": 1}', "unknown option: delai"),
    ("mail", "{}", '{"unique": {"key": "k"}}', "unknown option: unique"),
    ("mail", "{}", '{"priority": "top"}', 'bad value of option priority: "top"'),
    ("mail", "{}", '{"priority": null}', "bad value of option priority: null"),
    ("mail", "{}", '{"queue": "two words"}', 'bad value of option queue: "two words"'),
    ("mail", "{}", '{"tenant": ""}', 'bad value of option tenant: ""'),
    ("mail", "{}", '{"max_attempts": 0}', "bad value of option max_attempts: 0"),
    ("mail", "{}", '{"order_key": ""}', 'bad value of option order_key: ""'),
    ("mail", "{}", '{"tags": "a"}', 'bad value of option tags: "a"'),
    ("mail", "{}", '{"tags": [1]}', "bad value of option tags: [1]"),
    ("mail", "{}", '{"delay": "soon"}', 'bad value of option delay: "soon"'),
    ("mail", "{}", '{"delay": -1}', "bad value of option delay: -1"),
    ("mail", "{}", '{"timeout": null}', "bad value of option timeout: null"),
    ("mail", "{}", '{"run_at": "soon"}', 'bad value of option run_at: "soon"'),
    ("mail", "{}", '{"run_at": "infinity"}', 'bad value of option run_at: "infinity"'),
    ("mail", "{}", '{"run_at": 7}', "bad value of option run_at: 7"),
    ("mail", "{}", '{"run_at": "2126-01-01T00:00:00Z"}', 'bad value of option run_at: "2126-01-01T00:00:00Z"'),
    ("mail", "{}", '{"delay": "11000d"}', 'bad value of option delay: "11000d"'),
    ("mail", "{}", '{"timeout": "8d"}', 'bad value of option timeout: "8d"'),
    ("mail", "{}", '{"max_attempts": 1001}', "bad value of option max_attempts: 1001"),
    ("mail", "{}", '{"order_key": "a\\nb"}', 'bad value of option order_key: "a\\nb"'),
    ("mail", "{}", '{"tags": ["two words"]}', 'bad value of option tags: ["two words"]'),
]


def test_what_is_wrong_is_named(url, client):
    for type, payload, opts, message in REFUSED:
        with pytest.raises(psycopg.errors.InvalidParameterValue) as refusal, client.transaction():
            enqueue(client, type, payload, opts)
        assert refusal.value.diag.message_primary == message
    client.commit()
    assert waiting(url) == []


def test_times(url, client):
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7200))
    for opts in ({"run_at": soon}, {"run_at": "2025-01-01T02:00:00.5+02:00"}, {"delay": "90m"}, {"delay": 0}):
        enqueue(client, opts=json.dumps(opts))
    client.commit()
    due = rows(url, "SELECT round(extract(epoch FROM due - created) / 60)::int FROM windlass.ready"
                    " JOIN windlass.jobs USING (id) ORDER BY ready.seq")
    assert due == [(120,), (None,), (90,), (None,)]


def test_many_at_once(url):
    def client(number):
        with psycopg.connect(url) as connection:
            ids = []
            for i in range(50):
                id = enqueue(connection, payload=f'{{"n": {number * 50 + i}}}')
                if i % 5 == 4:
                    connection.rollback()
                else:
                    connection.commit()
                    ids.append(id)
            return ids

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        accepted = [id for ids in pool.map(client, range(8)) for id in ids]
    assert len(accepted) == 8 * 40
    assert sorted(waiting(url)) == sorted(accepted)
    assert rows(url, "SELECT count(DISTINCT payload), count(DISTINCT seq) FROM windlass.jobs") == [(320, 320)]

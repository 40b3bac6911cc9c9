# SPDX-License-Identifier: Apache-2.0
"""Batch runs and chains from end to end, on both stores: every source, every row one effect, ends told once, and a gateway that is
killed while it feeds one. The long form of the last: a million rows, killed ten times, in flat memory."""

import json
import random
import signal
import subprocess
import time

import pytest

from harness.gateway import make_key, start, uuid7
from harness.windlass import BUILD, wait_for

ROWS = 60
JOB = {"type": "audit", "payload": {"who": "n${row.id}"}}


def begin(rig, source, job=None, status=202, **fields):
    answer = rig.api.post("/v1/batches", json={"source": source, "job": job or JOB, **fields})
    assert answer.status_code == status, answer.text
    return answer.json()


def look(rig, id):
    answer = rig.api.get(f"/v1/batches/{id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def ended(rig, id, timeout_s=60):
    return wait_for(lambda: (batch := look(rig, id)).get("finished_at") and batch, timeout_s, 0.1)


def figures(batch):
    return {name: batch[name] for name in ("state", "total", "done", "failed", "cancelled", "rejected")}


def whos(rig):
    return sorted(who for (who,) in rig.rows("SELECT who FROM effects"))


def names(count):
    return sorted(f"n{i}" for i in range(count))


def make_source(rig, count):
    rig.rows("CREATE TABLE people(id bigint PRIMARY KEY, name text)")
    numbers = "generate_series(0, ?) AS i" if rig.url.startswith("postgresql") else \
        "(WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < ?) SELECT i FROM s)"
    rig.rows(f"INSERT INTO people SELECT i, 'name ' || i FROM {numbers}", count - 1)


def test_a_query(rig):
    make_source(rig, ROWS)
    rig.work()
    id = begin(rig, {"sql": "SELECT id, name FROM people -- all of them", "key": "id"}, name="nightly",
               on_complete={"type": "put", "payload": {"who": "told"}})["id"]
    batch = ended(rig, id)
    assert figures(batch) == {"state": "completed", "total": ROWS, "done": ROWS, "failed": 0, "cancelled": 0, "rejected": 0}
    assert batch["name"] == "nightly" and batch["total_known"]
    wait_for(lambda: len(whos(rig)) == ROWS + 1)
    assert whos(rig) == sorted([*names(ROWS), "told"])
    assert [b["id"] for b in rig.api.get("/v1/batches").json()["items"]] == [id]


@pytest.mark.parametrize("sql,key,part", [
    ("SELECT nothing FROM nowhere", "id", ""), ("SELECT 1 AS a", "id", "id"), ("SELECT 1 AS id UNION ALL SELECT 1", "id", "not unique"),
    ("SELECT NULL AS id", "id", "null")])
def test_a_query_that_will_never_do(rig, sql, key, part):
    batch = ended(rig, begin(rig, {"sql": sql, "key": key})["id"])
    assert batch["state"] == "failed" and batch["total"] == 0 and part in batch["error"], batch


def test_files_of_the_service(store_url, windlass, engine_jobs, tmp_path):
    from harness.rig import Rig
    folder = tmp_path / "batches"
    folder.mkdir()
    (tmp_path / "secret.csv").write_text("id\n1\n")
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "a.csv").write_bytes(b'\xef\xbb\xbfid,name\r\n0,"a, ""b"""\r\n1,"two\nlines"\r\n\r\n2\r\n3,x\r\n')
    (folder / "b.ndjson").write_text('{"id": 4}\n\nnot json\n{"name": 1}\n{"id": 5}')
    rig = Rig(windlass, store_url, engine_jobs)
    rig.gateway.stop()
    rig.gateway = windlass.gateway(**rig.settings, WINDLASS_BATCH_DIR=str(folder))
    rig.api = rig.gateway.api()
    rig.work()
    batch = ended(rig, begin(rig, {"file": "a.csv"})["id"])
    assert figures(batch) | {"error": batch["error"]} == {
        "state": "failed", "total": 3, "done": 3, "failed": 0, "cancelled": 0, "rejected": 1,
        "error": "at byte 43: not as many fields as there are names"}, batch
    batch = ended(rig, begin(rig, {"file": "b.ndjson"}, on_failure={"type": "put", "payload": {"who": "told"}})["id"])
    assert (batch["total"], batch["done"], batch["rejected"]) == (2, 2, 2)
    wait_for(lambda: "told" in whos(rig))
    assert whos(rig) == ["n0", "n1", "n3", "n4", "n5", "told"]
    for name in ("none.csv", "link.csv"):
        assert "no file" in ended(rig, begin(rig, {"file": name})["id"])["error"]
    for name in ("../secret.csv", "/etc/passwd", ".hidden", "a/../b", "", "a//b"):
        begin(rig, {"file": name}, status=422)


def test_a_jobs_result_and_a_chain(rig):
    """What one job leaves is fanned out; jobs that wait run with what they waited for."""
    rig.work()
    first = rig.run("put", {"who": "first"})
    waits = rig.api.post_job("put", {"who": "w ${after.a.state} ${after.a.id}"}, after={"a": first["id"]},
                             then={"type": "put", "payload": {"who": "then ${after.previous.state}"}}).json()
    assert waits["state"] == "waiting" and len(waits["then"]) == 1
    assert rig.api.wait(waits["id"])["state"] == "completed" and rig.api.wait(waits["then"][0]["id"])["state"] == "completed"
    assert whos(rig) == ["first", "then completed", f"w completed {first['id']}"]
    assert "list as its result" in ended(rig, begin(rig, {"job": first["id"]})["id"])["error"]
    bad = rig.api.post_job("put", {"who": "x"}, after=[uuid7()])
    assert bad.status_code == 422 and bad.json()["type"].endswith("no-such-job") and bad.json()["errors"][0]["pointer"] == "/after/0"


def test_a_failure_goes_down_the_chain(rig):
    rig.work()
    first = rig.api.enqueue("refuse", {})
    second = rig.api.enqueue("put", {"who": "no"}, after=[first])
    third = rig.api.enqueue("put", {"who": "yes"}, after=[{"id": second, "on_failure": "run"}])
    assert "which was discarded" in rig.api.wait(second, "discarded")["reason"]
    rig.api.wait(third, "completed")
    assert whos(rig) == ["yes"]


def push(rig, id, part, lines, last=False):
    return rig.api.post(f"/v1/batches/{id}/rows", params={"part": part, "last": str(last).lower()}, data="\n".join(lines),
                        headers={"Content-Type": "application/x-ndjson"})


def test_rows_are_pushed_once(rig):
    rig.work()
    id = begin(rig, {"upload": True}, id=(given := uuid7()))["id"]
    assert id == given == begin(rig, {"upload": True}, id=given)["id"]
    lines = [json.dumps({"id": i}) for i in range(4)]
    assert push(rig, id, 1, lines).status_code == 409
    for _ in range(2):
        assert push(rig, id, 0, lines[:2]).json()["total"] == 2
    for _ in range(2):
        assert push(rig, id, 1, [*lines[2:], "-"], last=True).json()["rejected"] == 1
    assert push(rig, id, 2, lines).status_code == 409
    batch = ended(rig, id)
    assert (batch["total"], batch["done"]) == (4, 4) and "part 1, row 3" in batch["error"]
    assert whos(rig) == names(4)


def test_cancel_and_retry(rig):
    make_source(rig, ROWS)
    id = begin(rig, {"sql": "SELECT id FROM people", "key": "id"})["id"]
    wait_for(lambda: look(rig, id)["state"] == "running")
    assert rig.api.post(f"/v1/batches/{id}/cancel").json()["state"] == "cancelled"
    assert figures(ended(rig, id)) == {"state": "cancelled", "total": ROWS, "done": 0, "failed": 0, "cancelled": ROWS, "rejected": 0}
    assert rig.api.post(f"/v1/batches/{id}/cancel").status_code == 409
    rig.work()
    id = begin(rig, {"sql": "SELECT id FROM people WHERE id < 3", "key": "id"},
               job={"type": "audit_bad", "payload": {"who": "x"}})["id"]
    assert figures(ended(rig, id)) == {"state": "failed", "total": 3, "done": 0, "failed": 3, "cancelled": 0, "rejected": 0}
    rig.rows("CREATE TABLE nowhere(id text PRIMARY KEY)")
    assert rig.api.post(f"/v1/batches/{id}/retry").json()["count"] == 3
    assert figures(ended(rig, id)) == {"state": "completed", "total": 3, "done": 3, "failed": 0, "cancelled": 0, "rejected": 0}


def test_the_database_is_the_operator_s(windlass, sqlite_url):
    """Who may query it may read what others' jobs hold."""
    keys = {name: make_key(name, scopes, tenant) for name, scopes, tenant in
            (("boss", "admin", None), ("acme", "admin", "acme"), ("web", "enqueue:*", None))}
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=";".join(line for _, line in keys.values()))
    for source, wants in (({"sql": "SELECT 1 AS id", "key": "id"}, [202, 403, 403]), ({"job": uuid7()}, [202, 202, 403]), ({"upload": True}, [202] * 3)):
        body = {"source": source, "job": {"type": "note.add", "payload": {"who": "x"}}}
        assert [gateway.api(key).post("/v1/batches", json=body).status_code for key, _ in keys.values()] == wants
    assert len(gateway.api(keys["acme"][0]).get("/v1/batches").json()["items"]) == 2
    assert len(gateway.api(keys["boss"][0]).get("/v1/batches").json()["items"]) == 6


def test_what_is_refused(rig):
    for body in ({}, {"source": {"upload": True}}, {"source": {"upload": True}, "job": {"type": "none"}}, {"source": {"upload": 1}, "job": JOB},
                 {"source": {"sql": "SELECT 1"}, "job": JOB}, {"source": {"sql": "SELECT 1", "key": 'a"b'}, "job": JOB},
                 {"source": {"upload": True}, "job": {**JOB, "unique": {"key": "x"}}}, {"source": {"upload": True}, "job": {**JOB, "after": [uuid7()]}},
                 {"source": {"upload": True}, "job": {"type": "audit", "payload": {"who": "${row.}"}}}, {"source": {"upload": True}, "job": JOB, "x": 1},
                 {"source": {"upload": True}, "job": JOB, "on_complete": {"type": "put", "payload": []}}):
        answer = rig.api.post("/v1/batches", json=body)
        assert answer.status_code == 422, (body, answer.text)
    assert rig.api.get("/v1/batches").json() == {"items": [], "next_cursor": None}


def test_the_command(rig, tmp_path):
    rig.work()
    file = tmp_path / "people.csv"
    file.write_text("id\n" + "".join(f"{i}\n" for i in range(ROWS)))
    env = {**rig.gateway.env, "WINDLASS_URL": rig.gateway.url}
    command = [BUILD / "windlass", "batch", "run", "audit", file, "--payload", json.dumps(JOB["payload"]), "--id", (id := uuid7())]
    for _ in range(2):  # the second one finds it done
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and f"{id} completed: {ROWS} jobs, {ROWS} done" in done.stdout, done
    assert whos(rig) == names(ROWS)
    shown = subprocess.run([BUILD / "windlass", "batch", "list"], env=env, capture_output=True, text=True, timeout=60)
    assert id in shown.stdout and "completed" in shown.stdout


def test_a_feeder_is_killed(rig, long_form):
    """kill -9 while it feeds, again and again: every row is a job, and none is two."""
    count, kills = (1_000_000, 10) if long_form else (30_000, 1)
    make_source(rig, count)
    rig.api.post("/v1/queues/elsewhere/pause")  # work that waits there does not make the gateway unready
    id = begin(rig, {"sql": "SELECT id, name FROM people", "key": "id"}, job={"type": "audit", "queue": "elsewhere"})["id"]
    table = "windlass.jobs" if rig.url.startswith("postgresql") else "windlass_jobs"
    first, struck = None, 0
    for _ in range(kills):
        before = look(rig, id)["total"]
        wait_for(lambda: (batch := look(rig, id))["total"] > before or batch["total_known"], 120, 0.005)
        memory = rig.gateway.resident_kib()
        first = first or memory
        struck += not look(rig, id)["total_known"]
        time.sleep(random.random() / 20)
        rig.gateway.kill()
        assert memory < first + 60_000
        rig.gateway = rig.windlass.gateway(**rig.settings)
        rig.api = rig.gateway.api()
    wait_for(lambda: look(rig, id)["total_known"], 600, 0.2)
    assert look(rig, id)["total"] == count
    assert rig.rows(f"SELECT count(*) FROM {table}") == [(count,)]
    payload = "payload::json ->> 'id'" if rig.url.startswith("postgresql") else "payload ->> 'id'"
    assert rig.rows(f"SELECT count(DISTINCT {payload}) FROM {table}") == [(count,)]
    assert struck or not long_form

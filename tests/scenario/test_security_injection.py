# SPDX-License-Identifier: Apache-2.0
"""Texts from outside that try to become something else: header lines, SQL, log lines, terminal commands."""

import importlib.machinery
import importlib.util
import json
import re
import shutil
import urllib.parse

import pytest

from harness import store
from harness.checklist import row
from harness.gateway import start
from harness.listener import Listener
from harness.windlass import ROOT, wait_for

HERE = ROOT / "tests/scenario"


@pytest.fixture
def jobs(tmp_path):
    """The definitions file of the exec handlers, beside them."""
    for name in ("caller.py", "sayer.py"):
        shutil.copy(HERE / name, tmp_path)
    return str(shutil.copy(HERE / "caller_jobs.yaml", tmp_path / "jobs.yaml"))


# ---- headers

CONTROLS = [chr(c) for c in (*range(1, 0x20), 0x7F)]
LINES = ["\r\nX-Injected: 1", "\nX-Injected: 1", "\rX-Injected: 1", "\r\n\r\nGET /injected HTTP/1.1\r\n\r\n", "\x00", "\x00\r\nX-Injected: 1", "\v", "\f"]


def hostile_requests(url):
    """What must not be sent, and does not cost the handler its life: a CR or LF in a header is an unreadable line (see below)."""
    for text in CONTROLS:
        if text not in "\r\n":
            yield {"url": url, "headers": {f"X{text}Y": "v"}}
        if text not in "\r\n\t":
            yield {"url": url, "headers": {"X-Test": f"a{text}b"}}
        yield {"url": url, "method": f"GET{text}"}
        yield {"url": f"{url}/{text}x"}
    for text in LINES:
        if "\x00" not in text:
            yield {"url": url, "method": f"GET {text}"}
            yield {"url": f"{url}/x HTTP/1.1{text}"}
            yield {"url": f"{url}{text}"}
    yield {"url": url, "headers": {"X-Test": "a${env.HEADER}"}}
    yield {"url": f"{url}/${{env.HEADER}}"}
    for name in ("", " ", "X Y", "X:Y", "(", "Ü", "X\u010a", "Content-Length", "transfer-encoding", "Expect"):
        if ":" not in name:
            yield {"url": url, "headers": {name: "1"}}


def test_headers_of_a_handlers_calls(windlass, jobs, sqlite_url):
    listener = Listener()
    url = f"http://127.0.0.1:{listener.port}"
    requests = list(hostile_requests(url))
    told = row("Header injection", "control characters in what an exec handler calls with, its environment too", cases=len(requests))
    settings = {"DATABASE_URL": sqlite_url, "WINDLASS_JOBS": jobs, "WINDLASS_REMOTE_ALLOW": "127.0.0.0/8"}
    windlass.migrate(**settings)
    api = windlass.gateway(**settings).api()
    windlass.work(**settings, HEADER="x\r\nX-Injected: 1")
    job = api.wait(api.enqueue("call", {"calls": requests}), timeout_s=60)
    sent = [(request, answer) for request, answer in zip(requests, job["result"]) if answer["fate"] not in (None, "not_sent") or not answer["error"]]
    assert not sent and not listener.connections
    good = {"url": f"{url}/%0d%0aX-Injected:%201", "headers": {"X-Test": "caf\u00e9 %0d%0a \t \u010a\u560a", "X-Empty": ""}}
    assert api.wait(api.enqueue("call", {"calls": [good]}))["result"][0]["status"] == 200
    assert len(listener.requests) == 1 and b"\nX-Injected" not in listener.requests[0]
    windlass.expect("host-died")
    for text in LINES:
        for headers in ({f"X{text}": "v"}, {"X-Test": f"a{text}"}):
            if text in "\v\f":
                continue
            if "\x00" in text:
                answer = api.post_job("call", {"calls": [{"url": url, "headers": headers}]})
                assert answer.status_code == 400, "NUL does not even get into a payload"
                continue
            job = api.wait(api.enqueue("call", {"calls": [{"url": url, "headers": headers}]}), timeout_s=60)
            assert job["state"] == "discarded", job
            told["cases"] += 1
    assert len(listener.requests) == 1, listener.requests
    listener.close()


def test_urls_of_a_modules_calls(rig):
    """wl_call; it has the same engine behind it."""
    listener = Listener()
    urls = [f"${{env.ENGINE_URL}}/{text}x" for text in CONTROLS] + [f"${{env.ENGINE_URL}}/ HTTP/1.1{text}" for text in LINES if "\0" not in text]
    row("Header injection", "control characters in what a module calls with", cases=len(urls))
    rig.work(ENGINE_URL=f"http://127.0.0.1:{listener.port}", ENGINE_TOKEN="t")
    ids = [rig.api.enqueue("call", {"url": url}, max_attempts=1) for url in urls]
    for id in ids:
        job = rig.api.wait(id)
        assert job["state"] == "discarded" and "fate 2" in job["reason"], job
    assert not listener.connections
    assert rig.run("call", {"times": 0})["state"] == "discarded" and len(listener.requests) == 1  # "ok" is no JSON for a result
    listener.close()


def test_payloads_in_declared_calls(windlass, jobs, sqlite_url):
    """`http:` types: path, query, header values, key and body, all from the payload. What a broker's message says comes this way too."""
    listener = Listener()
    texts = [*CONTROLS, *(text for text in LINES if "\0" not in text), "/../../x", "?x=1&y#z", "//evil.example/", "@evil.example", "%0d%0aX-Injected: 1", "\u010a"]
    told = row("Header injection", "control characters and delimiters of a payload in an http type's path, query, headers, key and body", cases=3 * len(texts))
    settings = {"DATABASE_URL": sqlite_url, "WINDLASS_JOBS": jobs, "BASE_URL": f"http://127.0.0.1:{listener.port}"}
    windlass.migrate(**settings)
    api = windlass.gateway(**settings).api()
    windlass.work(**settings)
    for text in texts:
        seen = len(listener.requests)
        job = api.wait(api.enqueue("declared", {"text": text}))
        new = listener.requests[seen:]
        assert job["state"] == "completed" and len(new) == 1, (text, job, new)
        head, _, body = new[0].partition(b"\r\n\r\n")
        quoted = urllib.parse.quote(text, safe="").encode()
        assert head.split(b"\r\n")[0].lower() == b"post /a/%s/b?q=%s http/1.1" % (quoted.lower(), quoted.lower()), (text, head)
        assert b"\nx-injected" not in head.lower() and json.loads(body) == {"text": text, "all": {"text": text}}
    seen = len(listener.requests)
    harmful = [text for text in texts if set(text) & set(CONTROLS)]
    for text in harmful:
        for type in ("declared_header", "declared_key"):
            if text == "\t":
                continue
            job = api.wait(api.enqueue(type, {"text": text}))
            assert job["state"] == "discarded" and "control character" in job["reason"], (type, text, job)
    assert len(listener.requests) == seen and told["cases"]
    listener.close()


# ---- SQL

SQL = [
    "' OR '1'='1", "' OR 1=1 --", "'; DROP TABLE windlass_jobs; --", "'; DROP TABLE notes CASCADE; --", "\"; DROP TABLE notes; --", "') OR ('a'='a", "admin'--",
    "admin'/*", "' UNION SELECT NULL,NULL,version()--", "' UNION ALL SELECT 1,2,3,4 FROM sqlite_master--", "1; SELECT pg_sleep(10)", "'||pg_sleep(10)--",
    "' AND 1=CAST((SELECT version()) AS int)--", "' AND (SELECT count(*) FROM generate_series(1,10000000))>0--", "\\'; DROP TABLE notes; --", "\\", "\\\\", "'",
    "''", "'''", "\"", "\"\"", "`", "$1", "$$", "$tag$ DROP TABLE notes; $tag$", "$0", "?", "?1", ":name", "@x", "%s%s%s%n", "%", "_", "%%", "{}", "{a,b}",
    "{\"a\":\"b\",NULL}", "NULL", "null", "\\N", "\\.", "E'\\x27'", "U&'\\0027'", "x'27'", "0x27", "CHAR(39)", "chr(39)", "%27%20OR%201=1", "&#39;", "ʼ OR 1=1",
    "＇ OR １=１", "‘ OR ’", "\u2028'", "é'; --", "日本'; DROP", "😀'", "; ATTACH DATABASE '/tmp/x' AS x; --", "'); SELECT load_extension('/tmp/x'); --",
    "'; COPY notes TO PROGRAM 'id'; --", "'; COPY (SELECT 1) TO '/tmp/x'; --", "'; SET search_path = evil; --", "'; COMMIT; --", "'; ROLLBACK; --",
    "'; NOTIFY windlass; --", "-- ", "/* */", "/*", "*/", "#", "1e400", "-1", "true", "[1]", "(SELECT 1)", "${payload.who}", "${env.DATABASE_URL}", "$${x}",
    "${job.id}", "'" * 100, "\\" * 99, "a" * 250,
]
LONG = "'; SELECT '" * 2000
PARAMETERS = ("type", "queue", "tag", "state", "cursor", "limit", "nobody")


@pytest.fixture
def notes(store_url, windlass):  # torn down in reverse: what runs before its database
    """A gateway and a worker with a table for the handlers' own SQL."""
    gateway = start(windlass, store_url)
    store.rows(store_url, "CREATE TABLE notes(job_id text, who text)")
    windlass.work(DATABASE_URL=store_url, WINDLASS_JOBS=str(HERE / "jobs.yaml"))
    return gateway.api()


def test_sql_in_stored_texts(notes, store_url):
    """Payloads, keys, names of members: what was sent is what is stored, shown, and bound to a handler's statement."""
    told = row("SQL injection", "texts of the API are stored, shown and bound byte by byte", cases=0)
    texts = [*SQL, LONG]
    ids = {}
    for text in texts:
        key = text if len(text.encode()) <= 255 else None
        fields = {"order_key": key, "fair_key": key, "unique": {"key": key}} if key else {}
        ids[text] = notes.enqueue("note.add", {"who": text, text: [text, {text: text}]}, **fields)
    for text, id in ids.items():
        job = notes.wait(id)
        assert job["state"] == "completed", (text, job)
        assert job["payload"] == {"who": text, text: [text, {text: text}]}
        if "order_key" in job:
            assert (job["order_key"], job["fair_key"], job["unique_key"]) == (text, text, text)
        assert store.rows(store_url, "SELECT who FROM notes WHERE job_id = ?", id) == [(text,)]
        told["cases"] += 7
    assert store.rows(store_url, "SELECT count(*) FROM notes") == [(len(texts),)]


def test_sql_in_other_inputs(notes, store_url):
    """Header, query parameters, path, type, queue, tags, reason: refused, or a value and nothing else."""
    told = row("SQL injection", "headers, query parameters, path segments, names and reasons are values and nothing else", cases=0)
    kept = notes.enqueue("mail.send", {}, delay="1h", tags=["kept"])
    for text in SQL:
        quoted = urllib.parse.quote(text, safe="")
        for path in (*(f"/v1/jobs?{name}={quoted}" for name in PARAMETERS), f"/v1/jobs?{quoted}=1", f"/v1/jobs/{quoted}", f"/v1/queues/{quoted}"):
            answer = notes.get(path)
            assert answer.status_code in (200, 400, 404, 410), (path, answer.text)
            assert answer.status_code != 200 or answer.json().get("items", []) == [], (path, answer.text)
            told["cases"] += 1
        for verb in (f"/v1/jobs/{quoted}/cancel", f"/v1/jobs/{quoted}/retry", f"/v1/queues/{quoted}/pause"):
            assert notes.post(verb).status_code in (400, 404, 410), verb
        for fields in ({"type": text}, {"type": "mail.send", "queue": text}, {"type": "mail.send", "tags": [text]}, {"type": "mail.send", "id": text},
                       {"type": "mail.send", "run_at": text}, {"type": "mail.send", "delay": text}, {"type": "mail.send", "priority": text}):
            answer = notes.post("/v1/jobs", json={"payload": {}, "delay": "1h", **fields})
            assert answer.status_code in (202, 422), (fields, answer.text)
            if answer.status_code == 202:  # it happens to be a name
                job = notes.get_job(answer.json()["id"])
                assert text in (job["queue"], *job.get("tags", [])) and text.isalnum(), (fields, job)
            told["cases"] += 1
        if text.isascii():
            first = notes.post_job("mail.send", {}, headers={"Idempotency-Key": f"k{text}"}, delay="1h")
            again = notes.post_job("mail.send", {}, headers={"Idempotency-Key": f"k{text}"}, delay="1h")
            assert first.status_code in (202, 400) and first.json().get("id") == again.json().get("id"), (text, first.text, again.text)
        doomed = notes.enqueue("mail.send", {}, delay="1h")
        assert notes.post(f"/v1/jobs/{doomed}/cancel", json={"reason": text}).status_code == 200
        assert notes.get_job(doomed)["reason"] == text
        told["cases"] += 5
    assert notes.get_job(kept)["state"] == "scheduled" and notes.get("/v1/jobs?tag=kept").json()["items"][0]["id"] == kept
    assert store.rows(store_url, "SELECT count(*) FROM notes") == [(0,)]


def test_statements_are_literals():
    """The lint rule, shown to bite, and what it says of the tree."""
    loader = importlib.machinery.SourceFileLoader("lint", str(ROOT / "tests/lint/lint"))
    lint = importlib.util.module_from_spec(importlib.util.spec_from_loader("lint", loader))
    loader.exec_module(lint)
    sources = [lint.Source(path) for path in lint.tracked("common/store/*.c")]
    row("SQL injection", "statements without parameters are literals (make lint)", cases=len(sources))
    source = lint.Source("common/store/postgres/retention.c")
    for bad in ("PQexec(conn, sql)", "PQexec(conn,\n\ttext->data)", "PQsendQuery(c->conn, strbuf)", 'PQexec(conn, wanted ? "a" : b)'):
        source.code = f"x = {bad};\n"
        assert any("not a literal" in problem for _, problem in lint.check_calls(source)), bad
    for good in ('PQexec(conn, "")', 'PQexec(conn,\n\t"" LOCK "")', 'PQexecParams(conn, sql, 0)'):
        source.code = f"x = {good};\n"
        assert not list(lint.check_calls(source)), good
    assert len(sources) > 20 and not [problem for one in sources for problem in lint.check_calls(one) if "literal" in problem[1]]


# ---- log lines and terminals

HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
LOG = [
    '\n{"level":"fatal","event":"forged"}', '\r\n{"level":"fatal","event":"forged"}', '\r{"event":"forged"}', '"}\n{"event":"forged"}', '","event":"forged","x":"',
    "\u2028{\"event\":\"forged\"}", "\u2029forged", "\u0085{\"event\":\"forged\"}", "\x1b[2J\x1b[1;1Hforged", "\x1b]0;title\x07", "\x1b[31mred\x1b[0m", "\x9b31mred",
    "\x9d0;title\x9c", "\x90forged\x9c", "\b\b\b\bforged", "\x7f\x7f", "\x07\x07", "\u202eforged\u202c", "\u2066forged\u2069", "\u200fforged", "\u061cforged",
    "\v\fforged", "\ttab", "\\n{\"event\":\"forged\"}", "\\u000a", "%0a{\"event\":\"forged\"}", "%s%n%x", "é" * 3000, "\n" * 50, "😀" * 600, "\ufeff", "\ufffe",
]


def check_lines(process):
    """Every line by itself a JSON object of ours that a terminal shows and does not act on."""
    lines = process.log_path.read_bytes().decode().split("\n")
    assert lines.pop() == ""
    for line in lines:
        assert not HIDDEN.search(line), line
        record = json.loads(line)
        assert {"ts", "level", "role", "pid", "event"} <= record.keys() and record["event"] != "forged", line
    return [json.loads(line) for line in lines]


def test_log_lines(windlass, jobs, sqlite_url):
    """Reasons, notes, output of a handler; types, ids, paths, header values of a client."""
    told = row("Log injection", "hostile texts: one line each, JSON, nothing that a terminal acts on", cases=0)
    settings = {"DATABASE_URL": sqlite_url, "WINDLASS_JOBS": jobs, "WINDLASS_LOG": "debug"}
    windlass.migrate(**settings)
    gateway = windlass.gateway(**settings)
    api = gateway.api()
    windlass.expect("handler-output-dropped")
    worker = windlass.work(**settings)
    ids = []
    for text in LOG:
        ids += [api.enqueue("say", {"text": text, "how": how}) for how in ("discard", "retry")]
        assert api.post_job(text).status_code == 422
        assert api.post_job("say", {"text": ""}, id=text).status_code == 422
        assert api.get(f"/v1/jobs/{urllib.parse.quote(text, safe='')}").status_code in (400, 404, 410, 414)
        hostile = {"User-Agent": text.encode(errors="replace"), "traceparent": text.encode(errors="replace"), "Idempotency-Key": text.encode(errors="replace")}
        if not set(text) & set("\r\n") and text == text.strip():
            assert api.post("/v1/jobs", json={"type": "say", "payload": {"text": ""}}, headers=hostile).status_code < 500
        told["cases"] += 6
    ended = {id: api.wait(id) for id in ids}
    for n, text in enumerate(LOG):
        assert ended[ids[2 * n]]["state"] == "discarded" and ended[ids[2 * n]]["reason"].startswith(text[:200]), text
    wait_for(lambda: sum(record["id"] in ended for record in worker.events("attempt")) == 3 * len(LOG))
    check_lines(gateway)
    records = check_lines(worker)
    said = [record["text"] for record in records if record["event"] == "handler-output"]
    assert any("forged" in text for text in said), "what a handler says is logged, as a text"
    outcomes = [record for record in records if record["event"] == "attempt" and record["id"] in ended]
    assert len(outcomes) == 3 * len(LOG) and {record["id"] for record in outcomes} == set(ids)


def test_terminals(windlass, jobs, sqlite_url):
    """What the command line client prints of a job."""
    told = row("Log injection", "the command line client shows hostile reasons, notes and payloads without acting on them", cases=0)
    settings = {"DATABASE_URL": sqlite_url, "WINDLASS_JOBS": jobs}
    windlass.migrate(**settings)
    api = (gateway := windlass.gateway(**settings)).api()
    windlass.expect("handler-output-dropped")
    windlass.work(**settings)
    for text in LOG:
        id = api.enqueue("say", {"text": text[:400]})
        api.wait(id)
        for arguments in (("show", id), ("show", id, "--json"), ("list",), ("list", "--json")):
            for lang in ("C.UTF-8", "C"):
                printed = windlass.command("jobs", *arguments, WINDLASS_URL=gateway.url, LANG=lang).stdout
                assert not HIDDEN.search(printed.replace("\n", "")), (text, arguments, printed)
                told["cases"] += 1

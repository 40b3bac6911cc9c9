# SPDX-License-Identifier: Apache-2.0
"""A value of its own in every secret there is; everything fails that can; and then it is looked for everywhere.

The secrets among the settings are read from `windlass settings`, so a new one is covered by itself; if it must have a certain form,
it is told in FORMS. A canary in a payload and one in a child's environment have to be found: the search works."""

import hashlib
import http.server
import json
import os
import pathlib
import secrets
import signal
import threading
import time

import psycopg
import pytest

from harness.checklist import row
from harness.ports import free_port
from harness.store import rows
from harness.windlass import wait_for

ASKS = """import hashlib, json, os, sys
for line in sys.stdin:
    j = json.loads(line)
    if "payload" in j:
        if j["payload"].get("die"): os._exit(3)
        print(json.dumps({"job": j["job"], "done": hashlib.sha256(os.environ.get("HAND_TOKEN", "").encode()).hexdigest()}), flush=True)
"""

DEFINITIONS = """
targets:
  bank: {url: "${env.PAY_URL}", auth: {bearer: "${env.BANK_TOKEN}"}}
jobs:
  asks: {exec: [python3, asks.py], env: [HAND_TOKEN], retry: {max_attempts: 2, base: 20ms}}
  other: {exec: [python3, ./asks.py], retry: {max_attempts: 2, base: 20ms}}
  pay: &pay
    env: [PAY_URL, URL_TOKEN, PAY_TOKEN]
    retry: {max_attempts: 2, base: 20ms}
    http: {url: "${env.PAY_URL}/${payload.path}?key=${env.URL_TOKEN}", headers: {X-Token: "Bearer ${env.PAY_TOKEN}"}, body: "${payload}", retry_on: [5xx, network]}
  pay.away:
    env: [AWAY_URL, URL_TOKEN, PAY_TOKEN]
    retry: {max_attempts: 2, base: 20ms}
    http: {url: "${env.AWAY_URL}/x?key=${env.URL_TOKEN}", headers: {X-Token: "Bearer ${env.PAY_TOKEN}"}, body: "${payload}", retry_on: [5xx, network]}
  pay.park:
    env: [PAY_URL, URL_TOKEN, PAY_TOKEN]
    http: {url: "${env.PAY_URL}/000?key=${env.URL_TOKEN}", headers: {X-Token: "Bearer ${env.PAY_TOKEN}"}, body: "${payload}", ambiguous: park}
  sql: {sql: "INSERT INTO nowhere VALUES (${env.SQL_TOKEN})", env: [SQL_TOKEN], retry: {max_attempts: 1}}
  sql.number: {sql: "INSERT INTO numbers VALUES (CAST(${env.SQL_TOKEN} AS integer))", env: [SQL_TOKEN], retry: {max_attempts: 1}}
""".replace("&pay", "")

VARIABLES = ("HAND_TOKEN", "BANK_TOKEN", "URL_TOKEN", "PAY_TOKEN", "SQL_TOKEN")


class Provider(http.server.ThreadingHTTPServer):
    """A third party; what it is sent, and answers by the path: 200, 402, 503; 000 is no answer."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append(f"{self.path} {dict(self.headers)}")
        code = int(self.path[1:4])
        if not code:
            self.close_connection = True
            return
        self.send_response(code)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass


class Aviary:
    """The canaries by name, and what was searched."""

    def __init__(self):
        self.canaries, self.places, self.hits = {}, 0, []

    def new(self, name):
        """40 characters that stand nowhere else."""
        return self.canaries.setdefault(name, "canary" + secrets.token_hex(17))

    def search(self, where, text, but=()):
        data = text if isinstance(text, bytes) else str(text).encode()
        self.places += 1
        for name, canary in self.canaries.items():
            if canary.encode() in data and name not in but:
                self.hits.append(f"{name} in {where}")


def secret_settings(windlass):
    return [r["name"] for r in json.loads(windlass.command("settings", "--json").stdout) if r["secret"]]


def forms(windlass, birds, pg_url):
    """Values of secrets that are not just any text. A key and its hash are two canaries."""
    words = windlass.command("key", "new", "web").stdout.split()
    birds.canaries["API key"] = next(word for word in words if word.startswith("wl_web_"))
    birds.canaries["WINDLASS_API_KEYS"] = digest = next(word for word in words if word.startswith("hash=")).removeprefix("hash=")
    user, _, place = pg_url.partition("@")
    return {
        "DATABASE_URL": f"{user}:{birds.new('DATABASE_URL')}@{place}",
        "BROKER_URL": f"amqp://user:{birds.new('BROKER_URL')}@127.0.0.1:{free_port()}/",
        "WINDLASS_API_KEYS": f"id=web hash={digest} scopes=enqueue:*,read,cancel,admin",
        "WINDLASS_API_KEY": birds.new("API key"),
        "WINDLASS_WEBHOOK_SECRET": "whsec_" + birds.new("WINDLASS_WEBHOOK_SECRET"),  # as base64, 30 bytes
    }


@pytest.fixture
def birds():
    return Aviary()


@pytest.fixture
def provider():
    server = Provider()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def values(windlass, birds, pg_url):
    known = forms(windlass, birds, pg_url)
    return {name: known.get(name) or birds.new(name) for name in secret_settings(windlass)}


def processes(process):
    return [int(pid) for pid in process.members()]


def search_processes(birds, roots):
    """Environments and command lines of all that belongs to them; returns those children that have the secret they asked for."""
    asked = []
    for root in roots:
        for pid in processes(root):
            try:
                environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
                cmdline = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            asks = b"asks.py" in cmdline and b"./asks.py" not in cmdline
            birds.search(f"environ of {cmdline}", environ, but=("HAND_TOKEN",) if asks else ())
            birds.search(f"command line {cmdline}", cmdline)
            asked += [pid] if birds.canaries["HAND_TOKEN"].encode() in environ and asks else []
    return asked


def search_store(birds, url, found):
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute("SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')").fetchall()
        for schema, table in tables:
            for (text,) in connection.execute(f'SELECT t::text FROM "{schema}"."{table}" t').fetchall():
                birds.search(f"table {table}", text, but=("payload",))
                found += [table] if birds.canaries["payload"] in text else []


def search_api(birds, api, ids, found):
    answers = [api.get(path) for path in ("/v1/jobs?limit=100", "/v1/jobs?state=discarded&limit=100", "/v1/queues", "/openapi.json", "/metrics",
                                          "/readyz", "/v1/jobs/nonsense", "/nowhere")]
    answers += [api.get(f"/v1/jobs/{id}") for id in ids]
    answers += [api.post_job("nobody"), api.post_job("pay", unique=3), api.post("/v1/jobs", data="{"), api.post(f"/v1/jobs/{ids[0]}/cancel")]
    answers += [api.get("/v1/jobs", headers={"Authorization": f"Bearer {api_key}"}) for api_key in ("wrong", "web." + "x" * 40)]
    answers += [api.get(f"/v1/jobs/{ids[0]}", headers={"Idempotency-Key": "x" * 300})]
    for answer in answers:
        birds.search(f"{answer.request.method} {answer.request.url}", answer.content + str(answer.headers).encode(), but=("payload",))
        found += ["API"] if birds.canaries["payload"].encode() in answer.content else []


def run_everything(api, birds):
    """Every way to end; the ids."""
    calls = [api.enqueue("pay", {"path": path, "note": birds.new("payload")}) for path in ("200", "402", "503")]
    ids = calls + [api.enqueue("pay.away", {}), api.enqueue("asks", {}), api.enqueue("asks", {"die": 1}), api.enqueue("other", {}), api.enqueue("sql", {}),
                   api.enqueue("sql.number", {})]
    states = [api.wait(id, timeout_s=60)["state"] for id in ids]
    assert states == ["completed", "discarded", "discarded", "discarded", "completed", "discarded", "completed", "discarded", "discarded"], states
    parked = api.enqueue("pay.park", {})
    wait_for(lambda: api.get_job(parked)["state"] == "parked")
    return [*ids, parked]


def test_no_secret_is_told(windlass, values, birds, provider, pg_url, tmp_path):
    told = row("Secrets", "in no log, metric, error, dead letter, process's argument or environment, or child that did not ask", cases=0)
    windlass.expect("host-died", "definitions-refused", "handler-unready", "target-breaker")
    rows(pg_url, "CREATE TABLE numbers(n integer)")  # whose complaint would quote what is no number
    (tmp_path / "asks.py").write_text(ASKS)
    definitions = tmp_path / "jobs.yaml"
    definitions.write_text(DEFINITIONS)
    variables = {name: birds.new(name) for name in VARIABLES}
    settings = {**values, **variables, "WINDLASS_JOBS": definitions, "PAY_URL": f"http://127.0.0.1:{provider.server_address[1]}",
                "AWAY_URL": f"http://127.0.0.1:{free_port()}", "WINDLASS_LOG": "debug"}
    system = windlass.run(**{k: v for k, v in settings.items() if k != "BROKER_URL"})
    api = system.api(birds.canaries["API key"])
    ids = run_everything(api, birds)
    sent = ("PAY_TOKEN", "URL_TOKEN", "BANK_TOKEN")
    assert any(all(birds.canaries[name] in seen for name in sent) for seen in provider.seen), "they are sent where they belong"
    assert api.get_job(ids[4])["result"] == hashlib.sha256(birds.canaries["HAND_TOKEN"].encode()).hexdigest(), "who asks gets it"
    assert api.get_job(ids[6])["result"] == hashlib.sha256(b"").hexdigest(), "who does not, not"
    definitions.write_text(DEFINITIONS + "  broken: {http: {url: 3}, exec: [nowhere]}\n")
    system.signal(signal.SIGHUP)
    system.wait_event("definitions-refused")
    definitions.write_text(DEFINITIONS)
    found = []
    api.wait(api.enqueue("asks"))  # so that its host is there
    assert search_processes(birds, [system]), "control: the child that asked has it"
    search_api(birds, api, ids, found)
    search_store(birds, pg_url, found)
    for command in (["doctor"], ["doctor", "--json"], ["check"], ["settings"], ["settings", "--json"], ["sources"], ["jobs", "list"], ["queues"], ["jobs", "show", ids[1]]):
        done = windlass.command(*command, check=False, **{**settings, "WINDLASS_URL": system.url})
        birds.search(" ".join(command), done.stdout + done.stderr, but=("payload",))
    system.stop()
    for core in [*tmp_path.glob("core*"), *pathlib.Path.cwd().glob("core*")]:
        birds.search(core, core.read_bytes())
    for log in windlass.folder.glob("*.log"):
        birds.search(log.name, log.read_bytes())
    told["cases"] = birds.places
    assert birds.hits == []
    assert {"API", "jobs"} <= {name.split("_")[0] for name in found}, f"control: the payload's canary is found: {found}"


@pytest.mark.parametrize("scheme", ["amqp", "kafka", "sqs"])
def test_a_broker_that_is_away(windlass, values, birds, tmp_path, scheme):
    """Its password is in no message about it; secrets come from files here."""
    windlass.expect()
    definitions = tmp_path / "jobs.yaml"
    definitions.write_text('jobs:\n  one: {sql: "SELECT 1"}\nsources:\n  from: {topic: a, type: one}\n')
    host = f"127.0.0.1:{free_port()}"
    password = birds.new("BROKER_URL")
    values["BROKER_URL"] = f"sqs://eu-west-1?endpoint=http://{host}" if scheme == "sqs" else f"{scheme}://user:{password}@{host}{'/' if scheme == 'amqp' else ''}"
    settings = {"WINDLASS_JOBS": definitions, "WINDLASS_LOG": "debug", "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": birds.new("AWS")}
    for name, value in values.items():
        (tmp_path / name).write_text(value + "\n")
        (tmp_path / name).chmod(0o600)
        settings[f"{name}_FILE"] = tmp_path / name
    assert birds.canaries["DATABASE_URL"] in values["DATABASE_URL"]
    roles = [windlass.dispatch(wait=False, **settings), windlass.work(wait=False, **settings), windlass.gateway(**settings)]
    ids = [roles[2].api(birds.canaries["API key"]).enqueue("one")]
    wait_for(lambda: all(len(role.log()) > 300 for role in roles))
    time.sleep(2)
    for role in roles:
        for pid in role.members():
            for name in ("environ", "cmdline"):
                birds.search(f"{name} of {role.arguments}", pathlib.Path(f"/proc/{pid}/{name}").read_bytes())
    birds.search("the job", roles[2].api(birds.canaries["API key"]).get(f"/v1/jobs/{ids[0]}").text)
    for command in (["doctor"], ["check"], ["sources"], ["settings"]):
        done = windlass.command(*command, check=False, timeout_s=120, **settings)
        birds.search(command[0], done.stdout + done.stderr)
    for role in roles:
        role.kill()
        birds.search(role.log_path, role.log())
    assert birds.hits == []


MALFORMED = ["{}", "nonsense {}", "amqp://u:{}@h:99999/", "amqp://u:{}@[h", "kafka://u:{}", "kafka://u:{}@", "sqs://{}@", "postgresql://u:{}@[h/x",
             "sqlite", "id=web hash={}", "id=web {}", "id={} hash=x tenant=t scopes=?", "{},{}", "\x01{}"]


def test_malformed_secrets_are_not_quoted(windlass, birds, tmp_path):
    definitions = tmp_path / "jobs.yaml"
    definitions.write_text('jobs:\n  one: {sql: "SELECT 1"}\n')
    canary = birds.new("value")
    for name in secret_settings(windlass):
        for form in MALFORMED:
            settings = {"WINDLASS_JOBS": definitions, "DATABASE_URL": f"sqlite:{tmp_path}/x.db", name: form.replace("{}", canary)}
            for command in (["check"], ["settings"], ["jobs", "list"]) if name != "BROKER_URL" else (["check"], ["settings"]):
                done = windlass.command(*command, check=False, **settings)
                birds.search(f"{name}={form}: {command}", done.stdout + done.stderr)
    assert birds.hits == []


def test_doctor_sees_open_files(windlass, tmp_path):
    told = row("Secrets", "doctor warns of secrets' files that every user may read", cases=0)
    definitions = tmp_path / "jobs.yaml"
    key = tmp_path / "client.key"
    key.write_text("key")
    definitions.write_text(f"""
targets:
  bank: {{url: "https://bank.example", tls: {{cert: {key}, key: {key}}}}}
jobs:
  # Bearer 0123456789abcdef in a comment is nobody's
  good: {{http: {{url: "https://bank.example/", headers: {{A: "Bearer ${{env.T}}"}}}}, env: [T]}}
  bad: {{http: {{url: "https://bank.example/", headers: {{A: "Bearer 0123456789abcdef"}}}}}}
  worse: {{http: {{url: "https://user:secret@bank.example/"}}}}
  trusted: {{exec: [cat], sandbox: off}}
  lost: {{exec: [cat], files: {{write: [nowhere]}}}}
""")
    url = tmp_path / "url"
    url.write_text(f"sqlite:{tmp_path}/windlass.db")
    settings = {"DATABASE_URL_FILE": url, "WINDLASS_JOBS": definitions}
    for path in (url, key):
        path.chmod(0o600)
    windlass.migrate(**settings)

    def ask():
        done = windlass.command("doctor", "--json", check=False, **settings)
        return done.returncode, {(f["finding"], f["text"]) for f in json.loads(done.stdout)}

    _, before = ask()
    assert not any(str(path) in text for path in (url, key, tmp_path / "windlass.db") for finding, text in before if finding != "good"), before
    for path, finding in ((url, "wrong"), (key, "wrong"), (tmp_path / "windlass.db", "doubtful")):
        path.chmod(0o604)
        code, said = ask()
        assert any(f == finding and f"chmod o-rwx {path}" in text for f, text in said), said
        assert code != 0 or finding == "doubtful"
        path.chmod(0o600)
        told["cases"] += 1
    texts = " ".join(text for _, text in before)
    lines = definitions.read_text().splitlines()
    for name in ("bad", "worse"):
        assert f"{definitions}:{1 + next(i for i, line in enumerate(lines) if line.strip().startswith(name))} seems to hold a secret" in texts
    assert texts.count("seems to hold a secret") == 2, texts
    assert "trusted has `sandbox: off`" in texts and "nowhere is not there" in texts
    assert "Landlock" in texts and "seccomp" in texts

# SPDX-License-Identifier: Apache-2.0
"""The command line: what each subcommand prints and the exit code it leaves (sysexits), against a running Windlass and without one."""

import json
import time

import pytest

from harness.gateway import make_key
from harness.ports import free_port
from harness.windlass import wait_for

USAGE, DATAERR, UNAVAILABLE, TEMPFAIL, NOPERM, CONFIG = 64, 65, 69, 75, 77, 78


@pytest.fixture
def cli(rig):
    """cli(arguments...) talks to the rig's gateway: CompletedProcess, unchecked."""
    return lambda *arguments, **more: rig.windlass.command(*arguments, check=False, WINDLASS_URL=rig.gateway.url, **more)


@pytest.fixture
def alone(windlass, tmp_path, engine_jobs):
    """The same without a server: settings as given."""
    url = f"sqlite:{tmp_path}/alone.db"
    nobody = f"http://127.0.0.1:{free_port()}"
    return lambda *arguments, **settings: windlass.command(
        *arguments, check=False, **{"DATABASE_URL": url, "WINDLASS_JOBS": engine_jobs, "WINDLASS_URL": nobody, **settings})


def test_enqueue_and_wait(rig, cli):
    rig.work()
    done = cli("enqueue", "put", '{"who":"me"}', "--wait")
    id, state = done.stdout.splitlines()[0].split()
    assert done.returncode == 0 and state == "completed" and json.loads(done.stdout.splitlines()[1]) == {"attempt": 1}
    assert rig.effects(id) == ["me"]
    refused = cli("enqueue", "refuse", "--wait=10s")
    assert refused.returncode == DATAERR and "not you" in refused.stderr and "discarded" in refused.stdout
    late = cli("enqueue", "nap", '{"ms":1500,"deaf":1}', "--wait=200ms")
    assert late.returncode == TEMPFAIL
    whole = cli("enqueue", "put", "-", "--json", "--wait", input='{"who":"piped"}')
    assert json.loads(whole.stdout)["payload"] == {"who": "piped"}


def test_enqueue_options(rig, cli):
    asked = ["--priority", "high", "--queue", "elsewhere", "--delay", "1h", "--unique", "u", "--tag", "a", "--tag", "b"]
    first = json.loads(cli("enqueue", "put", "{}", *asked, "--json").stdout)
    job = rig.api.get_job(first["id"])
    assert (job["state"], job["priority"], job["queue"], job["tags"]) == ("scheduled", "high", "elsewhere", ["a", "b"])
    again = cli("enqueue", "put", "{}", *asked)
    assert again.returncode == 0 and again.stdout.split()[0] == first["id"]
    at = cli("enqueue", "put", "--run-at", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600)))
    assert rig.api.get_job(at.stdout.split()[0])["state"] == "scheduled"


REFUSALS = [
    (["enqueue", "nobody"], DATAERR, "nobody"),
    (["enqueue", "put", '{"a":1,}'], DATAERR, "payload:1:"),
    (["enqueue", "put", "{}", "--queue", "nowhere"], DATAERR, "nowhere"),
    (["enqueue"], USAGE, "windlass help enqueue"),
    (["enqueue", "put", "{}", "--wait=soon"], USAGE, "soon"),
    (["enqueue", "put", "--colour"], USAGE, "--colour"),
    (["jobs", "show", "0193abcd-0000-7000-8000-000000000001"], DATAERR, ""),
    (["jobs", "show", "banana"], DATAERR, "banana"),
    (["jobs", "fire"], USAGE, "list"),
    (["queues", "pause"], USAGE, "pause NAME"),
    (["queues", "pause", "nowhere"], DATAERR, "names it"),
    (["quees"], USAGE, "queues"),
]


def test_refused(cli):
    for arguments, code, said in REFUSALS:
        done = cli(*arguments)
        assert done.returncode == code and said in done.stderr and not done.stdout, done


def test_jobs(rig, cli):
    worker = rig.work()
    dead = rig.run("fail", {"times": 1}, max_attempts=1)["id"]
    worker.stop()
    waiting = rig.api.enqueue("put", tags=["x"])
    listed = cli("jobs", "list", "--state", "discarded").stdout
    assert dead in listed and waiting not in listed and "attempt 1" in listed and listed.startswith("ID ")
    assert [j["id"] for j in json.loads(cli("jobs", "list", "--tag", "x", "--json").stdout)["items"]] == [waiting]
    assert len(json.loads(cli("jobs", "--limit", "1", "--json").stdout)["items"]) == 1
    shown = cli("jobs", "show", dead).stdout
    assert "discarded" in shown and dead in shown and '{"times":1}' in shown.replace(" ", "")
    assert json.loads(cli("jobs", "show", dead, "--json").stdout)["attempts"]
    cancelled = cli("jobs", "cancel", waiting, "--reason", "not wanted")
    assert cancelled.returncode == 0 and rig.api.get_job(waiting)["reason"] == "not wanted"
    assert cli("jobs", "cancel", waiting).returncode == DATAERR
    rig.work()
    assert cli("jobs", "retry", dead).returncode == 0
    assert rig.api.wait(dead)["state"] == "completed"


def test_queues(rig, cli):
    rig.api.enqueue("put")
    text = cli("queues").stdout
    assert text.split()[:2] == ["QUEUE", "PAUSED"] and "elsewhere" in text
    assert cli("queues", "pause", "default").returncode == 0
    state = lambda: {q["name"]: q for q in json.loads(cli("queues", "--json").stdout)["items"]}["default"]  # noqa: E731
    wait_for(lambda: state()["paused"] and state()["available"] == 1)
    assert cli("queues", "resume", "default").returncode == 0
    wait_for(lambda: not state()["paused"])


def test_keys(windlass, sqlite_url, engine_jobs):
    made = windlass.command("key", "new", "web", "--scopes", "enqueue:put,read", "--tenant", "acme").stdout.splitlines()
    key, line = made[1], made[4]
    assert key.startswith("wl_web_") and key not in line and "tenant=acme" in line
    assert windlass.command("key", "new", "web", "--scopes", "rule", check=False).returncode == USAGE
    other, other_line = make_key("look", "read")
    gateway = windlass.gateway(DATABASE_URL=sqlite_url, WINDLASS_JOBS=engine_jobs, WINDLASS_API_KEYS=f"{line};{other_line}")
    ask = lambda key, *arguments: windlass.command(  # noqa: E731
        *arguments, check=False, WINDLASS_URL=gateway.url, **({"WINDLASS_API_KEY": key} if key else {}))
    assert ask(key, "enqueue", "put").returncode == 0
    assert ask(other, "enqueue", "put").returncode == NOPERM
    nobody = ask(None, "enqueue", "put")
    assert nobody.returncode == NOPERM and "WINDLASS_API_KEY" in nobody.stderr


def test_nobody_answers(alone):
    for arguments in (["queues"], ["jobs"], ["enqueue", "put"]):
        done = alone(*arguments)
        assert done.returncode == UNAVAILABLE and "windlass run" in done.stderr, done


def test_help(windlass, alone):
    listed = alone("help")
    commands = [line.split()[0] for line in listed.stdout.splitlines() if line.startswith("  ")]
    assert listed.returncode == 0 and {"run", "gateway", "work", "host", "migrate", "check", "settings", "doctor", "enqueue", "jobs",
                                       "queues"} <= set(commands)
    for command in commands:
        assert alone("help", command).stdout.startswith(f"usage: windlass {command}")
    assert alone("--version").stdout.startswith("windlass ")
    nothing = windlass.command(check=False)
    assert nothing.returncode == USAGE and "usage" in nothing.stderr


def test_check_and_settings(alone, tmp_path):
    assert alone("check").returncode == 0
    assert json.loads(alone("check", "--schema").stdout)["properties"]["jobs"]
    bad = tmp_path / "bad.yaml"
    bad.write_text("jobs:\n  a: {sql: 'SELECT 1', retries: 3}\n")
    refused = alone("check", WINDLASS_JOBS=bad)
    assert refused.returncode == CONFIG and "bad.yaml:2:" in refused.stderr and "retries" in refused.stderr and "expected" in refused.stderr
    for role in ("run", "gateway", "work"):
        assert alone(role, WINDLASS_JOBS=bad).returncode == CONFIG
        setting = alone(role, WINDLASS_LEASE="soon")
        assert setting.returncode == CONFIG and "WINDLASS_LEASE=soon: " in setting.stderr
    unknown = alone("check", WINDLASS_LEESE="3s")
    assert unknown.returncode == CONFIG and "WINDLASS_LEESE" in unknown.stderr and "WINDLASS_LEASE" in unknown.stderr
    open_to_all = alone("check", WINDLASS_HTTP_LISTEN="0.0.0.0:8080")
    assert open_to_all.returncode == CONFIG and "windlass key new" in open_to_all.stderr
    settings = {row["name"]: row for row in json.loads(alone("settings", "--json", WINDLASS_LEASE="7s").stdout)}
    assert settings["WINDLASS_LEASE"]["value"] == "7s" and settings["WINDLASS_LEASE"]["default"] == "30s"
    assert "alone.db" not in json.dumps(settings["DATABASE_URL"])


def test_migrate(windlass, store_url):
    first = windlass.migrate(DATABASE_URL=store_url).stdout
    assert ", 0 applied" not in first and "schema" in first
    assert ", 0 applied" in windlass.migrate(DATABASE_URL=store_url).stdout
    away = f"postgresql://windlass@127.0.0.1:{free_port()}/x"
    assert windlass.command("migrate", check=False, DATABASE_URL=away).returncode == UNAVAILABLE
    assert windlass.command("migrate", check=False, DATABASE_URL="mysql://x").returncode == CONFIG


def findings(done):
    return {row["subject"]: row["finding"] for row in json.loads(done.stdout)}


def test_doctor(windlass, store_url, engine_jobs):
    ask = lambda **more: windlass.command(  # noqa: E731
        "doctor", "--json", check=False, **{"DATABASE_URL": store_url, "WINDLASS_JOBS": engine_jobs, **more})
    before = findings(ask())
    assert before["store"] == ("good" if store_url.startswith("sqlite") else "doubtful")  # not migrated
    windlass.migrate(DATABASE_URL=store_url)
    well = ask()
    assert well.returncode == 0 and findings(well)["store"] == "good" and "wrong" not in findings(well).values(), well.stdout
    assert ("clock" in findings(well)) == store_url.startswith("postgresql")
    ill = ask(WINDLASS_JOBS="/nonexistent.yaml")
    assert ill.returncode == CONFIG and findings(ill)["definitions"] == "wrong"
    assert findings(ask(WINDLASS_HTTP_LISTEN="0.0.0.0:80"))["access"] == "wrong"
    away = ask(DATABASE_URL=f"postgresql://windlass@127.0.0.1:{free_port()}/x")
    assert away.returncode == UNAVAILABLE and findings(away)["store"] == "wrong"
    table = windlass.command("doctor", DATABASE_URL=store_url, WINDLASS_JOBS=engine_jobs).stdout
    assert table.startswith("SUBJECT") and "definitions" in table


def test_host_says_why_a_module_is_no_good(windlass, tmp_path):
    broken = tmp_path / "broken.so"
    broken.write_text("not an object")
    done = windlass.command("host", "--module", str(broken), check=False, input="")
    assert done.returncode == CONFIG and "broken.so" in done.stdout + done.stderr

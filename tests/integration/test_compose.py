# SPDX-License-Identifier: Apache-2.0
"""docker-compose.yml and Dockerfile, as far as can be judged without Docker: what they name exists, fits together and is safe.

Not here, since they need other tools (docs/operations.md, "Containers"): the compose schema, and the Dockerfile's steps themselves."""

import json
import os
import re
import subprocess

import pytest
import yaml

from harness.windlass import ROOT, Windlass

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
ROLES = ("gateway", "work", "dispatch")
BROKERS = {"none": None, "rabbitmq": "rabbitmq", "kafka": "kafka", "sqs": "sqs"}
DOCKERFILE = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())


def stage(name):
    """The instructions of a stage and of those that it stands on."""
    begin = re.search(rf"^FROM (\S+) AS {name}$", DOCKERFILE, re.M)
    own = DOCKERFILE[begin.end():].split("\nFROM ")[0].splitlines()
    below = stage(begin[1]) if re.search(rf" AS {begin[1]}$", DOCKERFILE, re.M) else []
    return below + [line.split(" ", 1) for line in own if re.match(r"[A-Z]+ ", line)]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docker") / "secrets"
    for _ in range(2):  # the second run changes nothing
        subprocess.run([ROOT / "docker/make-secrets", folder], check=True, stdout=subprocess.PIPE)
        texts = {file.name: file.read_text() for file in folder.iterdir()}
    assert texts == {file.name: file.read_text() for file in folder.iterdir()}
    assert folder.stat().st_mode & 0o777 == 0o700
    return folder


def secret_file(name, profile):
    path = COMPOSE["secrets"][name]["file"].replace("${COMPOSE_PROFILES:-none}", profile)
    assert path.startswith("./docker/secrets/") and "$" not in path
    return path.rsplit("/", 1)[1]


@pytest.mark.parametrize("profile", BROKERS)
def test_every_secret_is_made(secrets, profile):
    for service in SERVICES.values():
        for use in service.get("secrets", []):
            name = use if isinstance(use, str) else use["source"]
            assert (secrets / secret_file(name, profile)).stat().st_mode & 0o777 == 0o444


def test_no_password_stands_in_the_file(secrets):
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|API_KEYS|_URL", key) and not key.startswith("AWS_"):
                assert key.endswith("_FILE") and value.removeprefix("/run/secrets/") in service["secrets"], (name, key)
    assert "/docker/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_names_meet():
    assert set(COMPOSE["volumes"]) == {v.split(":")[0] for s in SERVICES.values() for v in s.get("volumes", []) if not v.startswith("./")}
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy" and "healthcheck" in SERVICES[other], (name, other)
            assert how.get("required", True) or SERVICES[other]["profiles"] == [other]
        for config in service.get("configs", []):
            assert COMPOSE["configs"][config["source"]]["content"]
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).is_file()
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert not re.search(r":latest$|^[^:]+$", service["image"]), name
    assert set(SERVICES["dispatch"]["profiles"]) == set(BROKERS) - {"none"}


def test_roles_are_bounded_and_scale():
    for name in ROLES:
        role = SERVICES[name]
        assert role["command"] == [name] and role["read_only"] and role["cap_drop"] == ["ALL"] and role["init"]
        assert role["healthcheck"]["test"][1:] == ["/usr/lib/windlass/ready"]
        assert "container_name" not in role and "hostname" not in role
        assert role["build"]["target"] in re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.M)
        if name != "gateway":
            assert "ports" not in role
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["gateway"]["ports"])


@pytest.mark.parametrize("profile", BROKERS)
def test_settings_are_taken(secrets, profile):
    """What the containers get in their environment passes `windlass check`, and names the broker of the profile."""
    for name in ROLES if profile != "none" else ("gateway", "work"):
        env = {"PATH": os.environ["PATH"], "WINDLASS_JOBS": str(Windlass.binary.parent / "jobs/jobs.yaml")}
        for key, value in SERVICES[name]["environment"].items():
            if value.startswith("/run/secrets/"):
                value = str(secrets / secret_file(value.rpartition("/")[2], profile))
            env[key] = value
        done = subprocess.run([Windlass.binary, "check"], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, (name, done.stdout)
    url = (secrets / f"broker_url.{profile}").read_text()
    assert (BROKERS[profile] or "\n") in url


def test_the_key_opens_the_gateway(secrets, windlass, sqlite_url):
    gateway = windlass.gateway(DATABASE_URL=sqlite_url, WINDLASS_API_KEYS_FILE=secrets / "api_keys")
    assert gateway.api((secrets / "api_key").read_text().strip()).get("/v1/queues").status_code == 200
    assert gateway.api().get("/v1/queues").status_code == 401
    health = subprocess.run([ROOT / "docker/ready"], env={"WINDLASS_ADMIN_LISTEN": gateway.url.removeprefix("http://")})
    assert health.returncode == 0
    gateway.stop()
    health = subprocess.run([ROOT / "docker/ready"], env={"WINDLASS_ADMIN_LISTEN": gateway.url.removeprefix("http://")},
                            stderr=subprocess.DEVNULL)
    assert health.returncode != 0


def test_image_is_not_root_and_is_asked():
    for name in ("windlass", "example"):
        last = dict(stage(name))
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])
        assert json.loads(last["ENTRYPOINT"]) == ["windlass"] and "/usr/lib/windlass/ready" in last["HEALTHCHECK"]
    assert os.access(ROOT / "docker/ready", os.X_OK)
    ignore = (ROOT / ".dockerignore").read_text()
    for source in re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.M):
        assert source == "." or f"!{source}\n" in ignore

# SPDX-License-Identifier: Apache-2.0
"""/openapi.json says what is there: valid, the same routes as the table, and answers look as it says."""

import json
import re
import subprocess

import jsonschema
import openapi_spec_validator
import pytest

from harness.gateway import start, uuid7
from harness.windlass import ROOT

DOCUMENT = json.loads((ROOT / "producers/gateway/openapi.json").read_text())


def test_document_is_valid():
    openapi_spec_validator.validate(DOCUMENT)


def test_document_has_the_table_s_rows():
    text = (ROOT / "producers/gateway/routes.c").read_text()
    rows = {(method, path) for method, path in re.findall(r'\{\s*"([A-Z]+)",\s*"([^"]+)"', text)}
    described = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert rows == described and len(rows) >= 15


@pytest.fixture
def api(windlass, sqlite_url):
    return start(windlass, sqlite_url).api()


def resolve(node):
    while "$ref" in node:
        target = DOCUMENT
        for part in node["$ref"].lstrip("#/").split("/"):
            target = target[part]
        node = target
    return node


def check(answer, method, path):
    """The answer is one that the document describes."""
    responses = DOCUMENT["paths"][path][method]["responses"]
    described = resolve(responses[str(answer.status_code)])
    media = answer.headers["Content-Type"].split(";")[0]
    schema = described["content"][media]["schema"]
    if "json" in media:
        jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(answer.json())
    return answer


def test_answers_are_as_described(api):
    id = check(api.post_job("note.add", {"who": "x"}, tags=["t"]), "post", "/v1/jobs").json()["id"]
    check(api.post_job("nobody"), "post", "/v1/jobs")
    check(api.post("/v1/jobs", data="{", headers={"Content-Type": "application/json"}), "post", "/v1/jobs")
    check(api.post("/v1/jobs/batch", json=[{"type": "mail.send"}]), "post", "/v1/jobs/batch")
    check(api.get("/v1/jobs?limit=1"), "get", "/v1/jobs")
    check(api.get(f"/v1/jobs/{id}"), "get", "/v1/jobs/{id}")
    check(api.get(f"/v1/jobs/{uuid7()}"), "get", "/v1/jobs/{id}")
    check(api.post(f"/v1/jobs/{id}/copy"), "post", "/v1/jobs/{id}/copy")
    for _ in range(2):
        check(api.post(f"/v1/jobs/{id}/cancel"), "post", "/v1/jobs/{id}/cancel")
    check(api.get(f"/v1/jobs/{id}"), "get", "/v1/jobs/{id}")
    check(api.post(f"/v1/jobs/{id}/retry"), "post", "/v1/jobs/{id}/retry")
    check(api.post("/v1/jobs/redrive", json={"dry_run": True}), "post", "/v1/jobs/redrive")
    check(api.get("/v1/queues"), "get", "/v1/queues")
    check(api.get("/v1/targets"), "get", "/v1/targets")
    check(api.get("/v1/workers"), "get", "/v1/workers")
    check(api.get(f"/v1/jobs?before={id}"), "get", "/v1/jobs")
    check(api.get(f"/v1/jobs?before={id}&cursor=x"), "get", "/v1/jobs")
    check(api.get("/graphql?query={__typename}"), "get", "/graphql")
    check(api.post("/graphql", json={"query": "{ nope }"}), "post", "/graphql")
    check(api.get("/graphql?nope=1"), "get", "/graphql")
    check(api.post("/v1/queues/notes/pause"), "post", "/v1/queues/{name}/pause")
    check(api.post("/v1/queues/notes/resume"), "post", "/v1/queues/{name}/resume")
    for of, name in (("queues", "notes"), ("queues", "nope"), ("types", "nope")):
        check(api.get(f"/v1/{of}/{name}/limits"), "get", f"/v1/{of}/{{name}}/limits")
    body = {"concurrency": 3, "rate": "90/m", "per_key": {"concurrency": "none"}, "fair": True, "weights": {"a": 2}}
    check(api.request("PUT", "/v1/queues/notes/limits", json=body), "put", "/v1/queues/{name}/limits")
    check(api.request("PUT", "/v1/queues/notes/limits", json={}), "put", "/v1/queues/{name}/limits")
    check(api.request("PUT", "/v1/queues/notes/limits", json={"rate": 1}), "put", "/v1/queues/{name}/limits")
    check(api.get("/v1/limits"), "get", "/v1/limits")
    for path in ("/metrics", "/healthz", "/readyz", "/openapi.json"):
        check(api.get(path), "get", path)
    assert api.get("/openapi.json").json() == DOCUMENT


@pytest.mark.timeout(420)
def test_schemathesis(windlass, sqlite_url, tmp_path):
    """Generated requests get no 5xx and only answers that the document describes."""
    gateway = start(windlass, sqlite_url)
    command = ["python", "-m", "schemathesis.cli", "run", gateway.url + "/openapi.json", "--experimental=openapi-3.1", "--exclude-path-regex=/events$",  # streams do not end
               "--hypothesis-max-examples=15", "--hypothesis-seed=1", "--hypothesis-suppress-health-check=all",
               "-c", "not_a_server_error", "-c", "status_code_conformance", "-c", "content_type_conformance",
               "-c", "response_schema_conformance", "-c", "response_headers_conformance"]
    command[0] = __import__("sys").executable
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-6000:]

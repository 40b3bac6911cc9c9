# SPDX-License-Identifier: Apache-2.0
"""POST and GET /graphql: the same jobs as over REST, errors that say the same, GraphQL over HTTP, the limits, the allow-list."""

import asyncio
import hashlib
import json
import time

import gql
import pytest
import websockets.sync.client
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport

from harness.gateway import make_key, start, uuid7

GRAPHQL = "application/graphql-response+json"
JOB = "query ($id: ID!) { job(id: $id) { id state type queue priority attempt payload tags cancelAsked attempts { attempt } } }"
ENQUEUE = "mutation ($in: EnqueueInput!, $key: String) { enqueue(input: $in, idempotencyKey: $key) { id state type queue uniqueConflict watchToken } }"


def ask(api, query, variables=None, status=200, **more):
    answer = api.post("/graphql", json={"query": query, "variables": variables, **more})
    assert answer.status_code == status, answer.text
    return answer.json()


def good(api, query, variables=None, **more):
    answer = ask(api, query, variables, **more)
    assert "errors" not in answer, answer
    return answer["data"]


def enqueue(api, type="note.add", **fields):
    return good(api, ENQUEUE, {"in": {"type": type, **fields}})["enqueue"]


@pytest.fixture
def api(store_url, windlass):
    return start(windlass, store_url).api()


def test_jobs_in_and_out(api):
    payload = {"who": "x", "deep": [1, 2.5, None, {"y": True}]}
    told = enqueue(api, payload=payload, tags=["a"], priority="HIGH", delay="1h")
    assert told["state"] == "SCHEDULED" and told["uniqueConflict"] is False and told["watchToken"]
    job = good(api, JOB, {"id": told["id"]})["job"]
    assert job["payload"] == payload and job["tags"] == ["a"] and job["priority"] == "HIGH" and job["attempts"] == []
    rest = api.get_job(told["id"])
    assert rest["payload"] == payload and rest["priority"] == "high"
    queues = good(api, "{ queues { name paused available scheduled } }")["queues"]
    assert {"name": told["queue"], "paused": False, "available": 0, "scheduled": 1} in queues
    assert good(api, "{ workers { id host pid } }") == {"workers": []}
    ended = good(api, 'mutation ($id: ID!) { cancel(id: $id, reason: "no more") { id state cancelAsked } }', {"id": told["id"]})["cancel"]
    assert ended == {"id": told["id"], "state": "CANCELLED", "cancelAsked": False}
    assert good(api, "mutation ($id: ID!) { retry(id: $id) { state } }", {"id": told["id"]})["retry"]["state"] in ("AVAILABLE", "SCHEDULED")


def test_chains(api):
    first = enqueue(api, payload={"who": "x"}, delay="1h")["id"]
    told = good(api, "mutation ($in: EnqueueInput!) { enqueue(input: $in) { id state then } }",
                {"in": {"type": "note.add", "payload": {"who": "y"}, "after": {"it": first}, "then": {"type": "note.add", "payload": {"who": "z"}}}})["enqueue"]
    assert told["state"] == "WAITING"
    after = good(api, "query ($id: ID!) { job(id: $id) { after } }", {"id": told["id"]})["job"]["after"]
    assert [(edge["name"], edge["id"]) for edge in after] == [("it", first)]
    assert api.get_job(told["then"][0]["id"])["state"] == "waiting"
    errors = ask(api, ENQUEUE, {"in": {"type": "note.add", "payload": {"who": "x"}, "after": [uuid7()]}})["errors"]
    assert "no-such-job" in json.dumps(errors)


def test_schedules(api):
    for name in ("b", "a"):
        definition = {"every": "1h", "job": "note.add", "payload": {"who": "x"}}
        assert api.request("PUT", f"/v1/schedules/{name}", json=definition).status_code in (200, 201)
    query = "query ($n: Int!, $after: String) { schedules(first: $n, after: $after) { name tenant origin paused next last changed definition } }"
    first = good(api, query, {"n": 1})["schedules"]
    assert [(s["name"], s["origin"], s["paused"], s["last"]) for s in first] == [("a", "API", False, None)]
    assert first[0]["next"] and first[0]["definition"]["every"] == "1h"
    assert [s["name"] for s in good(api, query, {"n": 5, "after": "a"})["schedules"]] == ["b"]
    assert "limit" in json.dumps(ask(api, query, {"n": 0})["errors"])


def test_pages(api):
    ids = [enqueue(api, payload={"who": str(n)}, delay="1h", tags=["p"])["id"] for n in range(5)]
    query = """query ($after: String) { jobs(first: 2, after: $after, tag: "p") {
        edges { cursor node { id payload } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
    seen, after = [], None
    while True:
        page = good(api, query, {"after": after})["jobs"]
        seen += [edge["node"]["id"] for edge in page["edges"]]
        assert all(edge["node"]["payload"] == {"who": str(ids.index(edge["node"]["id"]))} for edge in page["edges"])
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == sorted(ids, reverse=True)
    assert good(api, "{ jobs(state: CANCELLED) { nodes { id } } }")["jobs"]["nodes"] == []
    wrong = ask(api, "{ jobs(first: 5000) { nodes { id } } }")
    assert wrong["errors"][0]["extensions"] == {"code": "bad-parameter", "status": 400} and wrong["data"] == {"jobs": None}


def test_errors_say_what_rest_says(api):
    unknown = ask(api, JOB, {"id": uuid7()})
    assert unknown["data"] == {"job": None}
    assert unknown["errors"] == [{"message": "there is no such job", "path": ["job"], "locations": [{"line": 1, "column": 20}], "extensions": {"code": "unknown-job", "status": 404}}]
    refused = ask(api, ENQUEUE, {"in": {"type": "mail.send", "maxAttempts": 0}})["errors"][0]
    rest = api.post_job("mail.send", max_attempts=0)
    assert refused["extensions"]["status"] == rest.status_code == 422
    assert refused["message"] == rest.json()["detail"] and refused["extensions"]["errors"] == rest.json()["errors"]
    assert ask(api, ENQUEUE, {"in": {"type": "nobody"}})["errors"][0]["extensions"]["code"] == "unknown-type"
    both = ask(api, 'mutation { a: cancel(id: "x") { id } b: enqueue(input: { type: "note.add", payload: { who: "x" } }) { state } }')
    assert both["data"]["a"] is None and both["data"]["b"] and both["errors"][0]["path"] == ["a"]


def test_idempotency(api):
    variables = {"in": {"type": "note.add", "payload": {"who": "y"}}, "key": "once"}
    first, second = (good(api, ENQUEUE, variables)["enqueue"] for _ in range(2))
    assert first["id"] == second["id"]
    variables["in"]["payload"] = {"who": "z"}
    assert ask(api, ENQUEUE, variables)["errors"][0]["extensions"]["status"] == 422


def test_over_http(api):
    query = "{ queues { name } }"
    for accept, media in ((None, GRAPHQL), ("*/*", GRAPHQL), ("application/json", "application/json"), (f"{GRAPHQL}, application/json;q=0.9", GRAPHQL)):
        answer = api.post("/graphql", json={"query": query}, headers={"Accept": accept})
        assert answer.status_code == 200 and answer.headers["Content-Type"].split(";")[0] == media
    got = api.get("/graphql", params={"query": "query ($n: Int!) { jobs(first: $n) { nodes { id } } }", "variables": '{"n": 1}'})
    assert got.status_code == 200 and got.json() == {"data": {"jobs": {"nodes": []}}}
    refused = api.get("/graphql", params={"query": "mutation { retry(id: 1) { id } }"})
    assert refused.status_code == 405 and refused.headers["Allow"] == "POST"
    for body in ("{", "[]", '[{"query": "{ __typename }"}]', "{}", '{"query": 1}', '{"query": "{ __typename }", "variables": []}'):
        assert api.post("/graphql", data=body, headers={"Content-Type": "application/json"}).status_code == 400, body
    assert api.post("/graphql", data=query, headers={"Content-Type": "application/graphql"}).status_code == 415
    assert api.post("/graphql", json={"query": query}, headers={"Accept": "image/png"}).status_code == 406
    wrong = api.post("/graphql", json={"query": "{ nope }"}, headers={"Accept": "application/json"})
    assert wrong.status_code == 200 and "data" not in wrong.json()
    assert ask(api, "{ nope }", status=400)["errors"][0]["message"] == "Cannot query field 'nope' on type 'Query'."
    two = "query A { __typename } query B { queues { name } }"
    assert ask(api, two, status=400)["errors"][0]["message"].startswith("Must provide operation name")
    assert good(api, two, operationName="A") == {"__typename": "Query"}


def hostile():
    yield "aliases", "{ " + " ".join(f"a{n}: __typename" for n in range(21)) + " }"
    yield "a thousand aliases", "{ " + " ".join(f"a{n}: queues {{ name }}" for n in range(1000)) + " }"
    yield "deep", "{ job(id: 1) " + "{ a " * 1000 + "}" * 1000 + " }"
    yield "eleven deep", "{ a " * 11 + "}" * 11
    yield "cycle", "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"
    yield "doubling", "{ ...F0 } " + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(60)) + " fragment F60 on Query { __typename }"
    yield "deep list", '{ job(id: ' + "[" * 1000 + "]" * 1000 + ") { id } }"
    yield "same field", "{ " + "queues { name } " * 300 + "}"
    yield "introspection", "{ __schema { types " + "{ ofType " * 25 + "{ name } " + "}" * 27
    yield "words", "{ __typename " + "# x\n" * 5000 + "@skip(if: false) " * 700 + "}"


def test_hostile_documents(windlass, sqlite_url):
    """Refused before they cost anything: a few milliseconds on a machine of one's own."""
    api = start(windlass, sqlite_url).api()
    for name, query in hostile():
        began = time.perf_counter()
        answer = api.post("/graphql", json={"query": query})
        assert answer.status_code == 400 and "data" not in answer.json(), f"{name}: {answer.text[:300]}"
        assert time.perf_counter() - began < 5, name
    assert good(api, "{ " + "queues { name } " * 240 + "}")["queues"]


def test_introspection_can_be_off(windlass, sqlite_url):
    key, line = make_key("shop", "enqueue,read")
    api = start(windlass, sqlite_url, WINDLASS_API_KEYS=line).api(key)
    hidden = ask(api, "{ __schema { types { name } } }", status=400)["errors"][0]["message"]
    assert "introspection has been disabled" in hidden
    assert ask(api, "{ queue { name } }", status=400)["errors"][0]["message"] == "Cannot query field 'queue' on type 'Query'."  # no hint
    assert good(api, "{ __typename }") == {"__typename": "Query"}


def test_keys_and_scopes(windlass, sqlite_url):
    (writer, line1), (reader, line2) = make_key("writer", "enqueue:note.*", tenant="a"), make_key("reader", "read", tenant="b")
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=f"{line1};{line2}", WINDLASS_GRAPHQL_INTROSPECTION="on")
    assert gateway.api().post("/graphql", json={"query": "{ __typename }"}).status_code == 401
    told = enqueue(gateway.api(writer), payload={"who": "x"})
    denied = ask(gateway.api(writer), ENQUEUE, {"in": {"type": "mail.send"}})["errors"][0]["extensions"]
    assert denied["status"] == 403 and denied["code"] == "not-in-scope"
    assert ask(gateway.api(reader), JOB, {"id": told["id"]})["errors"][0]["extensions"]["code"] == "unknown-job"
    assert ask(gateway.api(reader), "{ workers { id } queues { name } }")["data"]["workers"] is None
    assert ask(gateway.api(reader), ENQUEUE, {"in": {"type": "note.add"}})["errors"][0]["extensions"]["status"] == 403


def test_only_stored_documents(windlass, sqlite_url, tmp_path):
    query = "{ queues { name } }"
    digest = hashlib.sha256(query.encode()).hexdigest()
    (tmp_path / "documents.json").write_text(json.dumps({digest: query}))
    api = start(windlass, sqlite_url, WINDLASS_GRAPHQL_DOCUMENTS=str(tmp_path / "documents.json")).api()
    for body in ({"query": query}, {"documentId": f"sha256:{digest}"}, {"documentId": digest.upper()}, {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest}}}):
        assert api.post("/graphql", json=body).status_code == 200, body
    for body in ({"query": "{ __typename }"}, {"documentId": "sha256:" + "0" * 64}, {"documentId": "x"}, {"query": "{ __typename }", "documentId": digest}):
        answer = api.post("/graphql", json=body)
        assert answer.status_code == 400 and answer.json()["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND", body


def test_stock_client(windlass, sqlite_url):
    """gql, which reads the schema first."""
    api = start(windlass, sqlite_url).api()

    async def talk():
        async with gql.Client(transport=AIOHTTPTransport(url=api.url + "/graphql"), fetch_schema_from_transport=True) as session:
            told = await session.execute(gql.GraphQLRequest(ENQUEUE, variable_values={"in": {"type": "note.add", "payload": {"who": "n"}}}))
            job = await session.execute(gql.GraphQLRequest(JOB, variable_values={"id": told["enqueue"]["id"]}))
            assert job["job"]["payload"] == {"who": "n"}
            with pytest.raises(TransportQueryError, match="no such job"):
                await session.execute(gql.GraphQLRequest(JOB, variable_values={"id": uuid7()}))

    asyncio.run(talk())


# ---- subscriptions


def events(answer):
    """Of a stream of Server-Sent Events: (event, data) as they come."""
    event, data = None, None
    for line in answer.iter_lines(decode_unicode=True):
        name, _, value = line.partition(":")
        event, data = (value.strip(), data) if name == "event" else (event, value.strip()) if name == "data" else (event, data)
        if not line and event:
            yield event, json.loads(data) if data else None
            event, data = None, None


WATCH = "subscription ($id: ID, $queue: String) { jobEvents(id: $id, queue: $queue) { eventId job { id state cancelAsked } } }"


@pytest.mark.parametrize("method", ["post", "get"])
def test_subscription_over_sse(windlass, sqlite_url, method):
    key, line = make_key("shop", "admin")
    api = start(windlass, sqlite_url, WINDLASS_API_KEYS=line).api(key)
    id = enqueue(api, payload={"who": "x"})["id"]
    if method == "post":
        stream = api.post("/graphql", json={"query": WATCH, "variables": {"id": id}}, headers={"Accept": "text/event-stream"}, stream=True)
    else:  # as an EventSource would
        api.session.headers.pop("Authorization")
        stream = api.get("/graphql", params={"query": WATCH, "variables": json.dumps({"id": id}), "token": key}, headers={"Accept": "text/event-stream"}, stream=True)
        api.session.headers["Authorization"] = f"Bearer {key}"
    assert stream.status_code == 200 and stream.headers["Content-Type"].startswith("text/event-stream"), stream.text
    came = events(stream)
    event, first = next(came)
    assert event == "next" and first["data"]["jobEvents"]["job"] == {"id": id, "state": "AVAILABLE", "cancelAsked": False}
    good(api, "mutation ($id: ID!) { cancel(id: $id) { state } }", {"id": id})
    states = []
    for event, data in came:
        if event == "complete":
            break
        states.append(data["data"]["jobEvents"]["job"]["state"])
    assert states[-1] == "CANCELLED"


def test_subscription_by_queue(windlass, sqlite_url):
    api = start(windlass, sqlite_url).api()
    stream = api.post("/graphql", json={"query": WATCH, "variables": {"queue": "notes"}}, headers={"Accept": "text/event-stream"}, stream=True)
    other = api.__class__(api.url)
    id = enqueue(other, payload={"who": "x"})["id"]
    event, data = next(events(stream))
    assert event == "next" and data["data"]["jobEvents"]["job"]["id"] == id
    stream.close()


def test_subscriptions_refused(windlass, sqlite_url):
    api = start(windlass, sqlite_url).api()
    sse = {"Accept": "text/event-stream"}
    assert api.post("/graphql", json={"query": WATCH, "variables": {"queue": "x"}}).status_code == 400
    for variables in ({}, {"id": uuid7(), "queue": "x"}, {"id": "x"}, {"queue": "no name!"}):
        answer = api.post("/graphql", json={"query": WATCH, "variables": variables}, headers=sse)
        assert answer.status_code == 400 and answer.json()["errors"], variables
    assert api.post("/graphql", json={"query": WATCH, "variables": {"id": uuid7()}}, headers=sse).status_code == 404
    once = api.post("/graphql", json={"query": "{ queues { name } }"}, headers=sse)
    assert [event for event, _ in events(once)] == ["next", "complete"]


def test_over_a_websocket(windlass, sqlite_url):
    """gql again: query, mutation and subscription over one socket, the key in connection_init."""
    key, line = make_key("shop", "admin")
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=line)
    url = gateway.url.replace("http://", "ws://") + "/v1/ws"

    async def talk():
        transport = WebsocketsTransport(url=url, subprotocols=["graphql-transport-ws"], init_payload={"token": key})
        async with gql.Client(transport=transport) as session:
            told = await session.execute(gql.GraphQLRequest(ENQUEUE, variable_values={"in": {"type": "note.add", "payload": {"who": "n"}}}))
            id, states = told["enqueue"]["id"], []
            assert (await session.execute(gql.GraphQLRequest(JOB, variable_values={"id": id})))["job"]["payload"] == {"who": "n"}
            async for event in session.subscribe(gql.GraphQLRequest(WATCH, variable_values={"id": id})):
                states.append(event["jobEvents"]["job"]["state"])
                if len(states) == 1:
                    await session.execute(gql.GraphQLRequest("mutation ($id: ID!) { cancel(id: $id) { state } }", variable_values={"id": id}))
            assert states[0] == "AVAILABLE" and states[-1] == "CANCELLED"
            with pytest.raises(TransportQueryError, match="Cannot query field"):
                await session.execute(gql.GraphQLRequest("{ nope }"))

    asyncio.run(talk())


@pytest.mark.parametrize("said,code", [
    (['{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}}'], 4401),
    (['{"type": "connection_init", "payload": {"token": "wl_shop_wrong"}}'], 4403),
    (['{"type": "connection_init"}'], 4403),
    (["{"], 4400), (["[]"], 4400), (['{"type": "hello"}'], 4400),
    (["INIT", '{"type": "subscribe", "id": 1, "payload": {}}'], 4400),
    (["INIT", "INIT"], 4429),
    (["INIT", "WATCH", "WATCH"], 4409),
])
def test_wrong_words_over_a_websocket(windlass, sqlite_url, said, code):
    key, line = make_key("shop", "admin")
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=line)
    words = {"INIT": json.dumps({"type": "connection_init", "payload": {"token": key}}),
             "WATCH": json.dumps({"type": "subscribe", "id": "w", "payload": {"query": WATCH, "variables": {"queue": "notes"}}})}
    with websockets.sync.client.connect(gateway.url.replace("http://", "ws://") + "/v1/ws", subprotocols=["graphql-transport-ws"]) as ws:
        for word in said:
            ws.send(words.get(word, word))
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            while True:
                ws.recv(timeout=20)
    assert ws.close_code == code

# SPDX-License-Identifier: Apache-2.0
"""JSON Web Tokens of the application's own issuer: what is taken, every way in which one is refused, whose jobs are whose,
and what happens when the keys change or their endpoint is away."""

import hashlib
import hmac
import json
import signal
import time

import jwt
import pytest

from harness.gateway import make_key, start
from harness.issuer import AUDIENCE, NAME, Issuer, Key, b64, claims, raw_token, token

RSA, PSS, EC = Key("r1"), Key("p1", "PS256"), Key("e1", "ES256")
EC384, OTHER = Key("e3", "ES384"), Key("r1")  # OTHER: somebody else's key under a kid of ours


@pytest.fixture(scope="module")
def issuer():
    made = Issuer(RSA, PSS, EC, EC384, Key("weak", bits=1024), Key("ed", "EdDSA"),
                  {"kty": "oct", "k": b64("s" * 32), "kid": "shared", "alg": "HS256"}, Key("enc", use="enc"))
    yield made
    made.close()


def wait_keys(gateway, key=RSA):
    """Until the gateway has the issuer's keys."""
    deadline = time.monotonic() + 10
    while gateway.api(token(key)).get("/v1/jobs").status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return gateway


@pytest.fixture
def gateway(windlass, sqlite_url, issuer):
    return wait_keys(start(windlass, sqlite_url, **issuer.settings()))


def ask(gateway, text):
    return gateway.api(text).get("/v1/jobs")


@pytest.mark.parametrize("key", [RSA, PSS, EC, EC384], ids=lambda k: k.alg)
def test_good_tokens(gateway, key):
    for text in (token(key), token(key, aud=[AUDIENCE, "other"]), token(key, exp=int(time.time()) - 50), token(key, nbf=int(time.time()) + 50),
                 token(key, headers={"typ": "at+jwt"}), token(key, iat=None)):
        for _ in range(2):  # checked, and remembered
            assert ask(gateway, text).status_code == 200, (jwt.get_unverified_header(text), ask(gateway, text).text)


def attacks():
    now = int(time.time())
    head = {"alg": "RS256", "typ": "JWT", "kid": "r1"}
    good = token(RSA)
    first, middle, last = good.split(".")

    def signed(header, payload):
        part = f"{b64(header)}.{b64(payload)}"
        return f"{part}.{b64(RSA.private.sign(part.encode(), jwt.algorithms.padding.PKCS1v15(), jwt.algorithms.hashes.SHA256()))}"

    def mac(header, secret):
        part = f"{b64(header)}.{b64(claims())}"
        return f"{part}.{b64(hmac.new(secret, part.encode(), hashlib.sha256).digest())}"

    yield "another's key, our kid", token(OTHER)
    yield "wrong issuer", token(RSA, iss="https://evil.example")
    yield "issuer with a slash", token(RSA, iss=NAME + "/")
    yield "no issuer", token(RSA, iss=None)
    yield "wrong audience", token(RSA, aud="other")
    yield "wrong audiences", token(RSA, aud=["other", AUDIENCE + "x"])
    yield "no audience", token(RSA, aud=None)
    yield "expired, leeway included", token(RSA, exp=now - 61)
    yield "no expiry", token(RSA, exp=None)
    yield "expiry is text", signed(head, {**claims(), "exp": str(now + 600)})
    yield "not yet", token(RSA, nbf=now + 75)
    yield "from the future", token(RSA, iat=now + 75)
    yield "none", raw_token({"alg": "none", "typ": "JWT"}, claims(), "")
    yield "none with kid", raw_token({**head, "alg": "none"}, claims(), "")
    yield "None", raw_token({**head, "alg": "None"}, claims(), last)
    yield "HS256 with the public key", mac({**head, "alg": "HS256"}, RSA.pem())
    yield "HS256 with the JWK's n", mac({**head, "alg": "HS256"}, RSA.jwk["n"].encode())
    yield "HS256 with a shared key of the set", mac({**head, "alg": "HS256", "kid": "shared"}, b"s" * 32)
    yield "RS256 by a key for PS256", jwt.encode(claims(), PSS.private, "RS256", headers={"kid": "p1"})
    yield "PS256 by a key for RS256", jwt.encode(claims(), RSA.private, "PS256", headers={"kid": "r1"})
    yield "RS384 by a key for RS256", jwt.encode(claims(), RSA.private, "RS384", headers={"kid": "r1"})
    yield "an EC key for an RSA kid", jwt.encode(claims(), EC.private, "ES256", headers={"kid": "r1"})
    yield "kid is a path", token(RSA, headers={"kid": "../../etc/passwd"})
    yield "kid is SQL", token(RSA, headers={"kid": "' OR 1=1 --"})
    yield "kid is no text", signed({**head, "kid": 1}, claims())
    yield "no kid among many keys", signed({"alg": "RS256"}, claims())
    yield "embedded jwk", jwt.encode(claims(), OTHER.private, "RS256", headers={"kid": "r1", "jwk": OTHER.jwk})
    yield "embedded jwk, well signed", signed({**head, "jwk": RSA.jwk}, claims())
    yield "jku", signed({**head, "jku": "http://127.0.0.1:1/"}, claims())
    yield "x5u", signed({**head, "x5u": "http://127.0.0.1:1/"}, claims())
    yield "x5c", signed({**head, "x5c": ["MA=="]}, claims())
    yield "crit", signed({**head, "crit": ["exp"]}, claims())
    yield "b64", signed({**head, "b64": False}, claims())
    yield "another kind of token", signed({**head, "typ": "logout+jwt"}, claims())
    yield "weak key", token(Key("weak", bits=1024))
    yield "key for encryption", token(Key("enc"))
    yield "EdDSA", token(Key("ed", "EdDSA"))
    yield "two iss", signed(head, json.dumps(claims())[:-1] + ', "iss": "https://evil.example"}')
    yield "two iss, the last is right", signed(head, '{"iss": "https://evil.example", ' + json.dumps(claims())[1:])
    yield "two alg", signed('{"alg":"none","alg":"RS256","kid":"r1"}', claims())
    yield "two kid", signed('{"alg":"RS256","kid":"x","kid":"r1"}', claims())
    yield "payload is a list", signed(head, [claims()])
    yield "header is a list", signed([head], claims())
    yield "payload is no JSON", signed(head, "{")
    yield "changed payload", f"{first}.{b64(claims(sub='eve'))}.{last}"
    yield "no signature", f"{first}.{middle}."
    yield "short signature", f"{first}.{middle}.{last[:-4]}"
    yield "padded", f"{first}.{middle}.{last}=="
    yield "plain base64", f"{first}.{middle}.{last[:-2]}+/"
    yield "blank inside", f"{first}.{middle[:8]} {middle[8:]}.{last}"
    yield "four parts", good + ".x"
    yield "two parts", f"{first}.{middle}"
    yield "empty parts", ".."
    yield "left-over bits", f"{first}.{middle}.{last[:-1]}" + chr(ord(last[-1]) + (1 if last[-1] not in "9Zz-_" else -1))
    yield "too long", token(RSA, junk="x" * 8000)
    yield "nobody", token(RSA, sub=None)
    yield "empty sub", token(RSA, sub="")
    yield "sub is a number", signed(head, {**claims(), "sub": 7})
    yield "sub of a source", token(RSA, sub="source:partner")
    yield "sub of SQL", token(RSA, sub="sql")
    yield "sub with a line end", token(RSA, sub="a\nb")
    yield "tenant is no name", token(RSA, tenant="a b")
    yield "tenant is a list", signed(head, {**claims(), "tenant": ["acme"]})


def test_attacks(gateway):
    assert ask(gateway, token(RSA)).status_code == 200
    for name, text in attacks():
        answer = ask(gateway, text)
        assert answer.status_code == 401, (name, answer.text)
        looks = text.count(".") >= 2
        assert answer.json()["type"] == "urn:windlass:problem:" + ("bad-token" if looks else "no-key"), name
        assert answer.headers["WWW-Authenticate"].startswith("Bearer"), name
        assert not looks or 'error="invalid_token"' in answer.headers["WWW-Authenticate"], name
    assert ask(gateway, token(RSA)).status_code == 200


def test_wrong_ways_to_send_one(gateway):
    good = token(RSA)
    for header in (good, f"Basic {good}", f"Token {good}", f"Bearer {good} x"):
        assert gateway.api().get("/v1/jobs", headers={"Authorization": header}).status_code == 401, header
    assert gateway.api().get(f"/v1/jobs?access_token={good}").status_code == 401
    assert gateway.api().get("/v1/jobs", headers={"Authorization": f"bearer   {good}"}).status_code == 200
    assert gateway.api().get("/v1/jobs").status_code == 401


def test_alg_of_a_key_that_names_none(windlass, sqlite_url):
    key, curve = Key("a"), Key("b", "ES256")
    issuer = Issuer({k: v for k, v in key.jwk.items() if k != "alg"}, {k: v for k, v in curve.jwk.items() if k != "alg"})
    gateway = wait_keys(start(windlass, sqlite_url, **issuer.settings()), key)
    assert ask(gateway, token(key)).status_code == ask(gateway, token(curve)).status_code == 200
    for alg in ("RS384", "RS512", "PS256"):
        assert ask(gateway, token(key, alg=alg)).status_code == 401, alg
    issuer.close()


def test_a_set_of_one_needs_no_kid(windlass, sqlite_url, tmp_path):
    key = Key(None)
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [key.jwk]}))
    settings = {"WINDLASS_JWT_ISSUER": NAME, "WINDLASS_JWT_AUDIENCE": AUDIENCE, "WINDLASS_JWT_JWKS": str(tmp_path / "jwks.json")}
    gateway = start(windlass, sqlite_url, **settings)
    assert ask(gateway, token(key)).status_code == 200
    assert ask(gateway, jwt.encode(claims(), key.private, "RS256", headers={"kid": "x"})).status_code == 401


def test_settings_go_together(windlass, sqlite_url, tmp_path):
    windlass.expect("gateway-refused")
    whole = {"WINDLASS_JWT_ISSUER": NAME, "WINDLASS_JWT_AUDIENCE": AUDIENCE, "WINDLASS_JWT_JWKS": "https://issuer.example/jwks"}
    (tmp_path / "empty.json").write_text('{"keys": []}')
    for change in ({"WINDLASS_JWT_ISSUER": ""}, {"WINDLASS_JWT_AUDIENCE": ""}, {"WINDLASS_JWT_JWKS": ""}, {"WINDLASS_JWT_RATE": "fast"},
                   {"WINDLASS_JWT_JWKS": "http://issuer.example/jwks"}, {"WINDLASS_JWT_JWKS": "http://127.0.0.1@evil.example/"},
                   {"WINDLASS_JWT_JWKS": "ftp://issuer.example/"}, {"WINDLASS_JWT_JWKS": str(tmp_path / "none.json")},
                   {"WINDLASS_JWT_JWKS": str(tmp_path / "empty.json")}):
        assert start(windlass, sqlite_url, wait=False, **{**whole, **change}).popen.wait(10) == 78, change


# ---- whose jobs

def test_owners_do_not_see_each_other(windlass, sqlite_url, issuer):
    key, line = make_key("ops", "read,cancel")
    gateway = wait_keys(start(windlass, sqlite_url, WINDLASS_API_KEYS=line, **issuer.settings()))
    ann, bob = gateway.api(token(RSA)), gateway.api(token(EC, sub="bob"))
    acme = gateway.api(token(RSA, tenant="acme"))
    boss = gateway.api(token(RSA, sub="boss", scope="admin"))
    id = ann.enqueue("note.add", {"who": "x"})
    mine = ann.get_job(id)
    assert mine["owner"] == "ann" and "tenant" not in mine
    for other in (bob, acme):
        for method, path in (("GET", ""), ("GET", "?wait=5s"), ("POST", "/cancel"), ("POST", "/copy")):
            answer = other.request(method, f"/v1/jobs/{id}{path}")
            assert answer.status_code == 404 and answer.json()["type"] == "urn:windlass:problem:unknown-job", (method, path)
        assert other.get("/v1/jobs").json()["items"] == []
    other_id = bob.enqueue("note.add", {"who": "y"})
    # a page of one: the other's newer job takes no place on it
    page = ann.get("/v1/jobs?limit=1").json()
    assert [j["id"] for j in page["items"]] == [id]
    assert ann.get(f"/v1/jobs?limit=1&cursor={page['next_cursor']}").json()["items"] == []
    assert bob.get(f"/v1/jobs?limit=1&cursor={page['next_cursor']}").status_code == 400
    assert {j["id"] for j in boss.get("/v1/jobs").json()["items"]} == {id, other_id}
    assert {j["id"] for j in gateway.api(key).get("/v1/jobs").json()["items"]} == {id, other_id}
    assert ann.get("/v1/queues").status_code == 403 and boss.get("/v1/queues").status_code == 200
    assert boss.post("/v1/queues/notes/pause").status_code == 403 and boss.get("/metrics").status_code == 403
    assert ann.post(f"/v1/jobs/{id}/retry").status_code == 403
    assert ann.post(f"/v1/jobs/{id}/cancel").status_code == 200
    assert boss.post(f"/v1/jobs/{id}/retry").status_code == 202
    assert boss.post("/v1/jobs/redrive", json={"state": "cancelled"}).json()["count"] == 0
    headers = {"Idempotency-Key": "same"}
    assert ann.post_job("note.add", {"who": "x"}, headers=headers).json()["id"] != bob.post_job("note.add", {"who": "x"}, headers=headers).json()["id"]
    # nobody becomes a key by calling himself so
    assert ask(gateway, token(RSA, sub="ops")).status_code == 401


def test_scopes_of_tokens(gateway):
    def status(scope, method="GET", path="/v1/jobs", claim="scope", **options):
        return gateway.api(token(RSA, **{"scope": None, claim: scope})).request(method, path, **options).status_code

    def post(scope, type="note.add", **options):
        return gateway.api(token(RSA, scope=scope)).post_job(type, {"who": "x"}, **options).status_code

    assert status("openid profile read email") == 200
    assert status("openid") == status("") == status(None) == status("READ") == status("reads") == status("read:[") == 403
    assert status(["read", "openid", 3], claim="scp") == status("read", claim="scp") == 200
    assert status(["read cancel"], claim="scp") == 403
    assert (post("enqueue"), post("enqueue:note.*"), post("enqueue:mail.*"), post("read")) == (202, 202, 403, 403)
    assert (post("enqueue:queue=small"), post("enqueue:queue=small", queue="small")) == (403, 202)
    assert (post("enqueue:note.*+queue=small"), post("enqueue:note.*+queue=small", queue="small")) == (403, 202)


# ---- keys that change

def test_rotation(windlass, sqlite_url):
    windlass.expect("issuer-keys-away")
    old, new = Key("one"), Key("two", "ES256")
    issuer = Issuer(old)
    gateway = wait_keys(start(windlass, sqlite_url, **issuer.settings()), old)
    assert ask(gateway, token(old)).status_code == 200
    issuer.keys = [old, new]
    fresh = token(new)
    deadline = time.monotonic() + 5
    while ask(gateway, fresh).status_code != 200:  # the first one makes the gateway look
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert ask(gateway, token(old)).status_code == 200
    # the old key is withdrawn: what was remembered of it goes too
    held = token(old, sub="held")
    assert ask(gateway, held).status_code == 200
    issuer.keys = [new]
    gateway.signal(signal.SIGHUP)
    while ask(gateway, held).status_code != 401:
        assert time.monotonic() < deadline + 5
        time.sleep(0.02)
    assert ask(gateway, fresh).status_code == 200
    # an endpoint that is away changes nothing
    issuer.away = True
    gateway.signal(signal.SIGHUP)
    gateway.wait_event("issuer-keys-away")
    assert ask(gateway, fresh).status_code == ask(gateway, token(new)).status_code == 200
    issuer.close()


def test_unknown_kids_do_not_drive_the_issuer(windlass, sqlite_url):
    key = Key("one")
    issuer = Issuer(key)
    gateway = wait_keys(start(windlass, sqlite_url, **issuer.settings()), key)
    before = issuer.asked
    for n in range(300):
        assert ask(gateway, token(key, headers={"kid": f"k{n}"})).status_code == 401
    time.sleep(0.5)
    assert before <= issuer.asked <= before + 1
    assert issuer.unchanged == issuer.asked - before
    assert ask(gateway, token(key)).status_code == 200
    issuer.close()


def test_no_keys_yet(windlass, sqlite_url):
    windlass.expect("issuer-keys-away")
    key = Key("one")
    issuer = Issuer(key)
    issuer.away = True
    api_key, line = make_key("web", "read")
    gateway = start(windlass, sqlite_url, WINDLASS_API_KEYS=line, **issuer.settings())
    answer = ask(gateway, token(key))
    assert answer.status_code == 503 and answer.headers["Retry-After"]
    assert gateway.api(api_key).get("/v1/jobs").status_code == 200
    issuer.away = False
    wait_keys(gateway, key)
    assert ask(gateway, token(key)).status_code == 200
    issuer.close()


def test_tokens_do_not_leak(windlass, sqlite_url, issuer):
    gateway = wait_keys(start(windlass, sqlite_url, WINDLASS_LOG="debug", **issuer.settings()))
    good, bad = token(RSA), token(RSA, aud="other")
    assert ask(gateway, good).status_code == 200
    answer = ask(gateway, bad)
    assert answer.status_code == 401 and bad.split(".")[2] not in answer.text
    time.sleep(0.2)
    for text in (good, bad):
        assert text.split(".")[1] not in gateway.log() and text.split(".")[2] not in gateway.log()

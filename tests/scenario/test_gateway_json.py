# SPDX-License-Identifier: Apache-2.0
"""JSON that is wrong, odd or meant to hurt, as a whole body, as a payload and in batches: what is no JSON is 400, what is too much is
413 or 422, what is JSON comes back as it was sent, and the process does not grow."""

import json

import pytest

from harness.checklist import row
from harness.gateway import raw, start, status

DEEP = 64  # levels that a body may have; a payload lies one deeper than its job


def nested(depth, inside=b"1", pair=(b"[", b"]")):
    return pair[0] * depth + inside + pair[1] * depth


def keys(count, name=b'"k%d"'):
    return b"{" + b",".join(name % n + b":1" for n in range(count)) + b"}"


GOOD = {
    "empty array": b"[]", "empty object": b"{}", "null": b"null", "true": b"true", "false": b"false", "zero": b"0", "minus zero": b"-0", "one": b"1",
    "fraction": b"0.5", "exponent": b"1e3", "signed exponents": b"[1E+2,1e-2,1.5e+10]", "tiny": b"123e-5", "string": b'"a"', "empty string": b'""',
    "empty key": b'{"":1}', "blanks": b' \t\r\n[ 1 ,\r\n 2 ] ', "escapes": rb'"\"\\\/\b\f\n\r\t"', "escaped control": rb'"\u0001\u001f\u007f"',
    "astral escaped": rb'"\uD834\uDD1E"', "astral": '"\U0001D11E"'.encode(), "last code point": '"\U0010FFFF"'.encode(), "non-character": '"\uFFFF\uFDD0"'.encode(),
    "other alphabets": '{"ключ":"значение","鍵":"値","مفتاح":"قيمة"}'.encode(), "combining": '"e\u0301"'.encode(), "line separators": '"\u2028\u2029"'.encode(),
    "bidi": '"\u202e\u2066"'.encode(), "escaped solidus": rb'"<\/script>"', "del": b'"\x7f"', "slash comment in text": b'"/* no */"', "large number": b"123456789012345678",
    "keys that differ by case": b'{"a":1,"A":2}', "keys of a prototype": b'{"__proto__":1,"constructor":2}', "same key at two levels": b'{"a":{"a":{"a":1}}}',
    "as deep as may be": nested(DEEP - 1), "deep objects": nested(DEEP - 1, b"1", (b'{"a":', b"}")), "long string": b'"' + b"x" * 200000 + b'"',
    "long escapes": b'"' + rb"\u00e9" * 20000 + b'"', "many numbers": b"[" + b",".join([b"0"] * 50000) + b"]", "ten thousand keys": keys(10000), "long key": b'{"' + b"k" * 60000 + b'":1}',
}
BAD = {
    "nothing": b"", "blanks alone": b"  ", "unclosed array": b"[1", "unclosed object": b'{"a":1', "unclosed string": b'"a', "unopened": b"]", "wrong closing": b"[1}", "two values": b"1 2",
    "two texts": b"{}{}", "comma at the end": b"[1,]", "comma at the end of an object": b'{"a":1,}', "comma alone": b"[,]", "two commas": b"[1,,2]", "comma first": b"[,1]", "no comma": b"[1 2]",
    "no colon": b'{"a" 1}', "two colons": b'{"a"::1}', "no value": b'{"a":}', "no key": b"{:1}", "number as key": b"{1:1}", "bare key": b"{a:1}", "single quotes": b"{'a':1}", "comment": b"[1/* x */]",
    "line comment": b"[1] // x", "hash comment": b"[1] # x", "NaN": b"[NaN]", "Infinity": b"[Infinity]", "minus Infinity": b"[-Infinity]", "undefined": b"[undefined]", "capital literal": b"[True]",
    "short literal": b"[tru]", "long literal": b"[nulll]", "plus": b"[+1]", "leading zero": b"[01]", "minus alone": b"[-]", "minus leading zero": b"[-01]", "point first": b"[.5]", "point last": b"[5.]",
    "no exponent": b"[1e]", "sign alone in exponent": b"[1e+]", "fraction in exponent": b"[1e1.5]", "hex": b"[0x10]", "underscore": b"[1_000]", "two points": b"[1.2.3]", "two minus": b"[--1]", "full-width digit": "[１]".encode(),
    "unknown escape": rb'["\x41"]', "octal escape": rb'["\101"]', "short \\u": rb'["\u00"]', "no hex \\u": rb'["\u00g0"]', "backslash at the end": b'["\\"]', "escaped blank": rb'["\ "]',
    "raw newline": b'["\n"]', "raw tab": b'["\t"]', "raw NUL": b'["\x00"]', "NUL outside": b"[1\x00]", "NUL behind": b"[1]\x00", "escaped NUL as key": rb'{"\u0000a":1}', "control": b'["\x1f"]', "form feed": b"[\x0c1]", "no-break space": b"[\xc2\xa01]",
    "BOM": b"\xef\xbb\xbf[1]", "UTF-16": '[1]'.encode("utf-16"), "UTF-16 without BOM": '[1]'.encode("utf-16-le"), "lone high surrogate": rb'["\uD800"]', "lone low surrogate": rb'["\uDC00"]', "surrogates in wrong order": rb'["\uDD1E\uD834"]', "high, then text": rb'["\uD834x"]',
    "encoded surrogate": b'["\xed\xa0\x80"]', "overlong slash": b'["\xc0\xaf"]', "overlong NUL": b'["\xc0\x80"]', "overlong of three": b'["\xe0\x80\xaf"]', "overlong of four": b'["\xf0\x80\x80\xaf"]', "above U+10FFFF": b'["\xf4\x90\x80\x80"]',
    "five bytes": b'["\xf8\x88\x80\x80\x80"]', "lone continuation": b'["\x80"]', "cut short": b'["\xe2\x82"]', "0xff": b'["\xff"]', "Latin-1": b'["\xe9"]', "bad UTF-8 in a key": b'{"\xff":1}', "bad UTF-8 outside": b"[\xff]",
    "duplicate key": b'{"a":1,"a":2}', "duplicate, equal": b'{"a":1,"a":1}', "duplicate by escape": rb'{"a":1,"\u0061":2}', "duplicate deep down": b'[{"x":{"a":1,"b":2,"a":3}}]',
    "1e400": b"[1e400]", "minus 1e400": b"[-1e400]", "1e99999": b"[1e99999]", "digits without end": b"[" + b"9" * 400 + b"]",
    "one too deep": nested(DEEP + 1), "depth 10000": nested(10000), "depth 100000, unclosed": b"[" * 100000, "depth 100000 of objects, unclosed": b'{"a":' * 40000, "alternating": b'[{"a":' * 30000,
}


@pytest.fixture
def gateway(windlass, sqlite_url):
    return start(windlass, sqlite_url)


def send(api, path, body, kind="application/json"):
    return api.post(path, data=body, headers={"Content-Type": kind})


def job(payload):
    return b'{"type":"mail.send","payload":' + payload + b"}"


def doors(text):
    """The places where a text may come in."""
    yield "/v1/jobs", job(text), "application/json"
    yield "/v1/jobs/batch", b"[" + job(b"1") + b"," + job(text) + b"]", "application/json"
    if b"\n" not in text:
        yield "/v1/jobs/batch", job(b"1") + b"\n" + job(text) + b"\n", "application/x-ndjson"


def test_what_is_json_comes_back(gateway):
    told, api = row("JSON", "what is JSON is taken and comes back byte for byte, through every door", 0), gateway.api()
    for name, text in GOOD.items():
        for path, body, kind in doors(text):
            answer = send(api, path, body, kind)
            assert answer.status_code == 202, (name, path, answer.text)
            told["cases"] += 1
            id = answer.json()["id"] if path == "/v1/jobs" else answer.json()["ids"][1]
            shown = api.get(f"/v1/jobs/{id}").content
            assert b'"payload":' + text.strip() in shown, (name, path)
        assert send(api, "/v1/jobs", text).status_code == 422, name  # JSON, and no job


def test_what_is_no_json_is_refused(gateway):
    told, api = row("JSON", "what is no JSON, too deep, out of range or ambiguous is 400 through every door, and nothing is stored", 0), gateway.api()
    for name, text in BAD.items():
        wholes = [] if name == "escaped NUL as key" else [("/v1/jobs", text, "application/json"), ("/v1/jobs/batch", text, "application/json")]
        for path, body, kind in [*doors(text), *wholes]:
            answer = send(api, path, body, kind)
            no_job = name in ("nothing", "blanks alone", "one too deep") and answer.status_code in (415, 422)  # an empty batch; the batch's own array does not count
            assert answer.status_code in (400, 413) or no_job, (name, path, kind, answer.status_code, answer.text)
            told["cases"] += 1
    assert api.get("/v1/jobs").json()["items"] == []


BOMBS = {
    "depth 1e6": ("/v1/jobs/batch", nested(1000000)), "depth 1e6, unclosed": ("/v1/jobs/batch", b"[" * 1000000), "objects 1e6 deep": ("/v1/jobs/batch", b'{"a":' * 1000000),
    "1e5 keys": ("/v1/jobs/batch", b"[" + job(keys(100000)) + b"]"), "1e5 equal keys": ("/v1/jobs/batch", b"[" + job(b"{" + b'"k":1,' * 100000 + b'"k":1}') + b"]"), "1e5 unknown members": ("/v1/jobs/batch", b"[" + keys(100000) + b"]"),
    "long string": ("/v1/jobs/batch", b'["' + b"x" * 15000000 + b'"]'), "long unclosed string": ("/v1/jobs/batch", b'["' + b"x" * 15000000), "many strings": ("/v1/jobs/batch", b"[" + b'"",' * 3000000 + b'""]'),
    "many objects": ("/v1/jobs/batch", b"[" + b"{}," * 3000000 + b"{}]"), "long number": ("/v1/jobs/batch", b"[" + b"1" * 15000000 + b"]"), "10001 jobs": ("/v1/jobs/batch", b"[" + (job(b"1") + b",") * 10000 + job(b"1") + b"]"),
    "blanks": ("/v1/jobs/batch", b" " * 15000000), "escapes": ("/v1/jobs/batch", b'["' + rb"\u0041" * 2500000 + b'"]'), "one job of 1 MB": ("/v1/jobs/batch", b"[" + job(b'"' + b"x" * 1000000 + b'"') + b"]"),
    "body of 1 MB": ("/v1/jobs", job(b'"' + b"x" * 1000000 + b'"')), "lines of nothing": ("/v1/jobs/batch", b"\n" * 15000000), "depth as a job": ("/v1/jobs", nested(120000)),
}


def test_bombs_do_not_make_it_grow(gateway):
    """Twice each; what the first round took is there again for the second."""
    told, api = row("JSON", "depth 1e6, 1e5 keys, 15 MB strings: refused, and the process does not grow", 0), gateway.api()
    sizes = []
    for round in range(2):
        for name, (path, body) in BOMBS.items():
            answer = send(api, path, body, "application/x-ndjson" if name == "lines of nothing" else "application/json")
            assert answer.status_code in (400, 413, 422), (name, answer.text[:300])
            told["cases"] += 1
        sizes.append(gateway.resident_kib())
    assert api.post_job("mail.send").status_code == 202
    assert sizes[1] < sizes[0] + 8192 and sizes[1] < 150 * 1024 and len(api.get("/v1/jobs").json()["items"]) == 1, sizes


def test_limit_to_the_byte(gateway):
    told, api = row("JSON", "a body of the limit is taken, one byte more and none at all are refused", 3), gateway.api()
    frame = len(job(b'""'))
    assert send(api, "/v1/jobs", job(b'"' + b"x" * (262144 - frame) + b'"')).status_code == 202
    assert send(api, "/v1/jobs", job(b'"' + b"x" * (262145 - frame) + b'"')).status_code == 413
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: " + gateway.url.removeprefix("http://").encode() + b"\r\nContent-Type: application/json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    assert status(raw(gateway, head)) == 400
    assert len(api.get("/v1/jobs").json()["items"]) == 1 and json.loads(api.get("/v1/jobs").text)
    assert told["cases"] == 3

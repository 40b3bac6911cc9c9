# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as bytes: what two implementations could read differently is refused, limits hold, slow clients are cut off."""

import itertools
import re
import time

import pytest

from harness.checklist import row
from harness.gateway import raw, start, status

BODY = b'{"type":"mail.send"}'


@pytest.fixture
def gateway(windlass, sqlite_url):
    return start(windlass, sqlite_url)


@pytest.fixture
def host(gateway):
    return b"Host: " + gateway.url.removeprefix("http://").encode() + b"\r\n"


def post(host, *headers, body=BODY, path=b"/v1/jobs", length=True):
    head = b"POST " + path + b" HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n"
    if length:
        head += b"Content-Length: %d\r\n" % len(body)
    return head + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body


REFUSALS = {400, 413, 501, 505}
# The library below takes a bare LF around chunks; the connection ends after such a body, so nobody can be misled about what follows.
LENIENT = {"bare LF after size", "bare LF after data", "bare LF after last size", "bare LF after trailer", "blank before trailer's colon"}


def statuses(answers):
    """Of all answers on a connection. libmicrohttpd 0.9 writes the head of a refusal of its own twice, and closes."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", answers)]


def smuggling(host):
    """Requests that two implementations could read differently: name and bytes."""
    data = BODY + b"\r\n"
    chunked = b"14\r\n" + data + b"0\r\n\r\n"
    length = len(BODY)

    def coded(*fields, body=chunked):
        return post(host, *(fields or [b"Transfer-Encoding: chunked"]), length=False, body=body)

    def sized(size):
        return coded(body=size + data + b"0\r\n\r\n")

    lengths = {
        "length and chunks": post(host, b"Transfer-Encoding: chunked"),
        "chunks and length": coded(b"Transfer-Encoding: chunked", b"Content-Length: 20"),
        "chunks and length 0": coded(b"Transfer-Encoding: chunked", b"Content-Length: 0"),
        "length and odd chunks": post(host, b"Transfer-Encoding: xchunked"),
        "two lengths": post(host, b"Content-Length: 20"),
        "two different lengths": post(host, b"Content-Length: 5"),
        "two lengths of other case": post(host, b"content-length: 5"),
        "length list": post(host, b"Content-Length: 20, 20", length=False),
        "empty length": post(host, b"Content-Length:", length=False),
        **{f"length {odd}": post(host, b"Content-Length: " + odd, length=False)
           for odd in (b"+20", b"-20", b"0x14", b"2e1", b"20.0", b"2 0", b"20;", b"\"20\"", b"20\x0b", b"\xb220", b"18446744073709551636", b"9" * 30)},
    }
    codings = {
        "two codings": coded(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        "coding, then identity": coded(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
        "folded coding": coded(b"Transfer-Encoding:\r\n chunked"),
        "coding on 1.0": coded().replace(b"HTTP/1.1", b"HTTP/1.0"),
        "blank before coding's colon": coded(b"Transfer-Encoding : chunked"),
        **{f"coding {odd}": coded(b"Transfer-Encoding: " + odd)
           for odd in (b"gzip, chunked", b"identity", b"chunked, identity", b"chunked, chunked", b"chunked;q=1", b"\"chunked\"", b"xchunked", b"chunkedx",
                       b"chunked\x0b", b"\x0cchunked", b"ch\xfcnked", b"", b"chunked,", b",chunked")},
    }
    chunks = {
        "bare LF after size": sized(b"14\n"),
        "bare CR after size": sized(b"14\r"),
        "bare LF in extension": sized(b"14;a\nb\r\n"),
        "bare LF after data": coded(body=b"14\r\n" + BODY + b"\n0\r\n\r\n"),
        "no end of data": coded(body=b"14\r\n" + BODY + b"0\r\n\r\n"),
        "data too long": coded(body=b"13\r\n" + data + b"0\r\n\r\n"),
        "bare LF after last size": coded(body=b"14\r\n" + data + b"0\n\n"),
        "bare LF after trailer": coded(body=b"14\r\n" + data + b"0\r\nX: y\n\r\n"),
        "blank before trailer's colon": coded(body=b"14\r\n" + data + b"0\r\nX : y\r\n\r\n"),
        **{f"chunk size {odd}": sized(odd + b"\r\n")
           for odd in (b"", b"0x14", b"+14", b"-14", b" 14", b"14 ", b"\t14", b"1 4", b"14,", b"14\x00", b"1g", b"\xb914", b"ffffffffffffffec", b"100000000000000014")},
    }
    fields = {
        "blank before colon": post(host, b"X-A : b"),
        "tab before colon": post(host, b"X-A\t: b"),
        "blank before length's colon": post(host, b"Content-Length : 20", length=False),
        "no colon": post(host, b"X-A"),
        "no name": post(host, b": b"),
        "folded": post(host, b"X-A: b\r\n c"),
        "folded by tab": post(host, b"X-A: b\r\n\tc"),
        "folded at first": post(host).replace(b"Host:", b" Host:", 1),
        "bare LF": post(host).replace(b"\r\n", b"\n"),
        "bare LF in the middle": post(host, b"X-A: b\nX-B: c"),
        "bare LF at the end": post(host).replace(b"\r\n\r\n", b"\n\r\n"),
        "empty line of a bare LF": post(host).replace(b"\r\n\r\n", b"\r\n\n"),
        "bare CR": post(host, b"X-A: b\rX-B: c"),
        "two CR": post(host, b"X-A: b\r"),
        "no host": post(b""),
        "two hosts": post(host + host),
        "two different hosts": post(host + b"Host: evil\r\n"),
        **{f"two of {name}": post(host, name + b": application/json", name.lower() + b": b")
           for name in (b"Authorization", b"Content-Type", b"Idempotency-Key", b"Origin")},
        **{f"name {odd}": post(host, odd + b": b") for odd in (b"X/A", b"X A", b"X\x00A", b"X\xe9", b"(X)", b"X[0]", b"\"X\"", b"X\x7f", b"{X}", b"X=A", b"X@A")},
    }
    lines = {
        "two blanks": post(host).replace(b"POST ", b"POST  "),
        "tab": post(host).replace(b"POST ", b"POST\t"),
        "blank at the end": post(host).replace(b"HTTP/1.1\r\n", b"HTTP/1.1 \r\n", 1),
        "no version": b"GET /healthz\r\n" + host + b"\r\n",
        "a bare CR before it": b"\r" + post(host),
        **{f"version {odd}": post(host).replace(b"HTTP/1.1", odd, 1)
           for odd in (b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1", b"HTTP/1.1x", b"HTTPS/1.1", b"ICY/1.1")},
        **{f"target {odd}": post(host, path=odd)
           for odd in (b"http://evil/v1/jobs", b"//evil/v1/jobs#x", b"v1/jobs", b"*", b"evil:80", b"/v1/jobs#x", b"/v1/jobs x", b"/v1/%zz", b"/v1/%", b"/v1/jobs%00",
                       b"/v1/%c0%af", b"/v1/%0d%0ax", b"/v1/\x80", b"/v1/jobs?a=1&a=2", b"/" + b"a/" * 40)},
    }
    return {**lengths, **codings, **chunks, **fields, **lines, "length": post(host, b"Content-Length: %d" % (length + 1000000), length=False)}


def test_smuggling(gateway, host):
    told = row("HTTP/1 parsing", "what two implementations could read differently is refused, and what follows it is never run", 0)
    evil = {}
    for name, data in smuggling(host).items():
        answer = raw(gateway, data + post(host, b"Connection: close"))
        told["cases"] += 1
        if not set(statuses(answer)) <= REFUSALS and not (name in LENIENT and statuses(answer) == [202]):
            evil[name] = answer[:400]
    assert not evil, "\n".join(f"{name}: {answer}" for name, answer in evil.items())
    assert len(gateway.api().get("/v1/jobs").json()["items"]) == len(LENIENT)


def test_every_control_byte(gateway, host):
    told = row("HTTP/1 parsing", "each control byte at each place of a head: refused, or as if it were not there", 0)
    whole = post(host, b"X-Any: some", b"Connection: close")
    chunked = post(host, b"Transfer-Encoding: chunked", b"Connection: close", length=False, body=b"14;ext=1\r\n" + BODY + b"\r\n0\r\n\r\n")
    places = [(whole, mark) for mark in (b"POST", b" /v1", b"/jobs", b" HTTP", b"/1.1", b"\r\nHost", b"Host", b": 127", b"Length", b": 20", b"20\r\nX", b"-Any", b"some", b"\r\n\r\n")]
    places += [(chunked, mark) for mark in (b"Transfer-", b": chunked", b"14;", b"\r\n0", b"0\r\n\r\n")]
    evil, accepted = {}, 0
    for byte, (data, mark) in itertools.product([*range(0x20), 0x7f], places):
        at = data.index(mark) + len(mark) // 2
        answer = raw(gateway, data[:at] + bytes([byte]) + data[at:] + post(host))
        told["cases"] += 1
        accepted += 202 in statuses(answer)
        if not set(statuses(answer)) <= REFUSALS and statuses(answer) not in ([202], [404], [405], [415]):
            evil[byte, mark] = answer[:400]
    assert not evil, "\n".join(f"{name}: {answer}" for name, answer in evil.items())
    assert len(gateway.api().get("/v1/jobs", params={"limit": 100}).json()["items"]) == accepted < 10


def test_a_body_is_never_a_request(gateway, host):
    """Where a route takes no body, or the client lies about it, what it sent is thrown away, not run."""
    told = row("HTTP/1 parsing", "a body that is a request itself is not run: GET with a body, a length too short, a refused head", 0)
    inner = post(host, b"Connection: close")
    length = b"Content-Length: %d\r\n" % len(inner)
    for method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"TRACE"):
        for path in (b"/healthz", b"/v1/jobs", b"/nowhere"):
            head = method + b" " + path + b" HTTP/1.1\r\nConnection: close\r\n" + host
            chunk = b"%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n"
            for data in (head + length + b"\r\n" + inner, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk, head + b"\r\n" + inner):
                answer = raw(gateway, data)
                assert len(statuses(answer)) == 1 and 202 not in statuses(answer), (method, path, answer)
                told["cases"] += 1
    for head in (post(host, b"Expect: 100-continue", b"X : y", length=False, body=b""), post(host, b"Expect: 200-ok", b"Content-Length: 10000000", length=False, body=b"")):
        assert b"202 Accepted" not in raw(gateway, head + inner)
        told["cases"] += 1
    assert gateway.api().get("/v1/jobs").json()["items"] == []


def test_what_is_fine(gateway, host):
    chunked = b"5\r\n" + BODY[:5] + b"\r\nf;ext=1\r\n" + BODY[5:] + b"\r\n0\r\nX-Trailer: y\r\n\r\n"
    assert status(raw(gateway, post(host, b"Transfer-Encoding: chunked", length=False, body=chunked))) == 202
    assert status(raw(gateway, post(host, b"X-Empty:", b"X-Tab:\ta", b"X-Blanks:   a  "))) == 202
    old = raw(gateway, b"GET /healthz HTTP/1.0\r\n" + host + b"\r\n")
    assert status(old) == 200 and old.endswith(b"\n")
    head = raw(gateway, b"HEAD /healthz HTTP/1.1\r\n" + host + b"\r\n")
    assert status(head) == 200 and b"Content-Length: 16" in head and head.endswith(b"\r\n\r\n")


def test_nothing_follows_chunks(gateway, host):
    chunked = post(host, b"Transfer-Encoding: chunked", length=False, body=b"14\r\n" + BODY + b"\r\n0\r\n\r\n")
    answer = raw(gateway, chunked + post(host))
    assert statuses(answer) == [202] and b"Connection: close" in answer
    assert len(gateway.api().get("/v1/jobs").json()["items"]) == 1


def test_pipelining_and_continue(gateway, host):
    answer = raw(gateway, post(host) * 3 + b"GET /healthz HTTP/1.1\r\n" + host + b"\r\n")
    assert answer.count(b"HTTP/1.1 202 Accepted") == 3 and answer.count(b"HTTP/1.1 200 OK") == 1
    whole = post(host, b"Expect: 100-continue")
    head, body = whole[: -len(BODY)], whole[-len(BODY):]
    answer = raw(gateway, None, parts=[head, body])
    assert answer.startswith(b"HTTP/1.1 100 Continue") and b"202 Accepted" in answer


def test_refused_requests_keep_the_connection(gateway, host):
    wrong = post(host).replace(b"/json", b"/xml")
    answer = raw(gateway, wrong + post(host))
    assert answer.count(b"HTTP/1.1 415") == 1 and answer.count(b"HTTP/1.1 202") == 1


def test_limits(gateway, host):
    row("HTTP/1 parsing", "100 fields, a head of 16 KiB, a target of 8 KiB", 6)
    small = b"GET /healthz HTTP/1.1\r\n" + host
    assert status(raw(gateway, small + b"".join(b"x%d: y\r\n" % n for n in range(99)) + b"\r\n")) == 200
    assert status(raw(gateway, small + b"".join(b"x%d: y\r\n" % n for n in range(100)) + b"\r\n")) == 431
    assert status(raw(gateway, small + b"x: " + b"y" * 16000 + b"\r\n\r\n")) == 200
    assert status(raw(gateway, small + b"x: " + b"y" * 17000 + b"\r\n\r\n")) == 431
    assert status(raw(gateway, small + b"x: " + b"y" * 200000 + b"\r\n\r\n")) in (431, None)
    assert status(raw(gateway, b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + host + b"\r\n")) == 414


def test_bodies_over_the_limit(gateway, host):
    row("Limits", "a body over the limit: 413 before it is buffered, announced or in chunks", 4)
    announced = post(host, b"Content-Length: 10000000", length=False, body=b"")
    began = time.monotonic()
    assert status(raw(gateway, announced)) == 413 and time.monotonic() - began < 1
    expecting = post(host, b"Content-Length: 300000", b"Expect: 100-continue", length=False, body=b"")
    assert status(raw(gateway, expecting)) == 413
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    streamed = post(host, b"Transfer-Encoding: chunked", length=False, body=chunk * 6 + b"0\r\n\r\n")
    assert status(raw(gateway, streamed)) == 413
    before = gateway.resident_kib()
    endless = post(host, b"Transfer-Encoding: chunked", length=False, body=chunk * 2000)
    assert status(raw(gateway, endless)) in (413, None)
    assert gateway.resident_kib() - before < 20000
    assert gateway.ready()


def test_clients_that_leave(gateway, host):
    import socket
    import struct

    address = gateway.url.removeprefix("http://").split(":")
    for n in range(300):
        sock = socket.create_connection((address[0], int(address[1])))
        sock.sendall(post(host))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    assert gateway.api().post_job("mail.send").status_code == 202

# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as bytes: what two implementations could read differently is refused, limits hold, slow clients are cut off."""

import time

import pytest

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


def test_smuggling(gateway, host):
    chunked = b"14\r\n" + BODY + b"\r\n0\r\n\r\n"
    refused = {
        "length and chunks": post(host, b"Transfer-Encoding: chunked"),
        "two lengths": post(host, b"Content-Length: 20"),
        "two different lengths": post(host, b"Content-Length: 5"),
        "length list": post(host, b"Content-Length: 20, 20", length=False),
        "length with sign": post(host, b"Content-Length: +20", length=False),
        "length in hex": post(host, b"Content-Length: 0x14", length=False),
        "two codings": post(host, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", length=False, body=chunked),
        "folded coding": post(host, b"Transfer-Encoding:\r\n chunked", length=False, body=chunked),
        "unknown coding": post(host, b"Transfer-Encoding: gzip, chunked", length=False, body=chunked),
        "identity coding": post(host, b"Transfer-Encoding: identity", length=False, body=chunked),
        "coding on 1.0": post(host, b"Transfer-Encoding: chunked", length=False, body=chunked).replace(b"HTTP/1.1", b"HTTP/1.0"),
        "blank before colon": post(host, b"X-A : b"),
        "blank before length's colon": post(host, b"Content-Length : 20", length=False),
        "no colon": post(host, b"X-A"),
        "folded": post(host, b"X-A: b\r\n c"),
        "folded by tab": post(host, b"X-A: b\r\n\tc"),
        "bare LF": post(host).replace(b"\r\n", b"\n"),
        "bare LF in the middle": post(host, b"X-A: b\nX-B: c"),
        "bare LF at the end": post(host).replace(b"\r\n\r\n", b"\n\r\n"),
        "empty line of a bare LF": post(host).replace(b"\r\n\r\n", b"\r\n\n"),
        "bare CR": post(host, b"X-A: b\rX-B: c"),
        "NUL": post(host, b"X-A: b\0c"),
        "control": post(host, b"X-A: b\x01c"),
        "no host": post(b""),
        "two hosts": post(host + host),
        "name with a slash": post(host, b"X/A: b"),
        "two blanks": post(host).replace(b"POST ", b"POST  "),
        "no version": b"GET /healthz\r\n" + host + b"\r\n",
        "odd version": post(host).replace(b"HTTP/1.1", b"HTTP/1.2"),
        "absolute form": post(host, path=b"http://evil/v1/jobs"),
        "bad encoding": post(host, path=b"/v1/%zz"),
        "encoded NUL": post(host, path=b"/v1/jobs%00"),
        "overlong": post(host, path=b"/v1/%c0%af"),
    }
    follower = b"GET /healthz HTTP/1.1\r\n" + host + b"\r\n"
    for name, data in refused.items():
        answer = raw(gateway, data + follower)
        assert status(answer) in (400, 501, 505), (name, answer[:200])
        assert b"202 Accepted" not in answer and b'"status":"ok"' not in answer, (name, answer)
    assert gateway.api().get("/v1/jobs").json()["items"] == []


def test_what_is_fine(gateway, host):
    chunked = b"5\r\n" + BODY[:5] + b"\r\nf;ext=1\r\n" + BODY[5:] + b"\r\n0\r\nX-Trailer: y\r\n\r\n"
    assert status(raw(gateway, post(host, b"Transfer-Encoding: chunked", length=False, body=chunked))) == 202
    assert status(raw(gateway, post(host, b"X-Empty:", b"X-Tab:\ta", b"X-Blanks:   a  "))) == 202
    old = raw(gateway, b"GET /healthz HTTP/1.0\r\n" + host + b"\r\n")
    assert status(old) == 200 and old.endswith(b"\n")
    head = raw(gateway, b"HEAD /healthz HTTP/1.1\r\n" + host + b"\r\n")
    assert status(head) == 200 and b"Content-Length: 16" in head and head.endswith(b"\r\n\r\n")


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
    small = b"GET /healthz HTTP/1.1\r\n" + host
    assert status(raw(gateway, small + b"".join(b"x%d: y\r\n" % n for n in range(99)) + b"\r\n")) == 200
    assert status(raw(gateway, small + b"".join(b"x%d: y\r\n" % n for n in range(100)) + b"\r\n")) == 431
    assert status(raw(gateway, small + b"x: " + b"y" * 16000 + b"\r\n\r\n")) == 200
    assert status(raw(gateway, small + b"x: " + b"y" * 17000 + b"\r\n\r\n")) == 431
    assert status(raw(gateway, small + b"x: " + b"y" * 200000 + b"\r\n\r\n")) in (431, None)
    assert status(raw(gateway, b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + host + b"\r\n")) == 414


def test_bodies_over_the_limit(gateway, host):
    announced = post(host, b"Content-Length: 10000000", length=False, body=b"")
    began = time.monotonic()
    assert status(raw(gateway, announced)) == 413 and time.monotonic() - began < 1
    expecting = post(host, b"Content-Length: 300000", b"Expect: 100-continue", length=False, body=b"")
    assert status(raw(gateway, expecting)) == 413
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    streamed = post(host, b"Transfer-Encoding: chunked", length=False, body=chunk * 6 + b"0\r\n\r\n")
    assert status(raw(gateway, streamed)) == 413
    before = resident_kib(gateway.pid)
    endless = post(host, b"Transfer-Encoding: chunked", length=False, body=chunk * 2000)
    assert status(raw(gateway, endless)) in (413, None)
    assert resident_kib(gateway.pid) - before < 20000
    assert gateway.ready()


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_slow_heads_are_cut_off(gateway, host):
    """A byte now and then is silence to nobody, but a head may take ten seconds."""
    import socket

    address = gateway.url.removeprefix("http://").split(":")
    drips = [socket.create_connection((address[0], int(address[1]))) for _ in range(50)]
    began = time.monotonic()
    data = b"GET /healthz HTTP/1.1\r\n" + host
    api = gateway.api()
    slowest, ended = 0, 0
    for n in range(26):
        for sock in drips:
            try:
                sock.sendall(data[n : n + 1])
            except OSError:
                ended += 1
        asked = time.monotonic()
        assert api.get("/healthz").status_code == 200
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.5)
    assert time.monotonic() - began > 11 and ended > 0
    for sock in drips:
        sock.settimeout(1)
        try:
            assert sock.recv(10) == b""
        except ConnectionError:
            pass
        sock.close()
    assert slowest < 0.5


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

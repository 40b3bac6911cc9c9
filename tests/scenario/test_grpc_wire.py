# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 as it should not be said: a table of cases by the sections of RFC 9113, RFC 7541 and of gRPC's protocol, counted, and floods under which
the gateway's memory stays flat and others are served."""

import time

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, PriorityFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from harness.checklist import row
from harness.grpc_door import Door, metric, open_gateway
from harness.h2_raw import ASK, HEAD, PREFACE, Raw, continuations, frame, message
from harness.windlass import wait_for

ACK, END_STREAM, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 0x20
DATA, HEADERS, PRIO, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)


@pytest.fixture
def gateway(tmp_path, windlass):
    return open_gateway(windlass, f"sqlite:{tmp_path}/grpc.db")


def wrong(*choices):
    """The server may end the connection with or without a word."""
    return {*(f"GOAWAY {c}" for c in choices), "closed"}


# name, what is said after the preface, what may come of it. A stream error may be told as a connection error.
CASES = [
    ("3.4 nonsense instead of the preface", None, {"closed"}),
    ("3.4 HTTP/1.1 instead of the preface", None, {"closed"}),
    ("4.1 a frame of an unknown type is ignored", lambda r: [frame(0x16, 0xff, 0, b"x" * 8), *r.ask()], {"grpc 0"}),
    ("4.1 undefined flags are ignored", lambda r: [frame(PING, 0x16, 0, b"\0" * 8), *r.ask()], {"grpc 0"}),
    ("4.1 the reserved bit is ignored", lambda r: [frame(PING, 0, 0x80000000, b"\0" * 8), *r.ask()], {"grpc 0"}),
    ("4.2 DATA larger than SETTINGS_MAX_FRAME_SIZE", lambda r: [r.head(), frame(DATA, 0, 1, b"x" * 16385)], {"RST FRAME_SIZE_ERROR", *wrong("FRAME_SIZE_ERROR")}),
    ("4.2 HEADERS larger than SETTINGS_MAX_FRAME_SIZE", lambda r: [frame(HEADERS, 5, 1, b"\0" * 16385)], wrong("FRAME_SIZE_ERROR")),
    ("4.3 HEADERS that hpack cannot read", lambda r: [frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff\xff")], wrong("COMPRESSION_ERROR")),
    ("4.3 PRIORITY between HEADERS and CONTINUATION", lambda r: [HeadersFrame(1, r.block()), PriorityFrame(1)], wrong("PROTOCOL_ERROR")),
    ("4.3 HEADERS of another stream in between", lambda r: [HeadersFrame(1, r.block()), r.head(3)], wrong("PROTOCOL_ERROR")),
    ("5.1 idle: DATA", lambda r: [DataFrame(1, b"x")], wrong("PROTOCOL_ERROR", "STREAM_CLOSED")),
    ("5.1 idle: RST_STREAM", lambda r: [RstStreamFrame(1, 8)], wrong("PROTOCOL_ERROR")),
    ("5.1 idle: WINDOW_UPDATE", lambda r: [WindowUpdateFrame(1, 100)], wrong("PROTOCOL_ERROR")),
    ("5.1 idle: CONTINUATION", lambda r: [frame(CONTINUATION, 4, 1, r.block())], wrong("PROTOCOL_ERROR")),
    ("5.1 half closed: DATA", lambda r: [*r.ask(_path="/windlass.v1.Jobs/Wait"), DataFrame(1, b"x")], {"RST STREAM_CLOSED", "grpc 3", *wrong("STREAM_CLOSED")}),
    ("5.1.1 an even stream", lambda r: [r.head(2)], wrong("PROTOCOL_ERROR")),
    # nghttp2 takes it for what was on its way to a stream that has ended, and goes on
    ("5.1.1 a stream lower than one before is not served", lambda r: [*r.ask(5), r.head(3), *r.ask(1)], {"grpc 0 of 5"}),
    ("5.3.1 a stream that depends on itself", lambda r: [frame(HEADERS, PRIORITY | 5, 1, b"\0\0\0\1\xff" + r.block())], {"grpc 12", "RST PROTOCOL_ERROR", *wrong("PROTOCOL_ERROR")}),
    ("5.5 an unknown extension in the middle of a call", lambda r: [r.head(), frame(0x20, 0, 1, b"zz"), DataFrame(1, ASK, flags=["END_STREAM"])], {"grpc 0"}),
    ("6.1 DATA on stream 0", lambda r: [frame(DATA, 0, 0, b"x")], wrong("PROTOCOL_ERROR")),
    ("6.1 DATA with more padding than bytes", lambda r: [r.head(), frame(DATA, PADDED, 1, b"\xffxy")], wrong("PROTOCOL_ERROR")),
    ("6.1 DATA with padding", lambda r: [r.head(), frame(DATA, PADDED | END_STREAM, 1, b"\3" + ASK + b"\0\0\0")], {"grpc 0"}),
    ("6.2 HEADERS on stream 0", lambda r: [frame(HEADERS, 5, 0, r.block())], wrong("PROTOCOL_ERROR")),
    ("6.2 HEADERS with more padding than bytes", lambda r: [frame(HEADERS, PADDED | 5, 1, b"\xff\0")], wrong("PROTOCOL_ERROR")),
    ("6.2 HEADERS and CONTINUATION", lambda r: [*continuations(1, r.block(), 3), DataFrame(1, ASK, flags=["END_STREAM"])], {"grpc 0"}),
    ("6.3 PRIORITY on stream 0", lambda r: [frame(PRIO, 0, 0, b"\0" * 5)], wrong("PROTOCOL_ERROR")),
    ("6.3 PRIORITY of a wrong length", lambda r: [r.head(), frame(PRIO, 0, 1, b"\0" * 4)], {"RST FRAME_SIZE_ERROR", *wrong("FRAME_SIZE_ERROR")}),
    ("6.4 RST_STREAM on stream 0", lambda r: [frame(RST, 0, 0, b"\0" * 4)], wrong("PROTOCOL_ERROR")),
    ("6.4 RST_STREAM of a wrong length", lambda r: [r.head(), frame(RST, 0, 1, b"\0" * 3)], wrong("FRAME_SIZE_ERROR")),
    ("6.5 SETTINGS ack with a payload", lambda r: [frame(SETTINGS, ACK, 0, b"\0" * 6)], wrong("FRAME_SIZE_ERROR")),
    ("6.5 SETTINGS on a stream", lambda r: [frame(SETTINGS, 0, 1)], wrong("PROTOCOL_ERROR")),
    ("6.5 SETTINGS of a wrong length", lambda r: [frame(SETTINGS, 0, 0, b"\0" * 5)], wrong("FRAME_SIZE_ERROR")),
    ("6.5.2 ENABLE_PUSH 2", lambda r: [frame(SETTINGS, 0, 0, b"\0\2\0\0\0\2")], wrong("PROTOCOL_ERROR")),
    ("6.5.2 INITIAL_WINDOW_SIZE above 2^31-1", lambda r: [frame(SETTINGS, 0, 0, b"\0\4\x80\0\0\0")], wrong("FLOW_CONTROL_ERROR")),
    ("6.5.2 MAX_FRAME_SIZE below 16384", lambda r: [frame(SETTINGS, 0, 0, b"\0\5\0\0\x3f\xff")], wrong("PROTOCOL_ERROR")),
    ("6.5.2 an unknown setting is ignored", lambda r: [frame(SETTINGS, 0, 0, b"\xff\0\0\0\0\1"), *r.ask()], {"grpc 0"}),
    ("6.6 PUSH_PROMISE from a client", lambda r: [frame(PUSH, END_HEADERS, 1, b"\0\0\0\2" + r.block())], wrong("PROTOCOL_ERROR")),
    ("6.7 PING on a stream", lambda r: [frame(PING, 0, 1, b"\0" * 8)], wrong("PROTOCOL_ERROR")),
    ("6.7 PING of a wrong length", lambda r: [frame(PING, 0, 0, b"\0" * 6)], wrong("FRAME_SIZE_ERROR")),
    ("6.7 an answer to no PING is ignored", lambda r: [frame(PING, ACK, 0, b"\0" * 8), *r.ask()], {"grpc 0"}),
    ("6.8 GOAWAY on a stream", lambda r: [frame(GOAWAY, 0, 1, b"\0" * 8)], wrong("PROTOCOL_ERROR")),
    ("6.9 WINDOW_UPDATE of 0", lambda r: [frame(WINDOW, 0, 0, b"\0" * 4)], wrong("PROTOCOL_ERROR")),
    ("6.9 WINDOW_UPDATE of 0 on a stream", lambda r: [r.head(), frame(WINDOW, 0, 1, b"\0" * 4)], {"RST PROTOCOL_ERROR", *wrong("PROTOCOL_ERROR")}),
    ("6.9 WINDOW_UPDATE of a wrong length", lambda r: [frame(WINDOW, 0, 0, b"\0" * 3)], wrong("FRAME_SIZE_ERROR")),
    ("6.9.1 a window above 2^31-1", lambda r: [WindowUpdateFrame(0, 0x7fffffff), WindowUpdateFrame(0, 0x7fffffff)], wrong("FLOW_CONTROL_ERROR")),
    ("6.9.1 a stream's window above 2^31-1", lambda r: [r.head(), WindowUpdateFrame(1, 0x7fffffff), WindowUpdateFrame(1, 0x7fffffff)], {"RST FLOW_CONTROL_ERROR", *wrong("FLOW_CONTROL_ERROR")}),
    ("6.10 CONTINUATION after the end of a head", lambda r: [r.head(), frame(CONTINUATION, 4, 1, r.block())], wrong("PROTOCOL_ERROR", "STREAM_CLOSED")),
    ("8.2 a field's name in upper case", lambda r: [r.head(X_Test="v")], {"RST PROTOCOL_ERROR", *wrong("PROTOCOL_ERROR")}),
    ("8.2.2 connection", lambda r: [r.head(connection="close")], {"RST PROTOCOL_ERROR", *wrong("PROTOCOL_ERROR")}),
    ("8.2.2 te other than trailers", lambda r: [r.head(te="gzip")], {"RST PROTOCOL_ERROR", *wrong("PROTOCOL_ERROR")}),
    ("8.3 an unknown pseudo field", lambda r: [r.head(headers=[(":test", "x"), *HEAD])], {"RST PROTOCOL_ERROR", *wrong("PROTOCOL_ERROR")}),
    ("8.3 a pseudo field of an answer", lambda r: [r.head(headers=[(":status", "200"), *HEAD])], {"RST PROTOCOL_ERROR", *wrong("PROTOCOL_ERROR")}),
    ("8.3 a pseudo field behind a field", lambda r: [r.head(headers=[("a", "b"), *HEAD])], {"RST PROTOCOL_ERROR", *wrong("PROTOCOL_ERROR")}),
    ("8.3.1 no :method", lambda r: [r.head(_method=None)], {"RST PROTOCOL_ERROR", *wrong("PROTOCOL_ERROR")}),
    ("8.3.1 no :path", lambda r: [r.head(_path=None)], {"RST PROTOCOL_ERROR", *wrong("PROTOCOL_ERROR")}),
    ("8.3.1 no :scheme", lambda r: [r.head(_scheme=None)], {"RST PROTOCOL_ERROR", *wrong("PROTOCOL_ERROR")}),
    ("8.3.1 two :method", lambda r: [r.head(headers=[(":method", "POST"), *HEAD])], {"RST PROTOCOL_ERROR", *wrong("PROTOCOL_ERROR")}),
    ("8.1.1 content-length that is not so", lambda r: r.ask(content_length="1"), {"RST PROTOCOL_ERROR", *wrong("PROTOCOL_ERROR")}),
    ("7541 2.3.3 an index that is not there", lambda r: [frame(HEADERS, 5, 1, b"\xbe" + r.block())], wrong("COMPRESSION_ERROR")),
    ("7541 4.2 a table larger than allowed", lambda r: [frame(HEADERS, 5, 1, b"\x3f\xe1\xff\x03" + r.block())], wrong("COMPRESSION_ERROR")),
    ("7541 5.2 Huffman with EOS", lambda r: [frame(HEADERS, 5, 1, r.block() + b"\0\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")], wrong("COMPRESSION_ERROR")),
    ("gRPC a call", lambda r: r.ask(), {"grpc 0"}),
    ("gRPC content-type with +proto", lambda r: r.ask(content_type="application/grpc+proto"), {"grpc 0"}),
    ("gRPC another content-type", lambda r: r.ask(content_type="application/json"), {"http 415"}),
    ("gRPC no content-type", lambda r: r.ask(content_type=None), {"http 415"}),
    ("gRPC GET", lambda r: [r.head(end=True, _method="GET")], {"http 405"}),
    ("gRPC OPTIONS: no page gets in", lambda r: [r.head(end=True, _method="OPTIONS", origin="http://evil.test")], {"http 405"}),
    ("gRPC an unknown method, refused at its head", lambda r: [r.head(_path="/windlass.v1.Jobs/Nothing")], {"grpc 12"}),
    ("gRPC no message", lambda r: [r.head(end=True)], {"grpc 12"}),
    ("gRPC two messages for one", lambda r: r.ask(data=ASK + ASK), {"grpc 12"}),
    ("gRPC half a message", lambda r: r.ask(data=b"\0\0\0\0\5ab"), {"grpc 13"}),
    ("gRPC half a prefix", lambda r: r.ask(data=b"\0\0"), {"grpc 13"}),
    ("gRPC a message of 4 GB is announced", lambda r: [r.head(), DataFrame(1, b"\0\xff\xff\xff\xff")], {"grpc 8"}),
    ("gRPC a compressed flag of 2", lambda r: r.ask(data=b"\2\0\0\0\0"), {"grpc 13"}),
    ("gRPC compressed without grpc-encoding", lambda r: r.ask(data=b"\1\0\0\0\0"), {"grpc 13"}),
    ("gRPC an encoding that we have not", lambda r: r.ask(grpc_encoding="gzip", data=b"\1\0\0\0\0"), {"grpc 12"}),
    ("gRPC grpc-encoding identity", lambda r: r.ask(grpc_encoding="identity"), {"grpc 0"}),
    ("gRPC a wrong grpc-timeout", lambda r: [r.head(grpc_timeout="1 day")], {"grpc 13"}),
    ("gRPC a grpc-timeout of nine digits", lambda r: [r.head(grpc_timeout="123456789S")], {"grpc 13"}),
    ("gRPC the longest grpc-timeout", lambda r: r.ask(grpc_timeout="99999999H"), {"grpc 0"}),
    ("gRPC a grpc-timeout of nothing", lambda r: [r.head(grpc_timeout="0n")], {"grpc 4"}),
    ("gRPC a message byte by byte", lambda r: [r.head(), *(DataFrame(1, ASK[i:i + 1]) for i in range(5)), DataFrame(1, b"", flags=["END_STREAM"])], {"grpc 0"}),
    ("gRPC trailers from a client end its request", lambda r: [r.head(), DataFrame(1, ASK), HeadersFrame(1, r.encoder.encode([("x", "y")]), flags=["END_HEADERS", "END_STREAM"])], {"grpc 0"}),
    ("gRPC a head above 16 KiB", lambda r: r.ask(x="y" * 15000, z="w" * 3000), {"http 431", "RST INTERNAL_ERROR", *wrong("ENHANCE_YOUR_CALM")}),
    ("gRPC a hundred and fifty fields", lambda r: r.ask(headers=HEAD + [(f"x{i}", "y") for i in range(150)]), {"http 431"}),
]


def try_case(gateway, name, said):
    if said is None:
        with Raw(gateway.grpc, greet=False) as raw:
            raw.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" if "HTTP/1.1" in name else b"\x16\x03\1" + b"z" * 40)
            return raw.verdict()
    with Raw(gateway.grpc) as raw:
        raw.send(*said(raw))
        if "5.1.1 a stream lower" not in name:
            return raw.verdict()
        got = raw.verdict(stream=5)
        return f"{got} of {', '.join(map(str, raw.heads))}" if raw.alive() else "closed"


def test_cases(gateway, capsys):
    row("gRPC/HTTP2", "h2spec-like cases: each wrong frame, head and message is refused as the RFCs say", cases=len(CASES))
    failed = []
    for name, said, may in CASES:
        got = try_case(gateway, name, said)
        if got not in may:
            failed.append(f"{name}: {got}, not one of {sorted(may)}")
    with capsys.disabled():
        print(f"\nHTTP/2 and gRPC by raw frames: {len(CASES) - len(failed)} of {len(CASES)} cases passed")
    assert not failed, "\n".join(failed)
    with Door(gateway.grpc) as door:
        assert door.enqueue("note.count").job.id


# ---- floods

def rapid_reset(raw):
    """HEADERS and RST_STREAM, again and again (CVE-2023-44487)."""
    for first in range(1, 40001, 200):
        raw.send(*(f for s in range(first, first + 200, 2) for f in (raw.head(s), RstStreamFrame(s, 8))))
        if raw.closed:
            return


def continuation_flood(raw):
    """A head without an end."""
    raw.send(HeadersFrame(1, raw.block()))
    for _ in range(2000):
        raw.send(frame(CONTINUATION, 0, 1, b"\0\1x\x7f\x81\1" + b"y" * 256) * 16)
        if raw.closed:
            return


def hpack_bomb(raw):
    """A large field into the table once, then a byte each time."""
    fat = b"\x40\4cook\x7f\xc1\x1e" + b"y" * 4032
    block = raw.block() + fat + b"\xbe" * 12000
    for stream in range(1, 200, 2):
        raw.send(frame(HEADERS, END_HEADERS, stream, block[:16384]))
        if raw.closed:
            return


def ping_flood(raw):
    for _ in range(500):
        raw.send(frame(PING, 0, 0, b"p" * 8) * 200)
        if raw.closed:
            return


def settings_flood(raw):
    for _ in range(500):
        raw.send(frame(SETTINGS, 0, 0, b"\0\3\0\0\0\x64") * 200)
        if raw.closed:
            return


def empty_data_flood(raw):
    raw.send(raw.head(_path="/windlass.v1.Jobs/EnqueueBatch"))
    for _ in range(500):
        raw.send(frame(DATA, 0, 1) * 200)
        if raw.closed:
            return


def priority_flood(raw):
    for i in range(500):
        raw.send(*(frame(PRIO, 0, 2 * s + 1, b"\0\0\0\0\1") for s in range(i * 200, i * 200 + 200)))
        if raw.closed:
            return


FLOODS = [rapid_reset, continuation_flood, hpack_bomb, ping_flood, settings_flood, empty_data_flood, priority_flood]


def test_floods(gateway, long_form):
    told = row("gRPC/HTTP2", "floods: the connection is cut, memory stays flat, others are served", cases=0)
    with Door(gateway.grpc) as door:
        door.enqueue("note.count")
        before = gateway.resident_kib()
        for flood in FLOODS * (10 if long_form else 1):
            with Raw(gateway.grpc, timeout_s=30) as raw:
                flood(raw)
                end = raw.read(lambda f: isinstance(f, GoAwayFrame) and f.error_code != 0)
                assert end or raw.closed, f"{flood.__name__} may go on: {raw.frames[-3:]}"
            assert door.enqueue("note.count").job.id, flood.__name__
            told["cases"] += 1
        assert gateway.resident_kib() - before < 16 * 1024
        wait_for(lambda: metric(gateway, "windlass_grpc_connections") == 1)
        assert metric(gateway, "windlass_grpc_connections_cut_total") >= told["cases"]


def test_memory_of_many_unfinished_messages(gateway):
    """Windows full of requests that never end, and answers that nobody reads."""
    with Door(gateway.grpc) as door:
        door.enqueue("note.count")
        before = gateway.resident_kib()
        with Raw(gateway.grpc) as raw:
            for stream in range(1, 400, 2):
                raw.send(raw.head(stream, _path="/windlass.v1.Jobs/Enqueue"), DataFrame(stream, b"\0\0\3\xff\xff" + b"x" * 4000))
            assert raw.alive()
            assert gateway.resident_kib() - before < 24 * 1024
            assert door.enqueue("note.count").job.id
        wait_for(lambda: metric(gateway, "windlass_grpc_streams") == 0)


def test_too_many_streams(gateway):
    with Raw(gateway.grpc) as raw:
        for stream in range(1, 2 * 1200, 2):
            raw.send(raw.head(stream))
        assert raw.verdict(2 * 1100 + 1) in {"RST REFUSED_STREAM", "GOAWAY PROTOCOL_ERROR", "closed"}


def test_a_reader_that_does_not_read(gateway):
    """Windows of nothing: what was asked for waits within bounds, and others do not."""
    with Door(gateway.grpc) as door, Raw(gateway.grpc, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}) as raw:
        id = door.enqueue("note.add", {"who": "x" * 200_000}).job.id
        before = gateway.resident_kib()
        ask = message(b"\x0a" + bytes([len(id)]) + id.encode())
        for stream in range(1, 100, 2):
            raw.send(*raw.ask(stream, ask, _path="/windlass.v1.Jobs/Get"))
        assert raw.alive() and door.get(id).id == id
        assert gateway.resident_kib() - before < 64 * 1024
        raw.send(WindowUpdateFrame(0, 50 * 210_000), *(WindowUpdateFrame(s, 210_000) for s in range(1, 100, 2)))
        assert raw.verdict(99) == "grpc 0"


def test_connection_that_says_nothing_is_closed(gateway, long_form):
    if not long_form:
        pytest.skip("ten seconds of silence: with --long")
    started = time.monotonic()
    with Raw(gateway.grpc, greet=False, timeout_s=60) as raw:
        assert raw.verdict() == "closed"
    assert time.monotonic() - started > 5

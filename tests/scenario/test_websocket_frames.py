# SPDX-License-Identifier: Apache-2.0
"""RFC 6455 on the wire, case by case: what is sent, and what has to come back. The number of cases that held is printed."""

import struct

import pytest

from harness.checklist import row
from harness.gateway import start
from harness.wire import BINARY, CLOSE, MORE, PING, PONG, TEXT, Wire, close, frame

ASK = b'{"op":"ping","ref":1}'
ANSWER = (TEXT, b'{"op":"pong","ref":1}')
GOOD = [ANSWER]
LIMIT = 256 * 1024 + 8192  # of a message


def code(number):
    return [(CLOSE, struct.pack(">H", number))]


def padded(size):
    return ASK + b" " * (size - len(ASK))


def said(text):
    """A ref with this text, and the answer that has it."""
    return (b'{"op":"ping","ref":"' + text + b'"}', [(TEXT, b'{"op":"pong","ref":"' + text + b'"}')])


def in_bits(data, size):
    return [data[at:at + size] for at in range(0, len(data), size)]


def fragments(payload, size, between=b""):
    parts = in_bits(payload, size)
    return b"".join(frame(MORE if at else TEXT, part, fin=at == len(parts) - 1) + (b"" if at == len(parts) - 1 else between)
                    for at, part in enumerate(parts))


def lengths():
    for size in (21, 125, 126, 127, 128, 4096, 65535, 65536, 131072, LIMIT):
        yield f"text of {size}", frame(TEXT, padded(size)), GOOD
    yield "in single bytes", in_bits(frame(TEXT, padded(300)), 1), GOOD
    yield "in bits of 997", in_bits(frame(TEXT, padded(70000)), 997), GOOD
    yield "three at once", frame(TEXT, ASK) * 3, GOOD * 3
    yield "one over the limit", frame(TEXT, padded(LIMIT + 1)), code(1009)
    yield "1 GB announced", frame(TEXT, b"x", length=(127, struct.pack(">Q", 1 << 30))), code(1009)
    yield "63 bits announced", frame(TEXT, b"x", length=(127, struct.pack(">Q", (1 << 63) - 1))), code(1009)
    yield "64 bits announced", frame(TEXT, b"x", length=(127, struct.pack(">Q", 1 << 63))), code(1002)
    yield "16 bits where 7 do", frame(TEXT, ASK, length=(126, struct.pack(">H", len(ASK)))), code(1002)
    yield "64 bits where 16 do", frame(TEXT, padded(300), length=(127, struct.pack(">Q", 300))), code(1002)
    yield "fragments over the limit", fragments(padded(LIMIT + 1), 10000), code(1009)
    yield "no mask", frame(TEXT, ASK, mask=None), code(1002)
    yield "no mask on a ping", frame(PING, mask=None), code(1002)
    yield "a mask of zeros", frame(TEXT, ASK, mask=bytes(4)), GOOD
    yield "binary", frame(BINARY, ASK), code(1003)


def control_frames():
    yield "ping", frame(PING), [(PONG, b"")]
    yield "ping of 125", frame(PING, b"\xfe" * 125), [(PONG, b"\xfe" * 125)]
    yield "ping of 126", frame(PING, b"x" * 126), code(1002)
    yield "ping in single bytes", in_bits(frame(PING, b"hello"), 1), [(PONG, b"hello")]
    yield "ten pings", b"".join(frame(PING, str(n)) for n in range(10)), [(PONG, str(n).encode()) for n in range(10)]
    yield "pong unasked", frame(PONG, b"x") + frame(TEXT, ASK), GOOD
    yield "pong of 126", frame(PONG, b"x" * 126), code(1002)
    yield "ping in fragments", frame(PING, b"a", fin=0) + frame(MORE, b"b"), code(1002)
    yield "pong in fragments", frame(PONG, b"a", fin=0) + frame(MORE, b"b"), code(1002)
    yield "close in fragments", frame(CLOSE, fin=0), code(1002)
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield f"opcode {opcode}", frame(opcode, b"x"), code(1002)
    for bit in (1, 2, 4, 7):
        yield f"reserved bits {bit} on text", frame(TEXT, ASK, rsv=bit), code(1002)
        yield f"reserved bits {bit} on ping", frame(PING, rsv=bit), code(1002)
        yield f"reserved bits {bit} on close", frame(CLOSE, rsv=bit), code(1002)
        yield f"reserved bits {bit} on a fragment", frame(TEXT, ASK[:5], fin=0) + frame(MORE, ASK[5:], rsv=bit), code(1002)


def fragmented():
    for size in (1, 2, 7, 20):
        yield f"fragments of {size}", fragments(ASK, size), GOOD
    yield "pings between", fragments(ASK, 7, frame(PING, b"p")), [(PONG, b"p")] * 2 + GOOD
    yield "pongs between", fragments(ASK, 7, frame(PONG, b"p")), GOOD
    yield "empty fragments", frame(TEXT, fin=0) + frame(MORE, ASK, fin=0) + frame(MORE, fin=0) * 50 + frame(MORE), GOOD
    yield "continues nothing", frame(MORE, ASK), code(1002)
    yield "continues nothing, open", frame(MORE, ASK, fin=0), code(1002)
    yield "text within text", frame(TEXT, ASK[:5], fin=0) + frame(TEXT, ASK), code(1002)
    yield "binary within text", frame(TEXT, ASK[:5], fin=0) + frame(BINARY, ASK), code(1002)
    yield "continues what is over", frame(TEXT, ASK, fin=0) + frame(MORE) + frame(MORE, ASK), code(1002)
    yield "closed within", frame(TEXT, ASK[:5], fin=0) + close(1000), code(1000)


def utf8():
    for text in ("κόσμε", "日本語", "\U0001f680", "ß", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff"):
        sent, answer = said(text.encode())
        yield f"whole {text!r}", frame(TEXT, sent), answer
        yield f"split {text!r}", fragments(sent, 1), answer
    bad = {"a lone continuation": "80", "a lone head": "c3", "overlong slash": "c0af", "overlong in three": "e080af",
           "overlong in four": "f08080af", "a surrogate": "eda080", "a pair of surrogates": "eda080edb080", "over 10ffff": "f4908080",
           "five bytes": "f888808080", "fe": "fe", "ff": "ff", "cut off": "e697"}
    for name, text in bad.items():
        sent = said(bytes.fromhex(text))[0]
        yield name, frame(TEXT, sent), code(1007)
        yield f"{name}, split", fragments(sent, 1), code(1007)


def closing():
    yield "without a code", close(), [(CLOSE, b"")]
    yield "half a code", frame(CLOSE, b"\x03"), code(1002)
    yield "with a reason", close(1000, b"bye"), [(CLOSE, struct.pack(">H", 1000) + b"bye")]
    yield "the longest reason", close(1000, b"x" * 123), [(CLOSE, struct.pack(">H", 1000) + b"x" * 123)]
    yield "too long a reason", close(1000, b"x" * 124), code(1002)
    yield "a reason that is no UTF-8", close(1000, b"\xff"), code(1007)
    yield "and words behind it", close(1000) + frame(TEXT, ASK) + frame(PING), code(1000)
    for number in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        yield f"code {number}", close(number), code(number)
    for number in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535):
        yield f"code {number}", close(number), code(1002)


GROUPS = {"lengths": lengths, "control frames": control_frames, "fragments": fragmented, "UTF-8": utf8, "closing": closing}


def starts_like(got, wanted):
    """A close of ours may give a reason, which is ours to choose."""
    return got == wanted or (got and got[0] == CLOSE == wanted[0] and len(wanted[1]) == 2 and got[1].startswith(wanted[1]))


def holds(url, sent, wanted):
    with Wire(url) as wire:
        for part in sent if isinstance(sent, list) else [sent]:
            try:
                wire.send(part)
            except ConnectionError:
                break
        got = [wire.next() for _ in wanted]
        if wanted[-1][0] == CLOSE:
            return all(map(starts_like, got, wanted)) and wire.next()[0] is None, got
        wire.send(close(1000))
        return got == wanted and wire.next() == (CLOSE, struct.pack(">H", 1000)), got


def test_every_case(windlass, sqlite_url):
    url = start(windlass, sqlite_url).url
    wrong, count = [], 0
    for group, cases in GROUPS.items():
        told = row("WebSocket", f"RFC 6455 on the wire: {group}", 0)
        passed = total = 0
        for name, sent, wanted in cases():
            good, got = holds(url, sent, wanted)
            passed, total = passed + good, total + 1
            if not good:
                wrong.append(f"{group}, {name}: got {[(opcode, data and data[:60]) for opcode, data in got]}")
        count += total
        told |= {"cases": total, "verdict": f"{passed} of {total}"}
    assert not wrong, "\n".join(wrong)
    assert count >= 130


@pytest.mark.parametrize("headers, status, slug", [
    ({"Upgrade": None}, 426, "no-websocket"),
    ({"Upgrade": "h2c"}, 426, "no-websocket"),
    ({"Connection": "keep-alive"}, 426, "no-websocket"),
    ({"Sec_WebSocket_Version": "8"}, 426, "no-websocket"),
    ({"Sec_WebSocket_Version": None}, 426, "no-websocket"),
    ({"Sec_WebSocket_Key": None}, 400, "bad-handshake"),
    ({"Sec_WebSocket_Key": "c2hvcnQ="}, 400, "bad-handshake"),
    ({"Sec_WebSocket_Key": "************************"}, 400, "bad-handshake"),
    ({"Origin": "http://evil.example"}, 403, "wrong-origin"),
    ({"Origin": "null"}, 403, "wrong-origin"),
    ({"Host": "evil.example"}, 421, "wrong-host"),
    ({"Upgrade": "h2c, WebSocket", "Connection": "keep-alive, upgrade"}, 101, None),
    ({"Sec_WebSocket_Protocol": "nobody.knows"}, 101, None),
])
def test_handshakes(windlass, sqlite_url, headers, status, slug):
    with Wire(start(windlass, sqlite_url).url, **headers) as wire:
        assert wire.status == status
        if slug:
            assert wire.problem["type"].endswith(":" + slug)
        if status == 426:
            assert "sec-websocket-version: 13" in wire.head.lower()

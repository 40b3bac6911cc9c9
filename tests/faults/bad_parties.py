# SPDX-License-Identifier: Apache-2.0
"""Third parties that misbehave: answers for ThirdParty's scripts (`raw` steps), and listeners that do not answer at all."""

import email.utils
import socket
import struct
import time
import zlib

from harness.ports import free_port
from harness.third_party import ThirdParty

HUGE = 10 << 30
CHUNK = bytes(1 << 16)


def drip(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3600\r\n\r\n")
    for _ in range(3600):
        handler.wfile.write(b" ")
        time.sleep(1)


def cut(handler):
    """Half an answer, then a reset."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b'{"a":')
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for end in (handler.rfile, handler.connection):  # wfile holds nothing and is flushed once more
        end.close()


def later(make_value):
    """429 with this Retry-After to the first request of each key, then 200."""
    seen = set()

    def step(request):
        if request["key"] in seen:
            return {"status": 200}
        seen.add(request["key"])
        return {"status": 429, "headers": {"Retry-After": make_value()}}
    return step


def in_seconds(seconds):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


class Deaf:
    """A port that answers nothing: `refuses` connections, `drops` them, or accepts them and `hangs`. heal() puts somebody there."""

    def __init__(self, how):
        self.held, self.party, self.port = [], None, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        if how != "refuses":
            self.held = [socket.create_server(("127.0.0.1", self.port), backlog=0 if how == "drops" else 1024)]
        for _ in range(2 if how == "drops" else 0):  # its queue is full: what comes now is dropped
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self.held.append(filler)

    def heal(self):
        self.release()
        self.party = ThirdParty(self.port)

    def release(self):
        for held in self.held[::-1]:
            held.close()
        self.held = []

    def close(self):
        self.release()
        if self.party:
            self.party.close()


# ---- hostile answers; each counts what it got rid of: written[path]

def pouring(head, pieces, written):
    """Writes the head and then piece after piece until nobody takes them."""
    def raw(handler):
        handler.wfile.write(head)
        written.setdefault(handler.path, []).append(0)
        for piece in pieces():
            handler.wfile.write(piece)
            written[handler.path][-1] += len(piece)
    return {"raw": raw}


def zeros(size=HUGE):
    for _ in range(size // len(CHUNK)):
        yield CHUNK


def gzipped(pieces):
    packer = zlib.compressobj(9, wbits=31)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def chunked():
    for piece in zeros():
        yield b"%x\r\n" % len(piece) + piece + b"\r\n"


def lines(line):
    def pieces():
        for n in range(HUGE // len(line)):
            yield line % n
    return pieces


def hostile_answers(inside, written):
    """path -> step"""
    ok = b"HTTP/1.1 200 OK\r\n"
    answers = {
        "body": pouring(ok + b"Content-Length: %d\r\n\r\n" % HUGE, zeros, written),
        "body_unsized": pouring(ok + b"Connection: close\r\n\r\n", zeros, written),
        "chunks": pouring(ok + b"Transfer-Encoding: chunked\r\n\r\n", chunked, written),
        "gzip": pouring(ok + b"Content-Encoding: gzip\r\n\r\n", lambda: gzipped(zeros()), written),
        "gzip_gzip": pouring(ok + b"Content-Encoding: gzip, gzip\r\n\r\n", lambda: gzipped(gzipped(zeros())), written),
        "headers": pouring(ok, lines(b"X-Header-%d: " + b"x" * 1000 + b"\r\n"), written),
        "header": pouring(ok + b"X: ", zeros_as_text, written),
        "interim": pouring(b"", lines(b"HTTP/1.1 103 Early Hints\r\nX: %d\r\n\r\n"), written),
    }
    for status in (301, 302, 303, 307, 308):
        answers[f"redirect_{status}"] = {"status": status, "headers": {"Location": inside, "Refresh": f"0; url={inside}"}}
    return answers


def zeros_as_text():
    for _ in zeros():
        yield b"x" * 4096

# SPDX-License-Identifier: Apache-2.0
"""WebSocket frames by hand, for what no library would send."""

import base64
import json
import os
import socket
import struct

TEXT, BINARY, CLOSE, PING, PONG, MORE = 1, 2, 8, 9, 10, 0


def frame(opcode, payload=b"", fin=1, rsv=0, mask=b"mask", length=None):
    """One frame. `length`: (7 bits, bytes behind them) instead of the shortest; mask None: none."""
    payload = payload.encode() if isinstance(payload, str) else payload
    size = len(payload)
    short, rest = length or ((size, b"") if size < 126 else (126, struct.pack(">H", size)) if size < 65536
                             else (127, struct.pack(">Q", size)))
    head = bytes([fin << 7 | rsv << 4 | opcode, (0x80 if mask else 0) | short]) + rest
    if not mask:
        return head + payload
    pad = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


def close(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason)


def handshake(host, path="/v1/ws", **headers):
    fields = {"Host": host, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
              "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()}
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


class Wire:
    """A connection to the gateway: the handshake's status, then frames."""

    def __init__(self, url, path="/v1/ws", behind=b"", timeout_s=20, receive_bytes=None, **headers):
        self.host = url.split("://")[1]
        name, port = self.host.split(":")
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(timeout_s)
        self.socket.connect((name, int(port)))
        self.buffer = b""
        self.socket.sendall(handshake(self.host, path, **headers) + behind)
        head = self._until(b"\r\n\r\n").decode()
        self.status, self.head = int(head.split(" ")[1]), head
        if self.status != 101:
            length = [line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length")]
            self.problem = json.loads(self._bytes(int(length[0])))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _fill(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    def _until(self, mark):
        while mark not in self.buffer:
            self._fill()
        head, self.buffer = self.buffer.split(mark, 1)
        return head

    def _bytes(self, count):
        while len(self.buffer) < count:
            self._fill()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def send(self, data):
        self.socket.sendall(data)

    def say(self, **message):
        self.send(frame(TEXT, json.dumps(message)))

    def next(self):
        """(opcode, payload); (None, None) when the connection ended."""
        try:
            first, second = self._bytes(2)
            assert first & 0x80 and not first & 0x70 and not second & 0x80, "whole frames, no reserved bit, no mask"
            size = second & 127
            if size >= 126:
                size = int.from_bytes(self._bytes(2 if size == 126 else 8), "big")
            return first & 15, self._bytes(size)
        except (EOFError, ConnectionError):
            return None, None

    def hear(self):
        """The next message; the gateway's pings are answered."""
        while True:
            opcode, payload = self.next()
            if opcode == PING:
                self.send(frame(PONG, payload))
            elif opcode == TEXT:
                return json.loads(payload)
            else:
                raise AssertionError(f"expected a message, got {opcode}: {payload}")

    def end(self):
        """The close code that comes, whatever comes before; None: a close without one, 1006: none came."""
        while True:
            opcode, payload = self.next()
            if opcode is None:
                return 1006
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big") if payload else None

# SPDX-License-Identifier: Apache-2.0
"""A client of Server-Sent Events, by the letter of the HTML standard and of HTTP's chunks, on a socket of its own: what a browser does
with the bytes, and nothing of what libraries add."""

import json
import socket
import urllib.parse


class Event:
    def __init__(self, name, id, data):
        self.name, self.id, self.data = name, id, data

    def job(self):
        return json.loads(self.data)

    def __repr__(self):
        return f"Event({self.name}, {self.id}, {self.data[:100]})"


class Stream:
    """One request. status and headers are there at once; next() waits for an event."""

    def __init__(self, url, path, timeout_s=30, receive_bytes=None, **headers):
        host = urllib.parse.urlparse(url)
        self.sock = socket.socket()
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(timeout_s)
        self.sock.connect((host.hostname, host.port))
        lines = [f"GET {path} HTTP/1.1", f"Host: {host.netloc}", "Accept: text/event-stream"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.bytes, self.text, self.over, self.last_id, self.comments, self.retry_ms = b"", "", False, None, 0, None
        head = self._until(b"\r\n\r\n").decode().split("\r\n")
        self.status = int(head[0].split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        self.chunked = self.headers.get("transfer-encoding") == "chunked"

    def _receive(self):
        got = self.sock.recv(65536)
        if not got:
            raise EOFError("the connection was closed")
        self.bytes += got

    def _until(self, mark):
        while mark not in self.bytes:
            self._receive()
        head, _, self.bytes = self.bytes.partition(mark)
        return head

    def _exactly(self, count):
        while len(self.bytes) < count:
            self._receive()
        taken, self.bytes = self.bytes[:count], self.bytes[count:]
        return taken

    def body(self):
        """Of an answer that is no stream."""
        return json.loads(self._exactly(int(self.headers["content-length"])) or b"null")

    def _chunk(self):
        size = int(self._until(b"\r\n").split(b";")[0], 16)
        self.text += self._exactly(size).decode()
        assert self._exactly(2) == b"\r\n"
        self.over = size == 0

    def next(self, timeout_s=None):
        """The next event; None at the stream's proper end."""
        if timeout_s:
            self.sock.settimeout(timeout_s)
        while True:
            while "\n\n" not in self.text:
                if self.over:
                    return None
                self._chunk()
            block, _, self.text = self.text.partition("\n\n")
            event = self._dispatch(block)
            if event:
                return event

    def _dispatch(self, block):
        name, data = "message", []
        for line in block.split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if line.startswith(":"):
                self.comments += 1
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                self.last_id = value
            elif field == "retry":
                self.retry_ms = int(value)
        return Event(name, self.last_id, "\n".join(data)) if data else None

    def rest(self):
        """All events until the stream ends."""
        events = []
        while event := self.next():
            events.append(event)
        return events

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

# SPDX-License-Identifier: Apache-2.0
"""A third party that speaks HTTP/2 (and HTTP/1.1 to who offers nothing else), over TLS: each request is written down with its connection,
and a connection can be ended in the middle of several streams, as servers do that are taken out of service."""

import contextlib
import select
import socket
import ssl
import threading
import time

import h2.config
import h2.connection
import h2.events
from hyperframe.frame import GoAwayFrame

APPLIED = b'{"done":true}'


class Http2Party:
    """`script(path, *steps)`: one step a request, the last one stays. A step is a dict of status, delay, and of what becomes of the connection:
    goaway ("unseen": this stream and later ones are told to be unseen; "seen": it is the last that is answered) or cut (it was applied, and
    the connection is closed without a word)."""

    def __init__(self, certs):
        self.lock, self.requests, self.applied, self.steps = threading.Lock(), [], [], {}
        self.connections, self.most_streams = 0, 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certs / "server.pem", certs / "server.key")
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"https://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.talk, args=(self.socket.accept()[0],), daemon=True).start()

    def talk(self, plain):
        with plain, contextlib.suppress(OSError):
            plain.settimeout(20)
            with self.context.wrap_socket(plain, server_side=True) as connection:
                with self.lock:
                    self.connections += 1
                    number = self.connections
                if connection.selected_alpn_protocol() == "h2":
                    Http2Connection(self, connection, number).serve()
                else:
                    self.serve_one(connection, number)

    def serve_one(self, connection, number):
        """HTTP/1.1, one request a connection."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        lines, body = head.split(b"\r\n\r\n", 1)
        headers = dict(line.decode().lower().split(": ", 1) for line in lines.split(b"\r\n")[1:] if b": " in line)
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65536)
        method, path, _ = lines.split(b"\r\n")[0].decode().split()
        step = self.take(number, "1.1", method, path, headers.get("idempotency-key"), 0)
        time.sleep(step.get("delay", 0))
        if not step.get("cut"):
            connection.sendall(b"HTTP/1.1 %d OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (step.get("status", 200), len(APPLIED), APPLIED))

    def take(self, number, protocol, method, path, key, stream):
        """Writes a request down; its step."""
        with self.lock:
            steps = self.steps.get(path) or [{}]
            step = steps.pop(0) if len(steps) > 1 else steps[0]
            request = {"connection": number, "protocol": protocol, "method": method, "path": path, "key": key, "stream": stream}
            self.requests.append(request)
            if step.get("goaway") != "unseen" and step.get("status", 200) < 300:
                self.applied.append(request)
            return step

    def script(self, path, *steps):
        with self.lock:
            self.steps[path] = list(steps)

    def to(self, path, protocol=None):
        with self.lock:
            return [r for r in self.requests if r["path"] == path and protocol in (None, r["protocol"])]

    def close(self):
        self.socket.close()


class Http2Connection:
    def __init__(self, party, connection, number):
        self.party, self.connection, self.number = party, connection, number
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.open, self.due, self.last, self.over = set(), [], None, False  # `last`: what came after it is not looked at

    def serve(self):
        self.h2.initiate_connection()
        self.flush()
        while not self.over:
            wait = max(0, min([at for at, *_ in self.due], default=time.monotonic() + 20) - time.monotonic())
            if self.connection.pending() or select.select([self.connection], [], [], wait)[0]:
                data = self.connection.recv(65536)
                if not data:
                    return
                for event in self.h2.receive_data(data):
                    self.hear(event)
            for item in sorted(item for item in self.due if item[0] <= time.monotonic()):
                self.due.remove(item)
                self.answer(*item[1:])
            self.flush()

    def flush(self):
        self.connection.sendall(self.h2.data_to_send())

    def hear(self, event):
        if isinstance(event, h2.events.RequestReceived) and (self.last is None or event.stream_id <= self.last):
            self.open.add(event.stream_id)
            self.party.most_streams = max(self.party.most_streams, len(self.open))
            headers = dict(event.headers)
            step = self.party.take(self.number, "2", headers[":method"], headers[":path"], headers.get("idempotency-key"), event.stream_id)
            self.act(event.stream_id, step)
        elif isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def act(self, stream, step):
        if step.get("cut"):
            self.over = True
        elif step.get("goaway") == "unseen":
            self.go_away(stream - 2)
        else:
            if step.get("goaway") == "seen":
                self.go_away(stream)
            self.due.append((time.monotonic() + step.get("delay", 0), stream, step.get("status", 200)))

    def go_away(self, last):
        """Streams up to `last` are answered still; the library would not let us."""
        self.last = last
        self.flush()
        self.connection.sendall(GoAwayFrame(last_stream_id=last).serialize())

    def answer(self, stream, status):
        self.open.discard(stream)
        self.h2.send_headers(stream, [(":status", str(status)), ("content-type", "application/json")])
        self.h2.send_data(stream, APPLIED, end_stream=True)

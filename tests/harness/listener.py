# SPDX-License-Identifier: Apache-2.0
"""Something that must not be reached, or must: an HTTP server on every address that remembers each connection and each request."""

import socket
import threading


class Listener:
    def __init__(self, host="::", port=0, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.bind((host, port))
        self.socket.listen(128)
        self.port = self.socket.getsockname()[1]
        self.answer, self.connections, self.requests = answer, [], []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, peer = self.socket.accept()
            except OSError:
                return
            self.connections.append(peer[0])
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        """Heads, with their bodies when they say how long these are, as they came."""
        buffer = b""
        with connection:
            while True:
                try:
                    data = connection.recv(65536)
                except OSError:
                    return
                if not data:
                    return
                buffer += data
                while (request := self.take(buffer)) is not None:
                    buffer = buffer[len(request):]
                    self.requests.append(request)
                    connection.sendall(self.answer)

    @staticmethod
    def take(buffer):
        head, end, rest = buffer.partition(b"\r\n\r\n")
        if not end:
            return None
        lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        body = int(lengths[0]) if lengths else 0
        return head + end + rest[:body] if len(rest) >= body else None

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

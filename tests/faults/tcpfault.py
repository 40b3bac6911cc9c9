# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that misbehaves between Windlass and a server: it can swallow the answer to a COMMIT, reset, and go silent."""

import random
import socket
import threading


class TcpFault:
    """Listens on a free port for one upstream. Thread per direction; closed by close()."""

    def __init__(self, host, port, seed=1):
        self.upstream = (host, port)
        self.dice = random.Random(seed)
        self.swallow_part = 0.0   # of COMMITs whose answer is lost, with the connection
        self.swallowed = 0
        self.silent = threading.Event()  # while set nothing passes, in either direction
        self.pairs, self.lock = set(), threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.upstream, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            pair = Pair(self, client, server)
            with self.lock:
                self.pairs.add(pair)
            pair.start()

    def reset_all(self):
        """RST on every connection; returns how many."""
        with self.lock:
            pairs, self.pairs = list(self.pairs), set()
        for pair in pairs:
            pair.reset()
        return len(pairs)

    def close(self):
        self.listener.close()
        self.reset_all()


class Pair:
    def __init__(self, fault, client, server):
        self.fault, self.client, self.server = fault, client, server
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self):
        for run in (self._requests, self._answers):
            threading.Thread(target=run, daemon=True).start()

    def reset(self):
        for end in (self.client, self.server):
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def _read(self, end):
        try:
            data = end.recv(65536)
        except OSError:
            data = b""
        while self.fault.silent.is_set():
            threading.Event().wait(0.05)
        return data

    def _requests(self):
        while data := self._read(self.client):
            try:
                self.server.sendall(data)
            except OSError:
                break
        self.reset()

    def _answers(self):
        while data := self._read(self.server):
            if b"COMMIT\0" in data and self.fault.dice.random() < self.fault.swallow_part:
                self.fault.swallowed += 1
                break  # the server has committed, so its CommandComplete says; nobody will hear of it
            try:
                self.client.sendall(data)
            except OSError:
                break
        self.reset()

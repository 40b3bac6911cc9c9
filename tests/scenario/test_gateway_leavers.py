# SPDX-License-Identifier: Apache-2.0
"""Clients that leave while their job is being accepted or waited for: their jobs stay, the gateway too."""

import json
import socket

from harness.gateway import start
from harness.store import rows
from harness.windlass import wait_for

REQUEST = "POST /v1/jobs?wait=10s HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}"
JOBS = {"sqlite:": "SELECT count(*) FROM windlass_jobs", "postgre": "SELECT count(*) FROM windlass.jobs"}


def test_clients_that_leave_harm_nobody(store_url, windlass):
    gateway = start(windlass, store_url)
    port = int(gateway.url.rsplit(":", 1)[1])
    body = json.dumps({"type": "note.add", "payload": {"who": "x"}})
    request = REQUEST.format(port, len(body), body).encode()
    for _ in range(10):
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
        for client in clients:
            client.sendall(request)
        for client in clients:
            client.close()
    id = gateway.api().enqueue("note.add", {"who": "y"})
    assert gateway.api().get_job(id)["state"] == "available"
    # One whose client was gone before its head was read may be missing; none is there twice.
    wait_for(lambda: gateway.metrics()["windlass_waiters"] == 0)
    assert 1 <= rows(store_url, JOBS[store_url[:7]])[0][0] <= 301

# SPDX-License-Identifier: Apache-2.0
"""What the gateway's tests share: a started gateway, keys, raw sockets, ids of a chosen time."""

import hashlib
import pathlib
import secrets
import socket
import time
import uuid

JOBS = pathlib.Path(__file__).resolve().parents[1] / "scenario/jobs.yaml"


def start(windlass, store_url, **settings):
    return windlass.gateway(DATABASE_URL=store_url, WINDLASS_JOBS=str(JOBS), **settings)


def make_key(id, scopes, tenant=None, expires=None):
    """A key and its line for WINDLASS_API_KEYS."""
    key = f"wl_{id}_{secrets.token_urlsafe(24)}"
    line = f"id={id} hash={hashlib.sha256(key.encode()).hexdigest()} scopes={scopes}"
    if tenant:
        line += f" tenant={tenant}"
    if expires:
        line += f" expires={expires}"
    return key, line


def uuid7(at=None):
    ms = int((time.time() if at is None else at) * 1000)
    number = (ms << 80) | (7 << 76) | (secrets.randbits(12) << 64) | (2 << 62) | secrets.randbits(62)
    return str(uuid.UUID(int=number))


def raw(process, data, timeout_s=5, parts=None):
    """Sends bytes as they are; what comes back until the server closes or is silent for a moment."""
    host, port = process.url.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=timeout_s) as sock:
        sock.settimeout(0.5 if timeout_s > 0.5 else timeout_s)
        try:
            for part in parts or [data]:
                sock.sendall(part)
        except OSError:
            pass
        try:
            while chunk := sock.recv(65536):
                received += chunk
        except OSError:
            pass
    return received


def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None

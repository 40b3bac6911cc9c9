# SPDX-License-Identifier: Apache-2.0
"""Clients that mean no good, in a process of their own: slow_clients.py PORT SECONDS KIND=COUNT... Each connects once and then is slow.
Says `ready` when all are connected and, at the end, as JSON how many of each kind were cut off, and after how many seconds at least and at most."""

import asyncio
import json
import random
import socket
import sys
import time

DRIP_S = 2.0
ARRIVAL_S = 3.0  # they come one after the other: a thousand at once are another test
HEAD = "{} {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n"


def silence(_):
    """Connects and says nothing."""
    return b"", b""


def header(port):
    """A head that never ends, a byte now and then."""
    return (HEAD.format("GET", "/healthz", port) + "X-Slow: ").encode(), b"a" * 1000


def body(port):
    return (HEAD.format("POST", "/v1/jobs", port) + "Content-Type: application/json\r\nContent-Length: 200000\r\n\r\n").encode(), b" " * 1000


def read(port):
    """Asks for much and reads nothing of it."""
    return (HEAD.format("GET", "/openapi.json", port) + "\r\n").encode() * 4, b""


KINDS = {f.__name__: f for f in (silence, header, body, read)}


async def be_slow(port, kind, until, cut):
    """One connection, until it is cut off or the time is up."""
    await asyncio.sleep(random.uniform(0, ARRIVAL_S))
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    first, drips = KINDS[kind](port)
    try:
        await loop.sock_connect(sock, ("127.0.0.1", port))
        began = time.monotonic()
        yield_ready.release()
        if first:
            await asyncio.wait_for(loop.sock_sendall(sock, first), 20)
        for n in range(10000):
            await asyncio.sleep(min(DRIP_S * random.uniform(0.8, 1.2), max(0.0, until - time.monotonic())))
            if time.monotonic() >= until:
                return
            if kind == "read":
                continue
            if n < len(drips):
                await loop.sock_sendall(sock, drips[n : n + 1])
            if not await asyncio.wait_for(anything(loop, sock), 0.01):
                break
        cut[kind].append(time.monotonic() - began)
    except (TimeoutError, asyncio.TimeoutError, OSError):
        if time.monotonic() < until:
            cut[kind].append(time.monotonic() - began)
    finally:
        sock.close()


async def anything(loop, sock):
    """False: the other side has closed."""
    try:
        data = sock.recv(4096)
    except BlockingIOError:
        return True
    return bool(data)


async def main(port, seconds, counts):
    global yield_ready
    yield_ready = asyncio.Semaphore(0)
    cut = {kind: [] for kind in counts}
    until = time.monotonic() + seconds
    tasks = [asyncio.create_task(be_slow(port, kind, until, cut)) for kind, count in counts.items() for _ in range(count)]
    for _ in tasks:
        await asyncio.wait_for(yield_ready.acquire(), 30)
    print("ready", flush=True)
    await asyncio.gather(*tasks)
    print(json.dumps({kind: {"cut": len(times), "least_s": min(times, default=None), "most_s": max(times, default=None)} for kind, times in cut.items()}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), {k: int(n) for k, n in (pair.split("=") for pair in sys.argv[3:])}))

# SPDX-License-Identifier: Apache-2.0
"""A payment provider for the examples and the tests: an own process that honours Idempotency-Key as real providers do.

POST /charges {"order", "total"} -> 201 {"id", "order", "amount"}; POST /refunds {"order"} -> 200 {"refunded": bool}
GET /state -> what was applied; PUT /behaviour {...} changes how it answers (see Behaviour).
Every request is appended to --log as a JSON line before it is answered, so that a test can count what really arrived.
"""
import argparse
import asyncio
import hashlib
import json
import os
import random
import signal
import time
from dataclasses import dataclass, fields


@dataclass
class Behaviour:
    delay_s: float = 0.0        # before every answer
    fail_part: float = 0.0      # of requests answered 503, nothing applied
    reset_part: float = 0.0     # of requests applied, then the connection is closed without an answer
    hang_part: float = 0.0      # of requests that are read and never answered
    refuse_over: int = 0        # totals above it are answered 402; 0: none
    close_after_post: bool = False  # reads a POST on a reused connection, applies it and closes


class Provider:
    def __init__(self, log_path):
        self.behaviour = Behaviour()
        self.log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if log_path else None
        self.answers = {}   # idempotency key -> (status, answer)
        self.charges = {}   # order -> list of charge ids
        self.refunds = set()
        self.requests = 0

    def note(self, **line):
        if self.log is not None:
            os.write(self.log, (json.dumps({"ts": time.time(), **line}) + "\n").encode())

    def charge(self, body, key):
        order, total = body.get("order"), body.get("total")
        if not isinstance(order, str) or not isinstance(total, int) or total < 0:
            return 400, {"error": "order and total are needed"}
        if self.behaviour.refuse_over and total > self.behaviour.refuse_over:
            return 402, {"error": "card declined"}
        ident = "ch_" + hashlib.sha256(f"{key}:{order}:{len(self.charges.get(order, []))}".encode()).hexdigest()[:16]
        self.charges.setdefault(order, []).append(ident)
        return 201, {"id": ident, "order": order, "amount": total}

    def refund(self, body, _key):
        order = body.get("order")
        fresh = order in self.charges and order not in self.refunds
        if fresh:
            self.refunds.add(order)
        return 200, {"refunded": fresh}

    def apply(self, path, raw, key):
        """Status, answer and whether the request changed anything now."""
        if key and key in self.answers:
            return *self.answers[key], False
        try:
            body = json.loads(raw)
        except ValueError:
            return 400, {"error": "not JSON"}, False
        status, answer = (self.charge if path == "/charges" else self.refund)(body, key)
        if key and status < 500:
            self.answers[key] = (status, answer)
        return status, answer, status < 300

    def state(self):
        return {"requests": self.requests, "charges": sum(map(len, self.charges.values())),
                "orders": {order: len(ids) for order, ids in self.charges.items()}, "refunds": sorted(self.refunds)}

    def behave(self, raw):
        wanted = json.loads(raw)
        known = {f.name for f in fields(Behaviour)}
        if not isinstance(wanted, dict) or set(wanted) - known:
            return 422, {"error": "known: " + ", ".join(sorted(known))}
        self.behaviour = Behaviour(**wanted)
        return 200, wanted

    async def answer(self, method, path, headers, raw, reused):
        """Status and answer, or None to close without one."""
        if (method, path) == ("GET", "/state"):
            return 200, self.state()
        if (method, path) == ("PUT", "/behaviour"):
            return self.behave(raw)
        if method != "POST" or path not in ("/charges", "/refunds"):
            return 404, {"error": "no such route"}
        self.requests += 1
        now, key, draw = self.behaviour, headers.get("idempotency-key"), random.random()
        line = {"path": path, "key": key, "body": hashlib.sha256(raw).hexdigest()[:16]}
        if draw < now.fail_part:
            self.note(**line, applied=False, sent=503)
            return 503, {"error": "try later"}
        status, reply, applied = self.apply(path, raw, key)
        if draw < now.fail_part + now.reset_part or (now.close_after_post and reused):
            self.note(**line, applied=applied, sent=None)
            return None
        if draw < now.fail_part + now.reset_part + now.hang_part:
            self.note(**line, applied=applied, sent=None)
            await asyncio.sleep(3600)
        if now.delay_s:
            await asyncio.sleep(now.delay_s)
        self.note(**line, applied=applied, sent=status)
        return status, reply


async def serve_connection(provider, reader, writer):
    reused = False
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            request, *lines = head.decode("latin-1").split("\r\n")
            method, path, _ = request.split(" ", 2)
            headers = {k.strip().lower(): v.strip() for k, v in (x.split(":", 1) for x in lines if ":" in x)}
            raw = await reader.readexactly(int(headers.get("content-length", 0)))
            reply = await provider.answer(method, path, headers, raw, reused)
            if reply is None:
                break
            text = json.dumps(reply[1]).encode()
            writer.write(f"HTTP/1.1 {reply[0]} X\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
                         .encode() + text)
            await writer.drain()
            reused = True
    except (asyncio.IncompleteReadError, ConnectionError, ValueError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", help="append every request to this file")
    args = parser.parse_args()
    provider = Provider(args.log)
    server = await asyncio.start_server(lambda r, w: serve_connection(provider, r, w), "127.0.0.1", args.port, backlog=1024)
    print(f"payment provider on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())

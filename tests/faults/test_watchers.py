# SPDX-License-Identifier: Apache-2.0
"""A gateway is killed under many watchers: each comes again at another one with the id of the last event that it saw, and none misses
how its job ended."""

import asyncio
import json
import time
import urllib.parse

LAST_ID, DATA = b"id: ", b"data: "


async def read_stream(url, id, last_id, seen):
    """One connection: states go to `seen`. The last id, and whether the job has ended."""
    host = urllib.parse.urlparse(url)
    reader, writer = await asyncio.open_connection(host.hostname, host.port, limit=1 << 20)
    lines = [f"GET /v1/jobs/{id}/events HTTP/1.1", f"Host: {host.netloc}", *([f"Last-Event-ID: {last_id}"] if last_id else [])]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    try:
        while line := await reader.readline():
            if line.startswith(b"HTTP/1.1 204"):
                return last_id, True
            if line.startswith(LAST_ID):
                last_id = line[len(LAST_ID):].decode().strip()
            elif line.startswith(DATA):
                state = json.loads(line[len(DATA):]).get("state")
                seen.append(state)
                if state == "completed":
                    return last_id, True
    finally:
        writer.close()
    return last_id, False


async def watch(urls, id, seen):
    """Until it has ended, at whoever answers."""
    last_id, over, n = None, False, 0
    while not over:
        try:
            last_id, over = await read_stream(urls[min(n, 1)], id, last_id, seen)
        except OSError:
            await asyncio.sleep(0.05)
        n += 1
    return n


async def all_watch(urls, ids, kill, finish):
    seen = [[] for _ in ids]
    watchers = [asyncio.create_task(watch(urls, id, states)) for id, states in zip(ids, seen)]
    while not all(seen):
        await asyncio.sleep(0.05)
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    await loop.run_in_executor(None, kill)
    await loop.run_in_executor(None, finish)
    connections = await asyncio.wait_for(asyncio.gather(*watchers), 120)
    return seen, connections, time.monotonic() - began


def test_gateway_killed_under_watchers(rig, report, long_form):
    count = 1000 if long_form else 100
    first, second = rig.gateway(WINDLASS_WATCHERS_PER_CALLER=count), rig.gateway(WINDLASS_WATCHERS_PER_CALLER=count)
    ids = second.api().enqueue_batch([{"type": "fault.deposit", "payload": {"account": 0, "amount": 1}}] * count)
    seen, connections, took = asyncio.run(all_watch([first.url, second.url], ids, first.kill, rig.work))
    assert all(states[-1] == "completed" for states in seen), "somebody missed the end"
    assert min(connections) >= 2
    rig.oracle.drained()
    report("gateway killed under watchers", count, {"resumed": count, "ends missed": 0}, took)

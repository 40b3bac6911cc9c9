# SPDX-License-Identifier: Apache-2.0
"""Thousands of clients that wait for results at the same time, each on a connection of its own."""

import asyncio
import json
import resource
import time

import pytest

from harness.rig import Rig
from harness.windlass import wait_for

WAITERS, JOBS = 2000, 100
PROMPT_S = 5


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3 * WAITERS:
        pytest.skip(f"only {hard} open files allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def ask(host, port, id, door):
    """The finished job's state and when its answer came. `door` lets in a few at a time: heads that are slow are cut off."""
    async with door:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET /v1/jobs/{id}?wait=60s HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), answer[:200]
    return json.loads(body)["state"], time.monotonic()


async def ask_all(host, port, ids, meanwhile):
    """All at once; `meanwhile` runs in a thread and says when the jobs had ended."""
    door = asyncio.Semaphore(50)
    answers = asyncio.gather(*(ask(host, port, id, door) for id in ids))
    ended = asyncio.get_running_loop().run_in_executor(None, meanwhile)
    return await asyncio.wait_for(asyncio.gather(answers, ended), 100)


def test_two_thousand_are_answered_when_their_job_ends(store_url, windlass, engine_jobs, many_files):
    rig = Rig(windlass, store_url, engine_jobs)
    ids = rig.api.enqueue_batch([{"type": "put"}] * JOBS)

    def let_them_end():
        wait_for(lambda: rig.gateway.metrics().get("windlass_waiters") == WAITERS, 50, every_s=0.2)
        assert rig.rows("SELECT count(*) FROM effects") == [(0,)]
        rig.work()
        wait_for(lambda: rig.rows("SELECT count(*) FROM effects") == [(JOBS,)], every_s=0.01)
        return time.monotonic()

    host, port = rig.gateway.url.removeprefix("http://").split(":")
    answers, ended = asyncio.run(ask_all(host, port, ids * (WAITERS // JOBS), let_them_end))
    assert [state for state, _ in answers] == ["completed"] * WAITERS
    late = max(at for _, at in answers) - ended
    assert late < PROMPT_S, f"the last one was answered {late:.2f} s after its job had ended"
    wait_for(lambda: rig.gateway.metrics().get("windlass_waiters") == 0)

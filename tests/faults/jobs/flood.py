# SPDX-License-Identifier: Apache-2.0
"""A handler that works hundreds of jobs at once and has many questions about each of them, all at the same moment."""

import json
import os
import select
import sys

QUESTIONS = 16
waiting, asked = [], {}


def say(lines):
    sys.stdout.write("".join(json.dumps(line) + "\n" for line in lines))
    sys.stdout.flush()


def ask():
    for job in waiting:
        asked[job] = QUESTIONS
    say({"job": job, "ask": n, "query": "SELECT 1"} for job in waiting for n in range(QUESTIONS))
    waiting.clear()


def hear(line):
    job = line["job"]
    if "payload" in line:
        say([{"job": job, "started": True}])
        waiting.append(job)
        return
    asked[job] -= "answer" in line
    if not asked[job]:
        say([{"job": job, "done": {}}])


def lines():
    """Every line; None when nothing has come for a moment."""
    rest = b""
    while True:
        if not select.select([0], [], [], 0.5)[0]:
            yield None
            continue
        data = os.read(0, 1 << 16)
        if not data:
            return
        *whole, rest = (rest + data).split(b"\n")
        yield from map(json.loads, whole)


say([{"ready": 1, "concurrency": 1000}])
for line in lines():
    if line is None:
        ask()
    elif "job" in line:
        hear(line)

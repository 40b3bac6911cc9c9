# SPDX-License-Identifier: Apache-2.0
"""An exec handler that makes the calls of its payload, one after the other, and returns what became of each.

payload: {"calls": [{"url": …, "method": …, "headers": {…}, "body": …}]}
result:  [{"fate": …, "status": …, "error": …}]
"""
import json
import sys


def ask(job, number, request):
    print(json.dumps({"job": job, "ask": number, "call": f"call{number}", "request": request}), flush=True)
    answer = json.loads(sys.stdin.readline())
    assert answer["answer"] == number, answer
    return {key: answer.get(key) for key in ("fate", "status", "error")}


for line in sys.stdin:
    job = json.loads(line)
    if "payload" in job:
        requests = job["payload"]["calls"]
        answers = [ask(job["job"], number, {"method": "GET", "headers": {}, **request}) for number, request in enumerate(requests)]
        print(json.dumps({"job": job["job"], "done": answers}), flush=True)

# SPDX-License-Identifier: Apache-2.0
"""A handler that makes one call and goes by its answer."""

import json
import sys

for text in sys.stdin:
    line = json.loads(text)
    if "payload" in line:
        job = line["job"]
        print(json.dumps({"job": job, "ask": 1, "call": "charge", "request": {
            "method": "POST", "url": "${env.THIRD}" + sys.argv[1], "headers": {}, "body": "{}"}}), flush=True)
    elif "answer" in line:
        good = line.get("fate") == "answered" and line["status"] < 300
        outcome = {"done": {"status": line["status"]}} if good else {"retry": line.get("error") or "no answer"}
        print(json.dumps({"job": line["job"], **outcome}), flush=True)

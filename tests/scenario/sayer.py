# SPDX-License-Identifier: Apache-2.0
"""An exec handler that says its payload's text wherever a handler can say something: on stderr, beside the protocol, as its
progress' note and as the reason of its end ("how": retry or discard)."""
import json
import sys

for line in sys.stdin:
    job = json.loads(line)
    if "payload" in job:
        id, text = job["job"], job["payload"]["text"]
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
        print("beside " + text.replace("\n", "\n "), flush=True)
        print(json.dumps({"job": id, "progress": 0.5, "note": text}), flush=True)
        print(json.dumps({"job": id, job["payload"].get("how", "discard"): text}), flush=True)

# SPDX-License-Identifier: Apache-2.0
"""F05: the gateway dies at every step of an acceptance, and clients do what the answer told them: the same request with the
same Idempotency-Key, until somebody says 202. Each key is one job with one effect."""

import http.client
import json
import time
import urllib.parse

import pytest

from faults.oracle import ACCOUNTS, Sent

POINTS = ["accept_before_enqueue", "accept_before_commit", "accept_after_commit", "confirmed_before_202"]


def post(url, key, payload):
    """(status, id) or None when nobody knows."""
    connection = http.client.HTTPConnection(urllib.parse.urlparse(url).netloc, timeout=20)
    body = json.dumps({"type": "fault.deposit", "payload": payload})
    try:
        connection.request("POST", "/v1/jobs", body, {"Content-Type": "application/json", "Idempotency-Key": key})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text).get("id")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("point", POINTS)
def test_f05_retried_with_the_same_key(rig, report, long_form, point):
    rounds, keys, struck, took = 10 if long_form else 2, {}, 0, 0.0
    rig.work()
    for n in range(rounds):
        gateway = rig.gateway(WINDLASS_FAILPOINT=f"{point}:{1 + 3 * n}:kill")
        for i in range(8 + 3 * n):
            key = f"{point}-{n}-{i}"
            began, answer = time.monotonic(), post(gateway.url, key, {"account": i % ACCOUNTS, "amount": 1})
            while answer is None or answer[0] == 503:
                if gateway.popen.poll() is not None:
                    gateway.killed = True
                    struck += 1
                    gateway = rig.gateway()
                answer = post(gateway.url, key, {"account": i % ACCOUNTS, "amount": 1})
                took = max(took, time.monotonic() - began)
            assert answer[0] == 202, answer
            keys[key] = answer[1]
        assert post(gateway.url, key, {"account": 0, "amount": 99})[0] == 422, "another request under a used key"
        gateway.stop()
    assert struck == rounds
    rig.oracle.drained()
    assert len(set(keys.values())) == len(keys) == len(rig.oracle.states()), "one job a key"
    sent = Sent(must={id: "fault.deposit" for id in keys.values()})
    report(f"F05 {point}", struck, {**rig.oracle.judge(sent), "retried": struck}, took)
